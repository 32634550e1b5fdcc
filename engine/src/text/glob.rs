//! Patterns of text as the server matches them in KEYS and PSUBSCRIBE: `*`, `?`, `[abc]`,
//! `[a-z]`, `[^a]` and `\x`, bytes and case as they are.
//!
//! It follows the server in its oddities too, so that a pattern means the same here as
//! everywhere else there. It must not take longer than the product of both lengths, since
//! clients choose the text.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

/// A pattern, kept with the text that it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    text: String,
    tokens: Vec<Token>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// `*`: any bytes, also none.
    Any,
    One(Class),
}

/// What one byte may be.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Class {
    Every,
    Only(u8),
    /// `[…]`: in any of these ranges, both ends included; or in none of them.
    Set {
        negated: bool,
        ranges: Vec<(u8, u8)>,
    },
}

impl Class {
    fn has(&self, byte: u8) -> bool {
        match self {
            Class::Every => true,
            Class::Only(only) => *only == byte,
            Class::Set { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&byte)) != *negated
            }
        }
    }
}

impl Glob {
    /// Reads a pattern; every text is one.
    #[must_use]
    pub fn new(text: &str) -> Glob {
        let mut tokens = Vec::new();
        let mut rest = text.as_bytes();
        while let Some((first, mut after)) = rest.split_first() {
            match (first, after) {
                (b'*', _) => {
                    if tokens.last() != Some(&Token::Any) {
                        tokens.push(Token::Any);
                    }
                }
                (b'?', _) => tokens.push(Token::One(Class::Every)),
                (b'[', _) => {
                    let (set, end) = set(after);
                    tokens.push(Token::One(set));
                    after = end;
                }
                (b'\\', [escaped, end @ ..]) => {
                    tokens.push(Token::One(Class::Only(*escaped)));
                    after = end;
                }
                // Also a '\' that ends the pattern: it stands for itself.
                (byte, _) => tokens.push(Token::One(Class::Only(*byte))),
            }
            rest = after;
        }
        Glob {
            text: text.to_string(),
            tokens,
        }
    }

    /// Whether the whole of `text` matches. An empty text matches only the empty pattern,
    /// not `*`: so the server has it.
    #[must_use]
    pub fn matches(&self, text: &[u8]) -> bool {
        if text.is_empty() {
            return self.tokens.is_empty();
        }
        let mut text = text;
        let mut tokens = self.tokens.as_slice();
        // Where to go on after the last '*', should the rest not match: earlier ones need no
        // second try, as whatever they could take more of, the last one can take too.
        let mut again: Option<(&[Token], &[u8])> = None;
        loop {
            match (tokens, text) {
                ([], []) => return true,
                ([Token::Any, after @ ..], _) => {
                    tokens = after;
                    again = Some((after, text));
                    continue;
                }
                ([Token::One(class), after @ ..], [byte, end @ ..]) if class.has(*byte) => {
                    (tokens, text) = (after, end);
                    continue;
                }
                _ => {}
            }
            match again {
                Some((after_any, [_, later @ ..])) => {
                    (tokens, text) = (after_any, later);
                    again = Some((after_any, later));
                }
                _ => return false,
            }
        }
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Reads what follows a `[`, up to and with its `]`; answers the set and what comes after.
/// A set that does not end goes to the end of the pattern.
fn set(text: &[u8]) -> (Class, &[u8]) {
    let (negated, mut rest) = match text {
        [b'^', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    let mut ranges = Vec::new();
    loop {
        rest = match rest {
            [] => break,
            [b'\\', byte, after @ ..] => {
                ranges.push((*byte, *byte));
                after
            }
            [b']', after @ ..] => {
                rest = after;
                break;
            }
            // A range's end is taken as it is, even a ']' or a '\'.
            [a, b'-', b, after @ ..] => {
                ranges.push((*a.min(b), *a.max(b)));
                after
            }
            [byte, after @ ..] => {
                ranges.push((*byte, *byte));
                after
            }
        };
    }
    (Class::Set { negated, ranges }, rest)
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Verdicts of Valkey 9.1 (KEYS), on which the older servers agree.
    #[test]
    fn patterns_match_what_they_match_on_the_server() {
        let cases: &[(&str, &[&str], &[&str])] = &[
            ("", &[""], &["a"]),
            ("abc", &["abc"], &["ab", "abcd", "ABC", ""]),
            ("a*", &["a", "ab", "abc"], &["", "ba"]),
            ("*a", &["a", "ba", "aa"], &["", "ab"]),
            ("a**b", &["ab", "axb"], &["a", "b"]),
            ("*a*b*", &["ab", "xaxbx", "aab"], &["ba", "a"]),
            ("a*b*c", &["abc", "abbcbc", "a*b*c"], &["abcb", "ac"]),
            ("?", &["a", "?", "*"], &["", "ab"]),
            ("a?c", &["abc", "a?c"], &["ac", "abbc"]),
            ("[abc]", &["a", "b", "c"], &["d", "", "ab"]),
            ("[a-c]x", &["ax", "bx", "cx"], &["dx", "-x"]),
            ("[c-a]x", &["ax", "bx", "cx"], &["dx", "-x"]),
            ("[^a]", &["b", "^", "]"], &["a", ""]),
            ("[a^]", &["a", "^"], &["b"]),
            ("[\\^a]", &["^", "a"], &["\\", "b"]),
            ("[\\]]", &["]"], &["\\"]),
            ("[]", &[], &["", "]", "["]),
            ("[]a]", &[], &["]", "a", "a]"]),
            ("[^]a]", &["xa]"], &["a]", "x"]),
            // The end of a range is taken as it is, so these sets end with the pattern.
            ("[a-]", &["]", "^", "a"], &["-", "b"]),
            ("[a-]b", &["]", "a", "b"], &["ab", "-"]),
            ("[ab", &["a", "b"], &["[ab", "ab", "["]),
            ("[^ab", &["c", "["], &["a", "b", "cc"]),
            ("[a-", &["a", "-"], &["b", "[a-"]),
            ("[", &[], &["[", "", "a"]),
            ("[^", &["a", "["], &["", "[^"]),
            ("[\\", &["\\"], &["[", "a"]),
            ("\\*", &["*"], &["\\*", "a"]),
            ("\\a", &["a"], &["\\a"]),
            ("\\\\", &["\\"], &["\\\\"]),
            ("\\", &["\\"], &["", "a"]),
            ("a]", &["a]"], &["a"]),
        ];
        for (pattern, yes, no) in cases {
            let glob = Glob::new(pattern);
            for text in *yes {
                assert!(glob.matches(text.as_bytes()), "{pattern} has {text}");
            }
            for text in *no {
                assert!(!glob.matches(text.as_bytes()), "{pattern} has not {text}");
            }
        }
    }

    #[test]
    fn an_empty_text_matches_the_empty_pattern_alone() {
        assert!(Glob::new("").matches(b""));
        for pattern in ["*", "**", "?", "[^a]", "[^"] {
            assert!(!Glob::new(pattern).matches(b""), "{pattern}");
        }
    }

    #[test]
    fn bytes_count_not_characters() {
        assert!(Glob::new("??").matches("é".as_bytes()));
        assert!(Glob::new("é*").matches("été".as_bytes()));
        assert!(Glob::new("a*").matches(b"a\xff\x00"));
    }

    #[test]
    fn a_hostile_text_takes_no_longer_than_the_product_of_both_lengths() {
        // Each '*' tried anew for each that came before would take longer than the universe.
        let glob = Glob::new(&("a*".repeat(500) + "b"));
        assert!(!glob.matches(&[b'a'; 10_000]));
    }

    /// The plainest possible reading of the tokens.
    fn naive(tokens: &[Token], text: &[u8]) -> bool {
        match (tokens, text) {
            ([], _) => text.is_empty(),
            ([Token::Any, after @ ..], _) => (0..=text.len()).any(|skipped| naive(after, &text[skipped..])),
            ([Token::One(class), after @ ..], [byte, rest @ ..]) => class.has(*byte) && naive(after, rest),
            ([Token::One(_), ..], []) => false,
        }
    }

    proptest! {
        #[test]
        fn one_step_back_finds_what_all_steps_back_find(
            pattern in "[ab*?\\[\\]^\\\\-]{0,8}",
            text in "[ab]{1,8}",
        ) {
            let glob = Glob::new(&pattern);
            prop_assert_eq!(glob.matches(text.as_bytes()), naive(&glob.tokens, text.as_bytes()));
        }

        #[test]
        fn any_pattern_takes_any_bytes(pattern: String, text: Vec<u8>) {
            let glob = Glob::new(&pattern);
            let _ = glob.matches(&text);
            prop_assert_eq!(glob.to_string(), pattern);
        }
    }
}
