//! Pacemaker: when to wake. A timerfd in the server's own loop, armed for the next moment that
//! matters and silent when there is none; the cron event stands behind it.
//!
//! Not a module timer: those go by the wall clock, and a module that holds one can't be unloaded.

use super::clock;
use super::ffi::{event, socket};
use crate::engine::time::Micros;
use std::os::raw::c_int;

/// The timer, and whether the event loop tells us of each round.
#[derive(Debug, Default)]
pub struct Pacemaker {
    fd: Option<c_int>,
    armed: Option<Micros>,
    pub follows_loop: bool,
}

impl Pacemaker {
    /// Without a timer, which would be for want of descriptors, cron does the work.
    pub fn start<E: event::Events>() -> Self {
        let fd = socket::timer().filter(|fd| {
            let watched = event::watch::<E>(*fd);
            if !watched {
                socket::close(*fd);
            }
            watched
        });
        Pacemaker {
            fd,
            ..Pacemaker::default()
        }
    }

    pub fn arm(&mut self, at: Option<Micros>) {
        let Some(fd) = self.fd else {
            return;
        };
        if self.armed != at && socket::set_timer(fd, at.map(clock::to_kernel_us)) {
            self.armed = at;
        }
    }

    pub fn arm_no_later_than(&mut self, at: Micros) {
        if self.armed.is_none_or(|armed| armed > at) {
            self.arm(Some(at));
        }
    }

    /// The timer went off.
    pub fn went_off(&mut self) {
        self.armed = None;
        if let Some(fd) = self.fd {
            socket::read_timer(fd);
        }
    }

    /// Whether the timer should have gone off `us` ago, or there is none.
    pub fn is_late(&self, now: Micros, us: u64) -> bool {
        self.fd.is_none() || self.armed.is_some_and(|armed| now.since(armed) > us)
    }

    pub fn stop(&mut self) {
        if let Some(fd) = self.fd.take() {
            event::unwatch(fd);
            socket::close(fd);
        }
        self.armed = None;
    }
}
