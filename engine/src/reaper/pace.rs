//! Pace: how long eviction may take, its share of the event loop's time; and how many are looked at in one go.
//!
//! It must not know why a connection goes, nor how many may, nor read a clock.

use crate::text::time::Micros;

/// Asking the server for its clients takes at most 1/12 of the loop's time, or 1/5 while looks are expensive and
/// so many wait that each is for a whole batch: the last of 20,000 would be past their limit for 3 s
/// otherwise. All else takes at most half.
///
/// Asking is work that the server would not have without the module, and may walk every client.
/// What follows, a few system calls for each connection that goes, mostly replaces work of the
/// server's own, whoever closes.
const LOOK_SHARE: u64 = 12;
const LOOK_SHARE_OF_MANY: u64 = 5;
const CLOSE_SHARE: u64 = 2;
/// Unused time that may be saved up, so that a single expiry among idle seconds need not wait.
const SLACK_US: u64 = 40_000;
/// A look that takes longer has waited for something else (the server's I/O threads, for a processor);
/// to make it wait twelve times as long would keep everybody past their limit.
const MOST_EXPENSIVE_LOOK_US: u64 = 3_000;
/// So few that neither looking at them nor the server's own freeing of them (8 to 18 µs each, after
/// the module has returned) is felt by other clients.
pub(super) const BATCH: usize = 32;
/// An answer more expensive than this, and so much for each connection asked for, has walked every client.
const EXPENSIVE_US: u64 = 150;
const EXPENSIVE_PER_ID_US: u64 = 8;
/// Where one look walks every client (Valkey 8.1.8 and later), more of them at once share its price.
pub(super) const BATCH_WHEN_EXPENSIVE: usize = 160;
/// What one look has shown to be expensive is for so many more: then a small one shows whether it still is.
const EXPENSIVE_LOOKS: u8 = 5;
/// No walk over all clients takes longer for each of them.
const WALK_NS: u64 = 250;
/// A server that has to stop an I/O thread for each client that it tells of (Redis 8) may wait for
/// milliseconds until that thread gets a processor: so few at once then that it stands still no longer
/// than this.
const STALL_US: u64 = 2_000;

/// What a look was for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Look {
    /// Connections that were asked for.
    pub ids: usize,
    /// Those among them that could have waited: rechecked, or busy when they were last looked at.
    pub spare: usize,
    /// All that there are.
    pub connections: usize,
    /// What it took is mostly for texts that clients made long.
    pub is_long: bool,
}

/// The share of the event loop's time that eviction may take.
///
/// Whoever is due has it first: what may wait is looked at once all is paid for, and is no debt of those
/// that come due meanwhile.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// All looks and closings before this moment are paid for.
    paid_until: Micros,
    /// All are that were for those who could not wait.
    due_paid_until: Micros,
    /// All closings are.
    closed_until: Micros,
    /// So many more looks are taken for expensive ones.
    expensive_looks: u8,
    /// For so many each: twice as many as before until they are all that may be. What looks like a walk may be a
    /// server that waits for each, and a look for many would stand for a tenth of a second.
    expensive_batch: usize,
    /// What one connection of a look has cost lately where the server waits for each; 0 where it does not.
    stall_us: u64,
}

impl Pace {
    /// When the next look may be at those who are due, given what the last ones cost.
    pub(super) fn next(&self, now: Micros) -> Micros {
        let unpaid = self.due_paid_until.0.saturating_sub(SLACK_US);
        Micros(unpaid.max(self.closed_until.0).max(now.0))
    }

    /// When the next look may be at those who may wait.
    pub(super) fn next_spare(&self, now: Micros) -> Micros {
        self.next(now).max(self.paid_until)
    }

    pub(super) fn may_look(&self, now: Micros) -> bool {
        self.next(now) <= now
    }

    /// When those may be closed for whom the server need not be asked.
    pub(super) fn next_closing(&self, now: Micros) -> Micros {
        Micros(self.closed_until.0.max(now.0))
    }

    /// Whether a look costs much the same however few it is for.
    pub(super) fn looks_are_expensive(&self) -> bool {
        self.expensive_looks > 0
    }

    /// Whether the server waits for something for each connection that it is asked for.
    pub(super) fn looks_stall(&self) -> bool {
        self.stall_us > 0
    }

    pub(super) fn batch(&self) -> usize {
        if self.looks_are_expensive() {
            self.expensive_batch
        } else if self.looks_stall() {
            ((STALL_US / self.stall_us) as usize).clamp(1, BATCH)
        } else {
            BATCH
        }
    }

    /// No look before `until`.
    pub(super) fn rest(&mut self, until: Micros) {
        self.due_paid_until = self.due_paid_until.max(until.plus_micros(SLACK_US));
    }

    /// For `look` the server was asked for `asked_us`, and what followed took `other_us`.
    pub(super) fn spend(&mut self, now: Micros, look: Look, asked_us: u64, other_us: u64) {
        let Look {
            ids,
            spare,
            connections,
            is_long,
        } = look;
        let many = self.looks_are_expensive() && ids >= BATCH_WHEN_EXPENSIVE;
        if ids > 0 && !is_long {
            let cheap = EXPENSIVE_US + EXPENSIVE_PER_ID_US * ids as u64;
            let walk = WALK_NS * connections as u64 / 1_000;
            let stalls = asked_us > cheap + walk;
            // Nor is it a walk where the server waited for each of late.
            self.expensive_looks = if stalls {
                0
            } else if asked_us > cheap && walk > EXPENSIVE_US && !self.looks_stall() {
                EXPENSIVE_LOOKS
            } else if ids > BATCH {
                // The lines of so many may cost as much as a walk: a smaller look has to tell.
                self.expensive_looks.saturating_sub(1)
            } else {
                0
            };
            if stalls {
                self.expensive_batch = 0;
            } else if self.expensive_looks > 0 {
                self.expensive_batch = (2 * self.expensive_batch.max(BATCH)).min(BATCH_WHEN_EXPENSIVE);
            }
            let stall_us = if stalls { asked_us / ids as u64 } else { 0 };
            self.stall_us = stall_us.max(self.stall_us * 3 / 4);
        }
        let share = if many { LOOK_SHARE_OF_MANY } else { LOOK_SHARE };
        // What a client has made expensive is paid for in full.
        let asked_us = if is_long {
            asked_us
        } else {
            asked_us.min(MOST_EXPENSIVE_LOOK_US)
        };
        let owed_for_looking = asked_us.saturating_mul(share);
        let owed_for_closing = other_us.saturating_mul(CLOSE_SHARE);
        let owed = owed_for_looking.saturating_add(owed_for_closing);
        let due = ids.saturating_sub(spare) as u64;
        let owed_for_due = match ids as u64 {
            0 => owed,
            ids => owed_for_closing.saturating_add(owed_for_looking.saturating_mul(due) / ids),
        };
        self.paid_until = self.paid_until.max(now).plus_micros(owed);
        self.due_paid_until = self.due_paid_until.max(now).plus_micros(owed_for_due);
        self.closed_until = now.plus_micros(owed_for_closing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;
    const MANY: usize = 20_000;

    fn look(ids: usize, connections: usize) -> Look {
        Look {
            ids,
            spare: 0,
            connections,
            is_long: false,
        }
    }

    #[test]
    fn looking_takes_at_most_a_twelfth_of_the_time_or_a_fifth_for_whole_expensive_batches() {
        for (ids, asked, share) in [(32, 400, 12), (160, 900, 12), (100, 1_500, 12), (160, 2_000, 5)] {
            let mut pace = Pace::default();
            let (mut now, mut spent) = (SECOND, 0);
            while now < 11 * SECOND {
                if pace.may_look(Micros(now)) {
                    pace.spend(Micros(now), look(ids, MANY), asked, 0);
                    spent += asked;
                    now += asked;
                }
                now += 50;
            }
            let most = 10 * SECOND / share;
            assert!(
                (most * 94 / 100..=most * 101 / 100).contains(&spent),
                "{spent} of {most} µs"
            );
        }
    }

    #[test]
    fn looks_that_may_wait_are_no_debt_of_those_that_may_not() {
        let mut pace = Pace::default();
        let (mut now, mut spent) = (SECOND, 0);
        while now < 11 * SECOND {
            if pace.next_spare(Micros(now)) <= Micros(now) {
                let look = Look {
                    spare: 32,
                    ..look(32, MANY)
                };
                pace.spend(Micros(now), look, 3_000, 0);
                spent += 3_000;
            }
            assert!(pace.may_look(Micros(now)));
            now += 50;
        }
        let most = 10 * SECOND / LOOK_SHARE;
        assert!(
            (most * 9 / 10..=most * 101 / 100).contains(&spent),
            "{spent} of {most} µs"
        );
        // The other way round they are.
        pace.spend(Micros(now), look(32, MANY), 3_000, 0);
        assert!(pace.next_spare(Micros(now)) >= Micros(now + 36_000));
    }

    #[test]
    fn batches_grow_only_where_a_look_is_expensive_whatever_its_size() {
        let mut pace = Pace::default();
        assert_eq!(pace.batch(), BATCH);
        for batch in [2 * BATCH, 4 * BATCH, BATCH_WHEN_EXPENSIVE] {
            pace.spend(Micros(0), look(1, MANY), 900, 0);
            assert_eq!(pace.batch(), batch);
        }
        for _ in 0..EXPENSIVE_LOOKS {
            assert_eq!(pace.batch(), BATCH_WHEN_EXPENSIVE);
            pace.spend(Micros(0), look(BATCH_WHEN_EXPENSIVE, MANY), 1_000, 0);
        }
        assert_eq!(pace.batch(), BATCH);
        pace.spend(Micros(0), look(BATCH, MANY), 900, 0);
        assert_eq!(pace.batch(), BATCH_WHEN_EXPENSIVE);
        pace.spend(Micros(0), look(BATCH, MANY), 300, 0);
        assert_eq!(pace.batch(), BATCH);
        // No walk over so few takes so long.
        pace.spend(Micros(0), look(1, 100), 900, 0);
        assert!(pace.batch() < BATCH);
    }

    #[test]
    fn a_server_that_waits_for_each_connection_is_not_taken_for_one_that_walks_all() {
        let mut pace = Pace::default();
        let (mut now, mut longest) = (0, 0);
        for turn in 0..1_000 {
            // 30 to 900 µs for each.
            let each = [30, 30, 30, 900][turn % 4];
            let ids = pace.batch();
            longest = longest.max(ids * each);
            now += SECOND;
            pace.spend(Micros(now), look(ids, 5_000), (ids * each) as u64, 0);
        }
        assert!(longest <= 2 * BATCH * 900, "{longest} µs");
    }

    #[test]
    fn a_batch_is_never_empty_whatever_looks_have_cost() {
        const COSTS: [u64; 4] = [20, 900, 1_500, 200_000];
        for first in COSTS {
            for second in COSTS {
                for third in COSTS {
                    let mut pace = Pace::default();
                    for (turn, cost) in [first, second, third, third].into_iter().enumerate() {
                        let ids = pace.batch().max(1);
                        pace.spend(Micros(0), look(ids, MANY), cost, 0);
                        let costs = [first, second, third];
                        assert!(pace.batch() > 0, "{costs:?}, after {}", turn + 1);
                    }
                }
            }
        }
    }

    #[test]
    fn batches_shrink_where_the_server_waits_for_each_connection_and_grow_back_bit_by_bit() {
        let mut pace = Pace::default();
        let mut batches = Vec::new();
        for each in [
            4_000, 4_000, 500, 60, 60, 60, 60, 60, 60, 60, 60, 60, 60, 60, 60, 60,
        ] {
            let ids = pace.batch();
            batches.push(ids);
            pace.spend(Micros(0), look(ids, 100), each * ids as u64, 0);
        }
        assert_eq!(batches, [32, 1, 1, 1, 1, 1, 1, 2, 2, 3, 5, 6, 8, 11, 15, 21]);
        while pace.looks_stall() {
            pace.spend(Micros(0), look(1, 100), 40, 0);
        }
        assert_eq!(pace.batch(), BATCH);
    }
}
