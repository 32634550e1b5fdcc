//! Turns: who is due, and who of them has its turn in this round.

use super::{Reaper, Round};
use crate::client::ClientId;
use crate::reaper::drains::Command;
use crate::reaper::pace::BATCH;
use crate::reaper::registry::State;
use crate::reaper::schedule::Queue;
use crate::text::time::{Micros, Millis};
use alloc::vec::Vec;

/// Connections this close to their limit get their exact moment, several at a time, and are asked for
/// together with those that are due.
const HORIZON: Millis = Millis(200);
/// At most so many change their place in one tick, however many are due.
const MOVES: usize = 512;

impl Reaper {
    pub(super) fn advance_cursor(&mut self, now: Micros) {
        let Some(strictest) = self.strictest else {
            return;
        };
        let near = now.plus(HORIZON);
        let next: Vec<(ClientId, State)> = self
            .registry
            .after(self.cursor)
            .take(MOVES)
            .take_while(|(_, entry, _)| entry.birth.plus(strictest) <= near)
            .map(|(id, _, state)| (id, state))
            .collect();
        for (id, state) in next {
            self.cursor = id;
            if state == State::Young {
                self.plan_anew(id);
            }
        }
    }

    pub(super) fn queue_the_due(&mut self, now: Micros) {
        for _ in 0..MOVES {
            // A limit of its own never lets anybody live longer: once the operator's is due as well it waits with
            // the others.
            if let Some((at, id)) = self.registry.schedule().first_due(Queue::Own, now) {
                self.queue(id, at);
                continue;
            }
            let Some((at, id)) = self.registry.schedule().first_due(Queue::Limits, now) else {
                break;
            };
            let by_settings = if self.own.contains_key(&id) {
                self.earliest_by_rate(id)
            } else {
                at
            };
            if by_settings > now {
                self.registry.plan(id, State::Own, by_settings);
            } else {
                self.queue(id, at);
            }
        }
    }

    /// Drains whose look is due: those that OVER spreads, and those that have spent their share of `rate` when they
    /// were taken off their keys, are looked at; the others queue for it.
    pub(super) fn take_spread_drains(&mut self, now: Micros, round: &mut Round) {
        let batch = self.pace.batch();
        for _ in 0..MOVES {
            if round.look.len().max(round.cached.len()) >= batch {
                break;
            }
            let Some((at, id)) = self.registry.schedule().first_due(Queue::Looks, now) else {
                break;
            };
            let drain = self.drains.get(id).copied().unwrap_or_default();
            let has_turn = |c: &Command| {
                c.spread && c.start <= now && !(drain.command_since.is_none() && c.is_missed(now))
            };
            let spread = drain.command.is_some_and(|command| has_turn(&command));
            if !spread && drain.off_keys.is_none() {
                let place = drain.due_since.unwrap_or(at);
                let in_between = drain.due_since.is_some() && at < drain.end;
                let state = if in_between { State::Again } else { State::Ready };
                self.registry.plan(id, state, place);
                continue;
            }
            if !self.take_cached(now, round, id, at) {
                if !self.pace.may_look(now) {
                    break;
                }
                self.take_look(round, id, at);
            }
        }
    }

    pub(super) fn take_backlog(&mut self, now: Micros, round: &mut Round) {
        let due = self.registry.schedule().queue(Queue::Due);
        if due.is_empty() {
            return;
        }
        let allowance = self.purses.rate.left();
        let batch = self.pace.batch();
        let most = allowance.min(BATCH);
        let first: Vec<(Micros, ClientId)> = due.iter().take(batch).copied().collect();
        for (place, id) in &first {
            if round.cached.len() >= most {
                break;
            }
            self.take_cached(now, round, *id, *place);
        }
        let cached = round.cached.len();
        if cached < most && self.pace.may_look(now) {
            // Where a look costs the same for one and for many, those whom rules turn out to exempt need not
            // wait for `rate`.
            let wanted = if self.pace.looks_are_expensive() {
                batch
            } else {
                batch.min(most).saturating_sub(cached)
            };
            for (place, id) in first {
                if round.look.len() >= wanted {
                    break;
                }
                if self.registry.state(id) == Some(State::Ready) && self.has_room(round, id) {
                    self.take_look(round, id, place);
                }
            }
        }
    }

    /// Its turn has come, and an earlier look has told its line: whether there is one.
    fn take_cached(&mut self, now: Micros, round: &mut Round, id: ClientId, place: Micros) -> bool {
        let Some(line) = self.prefetch.take(now, id) else {
            return false;
        };
        round.cached.push(line);
        self.registry.plan(id, State::Looking, place);
        true
    }

    /// Its turn has come, to be looked at.
    fn take_look(&mut self, round: &mut Round, id: ClientId, place: Micros) {
        self.prefetch.forget(id);
        round.look.push(id);
        self.registry.plan(id, State::Looking, place);
    }

    /// Those past a limit of their own, as many as their share lets go, and in the time that is left.
    pub(super) fn take_own(&mut self, round: &mut Round) {
        let room = self.pace.batch().saturating_sub(round.look.len());
        self.take_from(Queue::Own, room.min(self.purses.own.left()), round);
    }

    fn take_from(&mut self, queue: Queue, most: usize, round: &mut Round) {
        let queue = self.registry.schedule().queue(queue).iter();
        let those: Vec<(Micros, ClientId)> = queue.take(most).copied().collect();
        for (place, id) in those {
            if !self.has_room(round, id) {
                continue;
            }
            self.take_look(round, id, place);
            round.waited += 1;
        }
    }

    /// Those that were busy: whoever is quiet must not wait for them, so they get what time is left.
    pub(super) fn take_again(&mut self, round: &mut Round) {
        if self.purses.rate.left() > 0 {
            let room = self.pace.batch().saturating_sub(round.look.len());
            self.take_from(Queue::Again, room, round);
        }
    }

    /// A look that there is anyway takes those along whose turn comes next.
    pub(super) fn take_prefetch(&mut self, now: Micros, round: &mut Round) {
        if round.look.is_empty() || self.pace.looks_stall() {
            return;
        }
        let asked_for = self.prefetch.len();
        let room = self.pace.batch().saturating_sub(round.look.len() + asked_for);
        if room == 0 {
            return;
        }
        let near = now.plus(HORIZON);
        let most = room + asked_for;
        let first = |queue| {
            let queue = self.registry.schedule().queue(queue).iter();
            let first = queue.take(most).take_while(|(at, _)| *at <= near);
            first.map(|(_, id)| *id)
        };
        let held_up = first(Queue::Due);
        let spread = first(Queue::Looks).filter(|id| self.drains.is_spread(*id));
        let mut next: Vec<ClientId> = held_up.chain(spread).chain(first(Queue::Limits)).collect();
        next.truncate(most);
        next.retain(|id| !self.prefetch.was_asked_for(*id) && !self.is_long(*id));
        next.truncate(room);
        round.prefetch = next;
    }
}
