//! Wake: when there is work next.

use super::Reaper;
use crate::client::ClientId;
use crate::reaper::schedule::Queue;
use crate::text::time::Micros;

impl Reaper {
    /// When to be woken; `None`: only when something changes.
    pub fn next_wake(&mut self, now: Micros) -> Option<Micros> {
        if !self.settings.enabled {
            return None;
        }
        let schedule = self.registry.schedule();
        let scheduled = schedule.queue(Queue::Limits).first().map(|(at, _)| *at);
        let young = self.next_young();
        let looks = schedule.queue(Queue::Looks).first();
        let looks = looks.map(|(at, id)| (*at).max(self.next_turn(now, [*id])));
        let due = schedule.queue(Queue::Due);
        let backlog = (!due.is_empty()).then(|| {
            let first = due.iter().take(self.pace.batch()).map(|(_, id)| *id);
            self.next_turn(now, first)
        });
        let again = !schedule.queue(Queue::Again).is_empty();
        let again = again.then(|| self.pace.next_spare(now));
        let rate = self.purses.rate.next(now);
        let [backlog, again] = [backlog, again].map(|at| at.map(|at| at.max(rate)));
        let long = (!self.long.is_empty()).then(|| self.recheck.next_long().max(self.pace.next_spare(now)));
        let own = schedule.queue(Queue::Own).first().map(|(at, _)| *at);
        let own = own.map(|at| at.min(self.pace.next_spare(now).max(self.purses.own.next(now))));
        let recheck = self.is_recheck_wanted().then(|| {
            let (_, at) = self.recheck.next(self.identity_wanted());
            at.max(self.pace.next_spare(now))
        });
        // Not the least of those that are there: compiled, that compares what a `None` leaves unset before it
        // asks whether it is there, and valgrind takes it for a fault.
        let next = [scheduled, young, looks, backlog, again, own, recheck, long]
            .map(|at| at.unwrap_or(Micros::NEVER))
            .into_iter()
            .fold(Micros::NEVER, Micros::min);
        (next < Micros::NEVER).then_some(next)
    }

    /// When the first of `ids` may have its turn.
    pub(super) fn next_turn(&self, now: Micros, ids: impl IntoIterator<Item = ClientId>) -> Micros {
        let look = self.pace.next(now);
        if look <= now || self.prefetch.is_empty() {
            return look;
        }
        if ids.into_iter().any(|id| self.prefetch.has(now, id)) {
            look.min(self.pace.next_closing(now))
        } else {
            look
        }
    }

    fn next_young(&self) -> Option<Micros> {
        let strictest = self.strictest?;
        let (_, entry, _) = self.registry.after(self.cursor).next()?;
        Some(entry.birth.plus(strictest))
    }
}
