//! Put off: who is left out of a round by what can be had for less than a look, since it is not quiet for certain.

use super::{Reaper, Round};
use crate::client::ClientId;
use crate::reaper::drains::{backoff, Drain};
use crate::reaper::registry::State;
use crate::text::time::{Micros, Millis};
use alloc::vec::Vec;

/// So long a gate stays shut: enough for what was read before to be executed, and its reply to leave. The client's
/// kernel waits for a fifth of a second or so before it sends again what met it.
pub const GATE: Millis = Millis(100);
/// Hence not at every turn, but some times before grace ends.
const GATE_AGAIN_US: core::ops::RangeInclusive<u64> = 300_000..=1_000_000;

/// At most so many are asked about by their ids before a look.
const ASKED: usize = 128;

fn may_be_put_off(drain: &Drain, now: Micros) -> bool {
    drain.passes && drain.end > now && drain.fd >= 0
}

impl Reaper {
    /// Has those wait for time that is left of whom the server tells without a look that they are held up, in MULTI
    /// or by a command that blocks: whoever is quiet must not wait until all of them have been looked at. Only where
    /// looks are expensive; elsewhere one costs hardly more than the question. Their grace runs from their look on.
    pub fn let_the_quiet_pass(
        &mut self,
        now: Micros,
        round: &mut Round,
        is_held_up: impl Fn(ClientId) -> bool,
    ) {
        let expensive = self.pace.looks_stall() || self.pace.looks_are_expensive();
        if !expensive || self.settings.grace.0 == 0 {
            return;
        }
        let (mut begin, mut end, mut asked) = (0, round.firsts, 0);
        loop {
            let mut place = 0;
            let mut waiting = 0;
            round.look.retain(|id| {
                let is_first = (begin..end).contains(&place) && self.drains.get(*id).is_none();
                place += 1;
                asked += usize::from(is_first);
                let waits = is_first && is_held_up(*id);
                if waits {
                    self.registry.plan(*id, State::Again, now);
                    waiting += 1;
                }
                !waits
            });
            if waiting == 0 || asked >= ASKED {
                break;
            }
            // Others take their places.
            begin = round.look.len();
            self.take_backlog(now, round);
            end = round.look.len();
        }
    }

    /// Those in the round that were busy at their last look, and their descriptors: to ask these for input that waits
    /// costs a tenth of a look at a client, or a thousandth where the server has to stop its I/O threads for it.
    pub fn perhaps_busy<'a>(
        &'a self,
        now: Micros,
        round: &'a Round,
    ) -> impl Iterator<Item = (ClientId, i32)> + 'a {
        let drains = round
            .look
            .iter()
            .filter_map(|id| Some((*id, self.drains.get(*id)?)));
        let those = drains.filter(move |(_, drain)| may_be_put_off(drain, now));
        those.map(|(id, drain)| (id, drain.fd))
    }

    /// Takes those of [`perhaps_busy`](Self::perhaps_busy) out of the round that have input waiting, in its order: they
    /// still are busy.
    ///
    /// Answers with those before whose input a gate is to be shut for a moment: they have been busy
    /// without a pause for so long that they would stay so until their grace ends.
    pub fn put_off_the_busy(
        &mut self,
        now: Micros,
        round: &mut Round,
        with_input: &[ClientId],
    ) -> Vec<(ClientId, i32)> {
        let mut gates = Vec::new();
        let mut with_input = with_input.iter().peekable();
        round.look.retain(|id| {
            let Some(mut drain) = self.drains.get(*id).copied() else {
                return true;
            };
            if !may_be_put_off(&drain, now) {
                return true;
            }
            let pause = drain.end.since(drain.gates_from) / 4;
            let pause = pause.clamp(*GATE_AGAIN_US.start(), *GATE_AGAIN_US.end());
            let again = drain
                .gate
                .map_or(drain.gates_from, |gate| gate.plus_micros(pause));
            let gate = drain.gateable && now >= again;
            if gate {
                drain.gate = Some(now);
                drain.silence_us = 0;
                gates.push((*id, drain.fd));
            }
            let busy = with_input.next_if_eq(&id).is_some();
            if busy {
                drain.quiet_since = None;
            }
            self.drains.put(*id, drain);
            if busy {
                let wait = backoff(drain.waited_us(now), true).max(drain.silence_us);
                let next_look = now.plus_micros(wait).min(drain.end);
                self.registry.plan(*id, State::Draining, next_look);
            }
            !busy
        });
        gates
    }
}
