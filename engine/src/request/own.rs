//! CONNAGE.SELF: the limit that a connection gives itself.

use crate::text::time::Millis;
use crate::text::word::{self, Refusal};
use alloc::format;

/// The limit of its own that the connection asks for, 0 to take it back; `None`: it only asks what holds.
///
/// # Errors
/// Anything but `MAXAGE` and a duration.
pub fn parse_self(words: &[&[u8]]) -> Result<Option<Millis>, Refusal> {
    match words {
        [] => Ok(None),
        [word, value @ ..] if word.eq_ignore_ascii_case(b"MAXAGE") => match value {
            [value] => Millis::parse(value).map(Some).map_err(|e| e.of("MAXAGE")),
            [] => Err(Refusal::new(
                "MAXAGE needs a value: a duration, or 0 to take it back",
            )),
            [_, extra, ..] => Err(Refusal::new(format!(
                "{} is too much: MAXAGE and its value are all that is accepted",
                word::shown(extra)
            ))),
        },
        [word, ..] => Err(Refusal::new(format!(
            "{} is not accepted: only MAXAGE is",
            word::shown(word)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_asks_or_gives_itself_a_limit() {
        let duration = "is not a duration: give whole milliseconds, or a whole number with \
                        ms, s, m, h or d (300000 = 300s = 5m)";
        let cases = [
            ("", Ok(None)),
            ("MAXAGE 5s", Ok(Some(Millis(5_000)))),
            ("maxage 0", Ok(Some(Millis(0)))),
            ("MAXAGE x", Err(format!("MAXAGE: 'x' {duration}"))),
            (
                "MAXAGE",
                Err("MAXAGE needs a value: a duration, or 0 to take it back".to_string()),
            ),
            (
                "MAXAGE 5 6",
                Err("'6' is too much: MAXAGE and its value are all that is accepted".to_string()),
            ),
            (
                "GRACE 5",
                Err("'GRACE' is not accepted: only MAXAGE is".to_string()),
            ),
        ];
        for (text, want) in cases {
            let words: Vec<&[u8]> = text.split_terminator(' ').map(str::as_bytes).collect();
            assert_eq!(parse_self(&words).map_err(|e| e.to_string()), want, "{text}");
        }
    }
}
