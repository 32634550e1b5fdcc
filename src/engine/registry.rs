//! Registry: who is connected, ordered by birth.
//!
//! The server hands out ids in ascending order and a birth is never earlier than that of a lower
//! id, so one map ordered by id is ordered by birth as well, whatever the settings: a change of
//! `maxage` moves nothing here. Must not know limits or the schedule.

use super::ascending::Ascending;
use super::client::ClientId;
use super::time::Micros;

/// What the schedule currently intends for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Younger than any limit: nothing is planned.
    Young,
    /// Planned for the moment `at`.
    Scheduled,
    /// Past its limit and waiting for the budget; `at` is its place in that queue.
    Ready,
    /// Older than the strictest limit, but nothing that it is now lets age evict it.
    Parked,
    /// Past its limit or killed, and waited for.
    Draining,
    /// Being looked at.
    Looking,
    /// Being looked at although nothing is due: it may have become something else.
    Rechecking,
    /// Handed to the server for closing.
    Closing,
}

/// One connection. 24 bytes: there may be a million of them.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub birth: Micros,
    pub at: Micros,
    /// Fingerprint of user and name when last looked at.
    pub identity: u32,
    /// Which configuration `state` was made under; under another one it means nothing.
    epoch: u16,
    state: State,
    marks: u8,
}

const TLS: u8 = 1;
const REPORTED: u8 = 2;

impl Entry {
    pub fn is_tls(&self) -> bool {
        self.marks & TLS != 0
    }

    /// Marks it as told of by `dry-run`, which tells of each connection once; whether it was already.
    pub fn report(&mut self) -> bool {
        let before = self.marks & REPORTED != 0;
        self.marks |= REPORTED;
        before
    }
}

/// All connections that the module knows of.
#[derive(Debug, Default)]
pub struct Registry {
    entries: Ascending<Entry>,
    epoch: u16,
}

impl Registry {
    /// Adds a connection; one that is there already stays as it is.
    ///
    /// A birth is the youngest that it can be. So it may be moved up to that of a lower id, and down
    /// to that of a higher one, which is younger for certain, and still is never too early.
    pub fn insert(&mut self, id: ClientId, birth: Micros, tls: bool) {
        let birth = match self.entries.last() {
            None => birth,
            Some((last, entry)) if last < id => birth.max(entry.birth),
            Some(_) => {
                let before = self.entries.before(id);
                let after = self.entries.after(id).next();
                birth
                    .max(before.map_or(Micros(0), |(_, entry)| entry.birth))
                    .min(after.map_or(Micros::NEVER, |(_, entry)| entry.birth))
            }
        };
        let entry = Entry {
            birth,
            at: Micros::NEVER,
            identity: 0,
            epoch: self.epoch,
            state: State::Young,
            marks: if tls { TLS } else { 0 },
        };
        self.entries.insert(id, entry);
    }

    pub fn remove(&mut self, id: ClientId) -> Option<(State, Entry)> {
        let entry = self.entries.remove(id)?;
        Some((self.state_of(&entry), entry))
    }

    pub fn get(&self, id: ClientId) -> Option<&Entry> {
        self.entries.get(id)
    }

    pub fn get_mut(&mut self, id: ClientId) -> Option<&mut Entry> {
        self.entries.get_mut(id)
    }

    fn state_of(&self, entry: &Entry) -> State {
        if entry.epoch == self.epoch {
            entry.state
        } else {
            State::Young
        }
    }

    pub fn get_with_state(&self, id: ClientId) -> Option<(&Entry, State)> {
        self.entries.get(id).map(|entry| (entry, self.state_of(entry)))
    }

    pub fn state(&self, id: ClientId) -> Option<State> {
        self.entries.get(id).map(|entry| self.state_of(entry))
    }

    /// Answers with the state and moment before.
    pub fn set_state(&mut self, id: ClientId, state: State, at: Micros) -> Option<(State, Micros)> {
        let epoch = self.epoch;
        let entry = self.entries.get_mut(id)?;
        let before = if entry.epoch == epoch {
            entry.state
        } else {
            State::Young
        };
        let was_at = entry.at;
        entry.epoch = epoch;
        entry.state = state;
        entry.at = at;
        Some((before, was_at))
    }

    /// Makes every connection [`State::Young`] again, in constant time but for once in 65,536.
    pub fn forget_states(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
        if self.epoch == 0 {
            for entry in self.entries.values_mut() {
                entry.epoch = 0;
                entry.state = State::Young;
            }
        }
    }

    /// Forgets whom `dry-run` has told of.
    pub fn forget_reports(&mut self) {
        self.entries
            .values_mut()
            .for_each(|entry| entry.marks &= !REPORTED);
    }

    /// Connections after `id`, oldest first.
    pub fn after(&self, id: ClientId) -> impl Iterator<Item = (ClientId, &Entry, State)> {
        self.entries
            .after(id)
            .map(|(id, entry)| (id, entry, self.state_of(entry)))
    }

    pub fn oldest(&self) -> Option<(ClientId, &Entry)> {
        self.entries.first()
    }

    /// All connections, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (ClientId, &Entry)> {
        self.entries.iter()
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// In bytes, but for what the allocator adds.
    pub fn memory(&self) -> usize {
        self.entries.memory()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_takes_24_bytes() {
        assert_eq!(size_of::<Entry>(), 24);
    }

    #[test]
    fn births_ascend_with_ids_whatever_the_clock_said() {
        let mut registry = Registry::default();
        for (id, birth) in [(5, 500), (9, 300), (7, 100), (8, 700), (5, 900)] {
            registry.insert(ClientId(id), Micros(birth), false);
        }
        let births: Vec<u64> = registry.iter().map(|(_, e)| e.birth.0).collect();
        assert_eq!(births, [500, 500, 500, 500]);
        assert_eq!(registry.oldest().map(|(id, _)| id), Some(ClientId(5)));
    }

    #[test]
    fn states_are_forgotten_all_at_once_and_also_when_the_epoch_wraps() {
        let mut registry = Registry::default();
        registry.insert(ClientId(1), Micros(1), false);
        registry.set_state(ClientId(1), State::Parked, Micros(5));
        assert_eq!(registry.state(ClientId(1)), Some(State::Parked));
        for _ in 0..=u16::MAX {
            registry.forget_states();
            assert_eq!(registry.state(ClientId(1)), Some(State::Young));
        }
    }

    #[test]
    fn removing_is_idempotent() {
        let mut registry = Registry::default();
        registry.insert(ClientId(1), Micros(1), true);
        assert!(registry.remove(ClientId(1)).is_some());
        assert!(registry.remove(ClientId(1)).is_none());
        assert!(registry.is_empty());
    }
}
