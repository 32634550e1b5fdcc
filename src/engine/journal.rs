//! Journal: the last evictions, for CONNAGE.LOG.
//!
//! A ring of bounded length whose entries own what they tell: the connection is gone when an
//! operator asks. Must not decide anything.

use super::client::{Client, ClientId, ClientType};
use super::time::Millis;
use std::collections::VecDeque;
use std::fmt;

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The setting `maxage`.
    Maxage,
    /// The rule of this label.
    Rule(String),
    /// The limit that it asked for itself (CONNAGE.SELF).
    Own,
    /// CONNAGE.KILL.
    Command,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Maxage => f.write_str("maxage"),
            Reason::Rule(label) => write!(f, "rule:{label}"),
            Reason::Own => f.write_str("self"),
            Reason::Command => f.write_str("command"),
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
pub struct Circumstances {
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
    entries: VecDeque<Entry>,
    max_len: usize,
    next_seq: u64,
}

impl Journal {
    pub fn new(max_len: u32) -> Self {
        Journal {
            entries: VecDeque::new(),
            max_len: max_len as usize,
            next_seq: 0,
        }
    }

    /// Shortens at once; the oldest go.
    pub fn set_max_len(&mut self, max_len: u32) {
        self.max_len = max_len as usize;
        while self.entries.len() > self.max_len {
            self.entries.pop_front();
        }
        self.entries.shrink_to(self.max_len);
    }

    pub fn add(&mut self, client: &Client, what: Circumstances) {
        let seq = self.next_seq;
        self.next_seq += 1;
        if self.max_len == 0 {
            return;
        }
        if self.entries.len() >= self.max_len {
            self.entries.pop_front();
        }
        self.entries.push_back(Entry {
            seq,
            time_ms: what.time_ms,
            id: client.id,
            addr: client.addr.to_vec(),
            laddr: client.laddr.to_vec(),
            user: client.user.to_vec(),
            name: client.name.to_vec(),
            client_type: client.client_type(),
            age: what.age,
            limit: what.limit,
            reason: what.reason,
            how: what.how,
            waited: what.waited,
        });
    }

    /// Newest first, as SLOWLOG GET.
    pub fn newest(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.entries.iter().rev()
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Empties it; numbers go on, as SLOWLOG's ids do.
    pub fn reset(&mut self) {
        self.entries.clear();
    }

    /// About how much memory it holds, in bytes.
    pub fn memory(&self) -> usize {
        let text: usize = self
            .entries
            .iter()
            .map(|e| e.addr.len() + e.laddr.len() + e.user.len() + e.name.len())
            .sum();
        self.entries.capacity() * size_of::<Entry>() + text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::info_line;

    fn add(journal: &mut Journal, id: u64) {
        let line = format!("id={id} addr=1.2.3.4:5 name=n user=u flags=P");
        let client = info_line::parse(line.as_bytes()).unwrap();
        journal.add(
            &client,
            Circumstances {
                time_ms: id,
                age: Millis(id),
                limit: Millis(1),
                reason: Reason::Rule("ci".into()),
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
    fn a_length_of_zero_keeps_nothing() {
        let mut journal = Journal::new(0);
        add(&mut journal, 1);
        assert_eq!(journal.len(), 0);
    }
}
