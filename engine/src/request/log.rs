//! CONNAGE.LOG: how many entries it is asked for.

use crate::request::Wrong;
use crate::text::word::{self, Refusal};
use alloc::format;

/// As SLOWLOG GET.
const DEFAULT_COUNT: u64 = 10;

/// CONNAGE.LOG GET: how many entries, by the words after the subcommand's name.
///
/// # Errors
/// Anything but one whole number, -1 for all, or nothing.
pub fn parse_get(words: &[&[u8]]) -> Result<u64, Wrong> {
    match words {
        [] => Ok(DEFAULT_COUNT),
        [b"-1"] => Ok(u64::MAX),
        [word] => word::whole(word).ok_or_else(|| {
            Wrong::Refused(Refusal::new(format!(
                "{} is not a count: give a whole number, or -1 for all",
                word::shown(word)
            )))
        }),
        _ => Err(Wrong::Arity),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_a_whole_number_or_all() {
        let refused = |word: &str| {
            let text = format!("{word} is not a count: give a whole number, or -1 for all");
            Err(Wrong::Refused(Refusal::new(text)))
        };
        let cases = [
            ("", Ok(10)),
            ("0", Ok(0)),
            ("25", Ok(25)),
            ("-1", Ok(u64::MAX)),
            ("-2", refused("'-2'")),
            ("x\n", refused("'x\\n'")),
            ("1 2", Err(Wrong::Arity)),
        ];
        for (text, want) in cases {
            let words: Vec<&[u8]> = text.split_terminator(' ').map(str::as_bytes).collect();
            assert_eq!(parse_get(&words), want, "{text}");
        }
    }
}
