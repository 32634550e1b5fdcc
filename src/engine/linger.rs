//! Linger: which numbers duplicates of closed connections' sockets get, and how many there may be.
//!
//! Knows numbers and moments, and neither sockets nor the server.

use super::time::{Micros, Millis};

/// So many may always linger where the hard limit of descriptors allows it.
pub const WANTED: u64 = 1_024;
const MOST: usize = 16_384;
/// What the server may open beyond its clients: `CONFIG_FDSET_INCR` in its server.h.
const SERVER_EXTRA: u64 = 128;
/// What it keeps for itself when it raises its limit to what its clients take: `CONFIG_MIN_RESERVED_FDS`.
const RESERVED: u64 = 32;

/// What a server that does not tell its `maxclients` takes at most: it has made its limit of descriptors large
/// enough for them.
#[must_use]
pub fn most_clients(limit: u64) -> u64 {
    limit.saturating_sub(RESERVED)
}

/// Numbers for duplicates, above all that the server can use for its clients, however many of these connect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    pub lowest: i32,
    pub most: usize,
}

impl Room {
    /// The limit of descriptors that leaves as much as is wanted.
    #[must_use]
    pub fn needed(max_clients: u64) -> u64 {
        let numbers = max_clients.saturating_add(SERVER_EXTRA).saturating_add(WANTED);
        numbers.saturating_add(numbers / 19).saturating_add(64)
    }

    /// What `limit` leaves: nothing, where too few would be free for others.
    #[must_use]
    pub fn within(limit: u64, max_clients: u64) -> Room {
        let lowest = max_clients.saturating_add(SERVER_EXTRA);
        let spare = (limit / 20).max(64);
        let most = limit.saturating_sub(lowest).saturating_sub(spare);
        Room {
            lowest: i32::try_from(lowest).unwrap_or(i32::MAX),
            most: usize::try_from(most).unwrap_or(MOST).min(MOST),
        }
    }
}

/// Between two warnings.
const BETWEEN: Millis = Millis(60_000);

/// When to warn that no more can linger: each time that it comes about, but not without end.
#[derive(Debug)]
pub struct Warning {
    had_room: bool,
    next: Micros,
}

impl Default for Warning {
    fn default() -> Self {
        Warning {
            had_room: true,
            next: Micros(0),
        }
    }
}

impl Warning {
    /// `full`: no more can linger, or could not since the last call.
    pub fn is_due(&mut self, now: Micros, full: bool) -> bool {
        self.had_room |= !full;
        let due = full && self.had_room && now >= self.next;
        if due {
            self.had_room = false;
            self.next = now.plus(BETWEEN);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_room_ends_is_told_each_time_but_once_a_minute_at_most() {
        let mut warning = Warning::default();
        for (at_s, full, expected) in [
            (0, false, false),
            (1, true, true),
            (2, true, false),
            (900, true, false),
            (901, false, false),
            (902, true, true),
            (903, false, false),
            (904, true, false),
            (961, true, false),
            (962, true, true),
            (990, false, false),
            (2_000, true, true),
        ] {
            assert_eq!(
                warning.is_due(Micros(at_s * 1_000_000), full),
                expected,
                "{at_s} s"
            );
        }
    }

    #[test]
    fn numbers_lie_above_the_servers_own_and_leave_some_free() {
        for (limit, max_clients, lowest, most) in [
            (10_032, 10_000, 10_128, 0),
            (10_192, 10_000, 10_128, 0),
            (11_803, 10_000, 10_128, 1_085),
            (65_536, 10_000, 10_128, 16_384),
            (1_100, 1_000, 1_128, 0),
            (1_300, 1_000, 1_128, 107),
            (0, 0, 128, 0),
            (u64::MAX, 0, 128, 16_384),
            (u64::MAX, u64::MAX, i32::MAX, 0),
        ] {
            let expected = Room { lowest, most };
            assert_eq!(
                Room::within(limit, max_clients),
                expected,
                "{limit} {max_clients}"
            );
        }
    }

    #[test]
    fn what_is_needed_is_enough() {
        for max_clients in [0, 1, 1_000, 10_000, 65_000, 1_000_000] {
            let room = Room::within(Room::needed(max_clients), max_clients);
            assert!(room.most as u64 >= WANTED, "{max_clients} {room:?}");
        }
        assert_eq!(Room::needed(u64::MAX), u64::MAX);
    }

    #[test]
    fn a_server_that_does_not_tell_takes_no_more_than_its_limit_says() {
        assert_eq!([10_032, 65_536, 0].map(most_clients), [10_000, 65_504, 0]);
    }
}
