//! Held: which limit holds for a connection as it is now.

use super::Reaper;
use crate::client::reach::Reach;
use crate::client::{Client, ClientId};
use crate::policy::jitter;
use crate::reaper::registry::{Entry, State};
use crate::record::journal::Reason;
use crate::text::time::{Micros, Millis};
use alloc::borrow::ToOwned;
use alloc::string::String;

/// What holds for one connection: the limit with its jitter, 0 for none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub limit: Millis,
    pub grace: Millis,
    pub reason: Reason,
    /// Label of the rule that matched, whether or not its limit is the one that holds.
    pub rule: Option<String>,
    /// Nothing about its age can evict what it is now.
    pub exempt: bool,
    /// The limit that the settings give it, whether or not it is the one that holds.
    by_settings: Millis,
    /// Since when the limit has held.
    pub since: Micros,
}

/// The limit that a connection asked for itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own {
    limit: Millis,
    since: Micros,
    /// It was seen to have a name.
    named: bool,
}

impl Reaper {
    /// A lower bound on the moment at which age may evict `id`, exact where there are no rules.
    pub(super) fn earliest(&self, id: ClientId) -> Micros {
        let own = self.own.get(&id).zip(self.registry.get(id));
        let own = own.map_or(Micros::NEVER, |(own, entry)| entry.birth.plus(own.limit));
        own.min(self.earliest_by_settings(id))
    }

    /// The same without the limit that it gave itself.
    pub(super) fn earliest_by_settings(&self, id: ClientId) -> Micros {
        let Some(entry) = self.registry.get(id) else {
            return Micros::NEVER;
        };
        let drawn = self
            .limits
            .iter()
            .map(|(maxage, jitter)| jitter::limit(self.seed, id, *maxage, *jitter));
        drawn.min().map_or(Micros::NEVER, |limit| entry.birth.plus(limit))
    }

    /// What holds for `client` as it is now.
    pub fn held(&self, client: &Client) -> Held {
        let draw = |maxage, jitter| jitter::limit(self.seed, client.id, maxage, jitter);
        let limit = self.settings.effective(client, draw);
        let label = |index: Option<usize>| index.and_then(|index| self.settings.rules.label(index));
        let mut held = Held {
            limit: limit.age,
            grace: limit.grace,
            reason: label(limit.decided_by).map_or(Reason::Maxage, |label| Reason::Rule(label.to_owned())),
            rule: label(limit.rule).map(str::to_owned),
            exempt: !limit.holds || !Reach::AGE.allows(client),
            by_settings: limit.age,
            since: self.limits_since,
        };
        if let Some(own) = self.own.get(&client.id) {
            if held.limit.0 == 0 || own.limit < held.limit {
                held.limit = own.limit;
                held.reason = Reason::Own;
                held.since = held.since.max(own.since);
            }
        }
        held
    }

    pub(super) fn age_due(&self, entry: &Entry, held: &Held) -> Micros {
        if held.exempt || held.limit.0 == 0 {
            Micros::NEVER
        } else {
            entry.birth.plus(held.limit)
        }
    }

    /// RESET takes back all that a connection has asked for, its own limit among it. No server tells of it: it
    /// is noticed where it was the last command at a look, and of whoever had a name and has none any more.
    pub fn notice_reset(&mut self, client: &Client) {
        let Some(own) = self.own.get_mut(&client.id) else {
            return;
        };
        let lost_its_name = own.named && client.name.is_empty() && client.user == b"default";
        own.named |= !client.name.is_empty();
        if client.cmd == b"reset" || lost_its_name {
            self.own.remove(&client.id);
        }
    }

    /// When what the settings say is due, whatever limit it gave itself.
    pub(super) fn due_by_settings(&self, entry: &Entry, held: &Held) -> Micros {
        let by_settings = Held {
            limit: held.by_settings,
            ..held.clone()
        };
        self.age_due(entry, &by_settings)
    }

    /// CONNAGE.SELF MAXAGE: a limit of its own for `id`, 0 takes it back.
    pub fn set_own_limit(&mut self, now: Micros, id: ClientId, limit: Millis) {
        if limit.0 == 0 {
            self.own.remove(&id);
        } else if self.registry.get(id).is_some() {
            let own = Own {
                limit,
                since: now,
                named: false,
            };
            self.own.insert(id, own);
        }
        if self.drains.get(id).is_none() {
            self.plan_anew(id);
        } else if self.registry.state(id) == Some(State::Own) {
            self.registry.plan(id, State::Draining, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::info_line;
    use crate::policy::settings::Settings;

    #[test]
    fn reset_takes_the_own_limit_back_where_it_can_be_noticed() {
        // What is seen of a connection one after the other, and whether its own limit holds then.
        let cases: [(&[&str], bool); 7] = [
            (&["user=default name= cmd=get"], true),
            (&["user=default name= cmd=reset"], false),
            (
                &["user=default name=n cmd=get", "user=default name= cmd=get"],
                false,
            ),
            (&["user=u name=n cmd=get", "user=default name= cmd=get"], false),
            (&["user=u name=n cmd=get", "user=default name=n cmd=auth"], true),
            (&["user=u name=n cmd=get", "user=u name= cmd=get"], true),
            (&["user=u name= cmd=get", "user=default name= cmd=auth"], true),
        ];
        for (seen, holds) in cases {
            let mut reaper = Reaper::new(Micros(0), 0, Settings::default());
            reaper.connected(Micros(0), ClientId(1), false);
            reaper.set_own_limit(Micros(0), ClientId(1), Millis(700));
            let mut limit = Millis(0);
            for seen in seen {
                let line = format!("id=1 flags=N {seen}");
                let client = info_line::parse(line.as_bytes()).unwrap();
                reaper.notice_reset(&client);
                limit = reaper.held(&client).limit;
            }
            assert_eq!(limit, Millis(if holds { 700 } else { 0 }), "{seen:?}");
        }
    }
}
