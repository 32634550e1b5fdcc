//! Rate: how many connections may go, the operator's evictions a second.
//!
//! It must not know why a connection goes, nor how long that takes, nor read a clock.

use crate::text::time::Micros;

const SECOND: u64 = 1_000_000;
/// One more than a second holds: the window is then never shorter than a second.
const BUCKETS: usize = 101;
const BUCKET_US: u64 = SECOND / 100;

/// At most `per_second` evictions in any second, however the seconds are cut.
///
/// A bucket of a fiftieth of a second's worth smooths them (a second's whole allowance in one burst
/// would be the storm that the setting exists to prevent), and a sliding window of hundredths
/// of a second keeps the sum strict.
#[derive(Debug)]
pub(super) struct Rate {
    per_second: u32,
    /// Generic cell rate algorithm: when the bucket is full again.
    full_at: Micros,
    window: [u32; BUCKETS],
    window_sum: u32,
    /// Number of the hundredth of a second that `window` was last advanced to.
    window_at: u64,
}

impl Rate {
    /// `per_second` 0 means no limit.
    pub(super) fn new(per_second: u32) -> Self {
        Rate {
            per_second,
            full_at: Micros(0),
            window: [0; BUCKETS],
            window_sum: 0,
            window_at: 0,
        }
    }

    /// What was spent in the last second still counts under the new rate.
    pub(super) fn set(&mut self, per_second: u32) {
        self.per_second = per_second;
        self.full_at = Micros(0);
    }

    fn interval(&self) -> u64 {
        SECOND / u64::from(self.per_second.max(1))
    }

    fn burst(&self) -> u64 {
        u64::from(self.per_second / 50).max(1) * self.interval()
    }

    fn advance(&mut self, now: Micros) {
        let at = now.0 / BUCKET_US;
        let steps = at.saturating_sub(self.window_at).min(BUCKETS as u64);
        for step in 0..steps {
            let slot = (at - step) as usize % BUCKETS;
            if let Some(bucket) = self.window.get_mut(slot) {
                self.window_sum -= *bucket;
                *bucket = 0;
            }
        }
        self.window_at = self.window_at.max(at);
    }

    /// How many may go now.
    pub(super) fn allowance(&mut self, now: Micros) -> u32 {
        if self.per_second == 0 {
            return u32::MAX;
        }
        self.advance(now);
        let left = self.per_second.saturating_sub(self.window_sum);
        let horizon = now.0.saturating_add(self.burst());
        let bucket = horizon.saturating_sub(self.full_at.0.max(now.0)) / self.interval();
        left.min(u32::try_from(bucket).unwrap_or(u32::MAX))
    }

    /// One has gone.
    pub(super) fn spend(&mut self, now: Micros) {
        if self.per_second == 0 {
            return;
        }
        self.advance(now);
        let slot = self.window_at as usize % BUCKETS;
        if let Some(bucket) = self.window.get_mut(slot) {
            *bucket += 1;
            self.window_sum += 1;
        }
        self.full_at = Micros(self.full_at.0.max(now.0)).plus_micros(self.interval());
    }

    /// When to ask again after an allowance of 0.
    pub(super) fn next(&mut self, now: Micros) -> Micros {
        if self.allowance(now) > 0 {
            return now;
        }
        let bucket = (self.full_at.0 + self.interval()).saturating_sub(self.burst());
        let next_hundredth = (now.0 / BUCKET_US + 1) * BUCKET_US;
        if self.window_sum >= self.per_second {
            Micros(bucket.max(next_hundredth))
        } else {
            Micros(bucket.max(now.0 + 1))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs `rate` as greedily as it allows, asking every `step` µs; the moments of each eviction.
    fn greedy(per_second: u32, step: u64, length: u64) -> Vec<u64> {
        let mut rate = Rate::new(per_second);
        let mut gone = Vec::new();
        for now in (5 * SECOND..5 * SECOND + length).step_by(step as usize) {
            for _ in 0..rate.allowance(Micros(now)) {
                rate.spend(Micros(now));
                gone.push(now);
            }
        }
        gone
    }

    #[test]
    fn no_second_however_cut_has_more_than_the_rate() {
        for (per_second, step) in [(1, 1_000), (7, 3_000), (50, 500), (1000, 100), (1000, 40_000)] {
            let gone = greedy(per_second, step, 5 * SECOND);
            for (i, start) in gone.iter().enumerate() {
                let within = gone[i..].iter().take_while(|t| **t < start + SECOND).count();
                assert!(
                    within <= per_second as usize,
                    "{per_second}/s step {step}: {within}"
                );
            }
        }
    }

    #[test]
    fn the_rate_is_reached_and_not_only_kept() {
        for per_second in [1, 10, 100, 1000, 20_000] {
            let gone = greedy(per_second, 500, 10 * SECOND).len() as f64;
            let wanted = f64::from(per_second) * 10.0;
            assert!(gone >= wanted * 0.97, "{per_second}: {gone}");
        }
    }

    #[test]
    fn after_a_refusal_next_is_when_one_may_go_or_a_hundredth_of_a_second_before() {
        for per_second in [1, 3, 100, 1000] {
            let mut rate = Rate::new(per_second);
            let mut now = Micros(9 * SECOND);
            for _ in 0..3 * per_second {
                let mut asked = 0;
                while rate.allowance(now) == 0 {
                    let next = rate.next(now);
                    assert!(next > now);
                    now = next;
                    asked += 1;
                    assert!(asked <= 101, "{per_second}: asks in vain");
                }
                rate.spend(now);
            }
            assert!(now.0 >= 10 * SECOND);
        }
    }

    #[test]
    fn rate_zero_is_no_limit() {
        let mut rate = Rate::new(0);
        (0..100_000).for_each(|_| rate.spend(Micros(1)));
        assert_eq!(rate.allowance(Micros(1)), u32::MAX);
        assert_eq!(rate.next(Micros(1)), Micros(1));
    }
}
