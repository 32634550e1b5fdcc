//! Clock: the only place where time is read.

use connage_engine::text::time::{start_ticks, Micros};

/// A hundred years: connections may be older than the clock's own origin, which is the boot.
const ORIGIN_US: u64 = 100 * 365 * 86_400 * 1_000_000;

/// Now, by CLOCK_MONOTONIC.
pub fn now() -> Micros {
    Micros(monotonic_us().saturating_add(ORIGIN_US))
}

/// When the server's process began, or earlier: by a clock that does not step.
pub fn process_began() -> Micros {
    let stat = std::fs::read("/proc/self/stat").unwrap_or_default();
    let age_us = start_ticks(&stat)
        .and_then(us_since_tick)
        // Where the kernel does not tell, nobody knows.
        .unwrap_or(u64::MAX);
    Micros(now().0.saturating_sub(age_us))
}

/// How long this thread has worked, in µs. Unlike [`now`] it does not count the time in which others had
/// the processor, which says nothing of what our work costs.
pub fn worked_us() -> u64 {
    clock_us(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// Microseconds of CLOCK_MONOTONIC, which no step of the wall clock touches; it stands still while
/// the machine is suspended.
pub fn monotonic_us() -> u64 {
    clock_us(libc::CLOCK_MONOTONIC)
}

/// Milliseconds since 1970 by the wall clock, for people to read.
pub fn wall_ms() -> u64 {
    clock_us(libc::CLOCK_REALTIME) / 1_000
}

/// Microseconds since this tick after the boot, as /proc counts them.
fn us_since_tick(tick: u64) -> Option<u64> {
    // SAFETY: asks for a constant of the system's.
    let a_second = u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) }).ok()?;
    let began = tick.saturating_mul(1_000_000).checked_div(a_second)?;
    clock_us(libc::CLOCK_BOOTTIME).checked_sub(began)
}

fn clock_us(clock: libc::clockid_t) -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: a valid place to write to.
    unsafe { libc::clock_gettime(clock, &raw mut now) };
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(now.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000).saturating_add(nanos / 1_000)
}
