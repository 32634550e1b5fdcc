//! Jitter: where in its window a connection's own limit falls.
//!
//! The fraction is a hash of the connection's id and a seed that the shell draws once at load, so
//! it is fixed at birth, costs no memory, and a change of settings rescales it instead of drawing
//! it anew. Must not hold state or draw random numbers.

use crate::client::ClientId;
use crate::policy::settings::Percent;
use crate::text::time::Millis;

/// SplitMix64's finalizer (Steele, Lea, Flood: "Fast splittable pseudorandom number generators",
/// 2014): neighbouring ids, which is what a server hands out, end up far apart.
fn mix(seed: u64, id: ClientId) -> u64 {
    let mut z = seed ^ id.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The limit of connection `id`, in [maxage·(1−jitter/100), maxage]; 0 (no limit) stays 0, and a
/// limit never becomes 0 by jitter.
pub fn limit(seed: u64, id: ClientId, maxage: Millis, jitter: Percent) -> Millis {
    if jitter.0 == 0 || maxage.0 == 0 {
        return maxage;
    }
    let fraction = u128::from(mix(seed, id) >> 32);
    let window = u128::from(maxage.0) * u128::from(jitter.0.min(90));
    let earlier = (window * fraction / (100_u128 << 32)) as u64;
    Millis(maxage.0.saturating_sub(earlier).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_lies_in_its_window_and_the_draws_fill_it() {
        let mut seen = [0_u32; 10];
        for id in 0..10_000 {
            let got = limit(7, ClientId(id), Millis(10_000), Percent(20)).0;
            assert!((8_000..=10_000).contains(&got), "id {id}: {got}");
            seen[((got - 8_000) / 201) as usize] += 1;
        }
        assert!(seen.iter().all(|n| (850..1_150).contains(n)), "{seen:?}");
    }

    #[test]
    fn a_draw_is_fixed_at_birth_and_rescales_with_maxage() {
        let at = |maxage| limit(7, ClientId(42), Millis(maxage), Percent(50)).0;
        assert_eq!(at(1_000_000), at(1_000_000));
        let share = at(1_000_000) as f64 / 1_000_000.0;
        assert!((at(4_000_000) as f64 / 4_000_000.0 - share).abs() < 1e-5);
    }

    #[test]
    fn extremes_neither_overflow_nor_switch_the_limit_off() {
        let id = ClientId(u64::MAX);
        assert_eq!(limit(1, id, Millis(0), Percent(90)), Millis(0));
        assert!(limit(1, id, Millis(1), Percent(90)).0 >= 1);
        let big = i64::MAX as u64;
        let got = limit(1, id, Millis(big), Percent(90)).0;
        assert!(got >= big / 10 && got <= big);
    }
}
