//! Registry: who is connected, ordered by birth, and what is planned for each.
//!
//! The server hands out ids in ascending order and a birth is never earlier than that of a lower
//! id, so one map ordered by id is ordered by birth as well, whatever the settings: a change of
//! `maxage` moves nothing here. What is planned is one state and one moment, and the place in the
//! [`Schedule`] follows from them: [`Registry::plan`] is the only one that sets either. Must not know
//! limits.

use crate::client::ClientId;
use crate::reaper::ascending::Ascending;
use crate::reaper::schedule::{Place, Queue, Schedule};
use crate::text::time::Micros;

/// What the schedule currently intends for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Younger than any limit: nothing is planned.
    Young,
    /// Planned for the moment `at`.
    Scheduled,
    /// Past its limit and waiting for its turn; `at` is its place in that queue.
    Ready,
    /// The same, but it was busy when last looked at.
    Again,
    /// Past a limit of its own and waiting for the share of those; `at` is when one of the operator's is due.
    Own,
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

impl State {
    /// The table of legal moves: what may become `next`.
    fn may_become(self, next: State) -> bool {
        let from: &[State] = match next {
            // Settings, a limit of its own or a command change what is planned at any time; and who refuses to be
            // closed, or has something under way, is waited for.
            State::Young | State::Scheduled | State::Draining => return true,
            State::Ready => &[
                State::Scheduled,
                State::Own,
                State::Parked,
                State::Draining,
                State::Looking,
                State::Rechecking,
            ],
            State::Again => &[State::Draining, State::Looking],
            State::Own => &[State::Scheduled, State::Parked, State::Looking],
            State::Looking => &[State::Ready, State::Again, State::Own, State::Draining],
            State::Rechecking => &[State::Parked, State::Draining],
            // Only who was looked at is left alone or closed.
            State::Parked => &[State::Looking, State::Rechecking],
            State::Closing => &[State::Looking],
        };
        from.contains(&self)
    }

    /// Where a connection of this state stands whose moment is `at`.
    fn place(self, at: Micros) -> Option<Place> {
        let queue = match self {
            State::Scheduled | State::Parked => Queue::Limits,
            State::Ready => Queue::Due,
            State::Again => Queue::Again,
            State::Own => return Some((Queue::Own, at)),
            State::Draining => Queue::Looks,
            State::Young | State::Looking | State::Rechecking | State::Closing => return None,
        };
        (at < Micros::NEVER).then_some((queue, at))
    }
}

/// One connection. 24 bytes: there may be a million of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub birth: Micros,
    /// The moment that is planned for it.
    at: Micros,
    /// Fingerprint of user and name when last looked at.
    identity: u32,
    /// Which configuration `state` was made under; under another one it means nothing.
    epoch: u16,
    state: State,
    marks: u8,
}

const TLS: u8 = 1;
const REPORTED: u8 = 2;

impl Entry {
    pub(super) fn is_tls(&self) -> bool {
        self.marks & TLS != 0
    }

    pub(super) fn at(&self) -> Micros {
        self.at
    }

    pub(super) fn identity(&self) -> u32 {
        self.identity
    }
}

/// All connections that the module knows of.
#[derive(Debug, Default)]
pub(super) struct Registry {
    entries: Ascending<Entry>,
    schedule: Schedule,
    epoch: u16,
}

impl Registry {
    /// Adds a connection; one that is there already stays as it is.
    ///
    /// A birth is the youngest that it can be. So it may be moved up to that of a lower id, and down
    /// to that of a higher one, which is younger for certain, and still is never too early.
    pub(super) fn insert(&mut self, id: ClientId, birth: Micros, tls: bool) {
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

    /// Answers with what it was, if it was there.
    pub(super) fn remove(&mut self, id: ClientId) -> Option<(State, Entry)> {
        let entry = self.entries.remove(id)?;
        let state = self.state_of(&entry);
        self.schedule.move_on(id, state.place(entry.at), None);
        Some((state, entry))
    }

    pub(super) fn get(&self, id: ClientId) -> Option<&Entry> {
        self.entries.get(id)
    }

    pub(super) fn set_identity(&mut self, id: ClientId, identity: u32) {
        if let Some(entry) = self.entries.get_mut(id) {
            entry.identity = identity;
        }
    }

    /// Marks it as told of by `dry-run`, which tells of each connection once; `false` where it was already.
    pub(super) fn report(&mut self, id: ClientId) -> bool {
        let Some(entry) = self.entries.get_mut(id) else {
            return false;
        };
        let is_first = entry.marks & REPORTED == 0;
        entry.marks |= REPORTED;
        is_first
    }

    fn state_of(&self, entry: &Entry) -> State {
        if entry.epoch == self.epoch {
            entry.state
        } else {
            State::Young
        }
    }

    pub(super) fn get_with_state(&self, id: ClientId) -> Option<(&Entry, State)> {
        self.entries.get(id).map(|entry| (entry, self.state_of(entry)))
    }

    pub(super) fn state(&self, id: ClientId) -> Option<State> {
        self.entries.get(id).map(|entry| self.state_of(entry))
    }

    /// Plans `state` for a connection, at the moment `at`, in place of what was planned before.
    pub(super) fn plan(&mut self, id: ClientId, state: State, at: Micros) {
        let epoch = self.epoch;
        let Some(entry) = self.entries.get_mut(id) else {
            return;
        };
        let before = if entry.epoch == epoch {
            entry.state
        } else {
            State::Young
        };
        debug_assert!(before.may_become(state), "{id}: {before:?} to {state:?}");
        let place = before.place(entry.at);
        entry.epoch = epoch;
        entry.state = state;
        entry.at = at;
        self.schedule.move_on(id, place, state.place(at));
    }

    /// The queues that follow from what is planned.
    pub(super) fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Makes every connection [`State::Young`] again. Walks those that stand in a queue, and all once in
    /// 65,536 times.
    pub(super) fn forget_states(&mut self) {
        self.schedule.clear();
        self.epoch = self.epoch.wrapping_add(1);
        if self.epoch == 0 {
            for entry in self.entries.values_mut() {
                entry.epoch = 0;
                entry.state = State::Young;
            }
        }
    }

    /// Forgets whom `dry-run` has told of.
    pub(super) fn forget_reports(&mut self) {
        self.entries
            .values_mut()
            .for_each(|entry| entry.marks &= !REPORTED);
    }

    /// Connections after `id`, oldest first.
    pub(super) fn after(&self, id: ClientId) -> impl Iterator<Item = (ClientId, &Entry, State)> {
        self.entries
            .after(id)
            .map(|(id, entry)| (id, entry, self.state_of(entry)))
    }

    pub(super) fn oldest(&self) -> Option<(ClientId, &Entry)> {
        self.entries.first()
    }

    /// All connections, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ClientId, &Entry)> {
        self.entries.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// In bytes, but for what the allocator adds.
    pub(super) fn memory(&self) -> usize {
        self.entries.memory() + self.schedule.memory()
    }

    /// That everybody stands where what is planned for it says, and nowhere else.
    #[cfg(test)]
    pub(crate) fn check(&self) {
        let places = self
            .entries
            .iter()
            .filter_map(|(id, entry)| Some((id, self.state_of(entry).place(entry.at)?)));
        let mut count = 0;
        for (id, (queue, at)) in places {
            assert!(self.schedule.queue(queue).contains(&(at, id)), "{id}: {queue:?}");
            count += 1;
        }
        assert_eq!(self.schedule.count(), count);
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
        registry.plan(ClientId(1), State::Scheduled, Micros(5));
        assert_eq!(registry.state(ClientId(1)), Some(State::Scheduled));
        for _ in 0..=u16::MAX {
            registry.forget_states();
            assert_eq!(registry.state(ClientId(1)), Some(State::Young));
        }
    }

    #[test]
    fn a_connection_has_one_planned_moment_however_often_it_is_planned() {
        let mut registry = Registry::default();
        (1..=3).for_each(|id| registry.insert(ClientId(id), Micros(1), false));
        let states = [
            State::Scheduled,
            State::Ready,
            State::Looking,
            State::Parked,
            State::Draining,
        ];
        let mut turns = [0, 0, 0];
        for step in 0..1_000_usize {
            let who = step % turns.len();
            let state = states[turns[who] % states.len()];
            registry.plan(ClientId(1 + who as u64), state, Micros(step as u64 * 7 % 11));
            turns[who] += 1;
            if step % 97 == 0 {
                registry.forget_states();
                turns = [0, 0, 0];
            }
            registry.check();
            assert!(registry.schedule().count() <= 3);
        }
        for id in 1..=3 {
            registry.remove(ClientId(id));
        }
        assert_eq!(registry.schedule().count(), 0);
    }

    #[test]
    fn only_who_was_looked_at_is_left_alone_or_closed_and_who_is_closing_is_closed_once() {
        let all = [
            State::Young,
            State::Scheduled,
            State::Ready,
            State::Again,
            State::Own,
            State::Parked,
            State::Draining,
            State::Looking,
            State::Rechecking,
            State::Closing,
        ];
        let from = |next: State| all.into_iter().filter(move |state| state.may_become(next));
        assert_eq!(from(State::Closing).collect::<Vec<_>>(), [State::Looking]);
        assert!(from(State::Parked).eq([State::Looking, State::Rechecking]));
        let from_closing = all.into_iter().filter(|next| State::Closing.may_become(*next));
        assert!(from_closing.eq([State::Young, State::Scheduled, State::Draining]));
    }

    #[test]
    fn removing_is_idempotent() {
        let mut registry = Registry::default();
        registry.insert(ClientId(1), Micros(1), true);
        assert!(registry.remove(ClientId(1)).is_some());
        assert!(registry.remove(ClientId(1)).is_none());
        assert!(registry.len() == 0);
    }
}
