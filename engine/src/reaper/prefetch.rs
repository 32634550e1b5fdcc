//! Prefetch: lines of connections whose turn comes soon, taken along when others were asked for, so that
//! not each of them has to be asked for alone.
//!
//! What matters of a quiet connection changes only when its client sends something. So a line is as good
//! as new for as long as the kernel has counted no byte more on its socket. Who is pushed messages
//! (subscribers, tracking clients) changes without sending: no line of theirs is kept. Must not know
//! limits, nor judge.

use crate::client::quiet::Seen;
use crate::client::{flag, Client, ClientId};
use crate::text::time::{Micros, Millis};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;

/// A line has to be used within this time.
const LIFE: Millis = Millis(1_000);
/// Whoever sent something so shortly before a look is left out: the kernel tells when that was by its
/// ticks, of 10 ms at most, and one of the server's I/O threads may have it, which had to wait for a
/// processor since.
const MARGIN: Millis = Millis(100);
/// Longer lines are not kept, in bytes.
const LONGEST: usize = 4_096;

/// What an earlier look has told of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// As [`info_line`](crate::client::info_line) reads it.
    pub text: Box<[u8]>,
    /// Bytes that had come in then.
    received: u64,
    until: Micros,
}

impl Line {
    /// Whether it still tells how things are, as `seen` of the same connection shows.
    pub fn holds(&self, seen: &Seen) -> bool {
        seen.received
            .is_some_and(|received| received.bytes == self.received)
            && seen.unread == Some(0)
            && seen.unacked == Some(0)
    }
}

/// All lines that are kept.
#[derive(Debug, Default)]
pub struct Prefetch {
    /// `None`: asked for in vain, and not to be asked for again before its turn.
    lines: BTreeMap<ClientId, Option<Line>>,
}

impl Prefetch {
    /// Keeps the line of one that was found quiet by a look that began at `began`; whether it will last.
    pub fn keep(&mut self, began: Micros, seen: &Seen) -> bool {
        let received = seen.received.filter(|_| lasts(began, seen));
        let line = received.map(|received| Line {
            text: seen.client.line.into(),
            received: received.bytes,
            until: began.plus(LIFE),
        });
        let lasts = line.is_some();
        self.lines.insert(seen.client.id, line);
        lasts
    }

    /// Was asked for, and is not quiet.
    pub fn keep_none(&mut self, id: ClientId) {
        self.lines.insert(id, None);
    }

    /// Whether [`take`](Self::take) would give a line.
    pub fn has(&self, now: Micros, id: ClientId) -> bool {
        let line = self.lines.get(&id).and_then(Option::as_ref);
        line.is_some_and(|line| now < line.until)
    }

    /// Whether it was asked for, with a line to keep or in vain.
    pub fn was_asked_for(&self, id: ClientId) -> bool {
        self.lines.contains_key(&id)
    }

    /// Its line, if there is one that is still to be used.
    pub fn take(&mut self, now: Micros, id: ClientId) -> Option<Line> {
        if self.has(now, id) {
            self.lines.remove(&id).flatten()
        } else {
            None
        }
    }

    /// It is looked at, or its turn does not come.
    pub fn forget(&mut self, id: ClientId) {
        self.lines.remove(&id);
    }

    pub fn clear(&mut self) {
        self.lines.clear();
    }

    pub fn len(&self) -> usize {
        self.lines.len()
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// About how much memory it holds, in bytes.
    pub fn memory(&self) -> usize {
        let texts: usize = self.lines.values().flatten().map(|line| line.text.len()).sum();
        texts + self.lines.len() * 2 * size_of::<(ClientId, Option<Line>)>()
    }
}

/// Whether the line of one that was found quiet by a look that began at `began` will tell how things are for a while.
pub(super) fn lasts(began: Micros, seen: &Seen) -> bool {
    let is_still = |last: Micros| last.plus(MARGIN) <= began;
    seen.received.is_some_and(|received| is_still(received.last))
        && seen.unread == Some(0)
        && seen.client.line.len() <= LONGEST
        && !is_pushed_to(&seen.client)
}

/// Whether the server sends it more than replies.
fn is_pushed_to(client: &Client) -> bool {
    client.has_flag(flag::PUBSUB)
        || client.has_flag(flag::TRACKING)
        || client.is_monitor()
        || client.is_server_link()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::info_line;
    use crate::client::quiet::Received;

    const BEGAN: Micros = Micros(5_000_000);

    fn seen(line: &str, bytes: u64, ago: u64) -> Seen<'_> {
        Seen {
            client: info_line::parse(line.as_bytes()).unwrap(),
            unread: Some(0),
            unacked: Some(0),
            received: Some(Received {
                bytes,
                last: BEGAN.minus(Millis(ago)),
                round_trip_us: 0,
            }),
            awaits_link: false,
        }
    }

    #[test]
    fn a_line_is_kept_only_where_nothing_came_of_late_and_nothing_is_pushed() {
        for (line, ago, kept) in [
            ("id=1 flags=N", 100, true),
            ("id=1 flags=N", 99, false),
            ("id=1 flags=P sub=1", 5_000, false),
            ("id=1 flags=t", 5_000, false),
            ("id=1 flags=O", 5_000, false),
            ("id=1 flags=S", 5_000, false),
        ] {
            let mut prefetch = Prefetch::default();
            assert_eq!(prefetch.keep(BEGAN, &seen(line, 7, ago)), kept, "{line} {ago}");
            assert_eq!(prefetch.has(BEGAN, ClientId(1)), kept);
            assert!(prefetch.was_asked_for(ClientId(1)));
            let taken = prefetch.take(BEGAN, ClientId(1));
            assert_eq!(taken.map(|line| line.text), kept.then(|| line.as_bytes().into()));
            // Asked for in vain is remembered.
            assert_eq!(prefetch.was_asked_for(ClientId(1)), !kept);
            prefetch.forget(ClientId(1));
            assert!(prefetch.is_empty());
        }
        let unix = Seen {
            received: None,
            ..seen("id=1 flags=U", 7, 500)
        };
        assert!(!Prefetch::default().keep(BEGAN, &unix));
        let long = format!("id=1 flags=N name={}", "x".repeat(LONGEST));
        assert!(!Prefetch::default().keep(BEGAN, &seen(&long, 7, 500)));
        let unread = Seen {
            unread: Some(3),
            ..seen("id=1 flags=N", 7, 500)
        };
        assert!(!Prefetch::default().keep(BEGAN, &unread));
    }

    #[test]
    fn a_line_holds_until_a_byte_comes_and_no_longer_than_its_life() {
        let mut prefetch = Prefetch::default();
        let first = seen("id=1 flags=N", 7, 500);
        prefetch.keep(BEGAN, &first);
        let line = prefetch.take(BEGAN.plus(Millis(999)), ClientId(1)).unwrap();
        assert!(line.holds(&first));
        assert!(!line.holds(&seen("id=1 flags=N", 8, 0)));
        let not = |change: fn(&mut Seen)| {
            let mut seen = first;
            change(&mut seen);
            !line.holds(&seen)
        };
        assert!(not(|seen| seen.received = None));
        assert!(not(|seen| seen.unread = Some(1)));
        assert!(not(|seen| seen.unread = None));
        assert!(not(|seen| seen.unacked = Some(1)));
        assert!(not(|seen| seen.unacked = None));
        prefetch.keep(BEGAN, &first);
        assert!(!prefetch.has(BEGAN.plus(LIFE), ClientId(1)));
        assert_eq!(prefetch.take(BEGAN.plus(LIFE), ClientId(1)), None);
        assert!(prefetch.was_asked_for(ClientId(1)));
    }
}
