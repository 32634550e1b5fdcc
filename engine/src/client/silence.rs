//! Silence: for how long a client must have sent nothing to count as quiet, and whether it has.
//!
//! Judged at an instant, a pipeline that arrives in pieces looks quiet between two of them; cut there, libraries
//! that send a failed pipeline again as a whole run half of it twice. So who has just sent something is given a
//! moment for more. Must not know limits, nor what else is under way.

use crate::client::quiet::{Received, Seen};
use crate::text::time::Micros;

/// What a client takes from piece to piece, its round trips left out: 25 ms or so. The kernel tells of what came
/// by its ticks, of 10 ms at most, and a busy machine lets its clients wait for a processor.
const MOMENT_US: u64 = 40_000;
/// Nobody is farther away than this.
const LONGEST_ROUND_TRIP_US: u64 = 250_000;
/// Whom the server says to have been idle for so many seconds, of a clock that it reads now and then, has been
/// silent for one at least.
const IDLE_S: u64 = 2;

/// A grace that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grace {
    pub since: Micros,
    pub end: Micros,
}

impl Grace {
    /// From here on a client that never pauses has its input held back for a moment: that makes the silence.
    pub fn half(self) -> Micros {
        self.since.plus_micros(self.end.since(self.since) / 2)
    }

    /// For how long a client must have sent nothing: a moment and two round trips in the first half of its grace,
    /// in the third quarter ever less, and not at all in the last. One that cannot be held back needs more time to
    /// be found quiet at some instant: all that a quarter earlier.
    pub fn silence_us(self, now: Micros, round_trip_us: u64, can_be_held_back: bool) -> u64 {
        let whole = MOMENT_US + 2 * round_trip_us.min(LONGEST_ROUND_TRIP_US);
        let quarter = self.end.since(self.since) / 4;
        let last = if can_be_held_back { quarter } else { 2 * quarter };
        let left = self.end.since(now).saturating_sub(last).min(quarter);
        let share = u128::from(whole) * u128::from(left) / u128::from(quarter.max(1));
        u64::try_from(share).unwrap_or(whole)
    }
}

/// When a client was last heard, where the kernel does not tell: by the looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Bytes that the server had read from it, if it says.
    bytes: Option<u64>,
    /// The first look from which on nothing has shown that it sent more.
    since: Micros,
}

impl Heard {
    /// When it was last heard, as `seen` shows, and what to remember of that. `still`: nothing is under way.
    pub fn last(known: Option<Heard>, seen: &Seen, now: Micros, still: bool) -> (Micros, Option<Heard>) {
        if let Some(Received { last, .. }) = seen.received {
            return (last.min(now), None);
        }
        let bytes = seen.client.net_in;
        let since = match known {
            Some(heard) if still && heard.bytes == bytes => heard.since,
            None if still && seen.client.idle_s >= IDLE_S => Micros(0),
            _ => now,
        };
        (since, Some(Heard { bytes, since }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::info_line;

    #[test]
    fn silence_takes_two_round_trips_more_and_less_as_grace_runs_down() {
        let grace = Grace {
            since: Micros(1_000_000),
            end: Micros(2_000_000),
        };
        assert_eq!(grace.half(), Micros(1_500_000));
        for (at, round_trip, expected) in [
            (1_000_000, 0, 40_000),
            (1_000_000, 40_000, 120_000),
            (1_000_000, u64::MAX, 540_000),
            (1_500_000, 40_000, 120_000),
            (1_625_000, 40_000, 60_000),
            (1_750_000, 40_000, 0),
            (2_500_000, 40_000, 0),
        ] {
            let silence = |at, can| grace.silence_us(Micros(at), round_trip, can);
            assert_eq!(silence(at, true), expected, "{at} {round_trip}");
            assert_eq!(silence(at - 250_000, false), expected, "{at} {round_trip}");
        }
        let none = Grace {
            end: grace.since,
            ..grace
        };
        assert_eq!(none.silence_us(none.since, 9, true), 0);
        let endless = Grace {
            end: Micros::NEVER,
            ..grace
        };
        assert_eq!(endless.silence_us(grace.end, 0, true), MOMENT_US);
    }

    #[test]
    fn where_the_kernel_is_silent_two_looks_tell() {
        let line = |text: &'static str| Seen::with_idle_socket(info_line::parse(text.as_bytes()).unwrap());
        let (first, later) = (Micros(5_000_000), Micros(5_100_000));
        let by_kernel = Seen {
            received: Some(Received {
                bytes: 7,
                last: Micros(4),
                round_trip_us: 0,
            }),
            ..line("id=1")
        };
        assert_eq!(Heard::last(None, &by_kernel, first, true).0, Micros(4));
        for (before, after, still, expected) in [
            ("id=1 tot-net-in=9", "id=1 tot-net-in=9", true, first),
            ("id=1 tot-net-in=9", "id=1 tot-net-in=10", true, later),
            ("id=1 tot-net-in=9", "id=1 tot-net-in=9", false, later),
            // Where the server does not count either, what is under way at one of them.
            ("id=1", "id=1", true, first),
            ("id=1", "id=1", false, later),
            ("id=1 idle=2", "id=1 idle=2", true, Micros(0)),
        ] {
            let (_, known) = Heard::last(None, &line(before), first, true);
            let (last, _) = Heard::last(known, &line(after), later, still);
            assert_eq!(last, expected, "{before}, then {after}, {still}");
        }
        assert_eq!(Heard::last(None, &line("id=1 idle=1"), first, true).0, first);
        assert_eq!(Heard::last(None, &line("id=1 idle=9"), first, false).0, first);
    }
}
