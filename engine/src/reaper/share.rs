//! Share: of what an eviction takes, and how much is left of it.
//!
//! Whoever gives itself a limit must take nothing of what `rate` grants those whom the operator's limits are
//! about: it has as many again, and no more. Must not know why anybody goes.

use crate::reaper::rate::Rate;
use crate::text::time::Micros;

/// Of what an eviction takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Share {
    /// Of `rate`.
    Rate,
    /// Of as many again: nothing but a limit that the connection gave itself is due.
    Own,
    /// Of nothing: OVER has a rate of its own, and who was taken off its keys has spent its share.
    Paid,
}

/// How many may go by one share.
#[derive(Debug)]
pub(super) struct Purse {
    rate: Rate,
    /// In the current round.
    left: usize,
    /// Until this moment it held up whoever was due.
    held_until: Micros,
}

impl Purse {
    fn new(per_second: u32) -> Self {
        Purse {
            rate: Rate::new(per_second),
            left: 0,
            held_until: Micros(0),
        }
    }

    pub(super) fn left(&self) -> usize {
        self.left
    }

    pub(super) fn held_until(&self) -> Micros {
        self.held_until
    }

    #[cfg(test)]
    pub(crate) fn allowance(&mut self, now: Micros) -> u32 {
        self.rate.allowance(now)
    }

    /// When the next may go.
    pub(super) fn next(&mut self, now: Micros) -> Micros {
        self.rate.next(now)
    }

    /// Somebody is due: INFO's lag leaves out for how long this holds it up.
    pub(super) fn note_whom_it_holds(&mut self, now: Micros) {
        if self.rate.allowance(now) == 0 {
            self.held_until = self.rate.next(now);
        }
    }
}

/// Both.
#[derive(Debug)]
pub(super) struct Purses {
    pub rate: Purse,
    pub own: Purse,
}

impl Purses {
    pub(super) fn new(per_second: u32) -> Self {
        Purses {
            rate: Purse::new(per_second),
            own: Purse::new(per_second),
        }
    }

    /// So many may go in this round.
    #[cfg(test)]
    pub(crate) fn with_left(rate: u32, own: u32) -> Self {
        let mut purses = Purses::new(0);
        (purses.rate.left, purses.own.left) = (rate as usize, own as usize);
        purses
    }

    pub(super) fn set(&mut self, per_second: u32) {
        self.rate.rate.set(per_second);
        self.own.rate.set(per_second);
    }

    pub(super) fn begin_round(&mut self, now: Micros) {
        for purse in [&mut self.rate, &mut self.own] {
            purse.left = purse.rate.allowance(now) as usize;
        }
    }

    /// `None`: as many as like may go.
    pub(super) fn of(&self, share: Share) -> Option<&Purse> {
        match share {
            Share::Rate => Some(&self.rate),
            Share::Own => Some(&self.own),
            Share::Paid => None,
        }
    }

    fn of_mut(&mut self, share: Share) -> Option<&mut Purse> {
        match share {
            Share::Rate => Some(&mut self.rate),
            Share::Own => Some(&mut self.own),
            Share::Paid => None,
        }
    }

    /// One is to go in this round.
    pub(super) fn set_aside(&mut self, share: Share) {
        if let Some(purse) = self.of_mut(share) {
            purse.left = purse.left.saturating_sub(1);
        }
    }

    /// One has gone.
    pub(super) fn spend(&mut self, now: Micros, share: Share) {
        if let Some(purse) = self.of_mut(share) {
            purse.rate.spend(now);
        }
    }
}
