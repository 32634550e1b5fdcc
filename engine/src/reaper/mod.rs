//! Reaper: what is to happen to connections, and when.
//!
//! The shell tells it of every connection that comes and goes, wakes it when it asks to be woken,
//! looks at those that a [`Round`] names and hands back what it saw; [`Reaper::judge`] then says what
//! to do with each. Is given the time and never asks for it; never touches the server.
//!
//! Here is what it keeps, who is there, and how settings change; [`wake`] says when, [`round`] whom to
//! look at, [`judge`] what to do with whom, [`causes`] why, [`orders`] what commands
//! ask for, and [`view`] what it tells.

mod ascending;
mod causes;
mod drains;
mod judge;
pub mod kept;
pub mod linger;
pub mod lingering;
mod long;
pub mod lookups;
mod orders;
mod pace;
pub mod prefetch;
mod put_off;
mod rate;
mod recheck;
mod rechecks;
mod registry;
mod round;
mod schedule;
mod share;
#[cfg(test)]
mod tests;
mod turns;
pub mod unload;
mod verdict;
pub mod verify;
mod view;
mod wake;

use alloc::vec::Vec;
use causes::OwnLimits;
pub use judge::Closing;
pub use long::LONG_ROUND;
pub use orders::Order;
pub use put_off::GATE;
pub use round::{Outcome, Round};
pub use view::{Report, Row};

use crate::client::watch::WatchGauge;
use crate::client::{Client, ClientId};
use crate::policy::settings::{Percent, Settings};
use crate::reaper::drains::{Drain, Drains};
use crate::reaper::kept::Kept;
use crate::reaper::pace::Pace;
use crate::reaper::prefetch::Prefetch;
use crate::reaper::recheck::Recheck;
use crate::reaper::registry::{Entry, Registry, State};
use crate::reaper::share::Purses;
use crate::record::journal::Journal;
use crate::record::tally::Tally;
use crate::text::time::{Micros, Millis};
use alloc::collections::BTreeSet;

/// See the module's own text.
#[derive(Debug)]
pub struct Reaper {
    seed: u64,
    settings: Settings,
    /// See [`causes::strictest`].
    strictest: Option<Millis>,
    /// Every (maxage, jitter) that the settings give to anyone.
    limits: Vec<(Millis, Percent)>,
    /// When these limits came into force.
    limits_since: Micros,
    registry: Registry,
    /// Connections up to this one, in order of birth, have come near the strictest limit, and had their own
    /// moment computed.
    cursor: ClientId,
    drains: Drains,
    /// Limits that connections asked for themselves.
    own: OwnLimits,
    purses: Purses,
    /// How many have been closed in the current round.
    closings: usize,
    /// Bytes that were read in it of what clients call themselves.
    texts: usize,
    /// Those to whom it is expensive to look, for what they call themselves.
    long: BTreeSet<ClientId>,
    prefetch: Prefetch,
    pace: Pace,
    recheck: Recheck,
    gauge: WatchGauge,
    pub journal: Journal,
    pub kept: Kept,
    pub tally: Tally,
}

impl Reaper {
    /// `seed` decides the jitter of each connection; the shell draws it once.
    pub fn new(now: Micros, seed: u64, settings: Settings) -> Self {
        let mut reaper = Reaper {
            seed,
            strictest: None,
            limits: Vec::new(),
            limits_since: now,
            registry: Registry::default(),
            cursor: ClientId(0),
            drains: Drains::default(),
            own: OwnLimits::new(),
            purses: Purses::new(settings.rate),
            closings: 0,
            texts: 0,
            long: BTreeSet::new(),
            prefetch: Prefetch::default(),
            pace: Pace::default(),
            recheck: Recheck::default(),
            gauge: WatchGauge::default(),
            journal: Journal::new(settings.log_max_len),
            kept: Kept::default(),
            tally: Tally::default(),
            settings,
        };
        reaper.derive_limits();
        reaper
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// A connection was made. Answers with the moment at which it has to be thought of, if any.
    pub fn connected(&mut self, now: Micros, id: ClientId, tls: bool) -> Option<Micros> {
        self.registry.insert(id, now, tls);
        if !self.settings.enabled {
            return None;
        }
        // A TLS handshake that took its time: younger connections are past this point already.
        if id <= self.cursor && self.registry.state(id) == Some(State::Young) {
            self.plan_anew(id);
            return Some(self.earliest(id));
        }
        self.strictest.map(|limit| now.plus(limit))
    }

    /// A connection that was there before the module: the server knows its age in whole seconds,
    /// so it is taken for as young as it can be.
    ///
    /// The server counts seconds of the wall clock, which may have stepped: nobody was there before `earliest`.
    pub fn found(&mut self, now: Micros, client: &Client, tls: bool, earliest: Micros) {
        let at_least = Millis(client.age_s.saturating_sub(1).saturating_mul(1_000));
        let birth = now.minus(at_least).max(earliest.min(now));
        self.registry.insert(client.id, birth, tls);
        // It may be older than connections that are scheduled already.
        if client.id <= self.cursor && self.registry.state(client.id) == Some(State::Young) {
            self.plan_anew(client.id);
        }
    }

    /// A connection is gone. One that was never there is no error: the server tells of connections
    /// that it refused.
    pub fn disconnected(&mut self, id: ClientId) {
        if self.registry.remove(id).is_some() {
            self.drains.forget(id);
            if !self.own.is_empty() {
                self.own.remove(&id);
            }
            self.prefetch.forget(id);
            self.kept.forget(id);
            self.long.remove(&id);
        }
    }

    pub fn is_tls(&self, id: ClientId) -> bool {
        self.registry.get(id).is_some_and(Entry::is_tls)
    }

    pub fn is_tracked(&self, id: ClientId) -> bool {
        self.registry.get(id).is_some()
    }

    pub fn tracked(&self) -> usize {
        self.registry.len()
    }

    /// Forgets the connections for which `is_there` says no.
    pub fn keep(&mut self, is_there: impl Fn(ClientId) -> bool) {
        let gone: Vec<ClientId> = self
            .registry
            .iter()
            .map(|(id, _)| id)
            .filter(|id| !is_there(*id))
            .collect();
        gone.into_iter().for_each(|id| self.disconnected(id));
    }

    fn derive_limits(&mut self) {
        self.strictest = causes::strictest(&self.settings);
        self.limits = self.settings.limits();
    }

    /// New settings hold at once. A raised limit ends the draining of those that it frees.
    pub fn reconfigure(&mut self, now: Micros, settings: Settings) {
        let old = core::mem::replace(&mut self.settings, settings);
        if old.rate != self.settings.rate {
            self.purses.set(self.settings.rate);
        }
        if old.log_max_len != self.settings.log_max_len {
            self.journal.set_max_len(self.settings.log_max_len);
        }
        if self.settings.dry_run && !old.dry_run {
            self.registry.forget_reports();
        }
        if old.enabled != self.settings.enabled {
            self.limits_since = now;
        }
        if self.settings.limit_as(&old) {
            return;
        }
        self.limits_since = now;
        self.derive_limits();
        self.registry.forget_states();
        self.cursor = ClientId(0);
        self.drains.forget_spent();
        self.prefetch.clear();
        self.recheck = Recheck::default();
        for id in self.own.keys().copied().collect::<Vec<_>>() {
            self.plan_anew(id);
        }
        for id in self.drains.ids() {
            let Some(drain) = self.drains.get(id).copied() else {
                continue;
            };
            if drain.command.is_none() && self.earliest(id) > now {
                self.drains.remove(id);
                self.plan_anew(id);
            } else {
                self.drain(id, drain, now);
            }
        }
    }

    /// Plans `id` as if nothing were known of it but its age.
    fn plan_anew(&mut self, id: ClientId) {
        // Whoever was asked for ahead of a turn that does not come would stand in the way of others.
        self.prefetch.forget(id);
        let at = self.earliest(id);
        if id > self.cursor && !self.own.contains_key(&id) {
            self.registry.plan(id, State::Young, Micros::NEVER);
            return;
        }
        self.registry.plan(id, State::Scheduled, at);
    }

    /// Looked at, and not to be evicted by age before `at`.
    fn park(&mut self, id: ClientId, at: Micros) {
        self.drains.remove(id);
        self.registry.plan(id, State::Parked, at);
    }

    /// Waited for, and looked at next at `next_look`.
    fn drain(&mut self, id: ClientId, drain: Drain, next_look: Micros) {
        self.registry.plan(id, State::Draining, next_look);
        self.drains.put(id, drain);
    }

    fn queue(&mut self, id: ClientId, place: Micros) {
        self.registry.plan(id, State::Ready, place);
    }
}
