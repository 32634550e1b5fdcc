//! Time as the engine knows it: durations as users write them, and moments that the
//! caller hands in.
//!
//! It must not ask any clock what time it is.

use alloc::format;
use core::fmt;

use crate::text::word::{self, Refusal};

/// A duration in milliseconds, as users give it in settings, rules and commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl Millis {
    /// The longest duration that is accepted: what a signed 64-bit integer can hold,
    /// since replies and INFO carry durations as such.
    pub const MAX: Millis = Millis(i64::MAX.unsigned_abs());

    /// Reads a whole number, of milliseconds or of what its suffix says: `ms`, `s`, `m`,
    /// `h` or `d`, in either case.
    ///
    /// # Errors
    /// Anything else (empty, a sign, a fraction, a blank, another suffix), and what is
    /// longer than [`Millis::MAX`].
    pub fn parse(text: &[u8]) -> Result<Millis, Refusal> {
        let no_duration = || {
            Refusal::new(format!(
                "{} is not a duration: give whole milliseconds, or a whole number with ms, s, m, h or d \
                 (300000 = 300s = 5m)",
                word::shown(text)
            ))
        };
        let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
        let (number, suffix) = text.split_at_checked(digits).unwrap_or((text, b""));
        if number.is_empty() {
            return Err(no_duration());
        }
        let unit = unit_ms(suffix).ok_or_else(no_duration)?;
        let ms = number
            .iter()
            .try_fold(0u64, |n, b| n.checked_mul(10)?.checked_add(u64::from(b - b'0')))
            .and_then(|n| n.checked_mul(unit))
            .filter(|ms| *ms <= Millis::MAX.0)
            .ok_or_else(|| {
                Refusal::new(format!(
                    "{} is too long a duration: give at most {} milliseconds",
                    word::shown(text),
                    Millis::MAX
                ))
            })?;
        Ok(Millis(ms))
    }
}

/// How many milliseconds a suffix stands for.
fn unit_ms(suffix: &[u8]) -> Option<u64> {
    const UNITS: [(&[u8], u64); 6] = [
        (b"", 1),
        (b"ms", 1),
        (b"s", 1_000),
        (b"m", 60_000),
        (b"h", 3_600_000),
        (b"d", 86_400_000),
    ];
    UNITS
        .iter()
        .find(|(name, _)| suffix.eq_ignore_ascii_case(name))
        .map(|(_, ms)| *ms)
}

impl fmt::Display for Millis {
    /// Plain milliseconds, without a suffix.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A moment on a monotonic clock, in microseconds since an arbitrary origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Micros(pub u64);

impl Micros {
    /// Later than any moment that comes.
    pub const NEVER: Micros = Micros(u64::MAX);

    /// The moment that is `d` milliseconds later; [`Micros::NEVER`] if there is none.
    #[must_use]
    pub fn plus(self, d: Millis) -> Micros {
        self.plus_micros(d.0.saturating_mul(1_000))
    }

    /// The moment that is `us` microseconds later; [`Micros::NEVER`] if there is none.
    #[must_use]
    pub fn plus_micros(self, us: u64) -> Micros {
        Micros(self.0.saturating_add(us))
    }

    /// The moment that is `d` milliseconds earlier; the origin if there is none.
    #[must_use]
    pub fn minus(self, d: Millis) -> Micros {
        Micros(self.0.saturating_sub(d.0.saturating_mul(1_000)))
    }

    /// Microseconds from `earlier` to this moment; 0 if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Micros) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// When a process began, in ticks after the boot, by what /proc/PID/stat says of it.
#[must_use]
pub fn start_ticks(stat: &[u8]) -> Option<u64> {
    // The name, in parentheses, may hold anything.
    let end_of_name = stat.iter().rposition(|byte| *byte == b')')?;
    let fields = core::str::from_utf8(stat.get(end_of_name + 1..)?).ok()?;
    // The 22nd of all, and the state after the name is the third.
    fields.split_ascii_whitespace().nth(22 - 3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_start_of_a_process_is_found_whatever_its_name() {
        let stat =
            "42 (a) b (c) S 1 42 42 0 -1 4194560 5 0 0 0 1 2 0 0 20 0 7 0 3085401 12 9 18446744073709551615";
        assert_eq!(start_ticks(stat.as_bytes()), Some(3_085_401));
        for bad in [
            "",
            "42 (a",
            "42 (a) S 1 2",
            "42 (a) S 1 42 42 0 -1 0 5 0 0 0 1 2 0 0 20 0 7 0 x",
        ] {
            assert_eq!(start_ticks(bad.as_bytes()), None, "{bad}");
        }
    }

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_duration_is_a_whole_number_with_or_without_a_unit() {
        let cases: &[(&str, u64)] = &[
            ("0", 0),
            ("1", 1),
            ("007", 7),
            ("300000", 300_000),
            ("300s", 300_000),
            ("5m", 300_000),
            ("5M", 300_000),
            ("250ms", 250),
            ("250MS", 250),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
            ("0d", 0),
            ("9223372036854775807", i64::MAX as u64),
            ("9223372036854775s", 9_223_372_036_854_775_000),
        ];
        for (text, want) in cases {
            assert_eq!(Millis::parse(text.as_bytes()), Ok(Millis(*want)), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_duration_is_refused() {
        let cases: &[&[u8]] = &[
            b"", b"-1", b"+1", b"1.5s", b"1,5s", b" 1", b"1 ", b"1 s", b"5x", b"5sec", b"5mm", b"s", b"ms",
            b"0x10", b"1e3", b"5w", b"5\xff", b"5\0", b"1s2",
        ];
        for text in cases {
            let error = Millis::parse(text).unwrap_err();
            assert!(error.to_string().contains("is not a duration"), "{error}");
        }
    }

    #[test]
    fn what_does_not_fit_a_signed_integer_of_milliseconds_is_refused() {
        let cases = [
            "9223372036854775808",
            "18446744073709551616",
            "99999999999999999999999999",
            "9223372036854776s",
            "106751991168d",
        ];
        for text in cases {
            let error = Millis::parse(text.as_bytes()).unwrap_err();
            assert!(error.to_string().contains("too long"), "{error}");
        }
    }

    #[test]
    fn the_error_names_the_word_and_says_what_is_accepted() {
        assert_eq!(
            Millis::parse(b"5x").unwrap_err().to_string(),
            "'5x' is not a duration: give whole milliseconds, or a whole number with \
             ms, s, m, h or d (300000 = 300s = 5m)"
        );
        assert_eq!(
            Millis::parse(b"9223372036854775808").unwrap_err().to_string(),
            "'9223372036854775808' is too long a duration: give at most \
             9223372036854775807 milliseconds"
        );
    }

    #[test]
    fn moments_stop_at_both_ends_of_the_clock() {
        assert_eq!(Micros(5).plus(Millis(2)), Micros(2_005));
        assert_eq!(Micros(5).plus(Millis::MAX), Micros::NEVER);
        assert_eq!(Micros::NEVER.plus_micros(1), Micros::NEVER);
        assert_eq!(Micros(2_005).minus(Millis(2)), Micros(5));
        assert_eq!(Micros(5).minus(Millis(1)), Micros(0));
        assert_eq!(Micros(9).since(Micros(4)), 5);
        assert_eq!(Micros(4).since(Micros(9)), 0);
    }

    proptest! {
        #[test]
        fn a_printed_duration_reads_back(ms in 0..=Millis::MAX.0) {
            prop_assert_eq!(Millis::parse(Millis(ms).to_string().as_bytes()), Ok(Millis(ms)));
        }

        #[test]
        fn any_bytes_are_a_duration_or_an_error(bytes: Vec<u8>) {
            if let Err(error) = Millis::parse(&bytes) {
                prop_assert!(!error.to_string().chars().any(char::is_control));
            }
        }
    }
}
