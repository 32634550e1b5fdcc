//! Timer: a descriptor that can be read once its time has come.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// The longest time that a timer is set to: a timer that goes off too early is set again.
const LONGEST_US: u64 = u32::MAX as u64 * 1_000_000;

/// A timer that the event loop can wait for.
#[derive(Debug)]
pub struct Timer(OwnedFd);

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Timer {
    /// `None` for want of descriptors.
    pub fn new() -> Option<Timer> {
        // SAFETY: takes numbers only.
        let fd =
            unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK | libc::TFD_CLOEXEC) };
        if fd < 0 {
            return None;
        }
        // SAFETY: the kernel has just made this descriptor, and nobody else knows its number.
        Some(Timer(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Sets the timer to go off after so many microseconds, or never. Relative: libfaketime, which some run
    /// their servers under to test a step of the wall clock, shifts absolute times of any clock.
    pub fn set(&self, after_us: Option<u64>) -> bool {
        let zero = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let value = after_us.map_or(zero, |after| {
            let after = after.min(LONGEST_US);
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
        unsafe { libc::timerfd_settime(self.as_raw_fd(), 0, &raw const spec, std::ptr::null_mut()) == 0 }
    }

    /// Silences a timer that went off; `false` when it has not, since it was set.
    pub fn silence(&self) -> bool {
        let mut times = 0_u64;
        // SAFETY: eight bytes, as timerfd wants them.
        let got = unsafe { libc::read(self.as_raw_fd(), (&raw mut times).cast(), size_of::<u64>()) };
        got > 0
    }
}

#[cfg(test)]
mod tests {
    use super::Timer;
    use rustix::event::{poll, PollFd, PollFlags, Timespec};
    use std::os::fd::AsFd;

    /// Waits until the timer can be read, or `false` after so many seconds.
    fn goes_off(timer: &Timer, within_s: i64) -> bool {
        let within = Timespec {
            tv_sec: within_s,
            tv_nsec: 0,
        };
        let mut polled = [PollFd::from_borrowed_fd(timer.0.as_fd(), PollFlags::IN)];
        poll(&mut polled, Some(&within)).expect("polled") == 1
    }

    #[test]
    fn a_timer_goes_off_once_its_time_has_come_and_until_it_is_silenced() {
        let timer = Timer::new().expect("a timer");
        for after_us in [0, 1, 999, 2_000] {
            assert!(timer.set(Some(after_us)), "{after_us}");
            assert!(goes_off(&timer, 20), "{after_us}");
            assert!(goes_off(&timer, 0), "{after_us}: nobody has silenced it");
            assert!(timer.silence(), "{after_us}");
            assert!(!timer.silence(), "{after_us}: silenced twice");
        }
    }

    #[test]
    fn a_timer_that_is_set_to_never_or_to_a_time_beyond_any_does_not_go_off() {
        let timer = Timer::new().expect("a timer");
        for after_us in [None, Some(u64::MAX), Some(3_600_000_000)] {
            assert!(timer.set(Some(0)), "{after_us:?}");
            assert!(timer.set(after_us), "{after_us:?}");
            assert!(!goes_off(&timer, 0), "{after_us:?}");
            assert!(!timer.silence(), "{after_us:?}");
        }
    }
}
