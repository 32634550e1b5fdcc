//! Reaper: what is to happen to connections, and when.
//!
//! The shell tells it of every connection that comes and goes, wakes it when it asks to be woken,
//! looks at those that [`Plan`] names and hands back what it saw; [`Reaper::judge`] then says what
//! to do with each. Is given the time and never asks for it; never touches the server.

use super::budget::{Pace, Rate};
use super::client::{Client, ClientId, ClientType};
use super::drains::{backoff, Command, Drain, Drains, Reach};
use super::jitter;
use super::journal::{Circumstances, How, Journal, Reason};
use super::manner::{manner, Manner, Surroundings};
use super::quiet::{Activity, Seen, WatchGauge};
use super::recheck::{Kind, Recheck};
use super::registry::{Entry, Registry, State};
use super::schedule::Schedule;
use super::settings::{Percent, Settings};
use super::tally::Tally;
use super::time::{Micros, Millis};
use std::collections::{BTreeMap, BTreeSet};

/// Connections this close to their limit get their exact moment, several at a time.
const HORIZON: Millis = Millis(50);
/// At most so many change their place in one tick, however many are due.
const MOVES: usize = 512;
/// At most so many connections are passed over in search of those to recheck.
const RECHECK_SPAN: usize = 2_048;
const RECHECK_CHUNK: usize = 128;
/// Where one look walks every client, as many as possible share its price.
const RECHECK_CHUNK_WHEN_DEAR: usize = 512;

/// What the shell is to look at now.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Each by its line of CLIENT LIST and its socket.
    pub look: Vec<ClientId>,
    /// Each by user and name only.
    pub identify: Vec<ClientId>,
}

impl Plan {
    pub fn is_empty(&self) -> bool {
        self.look.is_empty() && self.identify.is_empty()
    }
}

/// A connection that is to be closed now, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closing {
    pub id: ClientId,
    pub how: How,
    pub manner: Manner,
    pub reason: Reason,
    /// The limit that held for it; 0 when it had none.
    pub limit: Millis,
    pub age: Millis,
    pub waited: Millis,
    by_command: bool,
    /// Quiet at the first look, and `rate` did not hold it up: (µs since its limit).
    lag_us: Option<u64>,
}

/// What CONNAGE.KILL asks for.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    pub grace: Millis,
    /// Spread over so long; `None`: now, as fast as `rate` allows.
    pub over: Option<Millis>,
    pub reach: Reach,
}

/// What holds for one connection: the limit with its jitter, 0 for none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub limit: Millis,
    pub grace: Millis,
    pub reason: Reason,
    /// Label of the rule that matched, whether or not its limit is the one that holds.
    pub rule: Option<String>,
    /// Nothing about its age can evict what it is now.
    pub exempt: bool,
}

/// What CONNAGE.LIST and CONNAGE.SELF tell of a connection beside the server's own fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub age: Millis,
    pub limit: Millis,
    /// -1 when it has no limit.
    pub expires_in_ms: i64,
    pub rule: Option<String>,
    pub state: &'static str,
}

/// Numbers for INFO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    pub tracked: usize,
    pub draining: usize,
    pub backlog: usize,
    pub oldest_age: Millis,
    pub next_expiry_in_ms: i64,
    pub recheck_period_ms: u64,
    pub memory: usize,
}

/// Test-only: leaves out one of the two precautions, to show what is lost without it.
#[cfg(feature = "test-faults")]
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    pub no_look: bool,
    pub no_linger: bool,
}

/// See the module's own text.
#[derive(Debug)]
pub struct Reaper {
    seed: u64,
    settings: Settings,
    /// A lower bound on any limit that the settings give to anyone, in age.
    strictest: Option<Millis>,
    /// Every (maxage, jitter) that the settings give to anyone.
    limits: Vec<(Millis, Percent)>,
    /// When these limits came into force.
    limits_since: Micros,
    registry: Registry,
    schedule: Schedule,
    drains: Drains,
    /// Limits that connections asked for themselves.
    own: BTreeMap<ClientId, Millis>,
    /// Past their limit, by how long, waiting for rate and pace.
    backlog: BTreeSet<(Micros, ClientId)>,
    rate: Rate,
    /// Whoever was due up to here may have been held up by `rate`.
    rate_held_until: Micros,
    pace: Pace,
    recheck: Recheck,
    gauge: WatchGauge,
    pub journal: Journal,
    pub tally: Tally,
    #[cfg(feature = "test-faults")]
    pub faults: Faults,
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
            schedule: Schedule::default(),
            drains: Drains::default(),
            own: BTreeMap::new(),
            backlog: BTreeSet::new(),
            rate: Rate::new(settings.rate),
            rate_held_until: Micros(0),
            pace: Pace::default(),
            recheck: Recheck::default(),
            gauge: WatchGauge::default(),
            journal: Journal::new(settings.log_max_len),
            tally: Tally::default(),
            settings,
            #[cfg(feature = "test-faults")]
            faults: Faults::default(),
        };
        reaper.derive_limits();
        reaper
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    // ---- who is there -------------------------------------------------------------------------

    /// A connection was made. Answers with the moment at which it has to be thought of, if any.
    pub fn connected(&mut self, now: Micros, id: ClientId, tls: bool) -> Option<Micros> {
        self.registry.insert(id, now, tls);
        if !self.settings.enabled {
            return None;
        }
        self.strictest.map(|limit| now.plus(limit))
    }

    /// A connection that was there before the module: the server knows its age in whole seconds,
    /// so it is taken for as young as it can be.
    pub fn found(&mut self, now: Micros, client: &Client, tls: bool) {
        let at_least = Millis(client.age_s.saturating_sub(1).saturating_mul(1_000));
        self.registry.insert(client.id, now.minus(at_least), tls);
        // It may be older than connections that are scheduled already.
        if client.id <= self.schedule.cursor && self.registry.state(client.id) == Some(State::Young) {
            self.plan_anew(client.id);
        }
    }

    /// A connection is gone. One that was never there is no error: the server tells of connections
    /// that it refused.
    pub fn disconnected(&mut self, id: ClientId) {
        if let Some((state, entry)) = self.registry.remove(id) {
            if state == State::Ready {
                self.backlog.remove(&(entry.at, id));
            }
            if !self.drains.is_empty() {
                self.drains.remove(id);
            }
            if !self.own.is_empty() {
                self.own.remove(&id);
            }
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

    // ---- settings -----------------------------------------------------------------------------

    fn derive_limits(&mut self) {
        self.strictest = self.settings.strictest_limit();
        self.limits = self.settings.limits();
    }

    /// New settings hold at once. A raised limit ends the draining of those that it frees.
    pub fn reconfigure(&mut self, now: Micros, settings: Settings) {
        let old = std::mem::replace(&mut self.settings, settings);
        if old.rate != self.settings.rate {
            self.rate.set(self.settings.rate);
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
        let limits = |s: &Settings| (s.maxage, s.jitter, s.grace, s.types, s.dry_run, s.rules.clone());
        if limits(&old) == limits(&self.settings) {
            return;
        }
        self.limits_since = now;
        self.derive_limits();
        self.registry.forget_states();
        self.schedule.clear();
        self.backlog.clear();
        self.recheck = Recheck::default();
        for id in self.own.keys().copied().collect::<Vec<_>>() {
            self.plan_anew(id);
        }
        for id in self.drains.ids() {
            let Some(mut drain) = self.drains.get(id).copied() else {
                continue;
            };
            if drain.command.is_none() && self.earliest(id) > now {
                self.drains.remove(id);
                self.plan_anew(id);
            } else {
                drain.next_look = now;
                self.drain(id, drain);
            }
        }
    }

    // ---- limits -------------------------------------------------------------------------------

    /// A lower bound on the moment at which age may evict `id`, exact where there are no rules.
    fn earliest(&self, id: ClientId) -> Micros {
        let Some(entry) = self.registry.get(id) else {
            return Micros::NEVER;
        };
        let drawn = self
            .limits
            .iter()
            .map(|(maxage, jitter)| jitter::limit(self.seed, id, *maxage, *jitter));
        let own = self.own.get(&id).copied();
        drawn
            .chain(own)
            .min()
            .map_or(Micros::NEVER, |limit| entry.birth.plus(limit))
    }

    /// What holds for `client` as it is now.
    pub fn held(&self, client: &Client) -> Held {
        let draw = |maxage, jitter| jitter::limit(self.seed, client.id, maxage, jitter);
        let limit = self.settings.effective(client, draw);
        let label = |index: Option<usize>| index.and_then(|index| self.settings.rules.label(index));
        let mut held = Held {
            limit: limit.age,
            grace: limit.grace,
            reason: label(limit.decided_by).map_or(Reason::Maxage, |label| Reason::Rule(label.to_owned())),
            rule: label(limit.rule).map(str::to_owned),
            exempt: false,
        };
        if let Some(own) = self.own.get(&client.id).copied() {
            if held.limit.0 == 0 || own < held.limit {
                held.limit = own;
                held.reason = Reason::Own;
            }
        }
        held.exempt = !self.age_takes(client);
        held
    }

    /// Whether age evicts what `client` is now, whatever its limit.
    fn age_takes(&self, client: &Client) -> bool {
        if client.is_server_link() || client.is_monitor() || client.is_no_evict() {
            return false;
        }
        self.settings.types.covers(client.client_type())
    }

    fn age_due(&self, entry: &Entry, held: &Held) -> Micros {
        if held.exempt || held.limit.0 == 0 {
            Micros::NEVER
        } else {
            entry.birth.plus(held.limit)
        }
    }

    /// CONNAGE.SELF MAXAGE: a limit of its own for `id`, 0 takes it back.
    pub fn set_own_limit(&mut self, id: ClientId, limit: Millis) {
        if limit.0 == 0 {
            self.own.remove(&id);
        } else {
            self.own.insert(id, limit);
        }
        if self.drains.get(id).is_none() {
            self.plan_anew(id);
        }
    }

    // ---- places -------------------------------------------------------------------------------

    fn set_state(&mut self, id: ClientId, state: State, at: Micros) {
        if let Some((State::Ready, was_at)) = self.registry.set_state(id, state, at) {
            if state != State::Ready || was_at != at {
                self.backlog.remove(&(was_at, id));
            }
        }
    }

    /// Plans `id` as if nothing were known of it but its age.
    fn plan_anew(&mut self, id: ClientId) {
        let at = self.earliest(id);
        if id > self.schedule.cursor && !self.own.contains_key(&id) {
            self.set_state(id, State::Young, Micros::NEVER);
            return;
        }
        self.set_state(id, State::Scheduled, at);
        self.schedule.add(at, id);
    }

    /// Looked at, and not to be evicted by age before `at`.
    fn park(&mut self, id: ClientId, at: Micros) {
        self.drains.remove(id);
        self.set_state(id, State::Parked, at);
        self.schedule.add(at, id);
    }

    fn drain(&mut self, id: ClientId, drain: Drain) {
        self.set_state(id, State::Draining, drain.next_look);
        self.drains.put(id, drain);
    }

    fn queue(&mut self, id: ClientId, place: Micros) {
        self.set_state(id, State::Ready, place);
        self.backlog.insert((place, id));
    }

    fn is_live(registry: &Registry) -> impl Fn(Micros, ClientId) -> bool + '_ {
        |at, id| {
            let planned = matches!(registry.state(id), Some(State::Scheduled | State::Parked));
            planned && registry.get(id).is_some_and(|entry| entry.at == at)
        }
    }

    // ---- time ---------------------------------------------------------------------------------

    /// When to be woken; `None`: only when something changes.
    pub fn next_wake(&mut self, now: Micros) -> Option<Micros> {
        if !self.settings.enabled {
            return None;
        }
        let scheduled = self
            .schedule
            .peek(Self::is_live(&self.registry))
            .map(|(at, _)| at);
        let young = self.next_young();
        let drains = self.drains.next_look().map(|at| at.max(self.pace.next(now)));
        let backlog = (!self.backlog.is_empty()).then(|| self.rate.next(now).max(self.pace.next(now)));
        let recheck = self.is_recheck_wanted().then(|| {
            let (_, at) = self.recheck.next(self.identity_wanted());
            at.max(self.pace.next(now))
        });
        [scheduled, young, drains, backlog, recheck]
            .into_iter()
            .flatten()
            .min()
    }

    fn next_young(&self) -> Option<Micros> {
        let strictest = self.strictest?;
        let (_, entry, _) = self.registry.after(self.schedule.cursor).next()?;
        Some(entry.birth.plus(strictest))
    }

    /// What is to be looked at now.
    pub fn tick(&mut self, now: Micros) -> Plan {
        let mut plan = Plan::default();
        if !self.settings.enabled {
            return plan;
        }
        self.advance_cursor(now);
        self.queue_the_due(now);
        if !self.pace.may_look(now) {
            return plan;
        }
        let batch = self.pace.batch();
        self.take_paced_drains(now, batch, &mut plan);
        self.take_backlog(now, batch, &mut plan);
        if plan.look.is_empty() {
            self.take_rechecks(now, &mut plan);
        }
        plan
    }

    fn advance_cursor(&mut self, now: Micros) {
        let Some(strictest) = self.strictest else {
            return;
        };
        let near = now.plus(HORIZON);
        let next: Vec<(ClientId, State)> = self
            .registry
            .after(self.schedule.cursor)
            .take(MOVES)
            .take_while(|(_, entry, _)| entry.birth.plus(strictest) <= near)
            .map(|(id, _, state)| (id, state))
            .collect();
        for (id, state) in next {
            self.schedule.cursor = id;
            if state == State::Young {
                self.plan_anew(id);
            }
        }
        self.schedule
            .compact(self.registry.len(), Self::is_live(&self.registry));
    }

    fn queue_the_due(&mut self, now: Micros) {
        for _ in 0..MOVES {
            let due = self.schedule.pop_due(now, Self::is_live(&self.registry));
            let Some((at, id)) = due else {
                break;
            };
            self.queue(id, at);
        }
    }

    /// Drains whose look is due: those that OVER paces are looked at, the others queue for `rate`.
    fn take_paced_drains(&mut self, now: Micros, batch: usize, plan: &mut Plan) {
        for _ in 0..MOVES {
            if plan.look.len() >= batch {
                break;
            }
            let Some((id, drain)) = self.drains.pop_due(now) else {
                break;
            };
            let paced = drain.command.is_some_and(|c| c.paced && c.start <= now);
            if paced {
                self.set_state(id, State::Looking, drain.next_look);
                plan.look.push(id);
            } else {
                self.queue(id, drain.due_since.unwrap_or(drain.next_look));
            }
        }
    }

    fn take_backlog(&mut self, now: Micros, batch: usize, plan: &mut Plan) {
        if self.backlog.is_empty() {
            return;
        }
        let allowance = self.rate.allowance(now) as usize;
        let room = batch.saturating_sub(plan.look.len()).min(allowance);
        for _ in 0..room {
            let Some((place, id)) = self.backlog.pop_first() else {
                break;
            };
            self.set_state(id, State::Looking, place);
            plan.look.push(id);
        }
        if room == allowance && !self.backlog.is_empty() {
            self.rate_held_until = now;
        }
    }

    fn identity_wanted(&self) -> bool {
        self.settings.rules.matches_on_identity()
    }

    /// Whether anyone may have been looked at and left.
    fn is_recheck_wanted(&self) -> bool {
        self.strictest.is_some()
            && self.schedule.cursor > ClientId(0)
            && self
                .registry
                .oldest()
                .is_some_and(|(id, _)| id <= self.schedule.cursor)
    }

    fn take_rechecks(&mut self, now: Micros, plan: &mut Plan) {
        if !self.is_recheck_wanted() {
            return;
        }
        let (kind, at) = self.recheck.next(self.identity_wanted());
        if at > now {
            return;
        }
        let chunk = if kind == Kind::Full && self.pace.looks_are_dear() {
            RECHECK_CHUNK_WHEN_DEAR
        } else {
            RECHECK_CHUNK
        };
        let mut position = self.recheck.position(kind, now);
        let mut found = Vec::new();
        let mut passed = 0;
        let mut done = true;
        for (id, _, state) in self.registry.after(position) {
            if id > self.schedule.cursor {
                break;
            }
            if passed == RECHECK_SPAN || found.len() == chunk {
                done = false;
                break;
            }
            position = id;
            passed += 1;
            if state == State::Parked {
                found.push(id);
            }
        }
        self.recheck.advance(kind, (!done).then_some(position));
        match kind {
            Kind::Identity => plan.identify = found,
            Kind::Full => {
                for id in &found {
                    let at = self.registry.get(*id).map_or(Micros::NEVER, |entry| entry.at);
                    self.set_state(*id, State::Rechecking, at);
                }
                plan.look = found;
            }
        }
        // Passing over the others costs a little as well.
        self.recheck.spend(now, passed as u64 / 32 + 1);
    }

    /// User and name of a connection that [`Plan::identify`] named.
    pub fn identified(&mut self, now: Micros, id: ClientId, user: &[u8], name: &[u8]) {
        let identity = fingerprint(user, name);
        let changed = self
            .registry
            .get(id)
            .is_some_and(|entry| entry.identity != identity);
        if changed && self.registry.state(id) == Some(State::Parked) {
            self.queue(id, now);
        }
    }

    /// A plan was carried out: `look_us` for looking, `close_us` for closing.
    pub fn carried_out(&mut self, now: Micros, plan: &Plan, look_us: u64, close_us: u64) {
        if !plan.look.is_empty() {
            self.tally.swept(look_us);
            self.pace.spend(now, plan.look.len(), look_us, close_us);
        }
        let mut rechecked = !plan.identify.is_empty();
        for id in &plan.look {
            // Not in the reply: it is gone, and its event was missed or is on its way.
            match self.registry.state(*id) {
                Some(State::Looking | State::Rechecking) => self.disconnected(*id),
                Some(State::Parked) => rechecked = true,
                _ => {}
            }
        }
        if rechecked {
            self.recheck.spend(now, look_us);
        }
    }

    /// The server would not be looked at: everything stays as it was, to be tried again.
    pub fn look_failed(&mut self, now: Micros, plan: &Plan) {
        for id in &plan.look {
            if let Some(mut drain) = self.drains.get(*id).copied() {
                drain.next_look = now.plus(Millis(100));
                self.drain(*id, drain);
            } else {
                self.park(*id, now.plus(Millis(100)));
            }
        }
    }

    // ---- judgement ----------------------------------------------------------------------------

    /// What to do with a connection that was looked at; `None`: leave it.
    pub fn judge(&mut self, now: Micros, seen: &Seen, around: &Surroundings) -> Option<Closing> {
        let client = &seen.client;
        let id = client.id;
        let state = self.registry.state(id)?;
        if !matches!(state, State::Looking | State::Rechecking) {
            return None;
        }
        let entry = self.registry.get_mut(id)?;
        entry.identity = fingerprint(client.user, client.name);
        let entry = *entry;
        let watching = self.gauge.is_watching(client);
        if client.is_closing() {
            self.park(id, Micros::NEVER);
            return None;
        }
        let held = self.held(client);
        let age_due = self.age_due(&entry, &held);
        let first_look = self.drains.get(id).is_none();
        let mut drain = self.drains.get(id).copied().unwrap_or_else(|| Drain::new(now));
        drain.command = drain.command.filter(|command| reaches(client, command.reach));
        let command_due = drain.command.map_or(Micros::NEVER, |command| command.start);
        if age_due.min(command_due) > now {
            self.not_due(id, drain, age_due, command_due);
            return None;
        }
        if state == State::Rechecking {
            self.queue(id, now);
            return None;
        }
        if self.settings.dry_run && command_due > now {
            let rest = drain.command.is_some();
            self.note_dry_run(now, seen, &entry, &held, age_due, around);
            drain.age_since = None;
            if rest {
                self.not_due(id, drain, Micros::NEVER, command_due);
            } else {
                self.park(id, Micros::NEVER);
            }
            return None;
        }
        if age_due <= now && !self.settings.dry_run {
            drain.age_since = drain.age_since.or(Some(now));
        } else {
            drain.age_since = None;
        }
        if command_due <= now {
            drain.command_since = drain.command_since.or(Some(now));
        }
        let by_command = match (drain.command_since, drain.age_since) {
            (Some(command), Some(age)) => command <= age,
            (command, _) => command.is_some(),
        };
        let due = if by_command {
            command_due
        } else {
            age_due.max(self.limits_since)
        };
        drain.due_since = drain.due_since.or(Some(due.min(now)));
        let age_end = drain.age_since.map(|since| since.plus(held.grace));
        let command_end = drain
            .command_since
            .zip(drain.command)
            .map(|(since, c)| since.plus(c.grace));
        let end = age_end.into_iter().chain(command_end).min().unwrap_or(now);
        let over = now >= end && !around.paused;
        let activity = self.activity(seen, watching);
        let how = match activity {
            Activity::Quiet => Some(How::Quiet),
            Activity::Blocked if over => Some(How::Blocked),
            Activity::Busy if over => Some(How::Forced),
            _ => None,
        };
        let chosen = how.and_then(|how| {
            let manner = self.manner(seen, entry.is_tls(), around, over)?;
            // Quiet, but not closable without loss, and out of grace.
            let lossy = how == How::Quiet && over && manner.may_lose(seen);
            Some((if lossy { How::Forced } else { how }, manner))
        });
        let Some((how, manner)) = chosen else {
            let waited = now.since(drain.due_since.unwrap_or(now));
            let next = now.plus_micros(backoff(waited));
            drain.next_look = if end > now { next.min(end) } else { next };
            self.drain(id, drain);
            return None;
        };
        let due_since = drain.due_since.unwrap_or(now);
        let planned = first_look && !by_command && entry.at == age_due;
        let held_up = age_due.max(self.limits_since) <= self.rate_held_until;
        let lag_us = (planned && how == How::Quiet && !held_up).then(|| now.since(due));
        self.drains.remove(id);
        self.set_state(id, State::Closing, Micros::NEVER);
        Some(Closing {
            id,
            how,
            manner,
            reason: if by_command { Reason::Command } else { held.reason },
            limit: if held.exempt { Millis(0) } else { held.limit },
            age: Millis(now.since(entry.birth) / 1_000),
            waited: Millis(now.since(due_since) / 1_000),
            by_command,
            lag_us,
        })
    }

    fn not_due(&mut self, id: ClientId, mut drain: Drain, age_due: Micros, command_due: Micros) {
        if drain.command.is_some() {
            drain.next_look = age_due.min(command_due);
            drain.age_since = None;
            drain.command_since = None;
            drain.due_since = None;
            self.drain(id, drain);
        } else {
            self.park(id, age_due);
        }
    }

    #[cfg(not(feature = "test-faults"))]
    fn activity(&self, seen: &Seen, watching: bool) -> Activity {
        Activity::of(seen, watching)
    }

    #[cfg(feature = "test-faults")]
    fn activity(&self, seen: &Seen, watching: bool) -> Activity {
        if self.faults.no_look {
            return Activity::Quiet;
        }
        Activity::of(seen, watching)
    }

    #[cfg(not(feature = "test-faults"))]
    fn manner(&self, seen: &Seen, tls: bool, around: &Surroundings, over: bool) -> Option<Manner> {
        manner(seen, tls, around, over)
    }

    #[cfg(feature = "test-faults")]
    fn manner(&self, seen: &Seen, tls: bool, around: &Surroundings, over: bool) -> Option<Manner> {
        if self.faults.no_linger {
            return Some(Manner::ServerAlone);
        }
        manner(seen, tls, around, over)
    }

    fn note_dry_run(
        &mut self,
        now: Micros,
        seen: &Seen,
        entry: &Entry,
        held: &Held,
        due: Micros,
        around: &Surroundings,
    ) {
        let Some(known) = self.registry.get_mut(seen.client.id) else {
            return;
        };
        if known.report() {
            return;
        }
        self.tally.count(How::DryRun, false);
        self.journal.add(
            &seen.client,
            Circumstances {
                time_ms: around.wall_ms,
                age: Millis(now.since(entry.birth) / 1_000),
                limit: held.limit,
                reason: held.reason.clone(),
                how: How::DryRun,
                waited: Millis(now.since(due.max(self.limits_since)) / 1_000),
            },
        );
    }

    /// It could not be closed as judged (no descriptor to linger with): judged again soon.
    pub fn not_closed(&mut self, now: Micros, id: ClientId) {
        self.queue(id, now);
    }

    /// The server has taken `closing` over.
    pub fn closed(&mut self, now: Micros, client: &Client, closing: &Closing, wall_ms: u64) {
        // OVER has a rate of its own, but what it closes is still an eviction of this second.
        self.rate.spend(now);
        self.tally.count(closing.how, closing.by_command);
        if let Some(us) = closing.lag_us {
            self.tally.lag.record(us);
        }
        self.journal.add(
            client,
            Circumstances {
                time_ms: wall_ms,
                age: closing.age,
                limit: closing.limit,
                reason: closing.reason.clone(),
                how: closing.how,
                waited: closing.waited,
            },
        );
    }

    // ---- commands -----------------------------------------------------------------------------

    /// Connections at least `age` old, oldest first.
    pub fn older_than(&self, now: Micros, age: Millis) -> impl Iterator<Item = ClientId> + '_ {
        self.registry
            .iter()
            .take_while(move |(_, entry)| entry.birth.plus(age) <= now)
            .map(|(id, _)| id)
    }

    /// The `count` oldest connections, oldest first.
    pub fn oldest(&self, count: usize) -> Vec<ClientId> {
        self.registry.iter().take(count).map(|(id, _)| id).collect()
    }

    /// Connections that may be past a limit of their own, oldest first.
    pub fn perhaps_expired(&self, now: Micros) -> Vec<ClientId> {
        let mut ids: Vec<ClientId> = match self.strictest {
            Some(strictest) => self.older_than(now, strictest).collect(),
            None => Vec::new(),
        };
        let last = ids.last().copied();
        ids.extend(self.own.keys().filter(|id| Some(**id) > last).copied());
        ids
    }

    /// How old it is; `None` for a connection that is not known.
    pub fn age(&self, now: Micros, id: ClientId) -> Option<Millis> {
        let entry = self.registry.get(id)?;
        Some(Millis(now.since(entry.birth) / 1_000))
    }

    pub fn is_expired(&self, now: Micros, client: &Client) -> bool {
        let Some(entry) = self.registry.get(client.id) else {
            return false;
        };
        self.age_due(entry, &self.held(client)) <= now
    }

    /// Closes `ids`, in this order, or drains them towards it. One that drains by command already
    /// keeps the earlier start and the shorter grace. Answers with how many are known.
    pub fn kill(&mut self, now: Micros, ids: &[ClientId], order: &Order) -> usize {
        let mut taken = 0;
        let count = ids.len().max(1) as u128;
        for (place, id) in ids.iter().enumerate() {
            let Some(state) = self.registry.state(*id) else {
                continue;
            };
            taken += 1;
            if state == State::Closing {
                continue;
            }
            let spread = order
                .over
                .map_or(0, |over| u128::from(over.0) * 1_000 * place as u128 / count);
            let mut command = Command {
                start: now.plus_micros(u64::try_from(spread).unwrap_or(u64::MAX)),
                grace: order.grace,
                paced: order.over.is_some(),
                reach: order.reach,
            };
            let mut drain = self
                .drains
                .get(*id)
                .copied()
                .unwrap_or_else(|| Drain::new(Micros::NEVER));
            if let Some(old) = drain.command {
                command.start = command.start.min(old.start);
                command.grace = command.grace.min(old.grace);
                command.paced &= old.paced;
                command.reach.replicas |= old.reach.replicas;
                command.reach.protected |= old.reach.protected;
            }
            drain.command = Some(command);
            // Its age goes on counting meanwhile.
            let by_age = match state {
                State::Parked => self.registry.get(*id).map_or(Micros::NEVER, |entry| entry.at),
                _ => self.earliest(*id),
            };
            drain.next_look = drain.next_look.min(command.start).min(by_age);
            self.drain(*id, drain);
        }
        taken
    }

    /// Calls off what commands asked for; answers with how many were draining by command.
    pub fn cancel(&mut self) -> usize {
        let mut cancelled = 0;
        for id in self.drains.ids() {
            let Some(mut drain) = self.drains.get(id).copied() else {
                continue;
            };
            if drain.command.take().is_none() {
                continue;
            }
            cancelled += 1;
            drain.command_since = None;
            if drain.age_since.is_some() {
                self.drain(id, drain);
            } else {
                self.drains.remove(id);
                self.plan_anew(id);
            }
        }
        cancelled
    }

    // ---- what it tells ------------------------------------------------------------------------

    /// What is known of `client`; `None` for a connection that is not known.
    pub fn row(&self, now: Micros, client: &Client) -> Option<Row> {
        let entry = self.registry.get(client.id)?;
        let held = self.held(client);
        let due = self.age_due(entry, &held);
        let draining =
            self.drains.get(client.id).is_some() || self.registry.state(client.id) == Some(State::Closing);
        let limited = due < Micros::NEVER;
        Some(Row {
            age: Millis(now.since(entry.birth) / 1_000),
            limit: if limited { held.limit } else { Millis(0) },
            expires_in_ms: if limited {
                i64::try_from(due.since(now).div_ceil(1_000)).unwrap_or(i64::MAX)
            } else {
                -1
            },
            rule: held.rule,
            state: match (draining, limited) {
                (true, _) => "draining",
                (false, true) => "active",
                (false, false) => "exempt",
            },
        })
    }

    pub fn report(&mut self, now: Micros) -> Report {
        let scheduled = self
            .schedule
            .peek(Self::is_live(&self.registry))
            .map(|(at, _)| at);
        let young = self
            .registry
            .after(self.schedule.cursor)
            .next()
            .map(|(id, _, _)| self.earliest(id));
        let next = scheduled
            .into_iter()
            .chain(young)
            .filter(|at| *at < Micros::NEVER)
            .min();
        let next_expiry_in_ms = match next {
            _ if !self.settings.enabled => -1,
            _ if !self.backlog.is_empty() => 0,
            None => -1,
            Some(at) => i64::try_from(at.since(now).div_ceil(1_000)).unwrap_or(i64::MAX),
        };
        Report {
            tracked: self.registry.len(),
            draining: self.drains.len(),
            backlog: self.backlog.len(),
            oldest_age: Millis(
                self.registry
                    .oldest()
                    .map_or(0, |(_, entry)| now.since(entry.birth) / 1_000),
            ),
            next_expiry_in_ms,
            recheck_period_ms: self.recheck.period_ms(self.identity_wanted(), now),
            memory: self.registry.memory()
                + self.schedule.memory()
                + self.drains.memory()
                + self.backlog.len() * 32
                + self.own.len() * 32
                + self.journal.memory(),
        }
    }
}

/// Whether a command may close what `client` is now: it may have become something else since it was
/// named.
fn reaches(client: &Client, reach: Reach) -> bool {
    match client.client_type() {
        ClientType::Master | ClientType::SlotImport | ClientType::SlotExport => false,
        ClientType::Replica => reach.replicas,
        _ if client.is_server_link() => false,
        _ => reach.protected || !(client.is_monitor() || client.is_no_evict()),
    }
}

/// FNV-1a (Fowler, Noll, Vo) of user and name: a change is missed once in four billion times, until
/// the next full recheck.
fn fingerprint(user: &[u8], name: &[u8]) -> u32 {
    let step = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    let hash = user.iter().fold(0x811c_9dc5, step);
    name.iter().fold(step(hash, &0), step)
}
