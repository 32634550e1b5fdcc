//! One rule of the list: `label: key=value …`. One table of its keys, and what follows from it.
//!
//! Parse, print and match. It knows no other rule and no setting.

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;

use crate::client::{Client, ClientType};
use crate::policy::pattern::{address, client_type, glob, user, Pattern};
use crate::policy::percent::Percent;
use crate::policy::value::Value;
use crate::text::address::AddrMatch;
use crate::text::glob::Glob;
use crate::text::time::Millis;
use crate::text::word::{self, Refusal};

/// The longest label, in bytes.
const MAX_LABEL: usize = 64;

/// Who says what a match key is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// The client, which may say anything.
    Client,
    /// The server, and it vouches for who the client is.
    Server,
    /// The server, of what any client may choose: where it connects to, what it subscribes to.
    Neither,
}

/// Makes of a row for each key the structure of a rule, and how it is read, matched and printed.
macro_rules! table {
    (
        match $($(#[$asks:meta])+ $key:literal $field:ident: $pattern:ty = $read:ident, fits $of:ident, by $source:ident;)+
        effect $($(#[$gives:meta])+ $effect:literal $place:ident: $value:ty;)+
    ) => {
        /// One rule: what a connection must be to match, and the limits that it then has.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct Rule {
            /// `[A-Za-z0-9_.-]`, up to 64 of them, unique in its list.
            pub label: String,
            $($(#[$asks])+ pub $field: Option<$pattern>,)+
            $($(#[$gives])+ pub $place: Option<$value>,)+
        }

        impl Rule {
            /// All keys, in the order in which they are printed.
            pub const KEYS: [&'static str; [$($key,)+ $($effect),+].len()] = [$($key,)+ $($effect),+];

            /// Takes the value of one key, in either case; `None`: there is no such key.
            fn put(&mut self, key: &[u8], value: &[u8]) -> Option<Result<(), Refusal>> {
                $(if key.eq_ignore_ascii_case($key.as_bytes()) {
                    return Some(put(&mut self.$field, $read(value)).map_err(|e| e.of($key)));
                })+
                $(if key.eq_ignore_ascii_case($effect.as_bytes()) {
                    return Some(put(&mut self.$place, <$value>::read(value)).map_err(|e| e.of($effect)));
                })+
                None
            }

            /// Whether the connection, as it is now, is all that the rule asks for.
            #[must_use]
            pub fn matches(&self, client: &Client<'_>) -> bool {
                $(self.$field.as_ref().is_none_or(|pattern| pattern.fits(client.$of, client)))&&+
            }

            /// Whether it has a key that goes by what this one says.
            fn goes_by(&self, source: Source) -> bool {
                $((source == Source::$source && self.$field.is_some()))||+
            }

            fn print(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                $(if let Some(pattern) = &self.$field {
                    write!(f, " {}={pattern}", $key)?;
                })+
                $(if let Some(value) = &self.$place {
                    write!(f, " {}={}", $effect, value.print())?;
                })+
                Ok(())
            }
        }
    };
}

table! {
    match
    /// The ACL user.
    "user" user: Glob = user, fits user, by Server;
    /// The client's own name; the empty pattern matches clients without one.
    "name" name: Glob = glob, fits name, by Client;
    /// The name of the client's library, likewise.
    "lib" lib: Glob = glob, fits lib_name, by Client;
    /// The client's end.
    "addr" addr: AddrMatch = address, fits addr, by Server;
    /// The server's end.
    "laddr" laddr: AddrMatch = address, fits laddr, by Neither;
    /// Normal or pubsub; what is named here, age evicts whatever `types` says.
    "type" kind: ClientType = client_type, fits flags, by Neither;
    effect
    /// 0: no limit.
    "maxage" maxage: Millis;
    /// Instead of the setting's.
    "jitter" jitter: Percent;
    /// Instead of the setting's.
    "grace" grace: Millis;
}

impl Rule {
    /// Reads the words of one rule, the `number`th of its list.
    pub(super) fn parse<'a>(
        mut words: impl Iterator<Item = &'a [u8]>,
        number: usize,
    ) -> Result<Rule, Refusal> {
        let first = words.next().unwrap_or_default();
        let mut parts = first.splitn(2, |b| *b == b':');
        let label = parse_label(parts.next().unwrap_or_default());
        let Some(rest) = parts.next() else {
            return Err(Refusal::new(format!(
                "rule {number}: {} is not a label with a colon: a rule is 'label: key=value ...'",
                word::shown(first)
            )));
        };
        let mut rule = Rule {
            label: label.map_err(|e| e.of(&format!("rule {number}")))?,
            ..Rule::default()
        };
        // The blank after the colon may be missing.
        let rest = Some(rest).filter(|rest| !rest.is_empty());
        for word in rest.into_iter().chain(words) {
            rule.set(word)
                .map_err(|e| e.of(&format!("rule '{}'", rule.label)))?;
        }
        Ok(rule)
    }

    /// Takes one `key=value` word.
    fn set(&mut self, word: &[u8]) -> Result<(), Refusal> {
        let mut parts = word.splitn(2, |b| *b == b'=');
        let key = parts.next().unwrap_or_default();
        let put = parts.next().and_then(|value| self.put(key, value));
        put.unwrap_or_else(|| {
            Err(Refusal::new(format!(
                "{} is not key=value with one of the keys {}",
                word::shown(word),
                word::one_of(&Rule::KEYS)
            )))
        })
    }

    /// Whether the rule may not loosen anything: it goes by what a client says of itself
    /// (`name`, `lib`), and by nothing that is known of it (`user`, `addr`).
    #[must_use]
    pub fn only_tightens(&self) -> bool {
        self.goes_by(Source::Client) && !self.goes_by(Source::Server)
    }
}

fn parse_label(label: &[u8]) -> Result<String, Refusal> {
    let fits = |b: &u8| b.is_ascii_alphanumeric() || b"_.-".contains(b);
    core::str::from_utf8(label)
        .ok()
        .filter(|_| (1..=MAX_LABEL).contains(&label.len()) && label.iter().all(fits))
        .map(str::to_string)
        .ok_or_else(|| {
            Refusal::new(format!(
                "{} is not a label: give 1 to {MAX_LABEL} letters, digits, '_', '.' or '-'",
                word::shown(label)
            ))
        })
}

/// Fills a place, once.
fn put<T>(place: &mut Option<T>, value: Result<T, Refusal>) -> Result<(), Refusal> {
    let value = value?;
    if place.is_some() {
        return Err(Refusal::new("given twice: once is accepted"));
    }
    *place = Some(value);
    Ok(())
}

impl fmt::Display for Rule {
    /// As it is read again, durations in milliseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.label)?;
        self.print(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::ClientId;

    fn rule(text: &str) -> Result<Rule, String> {
        let words = text.split(' ').map(str::as_bytes);
        Rule::parse(words, 3).map_err(|e| e.to_string())
    }

    const CLIENT: Client<'static> = Client {
        addr: b"10.1.2.3:999",
        laddr: b"[::1]:6379",
        flags: b"P",
        name: b"etl-7",
        user: b"ci",
        lib_name: b"redis-py",
        ..Client::unknown(ClientId(1))
    };

    #[test]
    fn every_key_is_matched_with_its_field() {
        let cases = [
            ("a:", true),
            ("a: user=c?", true),
            ("a: user=CI", false),
            ("a: name=etl-*", true),
            ("a: name=ci", false),
            ("a: lib=redis-py", true),
            ("a: lib=jedis", false),
            ("a: addr=10.1.0.0/16", true),
            ("a: addr=::1", false),
            ("a: addr=unix", false),
            ("a: laddr=::1", true),
            ("a: laddr=10.1.0.0/16", false),
            ("a: type=pubsub", true),
            ("a: type=normal", false),
            (
                "a: user=ci name=etl-7 lib=r* addr=10.1.2.3 laddr=::/0 type=pubsub",
                true,
            ),
            (
                "a: user=ci name=etl-8 lib=r* addr=10.1.2.3 laddr=::/0 type=pubsub",
                false,
            ),
        ];
        for (text, want) in cases {
            assert_eq!(rule(text).unwrap().matches(&CLIENT), want, "{text}");
        }
    }

    #[test]
    fn an_empty_pattern_matches_what_has_no_name_and_a_star_what_has_one() {
        let nameless = Client {
            name: b"",
            lib_name: b"",
            ..CLIENT
        };
        for (text, of_nameless) in [
            ("a: name=", true),
            ("a: lib=", true),
            ("a: name=*", false),
            ("a: lib=*", false),
        ] {
            let rule = rule(text).unwrap();
            assert_eq!(rule.matches(&nameless), of_nameless, "{text}");
            assert_eq!(rule.matches(&CLIENT), !of_nameless, "{text}");
        }
    }

    #[test]
    fn a_rule_prints_one_way_and_reads_back() {
        let cases = [
            ("a:", "a:"),
            ("a:maxage=10m", "a: maxage=600000"),
            (
                "a: GRACE=1m Jitter=5 maxage=0",
                "a: maxage=0 jitter=5 grace=60000",
            ),
            (
                "A_b.c-1: type=PUBSUB laddr=unix addr=10.1.2.3/16 lib=x name= user=[a-z]*=\\:",
                "A_b.c-1: user=[a-z]*=\\: name= lib=x addr=10.1.0.0/16 laddr=unix type=pubsub",
            ),
        ];
        for (text, want) in cases {
            let parsed = rule(text).unwrap();
            assert_eq!(parsed.to_string(), want);
            assert_eq!(rule(want), Ok(parsed));
        }
    }

    #[test]
    fn what_goes_by_the_clients_own_word_alone_only_tightens() {
        let cases = [
            ("a:", false),
            ("a: name=x", true),
            ("a: lib=x", true),
            ("a: name=x laddr=::1 type=normal", true),
            ("a: name=x user=y", false),
            ("a: lib=x addr=unix", false),
            ("a: user=y", false),
            ("a: type=normal", false),
        ];
        for (text, want) in cases {
            assert_eq!(rule(text).unwrap().only_tightens(), want, "{text}");
        }
    }

    #[test]
    fn a_bad_rule_is_refused_with_its_label_and_the_word() {
        let keys = format!("with one of the keys {}", word::one_of(&Rule::KEYS));
        let pattern = "give UTF-8 without quotes and control characters ('?' stands for any byte)";
        let cases = [
            (
                "user=x",
                "rule 3: 'user=x' is not a label with a colon: a rule is 'label: key=value ...'".to_string(),
            ),
            (
                "user=x:y maxage=1",
                "rule 3: 'user=x' is not a label: give 1 to 64 letters, digits, '_', '.' or '-'".to_string(),
            ),
            (
                ": maxage=1",
                "rule 3: '' is not a label: give 1 to 64 letters, digits, '_', '.' or '-'".to_string(),
            ),
            ("a: usr=x", format!("rule 'a': 'usr=x' is not key=value {keys}")),
            ("a: user", format!("rule 'a': 'user' is not key=value {keys}")),
            ("a: =x", format!("rule 'a': '=x' is not key=value {keys}")),
            (
                "a: user=",
                "rule 'a': user: empty: give a user's name or a pattern".to_string(),
            ),
            (
                "a: name=\"x\"",
                format!("rule 'a': name: '\"x\"' is not a pattern: {pattern}"),
            ),
            (
                "a: lib=\n",
                format!("rule 'a': lib: '\\n' is not a pattern: {pattern}"),
            ),
            (
                "a: addr=10.1",
                "rule 'a': addr: '10.1' is not an address: give an IP address, a CIDR \
                 (10.1.0.0/16, fd00::/8) or unix"
                    .to_string(),
            ),
            (
                "a: type=replica",
                "rule 'a': type: 'replica' is not a type that age evicts: give normal or pubsub".to_string(),
            ),
            (
                "a: maxage=5x",
                "rule 'a': maxage: '5x' is not a duration: give whole milliseconds, or a whole \
                 number with ms, s, m, h or d (300000 = 300s = 5m)"
                    .to_string(),
            ),
            (
                "a: jitter=91",
                "rule 'a': jitter: '91' is not a share: give a whole number of percent, 0 to 90".to_string(),
            ),
            (
                "a: grace=1 maxage=1 grace=1",
                "rule 'a': grace: given twice: once is accepted".to_string(),
            ),
        ];
        for (text, want) in cases {
            assert_eq!(rule(text), Err(want), "{text}");
        }
    }

    #[test]
    fn a_label_has_64_characters_at_most() {
        assert!(rule(&format!("{}:", "x".repeat(64))).is_ok());
        assert!(rule(&format!("{}:", "x".repeat(65))).is_err());
    }
}
