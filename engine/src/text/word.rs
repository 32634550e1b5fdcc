//! Words that users write: how errors show them, and the readings that all parsers share.
//!
//! What an error shows is safe to put in a one-line reply or in the log: short, and without
//! control characters. No setting, option or filter is known here.

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;

/// The longest a shown word gets, in characters, before it is cut.
const SHOWN_CHARS: usize = 64;

/// Why a user's words are not taken: it names the word and says what is accepted. One line,
/// without the error code that replies begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(String);

impl Refusal {
    #[must_use]
    pub fn new(text: impl Into<String>) -> Refusal {
        Refusal(text.into())
    }

    /// The same refusal, said to be about `place`: `place: text`.
    #[must_use]
    pub fn of(self, place: &str) -> Refusal {
        Refusal(format!("{place}: {}", self.0))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for Refusal {}

/// `word` between single quotes, as an error names it: bytes that are not UTF-8 replaced,
/// control characters escaped, anything past 64 characters replaced by `...`.
#[must_use]
pub fn shown(word: &[u8]) -> String {
    // Only as many bytes as could still matter: a word may be megabytes long.
    let head = word.get(..SHOWN_CHARS * 4 + 4).unwrap_or(word);
    let text = String::from_utf8_lossy(head);
    let mut out = String::with_capacity(SHOWN_CHARS + 8);
    out.push('\'');
    for (chars, c) in text.chars().enumerate() {
        if chars == SHOWN_CHARS {
            out.push_str("...");
            break;
        }
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out.push('\'');
    out
}

/// The most bytes that are kept or told of a text that a client or an administrator chose: a name, a user, a
/// library, an address. The server takes up to 512 MB.
pub const MOST: usize = 256;
/// Follows a text that was cut.
const CUT: &[u8] = b"...";

/// A text in two parts, to be written one after the other: all of it and nothing, or its beginning and `...`
/// where it is longer than [`MOST`]. UTF-8 is cut between two characters.
#[must_use]
#[inline]
pub fn cut(text: &[u8]) -> [&[u8]; 2] {
    if text.len() <= MOST {
        return [text, b""];
    }
    cut_long(text)
}

fn cut_long(text: &[u8]) -> [&[u8]; 2] {
    let Some((head, rest)) = text.split_at_checked(MOST) else {
        return [text, b""];
    };
    let goes_on = |byte: &u8| byte & 0b1100_0000 == 0b1000_0000;
    let begun = if rest.first().is_some_and(goes_on) {
        // At most three bytes that go on, and the one that they follow.
        let tail = head.iter().rev().take_while(|byte| goes_on(byte)).count();
        if tail < 4 {
            tail + 1
        } else {
            0
        }
    } else {
        0
    };
    [head.get(..MOST - begun).unwrap_or(head), CUT]
}

/// As much of a text as counts where it is matched or told apart: what [`cut`] keeps of it. Whoever chose it must
/// not choose what that takes.
#[must_use]
pub fn head(text: &[u8]) -> &[u8] {
    let [head, _] = cut(text);
    head
}

/// Words as an error lists them: `a, b or c`.
#[must_use]
pub fn one_of(words: &[&str]) -> String {
    match words.split_last() {
        None => String::new(),
        Some((only, [])) => (*only).to_string(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}

/// A whole number as the server writes them: digits only, without leading zeros.
#[must_use]
pub fn whole(word: &[u8]) -> Option<u64> {
    let plain = match word {
        [b'0'] => true,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    // What comes to parse() is digits, so all that it can refuse is what does not fit.
    plain.then(|| core::str::from_utf8(word).ok()?.parse().ok())?
}

/// `yes` or `no`, in either case.
///
/// # Errors
/// Anything else.
pub fn yes_or_no(word: &[u8]) -> Result<bool, Refusal> {
    if word.eq_ignore_ascii_case(b"yes") {
        Ok(true)
    } else if word.eq_ignore_ascii_case(b"no") {
        Ok(false)
    } else {
        Err(Refusal(format!("{} is neither yes nor no", shown(word))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_word_is_short_and_without_control_characters() {
        let cases: &[(&[u8], &str)] = &[
            (b"", "''"),
            (b"5x", "'5x'"),
            (b"a\r\nb", "'a\\r\\nb'"),
            (b"\x1b[2J", "'\\u{1b}[2J'"),
            (b"\xff", "'\u{fffd}'"),
            ("é".as_bytes(), "'é'"),
        ];
        for (word, want) in cases {
            assert_eq!(&shown(word), want);
        }
        let exact = "x".repeat(64);
        assert_eq!(shown(exact.as_bytes()), format!("'{exact}'"));
        assert_eq!(shown("x".repeat(65).as_bytes()), format!("'{exact}...'"));
        let four_bytes = "\u{1f600}".repeat(1000);
        assert_eq!(
            shown(four_bytes.as_bytes()),
            format!("'{}...'", "\u{1f600}".repeat(64))
        );
    }

    #[test]
    fn a_text_is_whole_up_to_its_bound_and_cut_between_two_characters() {
        let cases: &[(&str, usize, &[u8])] = &[
            ("x", MOST, b""),
            ("x", MOST + 1, b"..."),
            ("\u{1f600}", MOST / 4, b""),
            ("\u{1f600}", MOST, b"..."),
            ("\u{20ac}", MOST, b"..."),
        ];
        for (text, times, mark) in cases {
            let text = text.repeat(*times);
            let [head, tail] = cut(text.as_bytes());
            assert_eq!(tail, *mark);
            let head = core::str::from_utf8(head).unwrap();
            assert!(head.len() > MOST - 4 && text.starts_with(head));
        }
        assert_eq!(cut(b""), [&b""[..], b""]);
        // What is no UTF-8 is cut anywhere.
        let [head, tail] = cut(&[0x80; MOST + 9]);
        assert_eq!((head.len(), tail), (MOST, &b"..."[..]));
    }

    #[test]
    fn words_are_listed_as_a_sentence_lists_them() {
        let cases: &[(&[&str], &str)] = &[
            (&[], ""),
            (&["a"], "a"),
            (&["a", "b"], "a or b"),
            (&["a", "b", "c"], "a, b or c"),
        ];
        for (words, want) in cases {
            assert_eq!(&one_of(words), want);
        }
    }

    #[test]
    fn a_whole_number_is_digits_without_leading_zeros() {
        let cases: &[(&[u8], Option<u64>)] = &[
            (b"0", Some(0)),
            (b"7", Some(7)),
            (b"120", Some(120)),
            (b"18446744073709551615", Some(u64::MAX)),
            (b"18446744073709551616", None),
            (b"", None),
            (b"00", None),
            (b"07", None),
            (b"+7", None),
            (b"-7", None),
            (b" 7", None),
            (b"7 ", None),
            (b"7x", None),
            (b"7\xff", None),
        ];
        for (word, want) in cases {
            assert_eq!(whole(word), *want, "{word:?}");
        }
    }

    #[test]
    fn yes_and_no_are_read_in_either_case_and_nothing_else_is() {
        assert_eq!(yes_or_no(b"YES"), Ok(true));
        assert_eq!(yes_or_no(b"no"), Ok(false));
        for word in ["", "y", "1", "true", "yes ", "on"] {
            let error = yes_or_no(word.as_bytes()).unwrap_err().to_string();
            assert_eq!(error, format!("'{word}' is neither yes nor no"));
        }
    }
}
