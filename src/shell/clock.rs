//! Clock: the only place where time is read.

use super::ffi::socket;
use crate::engine::time::{start_ticks, Micros};

/// A hundred years: connections may be older than the clock's own origin, which is the boot.
const ORIGIN_US: u64 = 100 * 365 * 86_400 * 1_000_000;

/// Now, by CLOCK_MONOTONIC.
pub fn now() -> Micros {
    Micros(socket::monotonic_us().saturating_add(ORIGIN_US))
}

/// When the server's process began, or earlier: by a clock that does not step.
pub fn process_began() -> Micros {
    let stat = std::fs::read("/proc/self/stat").unwrap_or_default();
    let age_us = start_ticks(&stat)
        .and_then(socket::us_since_tick)
        // Where the kernel does not tell, nobody knows.
        .unwrap_or(u64::MAX);
    Micros(now().0.saturating_sub(age_us))
}

/// How long this thread has worked, in µs. Unlike [`now`] it does not count the time in which others had
/// the processor, which says nothing of what our work costs.
pub fn worked_us() -> u64 {
    socket::thread_us()
}

/// Milliseconds since 1970, for people to read.
pub fn wall_ms() -> u64 {
    socket::wall_ms()
}
