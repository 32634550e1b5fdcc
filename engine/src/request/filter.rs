//! The filters of KILL and LIST, all of which must hold.
//!
//! What KILL does with what matches, and whom it spares all the same, is not known here.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::client::{Client, ClientId, ClientType};
use crate::request::condition::{Condition, Value};
use crate::request::key::Key;

pub(super) use crate::request::condition::duration;
pub use crate::request::key::{Described, Takes};
use crate::text::args::Args;
use crate::text::time::Millis;
use crate::text::word::Refusal;

/// Filters, all of which must hold; without any, everything matches.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    conditions: Vec<Condition>,
}

impl Filter {
    /// The names of all filters, as errors list them.
    #[must_use]
    pub fn list() -> String {
        let names = |not| {
            let keys = Key::ALL.iter().filter(move |key| key.has_not() == not);
            let names: Vec<&str> = keys.map(|key| key.name(false)).collect();
            names.join(", ")
        };
        format!("{} (these also with NOT- before), {}", names(true), names(false))
    }

    /// All filters, with `NOT-` and without, as COMMAND DOCS tells of them.
    pub fn described() -> impl Iterator<Item = Described> {
        Key::ALL.into_iter().flat_map(|key| {
            let negated = key.has_not().then(|| key.described(true));
            [key.described(false)].into_iter().chain(negated)
        })
    }

    /// Takes one filter with its values; `Ok(false)`, and nothing taken, when the next word
    /// names none.
    ///
    /// # Errors
    /// A value that is missing or not accepted, and a filter that was there before (but `ID`
    /// and `NOT-ID`, which add up, as in CLIENT KILL).
    pub fn take(&mut self, args: &mut Args<'_>) -> Result<bool, Refusal> {
        let Some((key, not)) = args.peek().and_then(Key::find) else {
            return Ok(false);
        };
        args.next_word();
        let new = Condition::take(key, not, args)?;
        let known = self
            .conditions
            .iter_mut()
            .find(|known| known.key == key && known.not == not);
        match known.map(|known| (&mut known.value, &new.value)) {
            None => self.conditions.push(new),
            Some((Value::Ids(ids), Value::Ids(more))) => ids.extend(more),
            Some(_) => {
                return Err(Refusal::new("given twice: once is accepted").of(key.name(not)));
            }
        }
        Ok(true)
    }

    /// Whether all filters hold for the connection, which is `age` old.
    #[must_use]
    pub fn matches(&self, client: &Client<'_>, age: Millis) -> bool {
        self.conditions
            .iter()
            .all(|condition| condition.holds(client, age))
    }

    /// Whether there are no filters.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.conditions.is_empty()
    }

    /// The ids of `ID`.
    #[must_use]
    pub fn ids(&self) -> Option<&BTreeSet<ClientId>> {
        match self.value(Key::Id) {
            Some(Value::Ids(ids)) => Some(ids),
            _ => None,
        }
    }

    /// Whether `ID` is given.
    #[must_use]
    pub fn names_id(&self) -> bool {
        self.value(Key::Id).is_some()
    }

    /// The duration of `MAXAGE`.
    #[must_use]
    pub fn maxage(&self) -> Option<Millis> {
        match self.value(Key::Maxage) {
            Some(Value::Duration(age)) => Some(*age),
            _ => None,
        }
    }

    /// The type of `TYPE`.
    #[must_use]
    pub fn names_type(&self) -> Option<ClientType> {
        match self.value(Key::Type) {
            Some(Value::Type(kind)) => Some(*kind),
            _ => None,
        }
    }

    /// The letters of `FLAGS`.
    #[must_use]
    pub fn names_flags(&self) -> &[u8] {
        match self.value(Key::Flags) {
            Some(Value::Text(flags)) => flags,
            _ => b"",
        }
    }

    /// Whether a filter is given that singles connections out: `ID`, `USER`, `ADDR`,
    /// `LADDR`, `IP`, `NAME` or `FLAGS`.
    #[must_use]
    pub fn singles_out(&self) -> bool {
        Key::ALL
            .into_iter()
            .any(|key| key.singles_out() && self.value(key).is_some())
    }

    /// The users that `USER` and `NOT-USER` name: whether there are such users only the
    /// server knows.
    pub fn users(&self) -> impl Iterator<Item = &[u8]> {
        self.conditions
            .iter()
            .filter_map(|condition| match (condition.key, &condition.value) {
                (Key::User, Value::Text(user)) => Some(user.as_slice()),
                _ => None,
            })
    }

    /// Whether more has to be known of a connection than its id and its age.
    #[must_use]
    pub fn needs_client(&self) -> bool {
        self.conditions
            .iter()
            .any(|condition| !matches!(condition.key, Key::Id | Key::Maxage))
    }

    /// The value of a filter that is given without `NOT-`.
    fn value(&self, key: Key) -> Option<&Value> {
        self.conditions
            .iter()
            .find(|condition| condition.key == key && !condition.not)
            .map(|condition| &condition.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filter(text: &str) -> Result<Filter, String> {
        let words: Vec<&[u8]> = text.split_terminator(' ').map(str::as_bytes).collect();
        let mut args = Args::new(&words);
        let mut filter = Filter::default();
        while filter.take(&mut args).map_err(|e| e.to_string())? {}
        assert_eq!(args.peek(), None, "{text}");
        Ok(filter)
    }

    #[test]
    fn all_filters_must_hold() {
        let client = Client {
            user: b"u",
            name: b"n",
            flags: b"N",
            ..Client::unknown(ClientId(5))
        };
        let cases = [
            ("", true),
            ("ID 5 USER u NAME n MAXAGE 9", true),
            ("ID 5 USER u NAME x MAXAGE 9", false),
            ("ID 5 USER u NAME n MAXAGE 11", false),
            ("NAME n NOT-NAME n", false),
            ("NAME n NOT-NAME x NOT-USER x NOT-ID 6 7", true),
            ("ID 4 ID 5", true),
            ("NOT-ID 4 NOT-ID 5", false),
            ("ID 4 5 NOT-ID 5", false),
        ];
        for (text, want) in cases {
            let filter = filter(text).unwrap();
            assert_eq!(filter.matches(&client, Millis(10)), want, "{text}");
            assert_eq!(filter.is_empty(), text.is_empty());
        }
    }

    #[test]
    fn a_filter_given_twice_is_refused_but_ids_add_up() {
        for (text, name) in [
            ("NAME a name b", "NAME"),
            ("NOT-NAME a NAME b NOT-NAME a", "NOT-NAME"),
            ("MAXAGE 1 MAXAGE 1", "MAXAGE"),
            ("TYPE normal TYPE pubsub", "TYPE"),
        ] {
            let want = format!("{name}: given twice: once is accepted");
            assert_eq!(filter(text), Err(want), "{text}");
        }
        let ids = filter("ID 9 3 USER u ID 3 1").unwrap();
        assert_eq!(ids.ids(), Some(&BTreeSet::from([1, 3, 9].map(ClientId))));
    }

    /// With a sort for each word it was quadratic, and these took minutes.
    #[test]
    #[allow(clippy::disallowed_methods)] // The test needs a clock, the engine none.
    fn ids_behind_words_of_their_own_take_no_longer_than_behind_one() {
        let numbers: Vec<String> = (1..=200_000u64)
            .map(|n| (n * 7_919 % 200_003).to_string())
            .collect();
        let words: Vec<&[u8]> = numbers
            .iter()
            .flat_map(|number| [&b"ID"[..], number.as_bytes()])
            .collect();
        let (mut args, mut filter) = (Args::new(&words), Filter::default());
        let began = std::time::Instant::now();
        while filter.take(&mut args) == Ok(true) {}
        assert_eq!(filter.ids().map(BTreeSet::len), Some(200_000));
        assert!(began.elapsed().as_secs() < 20);
    }

    #[test]
    fn what_is_no_filter_is_left_for_others() {
        let words: [&[u8]; 3] = [b"NAME", b"n", b"LIMIT"];
        let mut args = Args::new(&words);
        let mut filter = Filter::default();
        assert_eq!(filter.take(&mut args), Ok(true));
        assert_eq!(filter.take(&mut args), Ok(false));
        assert_eq!(args.peek(), Some(&b"LIMIT"[..]));
        assert_eq!(filter.take(&mut Args::new(&[])), Ok(false));
    }

    #[test]
    fn a_filter_tells_what_it_names() {
        let all = filter("ID 1 TYPE replica MAXAGE 5s FLAGS xb USER a NOT-USER b").unwrap();
        assert_eq!(all.ids(), Some(&BTreeSet::from([ClientId(1)])));
        assert_eq!(all.names_type(), Some(ClientType::Replica));
        assert_eq!(all.maxage(), Some(Millis(5_000)));
        assert_eq!(all.names_flags(), b"xb");
        assert_eq!(all.users().collect::<Vec<_>>(), [b"a", b"b"]);
        let none = filter("NOT-ID 1 NOT-TYPE replica NOT-FLAGS xb IDLE 5s").unwrap();
        assert_eq!(none.ids(), None);
        assert!(!none.names_id());
        assert_eq!(none.names_type(), None);
        assert_eq!(none.maxage(), None);
        assert_eq!(none.names_flags(), b"");
        assert_eq!(none.users().count(), 0);
    }

    #[test]
    fn ids_and_ages_need_no_look_at_the_client() {
        for (text, want) in [
            ("", false),
            ("ID 1 2", false),
            ("NOT-ID 1 MAXAGE 5", false),
            ("ID 1 NAME x", true),
            ("IDLE 5", true),
            ("NOT-TYPE normal", true),
        ] {
            assert_eq!(filter(text).unwrap().needs_client(), want, "{text}");
        }
    }

    #[test]
    fn the_list_names_every_filter() {
        assert_eq!(
            Filter::list(),
            "ID, TYPE, USER, ADDR, LADDR, IP, NAME, FLAGS, LIB-NAME, LIB-VER, DB, CAPA \
             (these also with NOT- before), IDLE, MAXAGE"
        );
    }

    proptest! {
        #[test]
        fn any_words_are_filters_or_not(words: Vec<Vec<u8>>, pick in prop::collection::vec(0..14usize, 0..8)) {
            let mut all: Vec<&[u8]> = Vec::new();
            for (key, word) in pick.iter().zip(&words) {
                all.push(Key::ALL[*key].name(false).as_bytes());
                all.push(word);
            }
            let mut filter = Filter::default();
            let mut args = Args::new(&all);
            while let Ok(true) = filter.take(&mut args) {}
            let _ = filter.matches(&Client::unknown(ClientId(1)), Millis(0));
        }
    }
}
