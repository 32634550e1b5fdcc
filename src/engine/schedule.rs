//! Schedule: who is due, and when to wake next.
//!
//! Connections younger than any limit have no entry here: a cursor marks how far, in order of
//! birth, connections have come near their limit. Those hold an exact moment in a heap; a moment
//! that no longer holds is dropped when it comes up (`is_live` tells). Must not know why a
//! connection is due.

use super::client::ClientId;
use super::time::Micros;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Exact moments of connections near their limit.
#[derive(Debug, Default)]
pub struct Schedule {
    heap: BinaryHeap<Reverse<(Micros, ClientId)>>,
    /// Connections up to this id have had their exact moment computed.
    pub cursor: ClientId,
}

impl Schedule {
    pub fn add(&mut self, at: Micros, id: ClientId) {
        if at < Micros::NEVER {
            if self.heap.len() == self.heap.capacity() {
                // By a quarter, not twofold: there may be one for each connection.
                self.heap.reserve_exact(self.heap.len() / 4 + 16);
            }
            self.heap.push(Reverse((at, id)));
        }
    }

    /// The next live moment, without taking it; what is stale before it is dropped.
    pub fn peek(&mut self, is_live: impl Fn(Micros, ClientId) -> bool) -> Option<(Micros, ClientId)> {
        while let Some(Reverse((at, id))) = self.heap.peek().copied() {
            if is_live(at, id) {
                return Some((at, id));
            }
            self.heap.pop();
        }
        None
    }

    /// The next live moments up to `near`, `most` of them, without taking them.
    pub fn peek_many(
        &mut self,
        near: Micros,
        most: usize,
        is_live: impl Fn(Micros, ClientId) -> bool,
    ) -> Vec<ClientId> {
        let mut found = Vec::new();
        while found.len() < most {
            match self.pop_due(near, &is_live) {
                Some(moment) => found.push(moment),
                None => break,
            }
        }
        self.heap.extend(found.iter().copied().map(Reverse));
        found.into_iter().map(|(_, id)| id).collect()
    }

    /// Takes the next live moment if it is not after `now`.
    pub fn pop_due(
        &mut self,
        now: Micros,
        is_live: impl Fn(Micros, ClientId) -> bool,
    ) -> Option<(Micros, ClientId)> {
        let (at, id) = self.peek(is_live)?;
        if at > now {
            return None;
        }
        self.heap.pop();
        Some((at, id))
    }

    /// Forgets every moment: limits have changed. Frees nothing and walks nothing.
    pub fn clear(&mut self) {
        self.heap.clear();
        self.cursor = ClientId(0);
    }

    /// Drops stale moments once they outnumber `connections` by far, so that clients which leave
    /// early do not pile up; amortized over the connections that left.
    pub fn compact(&mut self, connections: usize, is_live: impl Fn(Micros, ClientId) -> bool) {
        if self.heap.len() > 2 * connections + 1024 {
            self.heap.retain(|Reverse((at, id))| is_live(*at, *id));
        }
    }

    /// Moments held, stale ones among them.
    pub fn moments(&self) -> usize {
        self.heap.len()
    }

    /// About how much memory it holds, in bytes.
    pub fn memory(&self) -> usize {
        self.heap.capacity() * size_of::<(Micros, ClientId)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(moments: &[(u64, u64)]) -> Schedule {
        let mut schedule = Schedule::default();
        for (at, id) in moments {
            schedule.add(Micros(*at), ClientId(*id));
        }
        schedule
    }

    #[test]
    fn moments_come_in_order_ties_by_id_and_none_before_its_time() {
        let mut schedule = schedule(&[(30, 1), (10, 3), (10, 2), (20, 4)]);
        let mut due = Vec::new();
        while let Some((_, id)) = schedule.pop_due(Micros(20), |_, _| true) {
            due.push(id.0);
        }
        assert_eq!(due, [2, 3, 4]);
        assert_eq!(schedule.peek(|_, _| true), Some((Micros(30), ClientId(1))));
    }

    #[test]
    fn moments_that_are_only_peeked_at_stay() {
        let mut schedule = schedule(&[(30, 1), (10, 3), (10, 2), (20, 4), (15, 5)]);
        let is_live = |_: Micros, id: ClientId| id != ClientId(5);
        let ids = |ids: &[u64]| ids.iter().copied().map(ClientId).collect::<Vec<_>>();
        assert_eq!(schedule.peek_many(Micros(20), 9, is_live), ids(&[2, 3, 4]));
        assert_eq!(schedule.peek_many(Micros(20), 2, is_live), ids(&[2, 3]));
        assert_eq!(schedule.peek_many(Micros(9), 2, is_live), []);
        assert_eq!(
            schedule.pop_due(Micros(20), is_live),
            Some((Micros(10), ClientId(2)))
        );
    }

    #[test]
    fn stale_moments_are_passed_over() {
        let mut schedule = schedule(&[(10, 1), (20, 2)]);
        assert_eq!(
            schedule.pop_due(Micros(50), |_, id| id == ClientId(2)),
            Some((Micros(20), ClientId(2)))
        );
        assert_eq!(schedule.moments(), 0);
    }

    #[test]
    fn never_is_not_scheduled_and_stale_moments_do_not_pile_up() {
        let mut schedule = schedule(&[(u64::MAX, 1)]);
        assert_eq!(schedule.moments(), 0);
        for id in 0..5_000 {
            schedule.add(Micros(id), ClientId(id));
            schedule.compact(1, |_, id| id == ClientId(0));
        }
        assert!(schedule.moments() <= 1_027, "{}", schedule.moments());
    }
}
