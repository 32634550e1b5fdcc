//! Rechecks: who is past a limit that might come to hold for it, and is looked at now and then: it may have become
//! something else.

use super::{Reaper, Round};
use crate::client::identity;
use crate::client::{Client, ClientId};
use crate::reaper::long::LONG_ROUND;
use crate::reaper::recheck::Kind;
use crate::reaper::registry::State;
use crate::text::time::Micros;
use alloc::vec::Vec;

/// At most so many connections are passed over in search of those to recheck.
const RECHECK_SPAN: usize = 2_048;
const RECHECK_CHUNK: usize = 128;
/// Where one look walks every client, as many as possible share its price.
const RECHECK_CHUNK_WHEN_EXPENSIVE: usize = 512;

impl Reaper {
    pub(super) fn identity_wanted(&self) -> bool {
        self.settings.rules.matches_on_identity()
    }

    /// Nobody younger than this one can have been looked at and left.
    fn recheck_end(&self) -> ClientId {
        let own = self.own.last_key_value().map_or(ClientId(0), |(id, _)| *id);
        self.cursor.max(own)
    }

    pub(super) fn is_recheck_wanted(&self) -> bool {
        let end = self.recheck_end();
        self.registry.oldest().is_some_and(|(id, _)| id <= end)
    }

    /// Whether what it may become meanwhile has to be noticed: nobody would look at it before long.
    pub(super) fn is_rechecked(&self, id: ClientId, state: State) -> bool {
        match state {
            State::Parked => true,
            State::Draining => self.drains.has_not_begun(id),
            _ => false,
        }
    }

    /// One of those to whom it is expensive to look, with a share of its own: others must not wait until it is paid
    /// for.
    pub(super) fn take_long_recheck(&mut self, now: Micros, round: &mut Round) {
        if self.long.is_empty() || round.has_long || self.recheck.next_long() > now {
            return;
        }
        let Some(id) = self.recheck.turn_of_long(now, &self.long) else {
            return;
        };
        let Some((entry, state)) = self.registry.get_with_state(id) else {
            return;
        };
        if self.is_rechecked(id, state) {
            let at = entry.at();
            self.registry.plan(id, State::Rechecking, at);
            round.look.push(id);
            round.rechecks += 1;
            round.has_long = true;
        }
    }

    pub(super) fn take_rechecks(&mut self, now: Micros, round: &mut Round) {
        if !self.is_recheck_wanted() {
            return;
        }
        let (kind, at) = self.recheck.next(self.identity_wanted());
        if at > now {
            return;
        }
        let chunk = if kind == Kind::Full && self.pace.looks_are_expensive() {
            RECHECK_CHUNK_WHEN_EXPENSIVE
        } else if kind == Kind::Full && self.pace.looks_stall() {
            self.pace.batch()
        } else {
            RECHECK_CHUNK
        };
        let end = self.recheck_end();
        let mut position = self.recheck.position(kind, now);
        let mut found = Vec::new();
        let mut passed = 0;
        let mut done = true;
        for (id, _, state) in self.registry.after(position) {
            if id > end {
                break;
            }
            if passed == RECHECK_SPAN || found.len() == chunk {
                done = false;
                break;
            }
            position = id;
            passed += 1;
            if self.is_rechecked(id, state) && !self.is_long(id) {
                found.push(id);
            }
        }
        self.recheck.advance(kind, (!done).then_some(position));
        match kind {
            Kind::Identity => round.identify = found,
            Kind::Full => {
                for id in &found {
                    let at = self.registry.get(*id).map_or(Micros::NEVER, |entry| entry.at());
                    self.registry.plan(*id, State::Rechecking, at);
                }
                round.rechecks += found.len();
                round.look.extend(found);
            }
        }
        // Passing over the others costs a little as well.
        self.recheck.spend(now, passed as u64 / 32 + 1, false);
    }

    /// User and name of a connection that [`Round::identify`] named; whether to go on with the next. Where they
    /// turn out to be long, the rest of them have their turn later.
    pub fn identified(&mut self, now: Micros, id: ClientId, user: &[u8], name: &[u8]) -> bool {
        self.note_length(id, user.len().saturating_add(name.len()));
        self.notice_reset(&Client {
            user,
            name,
            ..Client::unknown(id)
        });
        let identity = identity::hash(user, name);
        let changed = self
            .registry
            .get(id)
            .is_some_and(|entry| entry.identity() != identity);
        let state = self.registry.state(id);
        if changed && state.is_some_and(|state| self.is_rechecked(id, state)) {
            self.queue(id, now);
        }
        let goes_on = self.texts <= LONG_ROUND;
        if !goes_on {
            self.recheck.advance(Kind::Identity, Some(id));
        }
        goes_on
    }
}
