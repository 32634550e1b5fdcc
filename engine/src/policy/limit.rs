//! The limit of one connection: what rules and settings come to for it.
//!
//! It must not know where in its window a limit falls (it is told), nor how old a
//! connection is.

use crate::client::Client;
use crate::policy::percent::Percent;
use crate::policy::rules::Rule;
use crate::policy::settings::Settings;
use crate::text::time::Millis;
use alloc::vec::Vec;

/// What holds for one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    /// Its own limit, as drawn: the age past which it is evicted; 0: never.
    pub age: Millis,
    /// How long past its limit it may go on while busy.
    pub grace: Millis,
    /// The place in the list, from 0, of the rule that has a say in this; `None`: only the
    /// settings have.
    pub rule: Option<usize>,
    /// The place of the rule whose `maxage` the limit was drawn from; `None`: it was the
    /// setting's.
    pub decided_by: Option<usize>,
    /// Whether this holds for what the connection is: `types` has its type, or the rule names
    /// it. Otherwise age has no say.
    pub holds: bool,
}

impl Settings {
    /// What holds for the connection as it is now: the first rule that matches, with what it
    /// leaves out taken from the settings.
    ///
    /// A rule that goes by the client's own word ([`Rule::only_tightens`]) is held against
    /// what would hold without it, by the rules after it and the settings. The tighter of
    /// both counts, of the limits as of the graces, where no limit is looser than any.
    ///
    /// `draw` says where in its window this connection's limit falls, for a `maxage` that is
    /// not 0. Limits are compared as drawn: of 60 minutes without jitter and 61 minutes with
    /// 50 percent, either may be the tighter.
    pub fn effective<D>(&self, client: &Client<'_>, draw: D) -> Limit
    where
        D: Fn(Millis, Percent) -> Millis,
    {
        self.held_from(0, client, &draw)
    }

    /// What the rules from `from` on, and the settings, say. It calls itself once for each
    /// rule at most, and there are 128 at most.
    fn held_from<D>(&self, from: usize, client: &Client<'_>, draw: &D) -> Limit
    where
        D: Fn(Millis, Percent) -> Millis,
    {
        let drawn = |(maxage, jitter): (Millis, Percent)| match maxage {
            Millis(0) => maxage,
            _ => draw(maxage, jitter),
        };
        let Some((index, rule)) = self.rules.match_from(from, client) else {
            return Limit {
                age: drawn((self.maxage, self.jitter)),
                grace: self.grace,
                rule: None,
                decided_by: None,
                holds: self.types.covers(client.client_type()),
            };
        };
        let own = Limit {
            age: drawn(self.window(rule)),
            grace: rule.grace.unwrap_or(self.grace),
            rule: Some(index),
            decided_by: rule.maxage.map(|_| index),
            // It matched, so the type that it names is the connection's.
            holds: rule.kind.is_some() || self.types.covers(client.client_type()),
        };
        if rule.only_tightens() {
            own.tightening(self.held_from(index.saturating_add(1), client, draw))
        } else {
            own
        }
    }

    /// The `maxage` and the jitter that a rule gives.
    fn window(&self, rule: &Rule) -> (Millis, Percent) {
        (
            rule.maxage.unwrap_or(self.maxage),
            rule.jitter.unwrap_or(self.jitter),
        )
    }

    /// Every `maxage` that settings and rules could give to any connection, with its jitter,
    /// each once; without those of 0. Whatever holds for a connection was drawn from one of
    /// these.
    #[must_use]
    pub fn limits(&self) -> Vec<(Millis, Percent)> {
        let mut limits: Vec<_> = self
            .rules
            .iter()
            .map(|rule| self.window(rule))
            .chain([(self.maxage, self.jitter)])
            .filter(|(maxage, _)| maxage.0 > 0)
            .collect();
        limits.sort_unstable();
        limits.dedup();
        limits
    }

    /// No limit of any connection, wherever it is drawn, is below this, whatever the
    /// connection is and does; `None` when settings and rules give none a limit. Connections
    /// younger than this need no look.
    #[must_use]
    pub fn strictest_limit(&self) -> Option<Millis> {
        self.limits()
            .into_iter()
            .map(|(maxage, jitter)| earliest(maxage, jitter))
            .min()
    }
}

impl Limit {
    /// This limit where it is tighter than what holds `without` it.
    fn tightening(self, without: Limit) -> Limit {
        if self.holds != without.holds {
            return if self.holds { self } else { without };
        }
        let sooner = self.age.0 > 0 && (without.age.0 == 0 || self.age < without.age);
        let by_age = if sooner { self } else { without };
        Limit {
            age: by_age.age,
            decided_by: by_age.decided_by,
            grace: self.grace.min(without.grace),
            rule: if sooner || self.grace < without.grace {
                self.rule
            } else {
                without.rule
            },
            holds: self.holds,
        }
    }
}

/// Where a limit is drawn with all of its jitter, rounded down.
fn earliest(maxage: Millis, jitter: Percent) -> Millis {
    let kept = u128::from(100u8.saturating_sub(jitter.0));
    let ms = u128::from(maxage.0) * kept / 100;
    Millis(u64::try_from(ms).unwrap_or(maxage.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::ClientId;
    use crate::policy::rules::Rules;
    use crate::policy::types::Types;
    use proptest::prelude::*;

    fn settings(maxage: u64, jitter: u8, grace: u64, rules: &str) -> Settings {
        Settings {
            maxage: Millis(maxage),
            jitter: Percent(jitter),
            grace: Millis(grace),
            rules: Rules::parse(rules.as_bytes()).unwrap(),
            ..Settings::default()
        }
    }

    fn client(user: &'static str, name: &'static str) -> Client<'static> {
        Client {
            user: user.as_bytes(),
            name: name.as_bytes(),
            ..Client::unknown(ClientId(1))
        }
    }

    /// `permille` of the jitter's window.
    fn draw(permille: u64) -> impl Fn(Millis, Percent) -> Millis {
        move |Millis(maxage), Percent(jitter)| {
            Millis(maxage - maxage * u64::from(jitter) * permille / 100_000)
        }
    }

    fn held(settings: &Settings, client: &Client<'_>) -> (u64, u64, Option<usize>, Option<usize>) {
        let limit = settings.effective(client, draw(0));
        (limit.age.0, limit.grace.0, limit.rule, limit.decided_by)
    }

    #[test]
    fn what_a_rule_leaves_out_comes_from_the_settings() {
        let cases = [
            ("", (1000, 50, None, None)),
            ("a:", (1000, 50, Some(0), None)),
            ("a: user=u maxage=7", (7, 50, Some(0), Some(0))),
            ("a: user=u grace=7", (1000, 7, Some(0), None)),
            ("a: user=u maxage=0", (0, 50, Some(0), Some(0))),
            ("a: user=u maxage=5000 grace=60", (5000, 60, Some(0), Some(0))),
            ("a: user=x maxage=1; b: maxage=2", (2, 50, Some(1), Some(1))),
            ("a: user=u maxage=3; b: maxage=2", (3, 50, Some(0), Some(0))),
        ];
        for (rules, want) in cases {
            let settings = settings(1000, 0, 50, rules);
            assert_eq!(held(&settings, &client("u", "n")), want, "{rules}");
        }
    }

    #[test]
    fn a_rule_by_the_clients_own_word_can_only_tighten() {
        let cases = [
            // It tightens the setting, and cannot loosen it.
            ("a: name=n maxage=7", (7, 50, Some(0), Some(0))),
            ("a: name=n maxage=7000", (1000, 50, None, None)),
            ("a: name=n maxage=0", (1000, 50, None, None)),
            ("a: name=n grace=7", (1000, 7, Some(0), None)),
            ("a: name=n grace=7000", (1000, 50, None, None)),
            ("a: name=n maxage=7 grace=7000", (7, 50, Some(0), Some(0))),
            ("a: name=n maxage=7000 grace=7", (1000, 7, Some(0), None)),
            // So it is with the rule that it would keep from being reached.
            ("a: name=n; b: user=u maxage=5", (5, 50, Some(1), Some(1))),
            (
                "a: name=n maxage=2h; b: name=* maxage=7",
                (7, 50, Some(1), Some(1)),
            ),
            (
                "a: name=n maxage=7; b: user=u maxage=0",
                (7, 50, Some(0), Some(0)),
            ),
            ("a: name=n; b: user=u maxage=0", (1000, 50, Some(0), None)),
            (
                "a: name=n maxage=0; b: user=u maxage=0",
                (0, 50, Some(1), Some(1)),
            ),
            (
                "a: name=n maxage=9; b: user=u maxage=9",
                (9, 50, Some(1), Some(1)),
            ),
            // With a user or an address of its own it may loosen.
            ("a: name=n user=u maxage=7000", (7000, 50, Some(0), Some(0))),
        ];
        for (rules, want) in cases {
            let settings = settings(1000, 0, 50, rules);
            assert_eq!(held(&settings, &client("u", "n")), want, "{rules}");
        }
        let none = settings(0, 0, 50, "a: name=n maxage=7");
        assert_eq!(held(&none, &client("u", "n")), (7, 50, Some(0), Some(0)));
        assert_eq!(held(&none, &client("u", "m")), (0, 50, None, None));
    }

    #[test]
    fn a_rule_that_names_a_type_holds_for_it_whatever_types_says() {
        let held = |types: &str, rules: &str, flags: &'static str| {
            let mut settings = settings(1000, 0, 50, rules);
            settings.types = Types::parse(types.as_bytes()).unwrap();
            let client = Client {
                flags: flags.as_bytes(),
                ..client("u", "n")
            };
            let limit = settings.effective(&client, draw(0));
            (limit.holds.then_some(limit.age.0), limit.rule)
        };
        let cases = [
            ("normal", "", "P", (None, None)),
            ("normal pubsub", "", "P", (Some(1000), None)),
            ("normal", "a: type=pubsub maxage=7", "P", (Some(7), Some(0))),
            ("normal", "a: type=pubsub maxage=7", "N", (Some(1000), None)),
            ("normal", "a: type=pubsub", "P", (Some(1000), Some(0))),
            ("normal", "a: type=pubsub maxage=0", "P", (Some(0), Some(0))),
            ("pubsub", "a: type=normal maxage=7", "N", (Some(7), Some(0))),
            // One that does not name it leaves it to `types`.
            ("normal", "a: user=u maxage=7", "P", (None, Some(0))),
            // A name of the client's own choice frees it of no rule, and adds to what holds only.
            (
                "normal",
                "a: name=n maxage=3; b: type=pubsub maxage=7",
                "P",
                (Some(7), Some(1)),
            ),
            (
                "normal",
                "a: name=n type=pubsub maxage=2000",
                "P",
                (Some(2000), Some(0)),
            ),
            (
                "normal",
                "a: name=n type=pubsub maxage=9; b: type=pubsub maxage=7",
                "P",
                (Some(7), Some(1)),
            ),
            (
                "normal",
                "a: name=n type=pubsub maxage=0; b: user=u maxage=7",
                "P",
                (Some(0), Some(0)),
            ),
        ];
        for (types, rules, flags, want) in cases {
            assert_eq!(held(types, rules, flags), want, "{types}, {rules}, {flags}");
        }
    }

    #[test]
    fn the_tighter_is_the_one_that_is_drawn_so() {
        // 1000 for everyone, or 1100 to 550: with the name it never gets later.
        let settings = settings(1100, 50, 0, "a: name=n maxage=1000 jitter=0");
        let named = |permille| settings.effective(&client("u", "n"), draw(permille));
        assert_eq!(named(0).age, Millis(1000));
        assert_eq!(named(0).decided_by, Some(0));
        assert_eq!(named(1000).age, Millis(550));
        assert_eq!(named(1000).decided_by, None);
    }

    #[test]
    fn the_strictest_limit_is_the_smallest_after_all_jitter() {
        let cases = [
            (0, 0, "", None),
            (0, 50, "a: maxage=0; b: user=x grace=5", None),
            (1000, 0, "", Some(1000)),
            (1000, 90, "", Some(100)),
            (1000, 90, "a: jitter=0", Some(100)),
            (1000, 0, "a: user=x jitter=25", Some(750)),
            (0, 50, "a: user=x maxage=99", Some(49)),
            (1000, 0, "a: user=x maxage=9; b: name=y maxage=8", Some(8)),
            (1, 90, "", Some(0)),
        ];
        for (maxage, jitter, rules, want) in cases {
            let strictest = settings(maxage, jitter, 0, rules).strictest_limit();
            assert_eq!(strictest, want.map(Millis), "{rules}");
        }
        let most = settings(Millis::MAX.0, 0, 0, "");
        assert_eq!(most.strictest_limit(), Some(Millis::MAX));
    }

    #[test]
    fn every_limit_that_is_given_is_listed_once() {
        let settings = settings(1000, 5, 0, "a: maxage=7; b: jitter=9; c: maxage=0; d: grace=1");
        let want = [(7, 5), (1000, 5), (1000, 9)];
        assert_eq!(settings.limits(), want.map(|(m, j)| (Millis(m), Percent(j))));
    }

    fn rule() -> impl Strategy<Value = String> {
        let age = prop_oneof!["", " maxage=[0-9]{1,3}"];
        let jitter = prop_oneof!["", " jitter=[0-9]"];
        let grace = prop_oneof!["", " grace=[0-9]"];
        let user = prop_oneof!["", " user=[uv]"];
        let name = prop_oneof!["", " name=[nm]"];
        (user, name, age, jitter, grace).prop_map(|(u, n, a, j, g)| format!("{u}{n}{a}{j}{g}"))
    }

    /// Whether `a` is at least as tight as `b`.
    fn as_tight(a: Limit, b: Limit) -> bool {
        (b.age.0 == 0 || (a.age.0 > 0 && a.age <= b.age)) && a.grace <= b.grace
    }

    proptest! {
        #[test]
        fn with_a_rule_by_name_in_front_no_client_fares_better(
            maxage in 0..1000u64, jitter in 0..=90u8, permille in 0..=1000u64,
            rules in prop::collection::vec(rule(), 1..5), extra in " name=n( maxage=[0-9]{1,3})?( grace=9)?",
        ) {
            let text = |rules: &[String]| {
                let rules = rules.iter().enumerate().map(|(i, rule)| format!("r{i}:{rule}"));
                rules.collect::<Vec<_>>().join(";")
            };
            let without = settings(maxage, jitter, 5, &text(&rules));
            let with = settings(maxage, jitter, 5, &format!("x:{extra};{}", text(&rules)));
            for name in ["n", "m"] {
                let client = client("u", name);
                let with = with.effective(&client, draw(permille));
                prop_assert!(as_tight(with, without.effective(&client, draw(permille))));
            }
        }

        #[test]
        fn no_limit_is_below_the_strictest_and_each_is_drawn_from_a_listed_one(
            maxage in 0..1000u64, jitter in 0..=90u8, permille in 0..=1000u64,
            rules in prop::collection::vec(rule(), 0..5),
        ) {
            let rules: Vec<String> =
                rules.iter().enumerate().map(|(i, rule)| format!("r{i}:{rule}")).collect();
            let settings = settings(maxage, jitter, 5, &rules.join(";"));
            let limit = settings.effective(&client("u", "n"), draw(permille));
            if limit.age.0 > 0 {
                prop_assert!(settings.strictest_limit().is_some_and(|least| least <= limit.age));
                let mut listed = settings.limits().into_iter();
                prop_assert!(listed.any(|(m, j)| draw(permille)(m, j) == limit.age));
            }
        }
    }
}
