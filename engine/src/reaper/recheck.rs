//! Recheck: when to look again at connections that were past the strictest limit and had a reason
//! to stay, since a rule is matched with what a connection is *now*.
//!
//! Two rounds go over them: a cheap one over user and name each second, and a full one (type,
//! flags, library) each ten. Both together take at most 1% of a core; with very many connections
//! a round takes longer instead. Must not know rules or limits.

use crate::client::ClientId;
use crate::text::time::Micros;
use alloc::collections::BTreeSet;
use core::ops::Bound;

/// 0.9% of a core.
const SHARE: u64 = 111;
/// 0.1% of a core, for those that call themselves something so long that it is expensive to look at them.
const SHARE_OF_LONG: u64 = 1_000;
/// From one of those to the next, at least.
const LONG_PAUSE_US: u64 = 100_000;
/// A round begins this long after the one before began, so that a change is seen, and its connection
/// looked at and closed, within a second and within ten.
const IDENTITY_PERIOD_US: u64 = 900_000;
const FULL_PERIOD_US: u64 = 9_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// User and name.
    Identity,
    /// All that CLIENT LIST tells.
    Full,
}

#[derive(Debug)]
struct Round {
    period_us: u64,
    /// Connections up to this id have had their turn in this round.
    position: ClientId,
    began: Micros,
    running: bool,
    /// How long the last whole round took, its rest included.
    last_us: u64,
}

impl Round {
    fn new(period_us: u64) -> Self {
        Round {
            period_us,
            position: ClientId(0),
            began: Micros(0),
            running: false,
            last_us: period_us,
        }
    }

    fn next(&self) -> Micros {
        if self.running {
            self.began
        } else {
            self.began.plus_micros(self.period_us)
        }
    }
}

/// Both rounds, and what they may cost.
#[derive(Debug)]
pub(super) struct Recheck {
    identity: Round,
    full: Round,
    paid_until: Micros,
    long_paid_until: Micros,
    last_long: ClientId,
}

impl Default for Recheck {
    fn default() -> Self {
        Recheck {
            identity: Round::new(IDENTITY_PERIOD_US),
            full: Round::new(FULL_PERIOD_US),
            paid_until: Micros(0),
            long_paid_until: Micros(0),
            last_long: ClientId(0),
        }
    }
}

impl Recheck {
    fn round(&mut self, kind: Kind) -> &mut Round {
        match kind {
            Kind::Identity => &mut self.identity,
            Kind::Full => &mut self.full,
        }
    }

    /// The more overdue of the rounds that are wanted, and when it goes on.
    pub(super) fn next(&self, identity_wanted: bool) -> (Kind, Micros) {
        let (identity, full) = (self.identity.next(), self.full.next());
        let (kind, at) = if identity_wanted && identity <= full {
            (Kind::Identity, identity)
        } else {
            (Kind::Full, full)
        };
        (kind, at.max(self.paid_until))
    }

    /// After which connection the round of `kind` goes on; begins it if it rested.
    pub(super) fn position(&mut self, kind: Kind, now: Micros) -> ClientId {
        let round = self.round(kind);
        if !round.running {
            if round.began > Micros(0) {
                round.last_us = now.since(round.began).max(round.period_us);
            }
            round.running = true;
            round.began = now;
            round.position = ClientId(0);
        }
        round.position
    }

    /// The round of `kind` has gone as far as `position`, or through all (`None`).
    pub(super) fn advance(&mut self, kind: Kind, position: Option<ClientId>) {
        let round = self.round(kind);
        match position {
            Some(id) => {
                round.position = id;
                round.running = true;
            }
            None => round.running = false,
        }
    }

    /// When one that is expensive to look at may be looked at next.
    pub(super) fn next_long(&self) -> Micros {
        self.long_paid_until
    }

    /// Whose turn it is among those.
    pub(super) fn turn_of_long(&mut self, now: Micros, long: &BTreeSet<ClientId>) -> Option<ClientId> {
        let after = (Bound::Excluded(self.last_long), Bound::Unbounded);
        let next = long.range(after).next().or_else(|| long.first()).copied()?;
        self.last_long = next;
        self.long_paid_until = self.long_paid_until.max(now.plus_micros(LONG_PAUSE_US));
        Some(next)
    }

    /// What it took, of those that are expensive to look at if `is_long`.
    pub(super) fn spend(&mut self, now: Micros, us: u64, is_long: bool) {
        let (paid_until, share) = if is_long {
            (&mut self.long_paid_until, SHARE_OF_LONG)
        } else {
            (&mut self.paid_until, SHARE)
        };
        *paid_until = (*paid_until).max(now).plus_micros(us.saturating_mul(share));
    }

    /// How often a connection's user and name are looked at (its type and library, if nothing else
    /// is wanted), in ms.
    pub(super) fn period_ms(&self, identity_wanted: bool, now: Micros) -> u64 {
        let round = if identity_wanted {
            &self.identity
        } else {
            &self.full
        };
        // One that goes on, or should have begun again, takes as long already, and until what it owes is paid.
        let current = if round.began > Micros(0) {
            let at = if round.running {
                now.max(self.paid_until)
            } else {
                self.paid_until
            };
            at.since(round.began)
        } else {
            0
        };
        round.last_us.max(current).div_ceil(1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs both rounds over `connections` for 60 s, `cost` µs for each 128; the time it took of
    /// the 60 s, and the identity rounds begun.
    fn run(connections: u64, cost: u64) -> (u64, u64, Recheck) {
        let mut recheck = Recheck::default();
        let (mut now, mut spent, mut rounds) = (Micros(1_000_000), 0, 0);
        while now.0 < 61_000_000 {
            let (kind, at) = recheck.next(true);
            now = now.max(at);
            let position = recheck.position(kind, now).0;
            rounds += u64::from(kind == Kind::Identity && position == 0);
            let next = position + 128;
            recheck.advance(kind, (next < connections).then_some(ClientId(next)));
            recheck.spend(now, cost, false);
            spent += cost;
        }
        (spent, rounds, recheck)
    }

    #[test]
    fn ten_thousand_are_looked_at_each_second_and_it_takes_less_than_a_hundredth() {
        let (spent, rounds, recheck) = run(10_000, 60);
        assert!(spent <= 600_000, "{spent} µs in 60 s");
        assert!(rounds >= 60, "{rounds} rounds in 60 s");
        assert!(recheck.period_ms(true, Micros(61_000_000)) <= 1_000);
    }

    #[test]
    fn what_it_owes_shows_in_the_period_and_long_ones_owe_apart() {
        let mut recheck = Recheck::default();
        let now = Micros(1_000_000);
        recheck.position(Kind::Identity, now);
        recheck.advance(Kind::Identity, None);
        recheck.spend(now, 30_000, true);
        assert_eq!(
            recheck.next(true).1,
            Micros(FULL_PERIOD_US).min(now.plus_micros(IDENTITY_PERIOD_US))
        );
        assert_eq!(recheck.next_long(), now.plus_micros(30_000_000));
        assert_eq!(recheck.period_ms(true, now), 900);
        recheck.spend(now, 100_000, false);
        assert_eq!(recheck.next(true).1, now.plus_micros(11_100_000));
        assert_eq!(recheck.period_ms(true, now), 11_100);
    }

    #[test]
    fn with_very_many_the_rounds_get_longer_and_not_the_share() {
        let (spent, _, recheck) = run(1_000_000, 60);
        assert!(spent <= 610_000, "{spent} µs in 60 s");
        assert!(recheck.period_ms(true, Micros(61_000_000)) > 10_000);
    }
}
