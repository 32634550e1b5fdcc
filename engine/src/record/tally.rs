//! Tally: counters and lag percentiles, what INFO shows of the past.
//!
//! Only counts what it is told; must not decide anything.

use crate::record::journal::{How, Reason};
use alloc::boxed::Box;
use alloc::vec;

/// Sub-buckets to a power of two: a percentile is at most 1/16 above the truth.
const PARTS: usize = 16;
const POWERS: usize = 40;

/// A histogram of microseconds with logarithmic buckets, as HdrHistogram's: constant size, and
/// cheap to add to.
#[derive(Debug)]
pub struct Lag {
    buckets: Box<[u32]>,
    count: u64,
    max: u64,
}

impl Default for Lag {
    fn default() -> Self {
        Lag {
            buckets: vec![0; PARTS * POWERS].into_boxed_slice(),
            count: 0,
            max: 0,
        }
    }
}

impl Lag {
    fn bucket(us: u64) -> usize {
        let power = (u64::BITS - (us / PARTS as u64).leading_zeros()) as usize;
        let part = if power == 0 {
            us as usize
        } else {
            (us >> (power - 1)) as usize % PARTS
        };
        (power * PARTS + part).min(PARTS * POWERS - 1)
    }

    /// The largest value that falls into `bucket`.
    fn upper(bucket: usize) -> u64 {
        let (power, part) = (bucket / PARTS, (bucket % PARTS) as u64);
        if power == 0 {
            part
        } else {
            ((PARTS as u64 + part + 1) << (power - 1)) - 1
        }
    }

    pub fn record(&mut self, us: u64) {
        if let Some(n) = self.buckets.get_mut(Self::bucket(us)) {
            *n = n.saturating_add(1);
        }
        self.count += 1;
        self.max = self.max.max(us);
    }

    /// The value that `percent` of all are at or below, in µs; 0 when there is none.
    pub fn percentile(&self, percent: u64) -> u64 {
        let rank = (self.count * percent).div_ceil(100).max(1);
        let mut seen = 0;
        for (bucket, n) in self.buckets.iter().enumerate() {
            seen += u64::from(*n);
            if seen >= rank {
                return Self::upper(bucket).min(self.max);
            }
        }
        self.max
    }

    pub fn max(&self) -> u64 {
        self.max
    }

    #[cfg(test)]
    pub(crate) fn count(&self) -> u64 {
        self.count
    }
}

/// Counters since load or CONNAGE.CONFIG RESETSTAT.
#[derive(Debug, Default)]
pub struct Tally {
    pub quiet: u64,
    pub blocked: u64,
    pub forced: u64,
    /// Of those three, the ones that CONNAGE.KILL asked for.
    pub by_command: u64,
    pub would_evict: u64,
    /// Times that the module was woken for work.
    pub wakeups: u64,
    /// Looks at the server's clients, and the time of its main thread spent on them and on closing.
    pub sweeps: u64,
    pub sweep_usec: u64,
    pub sweep_usec_max: u64,
    /// From the limit of a quiet connection to its closing.
    pub lag: Lag,
}

impl Tally {
    pub fn evicted(&self) -> u64 {
        self.quiet + self.blocked + self.forced
    }

    pub fn count(&mut self, how: How, reason: &Reason) {
        match how {
            How::Quiet => self.quiet += 1,
            How::Blocked => self.blocked += 1,
            How::Forced => self.forced += 1,
            How::DryRun => {
                self.would_evict += 1;
                return;
            }
        }
        self.by_command += u64::from(*reason == Reason::COMMAND);
    }

    pub fn swept(&mut self, us: u64) {
        self.sweeps += 1;
        self.sweep_usec += us;
        self.sweep_usec_max = self.sweep_usec_max.max(us);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_at_most_a_sixteenth_above_the_truth_and_never_below() {
        let mut lag = Lag::default();
        let mut values: Vec<u64> = (0..5_000_u64).map(|i| (i * i * 7) % 1_000_003).collect();
        values.iter().for_each(|v| lag.record(*v));
        values.sort_unstable();
        for percent in [1, 50, 90, 99, 100] {
            let truth = values[(values.len() * percent as usize).div_ceil(100) - 1];
            let got = lag.percentile(percent);
            assert!(
                got >= truth && got <= truth + truth / 16 + 1,
                "p{percent}: {got} {truth}"
            );
        }
        assert_eq!(lag.max(), *values.last().unwrap());
    }

    #[test]
    fn each_bucket_holds_its_own_upper_bound_and_the_next_value_falls_into_the_next() {
        for bucket in 0..PARTS * POWERS - 1 {
            let upper = Lag::upper(bucket);
            assert_eq!(Lag::bucket(upper), bucket);
            assert_eq!(Lag::bucket(upper + 1), bucket + 1);
        }
        let mut lag = Lag::default();
        lag.record(u64::MAX);
        assert_eq!(lag.percentile(50), Lag::upper(PARTS * POWERS - 1));
    }

    #[test]
    fn an_empty_lag_is_zero() {
        assert_eq!((Lag::default().percentile(99), Lag::default().max()), (0, 0));
    }

    #[test]
    fn evicted_is_the_sum_of_quiet_blocked_and_forced_without_dry_runs() {
        let mut tally = Tally::default();
        for (how, reason) in [
            (How::Quiet, Reason::MAXAGE),
            (How::Quiet, Reason::COMMAND),
            (How::Blocked, Reason::COMMAND),
            (How::Forced, Reason::OWN),
            (How::DryRun, Reason::MAXAGE),
        ] {
            tally.count(how, &reason);
        }
        assert_eq!((tally.evicted(), tally.by_command, tally.would_evict), (4, 2, 1));
    }
}
