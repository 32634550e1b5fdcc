//! Kept: what looks have told of connections that asked about themselves (CONNAGE.SELF), for when they ask again.
//!
//! Anybody may ask, as often as it likes, and on some servers a look walks all clients: so looks for this
//! take a hundredth of a processor at most, and whoever comes in between is answered with what is kept of it.
//! Must not know limits, nor look.

use crate::client::{flag, Client, ClientId};
use crate::text::time::Micros;
use crate::text::word;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// A look's price is paid off in so many times as long.
const SHARE: u64 = 100;
/// A connection of which nothing is known yet is looked at while no more than this is left to pay off: 4 ms
/// of looks, so that those that come together need not all wait.
const FIRST_US: u64 = 400_000;
/// One that asks again, no more than this.
const AGAIN_US: u64 = 50_000;
/// Connections that something is kept of.
const MOST: usize = 16_384;
/// To print a line that is longer than this, in bytes, is expensive, whatever the server: once is enough.
const LONG: usize = 4_096;

/// What of a connection's line the server tells in no other way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    pub addr: Box<[u8]>,
    pub laddr: Box<[u8]>,
    pub flags: Box<[u8]>,
    pub lib_name: Box<[u8]>,
    is_long: bool,
}

impl Line {
    fn of(client: &Client) -> Line {
        let kept = |text| word::cut(text).concat().into_boxed_slice();
        Line {
            addr: kept(client.addr),
            laddr: kept(client.laddr),
            flags: kept(client.flags),
            lib_name: kept(client.lib_name),
            is_long: client.line.len() > LONG,
        }
    }

    fn memory(&self) -> usize {
        self.addr.len() + self.laddr.len() + self.flags.len() + self.lib_name.len()
    }
}

/// All that is kept, and what its looks have cost.
#[derive(Debug, Default)]
pub struct Kept {
    lines: BTreeMap<ClientId, Line>,
    texts: usize,
    paid_until: Micros,
}

impl Kept {
    /// Whether a look at `id`, which calls itself `name`, may be had.
    #[must_use]
    pub fn may_look(&self, now: Micros, id: ClientId, name: &[u8]) -> bool {
        let most = match self.lines.get(&id) {
            _ if name.len() > LONG => return false,
            Some(line) if line.is_long => return false,
            Some(_) => AGAIN_US,
            None => FIRST_US,
        };
        self.paid_until <= now.plus_micros(most)
    }

    /// A look took so long.
    pub fn spend(&mut self, now: Micros, us: u64) {
        let owed = us.max(1).saturating_mul(SHARE);
        self.paid_until = self.paid_until.max(now).plus_micros(owed);
    }

    /// What it has told.
    pub fn keep(&mut self, client: &Client) {
        self.forget(client.id);
        if self.lines.len() >= MOST {
            // The oldest connection: any will do.
            let first = self.lines.first_key_value().map(|(id, _)| *id);
            first.into_iter().for_each(|id| self.forget(id));
        }
        let line = Line::of(client);
        self.texts += line.memory();
        self.lines.insert(client.id, line);
    }

    #[must_use]
    pub fn get(&self, id: ClientId) -> Option<&Line> {
        self.lines.get(&id)
    }

    /// The connection is gone.
    pub fn forget(&mut self, id: ClientId) {
        if self.lines.is_empty() {
            return;
        }
        if let Some(line) = self.lines.remove(&id) {
            self.texts -= line.memory();
        }
    }

    /// About how much memory it holds, in bytes.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.texts + self.lines.len() * 2 * size_of::<(ClientId, Line)>()
    }
}

/// Flags as CLIENT LIST prints them, of those that are known now and, for what `known` does not name, of those
/// that were seen at the last look.
#[must_use]
pub fn flags(known: &[(u8, bool)], seen: &[u8]) -> Vec<u8> {
    let is_set = |letter: u8| match known.iter().find(|(known, _)| *known == letter) {
        Some((_, is_set)) => *is_set,
        None => seen.contains(&letter),
    };
    let all: Vec<u8> = flag::ALL
        .into_iter()
        .filter(|letter| *letter != flag::NONE && is_set(*letter))
        .collect();
    if all.is_empty() {
        return [flag::NONE].to_vec();
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::info_line;

    fn line(id: u64, more: &str) -> Vec<u8> {
        format!("id={id} addr=1.2.3.4:5 laddr=4.3.2.1:6379 name=n flags=e lib-name=l {more}").into_bytes()
    }

    /// Asks for `id` every 10 µs for a second, of looks that take `cost` µs; how long they took in all, and how
    /// long those before anybody had to wait.
    fn looks(kept: &mut Kept, ids: impl Fn(u64) -> u64, cost: u64) -> (u64, u64) {
        let (mut spent, mut first) = (0, None);
        for step in 0..100_000 {
            let (now, id) = (Micros(step * 10), ClientId(ids(step)));
            if kept.may_look(now, id, b"") {
                kept.spend(now, cost);
                kept.keep(&info_line::parse(&line(id.0, "")).unwrap());
                spent += cost;
            } else {
                first = first.or(Some(spent));
            }
        }
        (spent, first.unwrap_or(spent))
    }

    #[test]
    fn looks_take_a_hundredth_of_the_time_and_a_little_at_once() {
        for cost in [2, 250, 3_000] {
            let (spent, at_once) = looks(&mut Kept::default(), |_| 7, cost);
            assert!(spent <= 10_000 + 600 + 2 * cost, "{cost}: {spent}");
            assert!(at_once <= 600 + 2 * cost, "{cost}: {at_once} at once");
            let (spent, at_once) = looks(&mut Kept::default(), |step| step + 1, cost);
            assert!(spent <= 10_000 + 4_300 + 2 * cost, "{cost}: {spent}");
            assert!(
                at_once >= 4_000,
                "{cost}: {at_once} at once for those that come together"
            );
        }
    }

    #[test]
    fn who_makes_its_looks_expensive_is_looked_at_once_at_most() {
        let mut kept = Kept::default();
        let long = vec![b'x'; LONG + 1];
        assert!(!kept.may_look(Micros(0), ClientId(1), &long));
        let lib = format!("lib-ver={}", "x".repeat(LONG));
        assert!(kept.may_look(Micros(0), ClientId(1), b""));
        kept.keep(&info_line::parse(&line(1, &lib)).unwrap());
        assert!(!kept.may_look(Micros::NEVER, ClientId(1), b""));
    }

    #[test]
    fn memory_has_a_bound_and_goes_with_the_connections() {
        let mut kept = Kept::default();
        for id in 1..=MOST as u64 + 64 {
            let long = format!(
                "id={id} addr={0} laddr={0} flags={0} lib-name={0}",
                "x".repeat(600)
            );
            kept.keep(&info_line::parse(long.as_bytes()).unwrap());
        }
        assert!(kept.lines.len() == MOST && kept.memory() < MOST * 2_000);
        (1..=MOST as u64 + 64).for_each(|id| kept.forget(ClientId(id)));
        assert_eq!(kept.memory(), 0);
    }

    #[test]
    fn flags_are_those_of_now_and_else_of_the_last_look() {
        let known = |letters: &str| b"PxbtU".map(|flag| (flag, letters.contains(char::from(flag))));
        let cases = [
            ("", "", "N"),
            ("", "N", "N"),
            ("P", "N", "P"),
            ("", "P", "N"),
            ("xU", "Pe", "xUe"),
            ("", "e", "e"),
        ];
        for (now, seen, want) in cases {
            assert_eq!(
                flags(&known(now), seen.as_bytes()),
                want.as_bytes(),
                "{now} {seen}"
            );
        }
    }
}
