//! Linger: which numbers duplicates of closed connections' sockets get, how many there may be, and how long each
//! is kept.
//!
//! Knows numbers and moments, and neither sockets nor the server.

use crate::text::time::{Micros, Millis};

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

/// First look after the end of stream was sent; most clients have closed by then.
const FIRST_LOOK: Millis = Millis(20);
const LONGEST_WAIT: Millis = Millis(500);
/// A client whose kernel has all gets this long to notice and close, so that what it sends meanwhile meets
/// no reset; on a busy machine it may have to wait for a processor first.
const MOMENT: Millis = Millis(1_000);
/// One that goes on sending for longer than this, and a round trip, after its kernel has all does not read: what it
/// sends is to fail, and not to vanish.
const READS_WITHIN: Millis = Millis(30);
/// As long as something has not been delivered.
const LONGEST: Millis = Millis(30_000);

/// How long one lingers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stay {
    since: Micros,
    /// When the end of stream was sent.
    end_sent: Option<Micros>,
    /// Its kernel has all: by then whoever reads has noticed.
    reads_by: Option<Micros>,
    looked_at: Micros,
}

/// What its socket tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// It has closed as well, or the connection has failed.
    pub is_over: bool,
    /// Its kernel has all, the end of stream too.
    pub has_all: bool,
    /// As far as its kernel tells (over unix sockets), so has it.
    pub has_read: bool,
    /// Something came in since the last look; `None` where that can't be seen, or it is known to go on sending.
    pub sends: Option<bool>,
    pub round_trip_us: u64,
}

impl Stay {
    #[must_use]
    pub fn new(now: Micros) -> Self {
        Stay {
            since: now,
            end_sent: None,
            reads_by: None,
            looked_at: now,
        }
    }

    /// The end of stream was sent. Answers with the moment of the next look.
    pub fn end_sent(&mut self, now: Micros) -> Micros {
        self.end_sent = Some(now);
        now.plus(FIRST_LOOK)
    }

    pub(super) fn has_sent_end(&self) -> bool {
        self.end_sent.is_some()
    }

    /// When to look again; `None`: let go.
    pub fn next_look(&mut self, now: Micros, peer: &Peer) -> Option<Micros> {
        let last = core::mem::replace(&mut self.looked_at, now);
        if peer.is_over || now >= self.since.plus(LONGEST) {
            return None;
        }
        let Some(end_sent) = self.end_sent else {
            return Some(now.plus(Millis(1)));
        };
        let again = |since: Micros| {
            let waited = Millis(now.since(since) / 1_000);
            now.plus(waited.clamp(FIRST_LOOK, LONGEST_WAIT))
        };
        if !peer.has_all {
            return Some(again(end_sent));
        }
        let reads_by = now.plus(READS_WITHIN).plus_micros(peer.round_trip_us);
        let reads_by = *self.reads_by.get_or_insert(reads_by);
        let does_not_read = match peer.sends {
            Some(sends) => sends && last >= reads_by,
            None => now >= reads_by,
        };
        if does_not_read || peer.has_read && now >= end_sent.plus(MOMENT) {
            return None;
        }
        Some(if now < reads_by { reads_by } else { again(reads_by) })
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

    #[test]
    fn one_is_kept_until_its_client_has_all_and_has_had_a_moment_to_notice() {
        let quiet = Peer {
            is_over: false,
            has_all: true,
            has_read: true,
            sends: Some(false),
            round_trip_us: 0,
        };
        let sends = Peer {
            sends: Some(true),
            ..quiet
        };
        let unheard = Peer { sends: None, ..quiet };
        let far = Peer {
            round_trip_us: 200_000,
            ..sends
        };
        let reading = Peer {
            has_all: false,
            has_read: false,
            ..sends
        };
        let later = Peer {
            has_read: false,
            ..quiet
        };
        let never = Peer {
            has_read: false,
            ..sends
        };
        let over = Peer {
            is_over: true,
            ..reading
        };
        // In ms since the end of stream was sent: each look, what it shows, and when the next one is (0: let go).
        type Look = (u64, Peer, u64);
        let cases: [(&str, &[Look]); 9] = [
            ("has closed", &[(20, over, 0)]),
            (
                "reads slowly, and sends",
                &[
                    (20, reading, 40),
                    (40, reading, 80),
                    (900, reading, 1_400),
                    (29_999, reading, 30_499),
                    (30_000, reading, 0),
                ],
            ),
            (
                "has read at last",
                &[(20, reading, 40), (4_000, reading, 4_500), (4_500, quiet, 0)],
            ),
            (
                "notices within the moment",
                &[(20, sends, 50), (50, sends, 70), (50, quiet, 70), (90, over, 0)],
            ),
            (
                "sends nothing",
                &[
                    (20, quiet, 50),
                    (50, quiet, 70),
                    (500, quiet, 950),
                    (1_000, quiet, 0),
                ],
            ),
            ("sends on", &[(20, sends, 50), (50, sends, 70), (70, sends, 0)]),
            (
                "has not read, and may yet",
                &[(20, later, 50), (1_050, later, 1_550), (1_550, quiet, 0)],
            ),
            (
                "never reads",
                &[(20, never, 50), (50, later, 70), (500, never, 0)],
            ),
            ("is not heard", &[(20, unheard, 50), (50, unheard, 0)]),
        ];
        for (title, looks) in cases {
            let mut stay = Stay::new(Micros(0));
            assert_eq!(stay.end_sent(Micros(0)), Micros(20_000));
            for (at, peer, next) in looks {
                let expected = (*next > 0).then_some(Micros(next * 1_000));
                assert_eq!(
                    stay.next_look(Micros(at * 1_000), peer),
                    expected,
                    "{title}: {at}"
                );
            }
        }
        // From afar it takes longer to notice.
        let mut stay = Stay::new(Micros(0));
        stay.end_sent(Micros(0));
        assert_eq!(stay.next_look(Micros(20_000), &far), Some(Micros(250_000)));
        // TLS: the server has to say goodbye first.
        let mut stay = Stay::new(Micros(0));
        assert_eq!(stay.next_look(Micros(0), &sends), Some(Micros(1_000)));
        assert_eq!(stay.next_look(Micros(30_000_000), &sends), None);
    }
}
