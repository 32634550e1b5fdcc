//! Timer: a descriptor that can be read once its time has come.

use libc::c_int;

/// A timer that the event loop can wait for.
pub fn make() -> Option<c_int> {
    // SAFETY: makes a descriptor of our own, or fails.
    let fd = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK | libc::TFD_CLOEXEC) };
    (fd >= 0).then_some(fd)
}

/// Sets the timer to go off after so many microseconds, or never. Relative: libfaketime, which some run
/// their servers under to test a step of the wall clock, shifts absolute times of any clock.
pub fn set(fd: c_int, after_us: Option<u64>) -> bool {
    let zero = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let value = after_us.map_or(zero, |after| {
        let after = after.min(u64::from(u32::MAX) * 1_000_000);
        libc::timespec {
            tv_sec: (after / 1_000_000) as libc::time_t,
            // A time of zero would mean never.
            tv_nsec: ((after % 1_000_000) * 1_000).max(1) as libc::c_long,
        }
    });
    let spec = libc::itimerspec {
        it_interval: zero,
        it_value: value,
    };
    // SAFETY: a valid structure, and no place for the old one is asked for.
    unsafe { libc::timerfd_settime(fd, 0, &raw const spec, std::ptr::null_mut()) == 0 }
}

/// Silences a timer that went off; `false` when it has not, since it was set.
pub fn read(fd: c_int) -> bool {
    let mut times = 0_u64;
    // SAFETY: eight bytes, as timerfd wants them.
    let got = unsafe { libc::read(fd, (&raw mut times).cast(), size_of::<u64>()) };
    got > 0
}
