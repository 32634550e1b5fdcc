//! Round: whom to look at now, and the end of it. What is due is looked at first, oldest first; what is left of the
//! time goes to those that are looked at besides.

use super::Reaper;
use crate::client::ClientId;
use crate::reaper::pace::Look;
use crate::reaper::prefetch::Line;
use crate::reaper::registry::State;
use crate::reaper::schedule::Queue;
use crate::text::time::{Micros, Millis};
use alloc::vec::Vec;

/// What the shell is to look at now. Handed back to [`Reaper::end_round`], whatever has come of it.
#[must_use = "who is to be looked at stands in no queue until the round is ended"]
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// Each by its socket, and the line that an earlier look has told.
    pub cached: Vec<Line>,
    /// Each by its line of CLIENT LIST and its socket.
    pub look: Vec<ClientId>,
    /// Likewise, in the same go, though it is not their turn yet.
    pub prefetch: Vec<ClientId>,
    /// So many of it, the first ones, have waited for nobody but those who were due before.
    pub(super) firsts: usize,
    /// How many of it are rechecked.
    pub(super) rechecks: usize,
    /// How many of it were busy when they were last looked at, or are past limits of their own.
    pub(super) waited: usize,
    /// Each by user and name only.
    pub identify: Vec<ClientId>,
    /// One among all these is long.
    pub(super) has_long: bool,
}

impl Round {
    pub fn is_empty(&self) -> bool {
        self.cached.is_empty() && self.look.is_empty() && self.identify.is_empty()
    }
}

/// What came of a round.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    /// The server would not be looked at.
    pub was_refused: bool,
    /// How long the server was asked, in µs.
    pub asked_us: u64,
    /// How long it took to judge and to close.
    pub other_us: u64,
}

impl Reaper {
    /// What is to be looked at now.
    pub fn tick(&mut self, now: Micros) -> Round {
        let mut round = Round::default();
        if !self.settings.enabled {
            return round;
        }
        self.advance_cursor(now);
        self.queue_the_due(now);
        self.closings = 0;
        self.texts = 0;
        self.purses.begin_round(now);
        if self.pace.next_closing(now) <= now {
            self.take_spread_drains(now, &mut round);
            self.take_backlog(now, &mut round);
            round.firsts = round.look.len();
            if self.pace.next_spare(now) <= now {
                self.take_own(&mut round);
                self.take_again(&mut round);
                self.take_long_recheck(now, &mut round);
                self.take_rechecks(now, &mut round);
            }
            if self.pace.may_look(now) {
                self.take_prefetch(now, &mut round);
            }
        }
        self.note_whom_rate_holds(now);
        round
    }

    /// INFO's lag leaves out for how long `rate` holds people up, and nothing else.
    pub(super) fn note_whom_rate_holds(&mut self, now: Micros) {
        if self.is_backlogged() {
            self.purses.rate.note_whom_it_holds(now);
        }
        if !self.registry.schedule().queue(Queue::Own).is_empty() {
            self.purses.own.note_whom_it_holds(now);
        }
    }

    pub(super) fn is_backlogged(&self) -> bool {
        !self.registry.schedule().queue(Queue::Due).is_empty()
    }

    /// What was to be looked at has been; or everybody keeps its place, to be looked at a little later, and what was
    /// done until then is paid for all the same.
    pub fn end_round(&mut self, now: Micros, round: Round, outcome: Outcome) {
        let Outcome {
            was_refused,
            asked_us,
            other_us,
        } = outcome;
        if was_refused {
            round.look.iter().for_each(|id| self.put_back(now, *id));
        }
        if !round.look.is_empty() || !round.cached.is_empty() {
            self.tally.swept(asked_us + other_us);
        }
        let asked_for = match round.look.len() {
            0 => 0,
            due => due + round.prefetch.len(),
        };
        let look = Look {
            ids: asked_for,
            spare: round.rechecks + round.waited,
            connections: self.registry.len(),
            is_long: self.is_mostly_long(asked_for),
        };
        self.pace.spend(now, look, asked_us, other_us);
        self.note_whom_rate_holds(now);
        for id in &round.look {
            // Not in the reply: it is gone, and its event was missed or is on its way.
            if let Some(State::Looking | State::Rechecking) = self.registry.state(*id) {
                self.disconnected(*id);
            }
        }
        // What is looked at in one go shares its price.
        let share = match asked_for {
            0 => asked_us,
            all => (asked_us + other_us) * round.rechecks as u64 / all as u64,
        };
        let names = round.look.len() + round.prefetch.len() + round.identify.len();
        self.recheck.spend(now, share, self.is_mostly_long(names));
        if was_refused {
            self.pace.rest(now.plus(Millis(100)));
        }
    }

    /// Was to be looked at, and is not: it has its place again.
    pub(super) fn put_back(&mut self, now: Micros, id: ClientId) {
        let Some((entry, state)) = self.registry.get_with_state(id) else {
            return;
        };
        let at = entry.at();
        match state {
            State::Looking if at > now => self.registry.plan(id, State::Own, at),
            State::Looking => self.queue(id, at),
            State::Rechecking if self.drains.get(id).is_some() => {
                self.registry.plan(id, State::Draining, at);
            }
            State::Rechecking => self.registry.plan(id, State::Parked, at),
            _ => {}
        }
    }
}
