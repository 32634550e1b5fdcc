//! Clock: the only place where time is read.

use super::ffi::socket;
use crate::engine::time::Micros;

/// A hundred years: connections may be older than the clock's own origin, which is the boot.
const ORIGIN_US: u64 = 100 * 365 * 86_400 * 1_000_000;

/// Now, by CLOCK_MONOTONIC.
pub fn now() -> Micros {
    Micros(socket::monotonic_us().saturating_add(ORIGIN_US))
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
