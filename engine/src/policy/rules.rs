//! The rule list: which connections have limits of their own.
//!
//! Parse, print and match. What a match comes to, together with the settings, is
//! `limit`'s to say.

use alloc::format;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::client::Client;
use crate::text::word::Refusal;

pub use crate::policy::rule::Rule;

/// The most rules that a list may have.
pub const MAX_RULES: usize = 128;
/// The longest list, in bytes, both as written and as printed.
pub const MAX_TEXT: usize = 16 * 1024;

/// The rules in their order. A copy shares them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules(Arc<[Rule]>);

impl Rules {
    /// Reads `label: key=value …; label: …`. Blanks (spaces, tabs) and empty rules are
    /// passed over.
    ///
    /// # Errors
    /// One bad rule refuses the whole list, and so does a list that is too long.
    pub fn parse(text: &[u8]) -> Result<Rules, Refusal> {
        check_length(text.len())?;
        let mut rules: Vec<Rule> = Vec::new();
        for text in text.split(|b| *b == b';') {
            let mut words = text
                .split(|b| is_blank(*b))
                .filter(|word| !word.is_empty())
                .peekable();
            if words.peek().is_none() {
                continue;
            }
            if rules.len() == MAX_RULES {
                return Err(Refusal::new(format!(
                    "too many rules: at most {MAX_RULES} are accepted"
                )));
            }
            let rule = Rule::parse(words, rules.len().saturating_add(1))?;
            if rules.iter().any(|known| known.label == rule.label) {
                return Err(Refusal::new(format!(
                    "rule '{}': its label is another rule's too: each needs its own",
                    rule.label
                )));
            }
            rules.push(rule);
        }
        let rules = Rules(rules.into());
        // What is printed has to be read again, and can be longer than what was written.
        check_length(rules.to_string().len())?;
        Ok(rules)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn iter(&self) -> core::slice::Iter<'_, Rule> {
        self.0.iter()
    }

    /// The rule at this place in the list, from 0.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&Rule> {
        self.0.get(index)
    }

    /// The label of the rule at this place.
    #[must_use]
    pub fn label(&self, index: usize) -> Option<&str> {
        self.0.get(index).map(|rule| rule.label.as_str())
    }

    /// The first rule from this place on that matches, and its place.
    #[must_use]
    pub fn match_from(&self, from: usize, client: &Client<'_>) -> Option<(usize, &Rule)> {
        let mut rules = self.0.iter().enumerate().skip(from);
        rules.find(|(_, rule)| rule.matches(client))
    }

    /// Whether any rule asks for a user or a name.
    #[must_use]
    pub fn matches_on_identity(&self) -> bool {
        self.0
            .iter()
            .any(|rule| rule.user.is_some() || rule.name.is_some())
    }
}

impl<'a> IntoIterator for &'a Rules {
    type Item = &'a Rule;
    type IntoIter = core::slice::Iter<'a, Rule>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

fn check_length(bytes: usize) -> Result<(), Refusal> {
    if bytes <= MAX_TEXT {
        return Ok(());
    }
    Err(Refusal::new(format!(
        "the rules are {bytes} bytes long, printed with durations in milliseconds: \
         at most {MAX_TEXT} are accepted"
    )))
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

impl fmt::Display for Rules {
    /// As it is read again, durations in milliseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, rule) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            rule.fmt(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::ClientId;
    use proptest::prelude::*;

    fn rules(text: &str) -> Rules {
        Rules::parse(text.as_bytes()).unwrap()
    }

    fn refused(text: &str) -> String {
        Rules::parse(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_list_prints_one_way_and_reads_back() {
        let cases = [
            ("", ""),
            (" ; ;\t", ""),
            ("a:", "a:"),
            (";a: user=x;;  b:\tmaxage=1h ;", "a: user=x; b: maxage=3600000"),
            (
                "ci: user=ci-* maxage=10m; batch: addr=10.1.0.0/16 name=etl-* maxage=2h grace=1m; \
                 ops: user=admin maxage=0",
                "ci: user=ci-* maxage=600000; batch: name=etl-* addr=10.1.0.0/16 maxage=7200000 \
                 grace=60000; ops: user=admin maxage=0",
            ),
        ];
        for (text, want) in cases {
            let list = rules(text);
            assert_eq!(list.to_string(), want);
            assert_eq!(rules(want), list);
            assert_eq!(list.is_empty(), want.is_empty());
        }
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let list = rules("a: user=x; b: user=?; c: user=z; d:");
        for (user, want) in [("x", "a"), ("y", "b"), ("z", "b"), ("long", "d")] {
            let client = Client {
                user: user.as_bytes(),
                ..Client::unknown(ClientId(1))
            };
            assert_eq!(list.match_from(0, &client).unwrap().1.label, want);
        }
        let client = Client::unknown(ClientId(1));
        assert_eq!(rules("a: user=x").match_from(0, &client), None);
        assert_eq!(list.match_from(1, &client).map(|(index, _)| index), Some(3));
        assert_eq!(list.match_from(4, &client), None);
    }

    #[test]
    fn one_bad_rule_refuses_the_list() {
        assert_eq!(
            refused("a: maxage=1; b: maxage=x"),
            "rule 'b': maxage: 'x' is not a duration: give whole milliseconds, or a whole number \
             with ms, s, m, h or d (300000 = 300s = 5m)"
        );
        assert!(refused("a:; b").starts_with("rule 2: 'b' is not a label with a colon"));
        assert_eq!(
            refused("a:; b:; a: user=x"),
            "rule 'a': its label is another rule's too: each needs its own"
        );
    }

    #[test]
    fn a_list_has_128_rules_at_most() {
        let list = |n: u32| (0..n).map(|i| format!("r{i}:;")).collect::<String>();
        assert_eq!(rules(&list(128)).len(), 128);
        assert_eq!(refused(&list(129)), "too many rules: at most 128 are accepted");
    }

    #[test]
    fn a_list_has_16384_bytes_at_most_as_written_and_as_printed() {
        let long = |n| format!("a: user={}", "x".repeat(n));
        assert_eq!(rules(&long(16_376)).to_string().len(), 16_384);
        assert!(refused(&long(16_377)).contains("16385 bytes"));
        let grows = format!("a: maxage=9d user={}", "x".repeat(16_360));
        assert!(refused(&grows).contains("at most 16384"));
    }

    #[test]
    fn the_list_knows_what_it_asks_for() {
        let cases = [
            ("", false),
            ("a: addr=::1", false),
            ("a: user=x", true),
            ("a:; b: name=x", true),
            ("a: lib=x", false),
            ("a: type=normal", false),
        ];
        for (text, identity) in cases {
            assert_eq!(rules(text).matches_on_identity(), identity, "{text}");
        }
    }

    #[test]
    fn a_rule_is_found_by_its_place() {
        let list = rules("a:; b: user=x");
        assert_eq!(list.label(1), Some("b"));
        assert_eq!(list.label(2), None);
        assert_eq!(list.get(0).map(|rule| rule.label.as_str()), Some("a"));
        assert_eq!(list.iter().count(), 2);
    }

    fn word() -> impl Strategy<Value = String> {
        prop_oneof![
            "(user|name|lib)=[!#-&(-:<-~]{0,6}",
            "(user|name|lib)=[a-zé*?]{1,6}",
            "l?addr=[0-9]{1,3}\\.[0-9]{1,2}\\.0\\.1(/[0-9]{1,2})?",
            "l?addr=(unix|::1|fd00::/[0-9]{1,3})",
            "type=(normal|pubsub)",
            "(maxage|grace)=[0-9]{1,6}(ms|s|m|h|d)?",
            "jitter=[0-9]{1,2}",
        ]
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_reads_back_from_its_print(
            list in prop::collection::vec(("[a-z]{1,3}", prop::collection::vec(word(), 0..3)), 0..4)
        ) {
            let text: Vec<String> =
                list.iter().map(|(label, words)| format!("{label}: {}", words.join(" "))).collect();
            if let Ok(rules) = Rules::parse(text.join(";").as_bytes()) {
                prop_assert_eq!(Rules::parse(rules.to_string().as_bytes()), Ok(rules));
            }
        }

        #[test]
        fn any_bytes_are_a_list_or_one_line_of_error(bytes: Vec<u8>) {
            if let Err(error) = Rules::parse(&bytes) {
                prop_assert!(!error.to_string().chars().any(char::is_control));
            }
        }
    }
}
