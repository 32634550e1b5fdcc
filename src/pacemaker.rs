//! Pacemaker: when to wake. A timerfd in the server's own loop, armed for the next moment that
//! matters. Where none can be had, the server's cron event takes its place, ten times a second or so.
//!
//! Not beside it: the server raises its cron's rate with its clients (`dynamic-hz`), to 160 a second for
//! 20,000, and each event would cost it about 6 µs. Not a module timer: those go by the wall clock, and a module that
//! holds one can't be unloaded.

use crate::api::event::{Events, Watched};
use crate::kernel::clock;
use crate::kernel::timer::Timer;
use connage_engine::text::time::Micros;

/// The timer, and whether the event loop tells us of each round.
#[derive(Debug, Default)]
pub struct Pacemaker {
    timer: Option<Watched<Timer>>,
    armed: Option<Micros>,
    /// The kernel would not set the timer (a sandbox may forbid it): the server's cron has to take its place.
    refused: bool,
    pub has_cron: bool,
    pub follows_loop: bool,
    /// The loop has told of a round since the timer last went off. It does not while it runs inside itself: in a
    /// long script, or while loading.
    pub heard_of_loop: bool,
}

impl Pacemaker {
    /// `None` for want of descriptors, or where the kernel would not set it.
    pub fn start<E: Events>() -> Option<Self> {
        #[cfg(feature = "test-faults")]
        if crate::test_faults::has_no_timer() {
            return None;
        }
        let timer = Timer::new()?;
        if !set(&timer, None) {
            return None;
        }
        Some(Pacemaker {
            timer: Some(Watched::new::<E>(timer)?),
            ..Pacemaker::default()
        })
    }

    /// To set the timer takes the kernel some 10 µs on a virtual machine, ten times what it takes to read the
    /// clock: never without need.
    pub fn arm(&mut self, at: Option<Micros>) {
        let Some(timer) = self.timer.as_ref().filter(|_| !self.refused).map(Watched::get) else {
            return;
        };
        if self.armed == at {
            return;
        }
        let now = clock::now();
        let is_due = |at: Option<Micros>| at.is_some_and(|at| at <= now);
        // It has gone off and nothing has silenced it: the next poll returns at once.
        if is_due(self.armed) && is_due(at) {
            return;
        }
        if set(timer, at.map(|at| at.since(now))) {
            self.armed = at;
        } else {
            self.silence();
            self.refused = true;
        }
    }

    /// Nobody would wake us.
    pub fn needs_cron(&self) -> bool {
        self.refused && !self.has_cron
    }

    pub fn arm_no_later_than(&mut self, at: Micros) {
        if self.armed.is_none_or(|armed| armed > at) {
            self.arm(Some(at));
        }
    }

    /// The timer's descriptor can be read, or could before [`arm`](Self::arm) set it anew in this round of the
    /// loop. It is left to be read until then: as long as something is due, polls return at once.
    ///
    /// Whether it was set anew since the poll that found it: that poll was then one of the outermost loop, which
    /// tells of its rounds between poll and calls, and no poll since, inside a command, has found it.
    pub fn went_off(&mut self) -> bool {
        let early = self.armed.is_none_or(|at| at > clock::now());
        if !early {
            return false;
        }
        let can_be_read = self.timer.as_ref().is_some_and(|timer| timer.get().silence());
        if can_be_read {
            // Our clock runs behind the timer's (libfaketime can slow it down).
            self.armed = None;
        }
        !can_be_read
    }

    /// Nothing will set it any more.
    pub fn silence(&mut self) {
        self.armed = None;
        if let Some(timer) = &self.timer {
            timer.get().silence();
        }
    }
}

fn set(timer: &Timer, after_us: Option<u64>) -> bool {
    #[cfg(feature = "test-faults")]
    if crate::test_faults::refuses_timer() {
        return false;
    }
    timer.set(after_us)
}
