//! Schedule: in which queue each connection stands, by the moment that is planned for it.
//!
//! A connection stands in one queue at most, with one moment: [`Schedule::move_on`] takes the old place
//! away as it gives the new one, and the registry, which keeps the place beside the connection, is the
//! only one that calls it. So nothing can be planned twice, nothing stale is ever kept, and there is
//! nothing to tidy up.
//!
//! Ordered sets rather than a heap with places kept beside it: a heap would have to look up the
//! registry's entry of everybody whom it moves. A place takes some 30 bytes, and only those near their limit
//! have one. Must not know why a connection is due.

use crate::client::ClientId;
use crate::text::time::Micros;
use alloc::collections::BTreeSet;

/// What connections may wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queue {
    /// Their limit, or the moment at which they are to be looked at for it.
    Limits,
    /// Their turn to be looked at, for the first time since they are due or for the last: their grace is over. The
    /// place is how long they have been due.
    Due,
    /// The same in between, busy when they were last looked at: only when nobody is in front.
    Again,
    /// Their turn, past a limit that they gave themselves; the place is when one of the operator's would be.
    Own,
    /// The next look at those that were busy, or the start that a command gave them.
    Looks,
}

/// A queue, and the moment that counts in it.
pub(super) type Place = (Queue, Micros);

/// All queues.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    limits: BTreeSet<(Micros, ClientId)>,
    due: BTreeSet<(Micros, ClientId)>,
    again: BTreeSet<(Micros, ClientId)>,
    own: BTreeSet<(Micros, ClientId)>,
    looks: BTreeSet<(Micros, ClientId)>,
}

impl Schedule {
    /// Who stands in `queue`, the first in front.
    pub(super) fn queue(&self, queue: Queue) -> &BTreeSet<(Micros, ClientId)> {
        match queue {
            Queue::Limits => &self.limits,
            Queue::Due => &self.due,
            Queue::Again => &self.again,
            Queue::Own => &self.own,
            Queue::Looks => &self.looks,
        }
    }

    fn queue_mut(&mut self, queue: Queue) -> &mut BTreeSet<(Micros, ClientId)> {
        match queue {
            Queue::Limits => &mut self.limits,
            Queue::Due => &mut self.due,
            Queue::Again => &mut self.again,
            Queue::Own => &mut self.own,
            Queue::Looks => &mut self.looks,
        }
    }

    /// `id` stood at the place `from` and stands at `to` from now on.
    pub(super) fn move_on(&mut self, id: ClientId, from: Option<Place>, to: Option<Place>) {
        if from == to {
            return;
        }
        if let Some((queue, at)) = from {
            self.queue_mut(queue).remove(&(at, id));
        }
        if let Some((queue, at)) = to {
            self.queue_mut(queue).insert((at, id));
        }
    }

    /// The first in `queue` whose moment is not after `now`.
    pub(super) fn first_due(&self, queue: Queue, now: Micros) -> Option<(Micros, ClientId)> {
        self.queue(queue).first().copied().filter(|(at, _)| *at <= now)
    }

    /// Nobody stands anywhere any more.
    pub(super) fn clear(&mut self) {
        *self = Schedule::default();
    }

    /// How many stand in all queues together.
    pub(super) fn count(&self) -> usize {
        [&self.limits, &self.due, &self.again, &self.own, &self.looks]
            .iter()
            .map(|queue| queue.len())
            .sum()
    }

    /// About how much memory it holds, in bytes: nodes of B-trees are two thirds full, or less where moments
    /// ascend.
    pub(super) fn memory(&self) -> usize {
        self.count() * 2 * size_of::<(Micros, ClientId)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_moves_on_stands_nowhere_else() {
        let mut schedule = Schedule::default();
        let id = ClientId(7);
        let places = [
            Some((Queue::Limits, Micros(30))),
            Some((Queue::Limits, Micros(20))),
            Some((Queue::Due, Micros(20))),
            None,
            Some((Queue::Looks, Micros(25))),
            Some((Queue::Looks, Micros(25))),
            None,
        ];
        let mut from = None;
        for to in places {
            schedule.move_on(id, from, to);
            from = to;
            assert_eq!(schedule.count(), usize::from(to.is_some()));
            if let Some((queue, at)) = to {
                assert_eq!(schedule.queue(queue).first(), Some(&(at, id)));
            }
        }
    }

    #[test]
    fn moments_come_in_order_ties_by_id_and_none_before_its_time() {
        let mut schedule = Schedule::default();
        for (at, id) in [(30, 1), (10, 3), (10, 2), (20, 4)] {
            schedule.move_on(ClientId(id), None, Some((Queue::Limits, Micros(at))));
        }
        let mut due = Vec::new();
        while let Some((at, id)) = schedule.first_due(Queue::Limits, Micros(20)) {
            schedule.move_on(id, Some((Queue::Limits, at)), None);
            due.push(id.0);
        }
        assert_eq!(due, [2, 3, 4]);
        assert_eq!(schedule.count(), 1);
    }
}
