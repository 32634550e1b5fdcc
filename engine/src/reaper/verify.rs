//! Verify: when to compare the registry with what the server counts, and when a difference is worth a walk over
//! all clients.
//!
//! Half-open TLS handshakes are connections without a CONNECTED event, and who opens them can make a difference
//! whenever he likes: so walks become rare where they come often.

use crate::text::time::{Micros, Millis};

/// How often to compare, where counting is cheap.
const PERIOD: Millis = Millis(10_000);
/// A difference that is still there after this long lasts.
const LASTING: Millis = Millis(2_000);
/// Counting takes at most this share of the time, and walking: on some servers counting walks all clients as well.
const SHARE_OF_COUNTING: u64 = 200;
const SHARE_OF_WALKING: u64 = 1_000;
const RAREST_COUNT: Millis = Millis(600_000);
const RAREST_WALK: Millis = Millis(3_600_000);
/// Without a walk for so long, the next may follow as soon as ever.
const FORGOTTEN: Millis = Millis(4 * RAREST_WALK.0);

/// What the last comparisons said.
#[derive(Debug, Default)]
pub struct Verifier {
    next: Micros,
    suspicious: bool,
    /// A difference that a walk over all clients did not remove.
    accepted: i128,
    /// Walks, each soon after the one before.
    walks: u32,
    walked_at: Micros,
    next_walk: Micros,
}

impl Verifier {
    #[must_use]
    pub fn next(&self) -> Micros {
        self.next
    }

    /// The server would not count.
    pub fn not_counted(&mut self, now: Micros) {
        self.next = now.plus(PERIOD);
    }

    /// Counting took `cost_us`. Answers whether to walk over all clients.
    pub fn counted(&mut self, now: Micros, counted: u64, tracked: usize, cost_us: u64) -> bool {
        let differs = difference(counted, tracked) != self.accepted;
        let lasts = differs && self.suspicious;
        let wait = share(cost_us, SHARE_OF_COUNTING).clamp(PERIOD, RAREST_COUNT);
        self.next = now.plus(if differs && !lasts { LASTING } else { wait });
        self.suspicious = differs;
        lasts && now >= self.next_walk
    }

    /// A walk took `cost_us`; `counted`: what the server counts now, if it does.
    pub fn walked(&mut self, now: Micros, counted: Option<u64>, tracked: usize, cost_us: u64) {
        self.suspicious = false;
        self.accepted = counted.map_or(0, |counted| difference(counted, tracked));
        if now >= self.walked_at.plus(FORGOTTEN) {
            self.walks = 0;
        }
        let doubled = Millis(PERIOD.0 << self.walks.min(16));
        self.next_walk = now.plus(doubled.max(share(cost_us, SHARE_OF_WALKING)).min(RAREST_WALK));
        self.walks += 1;
        self.walked_at = now;
    }
}

fn difference(counted: u64, tracked: usize) -> i128 {
    i128::from(counted) - tracked as i128
}

/// How long `cost_us` has to last.
fn share(cost_us: u64, share: u64) -> Millis {
    Millis(cost_us.saturating_mul(share) / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    /// Runs for so long with what the server counts at each moment beside 100 tracked connections; answers with the
    /// moments of walks, in seconds. A walk finds what is there.
    fn walks(seconds: u64, walk_us: u64, mut extra: impl FnMut(u64) -> u64) -> Vec<u64> {
        let (mut verifier, mut tracked, mut walks) = (Verifier::default(), 100, Vec::new());
        while verifier.next().0 < seconds * SECOND {
            let now = verifier.next();
            let counted = 100 + extra(now.0 / SECOND);
            if verifier.counted(now, counted, tracked, 10) {
                tracked = counted as usize;
                verifier.walked(now, Some(counted), tracked, walk_us);
                walks.push(now.0 / SECOND);
            }
        }
        walks
    }

    #[test]
    fn only_a_difference_that_lasts_is_worth_a_walk() {
        assert_eq!(walks(3_600, 10, |_| 0), []);
        assert_eq!(walks(3_600, 10, |at| u64::from(at == 20)), []);
        assert_eq!(walks(3_600, 10, |at| u64::from(at >= 20)), [22]);
        assert_eq!(
            walks(30_000, 10, |at| u64::from(at >= 20) + u64::from(at >= 9_000)),
            [22, 9_004]
        );
    }

    #[test]
    fn whoever_makes_differences_without_end_makes_walks_rare() {
        let without_end = walks(86_400, 30_000, |at| at);
        assert!(without_end.len() <= 35, "{without_end:?}");
        assert!(without_end.len() >= 24, "still once an hour: {without_end:?}");
        // Each is paid for, however few there were.
        for pair in walks(86_400, 600_000, |at| at).windows(2) {
            assert!(pair[1] - pair[0] >= 600, "{pair:?}");
        }
    }

    #[test]
    fn a_server_that_counts_dearly_is_asked_rarely_and_one_that_would_not_count_again() {
        let mut verifier = Verifier::default();
        assert!(!verifier.counted(Micros(0), 5, 5, 1_000_000));
        assert_eq!(verifier.next(), Micros(200 * SECOND));
        assert!(!verifier.counted(Micros(0), 5, 5, u64::MAX));
        assert_eq!(verifier.next(), Micros(600 * SECOND));
        verifier.not_counted(Micros(SECOND));
        assert_eq!(verifier.next(), Micros(11 * SECOND));
        // What a walk has not removed is no difference any more.
        verifier.walked(Micros(0), Some(7), 5, 1);
        assert!(!verifier.counted(Micros(0), 7, 5, 1));
        assert_eq!(verifier.next(), Micros(10 * SECOND));
    }
}
