//! Watch: who holds a WATCH, also on servers whose CLIENT LIST has no field for it (Redis 7.0 and 7.2).
//!
//! Their `tot-mem` counts some bytes for each watched key (56 on 7.0, 80 on 7.2: `multiStateMemOverhead` in
//! multi.c). All other parts of it follow from other fields: the query buffer as the allocator rounds it, and the
//! client itself, which is the same for all; and the tables of subscriptions, which stay when these are given up,
//! and are powers of two. Whoever has more than these explain watches, or may.

use crate::client::{flag, Client};
use alloc::vec::Vec;

/// Commands after which nobody watches.
const END: [&[u8]; 5] = [b"NULL", b"exec", b"discard", b"unwatch", b"reset"];
/// A client by itself is one allocation of about this size, and becomes none again by what it watches.
const CLIENT: core::ops::RangeInclusive<u64> = 512..=1_024;
/// What a watched key takes on Redis 7.2; 56 on 7.0 is no sum of two powers of two, times whatever.
const KEY: u64 = 80;
/// What a subscription takes beside its table.
const SUBSCRIPTION: u64 = 24;
/// The least table.
const TABLE: u64 = 32;
/// Where the allocator's rounding is not known: above any header, below one watched key.
const MARGIN: u64 = 40;

/// What it has learned of the server.
#[derive(Debug, Default)]
pub struct WatchGauge {
    /// What a client takes by itself.
    client: Option<u64>,
    /// The least that was left unexplained.
    least: Option<u64>,
}

impl WatchGauge {
    /// Whether `client` watches, or may. `jemalloc`: that is what rounds the server's allocations.
    pub fn is_watching(&mut self, client: &Client, jemalloc: bool) -> bool {
        // Somebody has changed what it watched; the server keeps no more of it than this.
        if client.has_flag(flag::DIRTY) {
            return true;
        }
        if let Some(keys) = client.watch {
            return keys > 0;
        }
        if client.cmd.eq_ignore_ascii_case(b"watch") {
            return true;
        }
        // Busy, or in MULTI, whatever it watches.
        if client.argv_mem > 0 || client.in_multi() {
            return false;
        }
        if jemalloc {
            self.exceeds(client)
        } else {
            self.exceeds_others(client)
        }
    }

    fn exceeds(&mut self, client: &Client) -> bool {
        let subscriptions = client.sub.saturating_add(client.psub).saturating_add(client.ssub);
        let listed = [
            client.omem,
            client.rbs,
            client.multi_mem,
            subscriptions.saturating_mul(SUBSCRIPTION),
        ];
        let left = listed
            .iter()
            .try_fold(client.tot_mem, |left, part| left.checked_sub(*part));
        let buffer = client.qbuf.saturating_add(client.qbuf_free);
        // A buffer that has grown fills what it was given, and tells its header so; one that has shrunk may have
        // kept the header of what it was.
        let headers: &[u64] = match buffer {
            0..256 => &[3, 5, 9],
            256..65_536 => &[5, 9],
            _ => &[9],
        };
        let sizes = headers.iter().map(|header| buffer.saturating_add(header + 1));
        let fills = sizes.clone().find(|size| *size == rounded(*size));
        let rests: Vec<u64> = sizes
            .filter(|size| fills.is_none_or(|fills| fills == *size))
            .filter_map(|size| left?.checked_sub(rounded(size)))
            .collect();
        // Where the fields make no sense nothing is said of watching either.
        if rests.is_empty() {
            return false;
        }
        let is_end = END.contains(&client.cmd);
        for rest in &rests {
            if CLIENT.contains(rest) && *rest == rounded(*rest) {
                self.client = Some(self.client.map_or(*rest, |known| known.min(*rest)));
            }
        }
        let Some(itself) = self.client else {
            return !is_end;
        };
        !is_end
            && !rests
                .iter()
                .any(|rest| rest.checked_sub(itself).is_some_and(is_tables))
    }

    fn exceeds_others(&mut self, client: &Client) -> bool {
        if client.has_flag(flag::TRACKING) || client.sub + client.psub + client.ssub > 0 {
            return false;
        }
        let listed = [
            client.omem,
            client.qbuf,
            client.qbuf_free,
            client.rbs,
            client.multi_mem,
        ];
        let left = listed
            .iter()
            .try_fold(client.tot_mem, |left, part| left.checked_sub(*part));
        let Some(left) = left else {
            return false;
        };
        let least = self.least.map_or(left, |least| least.min(left));
        self.least = Some(least);
        left > least + MARGIN
    }
}

/// Whether so many bytes are what tables of subscriptions take: none, one, or two, as while one grows.
fn is_tables(bytes: u64) -> bool {
    let is_one = |bytes: u64| bytes >= TABLE && bytes.is_power_of_two();
    let low = bytes & bytes.wrapping_neg();
    bytes == 0 || is_one(bytes) || is_one(low) && is_one(bytes - low) && bytes % KEY != 0
}

/// Whether `allocated`, which tells what is given for so many bytes, rounds as jemalloc does.
pub fn rounds_as_jemalloc(allocated: impl Fn(u64) -> Option<u64>) -> bool {
    const TRIED: [u64; 5] = [20, 100, 600, 1_100, 9_000];
    TRIED
        .iter()
        .all(|bytes| allocated(*bytes) == Some(rounded(*bytes)))
}

/// What jemalloc gives for so many bytes: four sizes to each doubling.
fn rounded(bytes: u64) -> u64 {
    match bytes {
        0..=8 => 8,
        9..=128 => bytes.next_multiple_of(16),
        _ => {
            let power = bytes.checked_next_power_of_two().unwrap_or(1 << 63);
            bytes.checked_next_multiple_of(power / 8).unwrap_or(bytes)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::info_line;

    fn watching(gauge: &mut WatchGauge, line: &str, jemalloc: bool) -> bool {
        let line = format!("id=1 {line}");
        gauge.is_watching(&info_line::parse(line.as_bytes()).unwrap(), jemalloc)
    }

    #[test]
    fn jemalloc_is_told_by_how_it_rounds() {
        assert!(rounds_as_jemalloc(|bytes| Some(rounded(bytes))));
        // As glibc does.
        assert!(!rounds_as_jemalloc(|bytes| Some(bytes.next_multiple_of(16) + 8)));
        assert!(!rounds_as_jemalloc(|_| None));
    }

    #[test]
    fn allocations_are_rounded_as_jemalloc_does() {
        for (bytes, expected) in [
            (4, 8),
            (9, 16),
            (128, 128),
            (129, 160),
            (768, 768),
            (769, 896),
            (20_480, 20_480),
            (27_034, 28_672),
        ] {
            assert_eq!(rounded(bytes), expected);
        }
    }

    #[test]
    fn the_field_tells_where_there_is_one_and_so_does_what_was_changed() {
        let mut gauge = WatchGauge::default();
        for (line, expected) in [
            ("watch=0 tot-mem=9999", false),
            ("watch=2 tot-mem=10", true),
            // All that it watched is forgotten once somebody has changed it, but not that it did.
            ("watch=0 flags=d", true),
            ("cmd=watch tot-mem=10", true),
        ] {
            assert_eq!(watching(&mut gauge, line, true), expected, "{line}");
        }
    }

    /// Lines of Redis 7.0.15.
    const LINES: [(&str, bool); 12] = [
        ("cmd=ping qbuf-free=20474 rbs=16384 tot-mem=37632", false),
        ("cmd=get qbuf-free=20474 rbs=16384 tot-mem=37688", true),
        ("cmd=get qbuf-free=20474 rbs=16384 tot-mem=38080", true),
        ("cmd=ping qbuf-free=0 rbs=1024 tot-mem=1800", false),
        ("cmd=set qbuf-free=81910 rbs=16384 tot-mem=99072", false),
        ("cmd=set qbuf-free=114678 rbs=16384 tot-mem=131840", false),
        // Shrunk to what one command took.
        ("cmd=ping qbuf-free=27028 rbs=1024 tot-mem=30464", false),
        ("cmd=get qbuf-free=27028 rbs=1024 tot-mem=30520", true),
        // Subscribed, and given up.
        (
            "cmd=subscribe flags=P sub=5 qbuf-free=20474 rbs=16384 tot-mem=37848",
            false,
        ),
        ("cmd=ping qbuf-free=20474 rbs=16384 tot-mem=37728", false),
        ("cmd=ping qbuf-free=20474 rbs=16384 tot-mem=40704", false),
        ("cmd=exec qbuf-free=20474 rbs=16384 tot-mem=37632", false),
    ];

    #[test]
    fn who_watches_is_told_by_what_memory_leaves_unexplained() {
        let mut gauge = WatchGauge::default();
        for (line, expected) in LINES.into_iter().chain(LINES) {
            assert_eq!(watching(&mut gauge, line, true), expected, "{line}");
        }
    }

    #[test]
    fn a_watcher_that_is_seen_first_is_no_measure_for_the_others() {
        for (line, expected) in LINES {
            if line.contains("sub=") || line.contains("tot-mem=37728") || line.contains("tot-mem=40704") {
                continue; // It is waited for, until the size of a client is known.
            }
            assert_eq!(
                watching(&mut WatchGauge::default(), line, true),
                expected,
                "{line}"
            );
        }
        for keys in 1..2_000 {
            let line = format!("cmd=get qbuf-free=20474 rbs=16384 tot-mem={}", 37_632 + keys * 56);
            assert!(watching(&mut WatchGauge::default(), &line, true), "{keys}");
            let mut gauge = WatchGauge::default();
            watching(&mut gauge, LINES[0].0, true);
            assert!(watching(&mut gauge, &line, true), "{keys}");
        }
    }

    #[test]
    fn with_another_allocator_the_least_that_was_seen_is_the_measure() {
        let mut gauge = WatchGauge::default();
        for (line, expected) in [
            ("cmd=get qbuf-free=20474 rbs=1024 tot-mem=22298", false),
            ("cmd=get qbuf-free=20474 rbs=1024 tot-mem=22378", true),
            ("cmd=get qbuf-free=0 rbs=1024 tot-mem=1818", false),
            ("cmd=subscribe sub=1 qbuf-free=0 rbs=1024 tot-mem=2978", false),
            ("cmd=get tot-mem=5 rbs=1024", false),
        ] {
            assert_eq!(watching(&mut gauge, line, false), expected, "{line}");
        }
    }
}
