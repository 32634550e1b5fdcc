//! Journal: the last evictions, for CONNAGE.LOG.
//!
//! Of bounded length; entries own what they tell, cut where a client made it long: the connection is gone when
//! an operator asks. Anybody may give itself a limit as often as it likes: what is evicted by such a limit takes
//! the room that the others leave, and never pushes one of them out. Must not decide anything.

use crate::client::{Client, ClientId, ClientType};
use crate::text::time::Millis;
use crate::text::word;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// How a connection was when it was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Nothing under way.
    Quiet,
    /// Still waiting in a blocking command when its grace ended: nothing lost.
    Blocked,
    /// Its grace ended while something was under way.
    Forced,
    /// It would have been closed, but for the setting `dry-run`.
    DryRun,
}

impl How {
    pub fn name(self) -> &'static str {
        match self {
            How::Quiet => "quiet",
            How::Blocked => "blocked",
            How::Forced => "forced",
            How::DryRun => "dry-run",
        }
    }
}

/// Why a connection was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason<Rule = String> {
    /// The rule of this label.
    Rule(Rule),
    /// The cause of this name.
    Cause(&'static str),
}

impl<Rule> Reason<Rule> {
    /// The setting `maxage`.
    pub const MAXAGE: Self = Reason::Cause("maxage");
    /// The limit that it asked for itself (CONNAGE.SELF).
    pub const OWN: Self = Reason::Cause("self");
    /// CONNAGE.KILL.
    pub const COMMAND: Self = Reason::Cause("command");
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Rule(label) => write!(f, "rule:{label}"),
            Reason::Cause(name) => f.write_str(name),
        }
    }
}

/// One eviction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub seq: u64,
    /// Wall clock, milliseconds since 1970.
    pub time_ms: u64,
    pub id: ClientId,
    pub addr: Vec<u8>,
    pub laddr: Vec<u8>,
    pub user: Vec<u8>,
    pub name: Vec<u8>,
    pub client_type: ClientType,
    pub age: Millis,
    /// 0 when it had none.
    pub limit: Millis,
    pub reason: Reason,
    pub how: How,
    /// From its limit, or the command, to its closing.
    pub waited: Millis,
}

/// What the engine knows of an eviction beside the client itself.
#[derive(Clone, Debug)]
pub struct Eviction {
    pub time_ms: u64,
    pub age: Millis,
    pub limit: Millis,
    pub reason: Reason,
    pub how: How,
    pub waited: Millis,
}

/// The last evictions, newest first when read.
#[derive(Debug, Default)]
pub struct Journal {
    others: VecDeque<Entry>,
    /// Evicted by limits of their own.
    own: VecDeque<Entry>,
    max_len: usize,
    next_seq: u64,
    /// What the texts of all entries take. Counted, since each INFO asks for it, of up to a million entries.
    texts: usize,
}

impl Entry {
    fn texts(&self) -> usize {
        self.addr.len() + self.laddr.len() + self.user.len() + self.name.len()
    }
}

impl Journal {
    pub fn new(max_len: u32) -> Self {
        Journal {
            max_len: max_len as usize,
            ..Journal::default()
        }
    }

    /// Shortens at once; the oldest go.
    pub fn set_max_len(&mut self, max_len: u32) {
        self.max_len = max_len as usize;
        while self.len() > self.max_len {
            self.drop_oldest();
        }
        self.others.shrink_to(self.max_len);
        self.own.shrink_to(self.max_len);
    }

    fn drop_oldest(&mut self) {
        let oldest = self.own.pop_front().or_else(|| self.others.pop_front());
        self.texts -= oldest.map_or(0, |entry| entry.texts());
    }

    pub fn add(&mut self, client: &Client, what: Eviction) {
        let seq = self.next_seq;
        self.next_seq += 1;
        let is_own = what.reason == Reason::OWN;
        if is_own && self.others.len() >= self.max_len || self.max_len == 0 {
            return;
        }
        if self.len() >= self.max_len {
            self.drop_oldest();
        }
        let kept = |text| word::cut(text).concat();
        let entry = Entry {
            seq,
            time_ms: what.time_ms,
            id: client.id,
            addr: kept(client.addr),
            laddr: kept(client.laddr),
            user: kept(client.user),
            name: kept(client.name),
            client_type: client.client_type(),
            age: what.age,
            limit: what.limit,
            reason: what.reason,
            how: what.how,
            waited: what.waited,
        };
        self.texts += entry.texts();
        let ring = if is_own { &mut self.own } else { &mut self.others };
        ring.push_back(entry);
    }

    /// Newest first, as SLOWLOG GET.
    pub fn newest(&self) -> impl Iterator<Item = &Entry> {
        let (mut others, mut own) = (
            self.others.iter().rev().peekable(),
            self.own.iter().rev().peekable(),
        );
        core::iter::from_fn(move || match (others.peek(), own.peek()) {
            (Some(other), Some(mine)) if mine.seq > other.seq => own.next(),
            (Some(_), _) => others.next(),
            (None, _) => own.next(),
        })
    }

    pub fn len(&self) -> usize {
        self.others.len() + self.own.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Empties it; numbers go on, as SLOWLOG's ids do.
    pub fn reset(&mut self) {
        self.others.clear();
        self.own.clear();
        self.texts = 0;
    }

    /// About how much memory it holds, in bytes.
    pub fn memory(&self) -> usize {
        (self.others.capacity() + self.own.capacity()) * size_of::<Entry>() + self.texts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::info_line;

    fn add(journal: &mut Journal, id: u64) {
        add_for(journal, id, Reason::Rule("ci".into()));
    }

    fn add_for(journal: &mut Journal, id: u64, reason: Reason) {
        let line = format!("id={id} addr=1.2.3.4:5 name=n user=u flags=P");
        let client = info_line::parse(line.as_bytes()).unwrap();
        journal.add(
            &client,
            Eviction {
                time_ms: id,
                age: Millis(id),
                limit: Millis(1),
                reason,
                how: How::Quiet,
                waited: Millis(0),
            },
        );
    }

    fn ids(journal: &Journal) -> Vec<u64> {
        journal.newest().map(|e| e.id.0).collect()
    }

    #[test]
    fn it_keeps_the_newest_up_to_its_length_and_numbers_go_on_after_a_reset() {
        let mut journal = Journal::new(3);
        (1..=5).for_each(|id| add(&mut journal, id));
        assert_eq!(ids(&journal), [5, 4, 3]);
        journal.set_max_len(2);
        assert_eq!(ids(&journal), [5, 4]);
        journal.reset();
        assert!(journal.is_empty());
        add(&mut journal, 6);
        let entry = journal.newest().next().unwrap();
        assert_eq!((entry.seq, entry.reason.to_string().as_str()), (5, "rule:ci"));
        assert_eq!(
            (entry.client_type, entry.user.as_slice()),
            (ClientType::Pubsub, &b"u"[..])
        );
    }

    #[test]
    fn evictions_by_limits_of_their_own_take_the_room_that_others_leave() {
        let mut journal = Journal::new(4);
        add(&mut journal, 1);
        (2..=9).for_each(|id| add_for(&mut journal, id, Reason::OWN));
        assert_eq!(ids(&journal), [9, 8, 7, 1]);
        add(&mut journal, 10);
        add_for(&mut journal, 11, Reason::OWN);
        assert_eq!(ids(&journal), [11, 10, 9, 1]);
        (12..=13).for_each(|id| add(&mut journal, id));
        (14..=99).for_each(|id| add_for(&mut journal, id, Reason::OWN));
        assert_eq!(ids(&journal), [13, 12, 10, 1]);
        add(&mut journal, 100);
        assert_eq!(ids(&journal), [100, 13, 12, 10]);
        journal.set_max_len(0);
        add_for(&mut journal, 101, Reason::OWN);
        assert!(journal.is_empty());
    }

    #[test]
    fn what_a_client_made_long_is_cut() {
        let mut journal = Journal::new(2);
        let line = format!("id=1 addr=1.2.3.4:5 name={}", "n".repeat(1 << 20));
        let client = info_line::parse(line.as_bytes()).unwrap();
        let what = Eviction {
            time_ms: 1,
            age: Millis(1),
            limit: Millis(1),
            reason: Reason::MAXAGE,
            how: How::Quiet,
            waited: Millis(0),
        };
        journal.add(&client, what);
        assert!(journal.memory() < 2_048, "{}", journal.memory());
        assert!(journal.newest().next().unwrap().name.ends_with(b"n..."));
    }

    #[test]
    fn the_texts_that_are_counted_are_those_of_the_entries_that_are_kept() {
        let mut journal = Journal::new(4);
        let is_right = |journal: &Journal| journal.texts == journal.newest().map(Entry::texts).sum::<usize>();
        for id in 1..=99 {
            match id % 3 {
                0 => add_for(&mut journal, id, Reason::OWN),
                _ => add(&mut journal, id * 1_000),
            }
            if id % 20 == 0 {
                journal.set_max_len(2 + u32::try_from(id % 7).unwrap());
            }
            assert!(is_right(&journal), "{id}");
        }
        assert!(journal.texts > 0);
        journal.reset();
        assert_eq!(journal.texts, 0);
    }

    #[test]
    fn a_length_of_zero_keeps_nothing() {
        let mut journal = Journal::new(0);
        add(&mut journal, 1);
        assert_eq!(journal.len(), 0);
    }
}
