//! Plan: when to wake, and whom to look at then.

use super::Reaper;
use crate::client::identity;
use crate::client::{Client, ClientId};
use crate::reaper::budget::{Look, BATCH};
use crate::reaper::drains::{backoff, Command};
use crate::reaper::prefetch::Line;
use crate::reaper::recheck::Kind;
use crate::reaper::registry::State;
use crate::reaper::schedule::Queue;
use crate::text::time::{Micros, Millis};
use alloc::vec::Vec;

/// Connections this close to their limit get their exact moment, several at a time, and are asked for
/// together with those that are due.
const HORIZON: Millis = Millis(200);
/// At most so many change their place in one tick, however many are due.
const MOVES: usize = 512;
/// At most so many connections are passed over in search of those to recheck.
const RECHECK_SPAN: usize = 2_048;
const RECHECK_CHUNK: usize = 128;
/// Where one look walks every client, as many as possible share its price.
const RECHECK_CHUNK_WHEN_DEAR: usize = 512;

/// So long a gate stays shut: enough for what was read before to be executed, and its reply to leave. The client's
/// kernel waits for a fifth of a second or so before it sends again what met it.
pub const GATE: Millis = Millis(100);
/// Hence not at every turn, but some times before grace ends.
const GATE_AGAIN_US: core::ops::RangeInclusive<u64> = 300_000..=1_000_000;

/// At most so many are asked about by their ids before a look.
const ASKED: usize = 128;

/// What the shell is to look at now.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Each by its socket, and the line that an earlier look has told.
    pub known: Vec<Line>,
    /// Each by its line of CLIENT LIST and its socket.
    pub look: Vec<ClientId>,
    /// Likewise, in the same go, though it is not their turn yet.
    pub ahead: Vec<ClientId>,
    /// So many of it, the first ones, have waited for nobody but those who were due before.
    firsts: usize,
    /// How many of it are rechecked.
    rechecks: usize,
    /// How many of it were busy when they were last looked at, or are past limits of their own.
    waited: usize,
    /// Each by user and name only.
    pub identify: Vec<ClientId>,
    /// One among all these is long.
    has_long: bool,
}

/// Who calls itself something longer than this, in bytes, makes a look dear: there is one at most in each.
const LONG: usize = 4_096;
/// So much is read of user and name, all together, in one round.
pub const LONG_ROUND: usize = 64 * 1_024;

impl Plan {
    pub fn is_empty(&self) -> bool {
        self.known.is_empty() && self.look.is_empty() && self.identify.is_empty()
    }
}

impl Reaper {
    /// When to be woken; `None`: only when something changes.
    pub fn next_wake(&mut self, now: Micros) -> Option<Micros> {
        if !self.settings.enabled {
            return None;
        }
        let schedule = self.registry.schedule();
        let scheduled = schedule.queue(Queue::Limits).first().map(|(at, _)| *at);
        let young = self.next_young();
        let looks = schedule.queue(Queue::Looks).first();
        let looks = looks.map(|(at, id)| (*at).max(self.next_turn(now, [*id])));
        let due = schedule.queue(Queue::Due);
        let backlog = (!due.is_empty()).then(|| {
            let first = due.iter().take(self.pace.batch()).map(|(_, id)| *id);
            self.next_turn(now, first)
        });
        let again = !schedule.queue(Queue::Again).is_empty();
        let again = again.then(|| self.pace.next_spare(now));
        let rate = self.purses.rate.next(now);
        let [backlog, again] = [backlog, again].map(|at| at.map(|at| at.max(rate)));
        let long = (!self.long.is_empty()).then(|| self.recheck.next_long().max(self.pace.next_spare(now)));
        let own = schedule.queue(Queue::Own).first().map(|(at, _)| *at);
        let own = own.map(|at| at.min(self.pace.next_spare(now).max(self.purses.own.next(now))));
        let recheck = self.is_recheck_wanted().then(|| {
            let (_, at) = self.recheck.next(self.identity_wanted());
            at.max(self.pace.next_spare(now))
        });
        // Not the least of those that are there: compiled, that compares what a `None` leaves unset before it
        // asks whether it is there, and valgrind takes it for a fault.
        let next = [scheduled, young, looks, backlog, again, own, recheck, long]
            .map(|at| at.unwrap_or(Micros::NEVER))
            .into_iter()
            .fold(Micros::NEVER, Micros::min);
        (next < Micros::NEVER).then_some(next)
    }

    /// When the first of `ids` may have its turn.
    fn next_turn(&self, now: Micros, ids: impl IntoIterator<Item = ClientId>) -> Micros {
        let look = self.pace.next(now);
        if look <= now || self.prefetch.is_empty() {
            return look;
        }
        if ids.into_iter().any(|id| self.prefetch.has(now, id)) {
            look.min(self.pace.next_closing(now))
        } else {
            look
        }
    }

    fn next_young(&self) -> Option<Micros> {
        let strictest = self.strictest?;
        let (_, entry, _) = self.registry.after(self.cursor).next()?;
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
        self.closings = 0;
        self.texts = 0;
        self.purses.begin_round(now);
        if self.pace.next_closing(now) <= now {
            self.take_paced_drains(now, &mut plan);
            self.take_backlog(now, &mut plan);
            plan.firsts = plan.look.len();
            if self.pace.next_spare(now) <= now {
                self.take_own(now, &mut plan);
                self.take_again(now, &mut plan);
                self.take_long_recheck(now, &mut plan);
                self.take_rechecks(now, &mut plan);
            }
            if self.pace.may_look(now) {
                self.look_ahead(now, &mut plan);
            }
        }
        self.note_whom_rate_holds(now);
        plan
    }

    /// INFO's lag leaves out for how long `rate` holds people up, and nothing else.
    fn note_whom_rate_holds(&mut self, now: Micros) {
        if self.is_backlogged() {
            self.purses.rate.note_whom_it_holds(now);
        }
        if !self.registry.schedule().queue(Queue::Own).is_empty() {
            self.purses.own.note_whom_it_holds(now);
        }
    }

    fn advance_cursor(&mut self, now: Micros) {
        let Some(strictest) = self.strictest else {
            return;
        };
        let near = now.plus(HORIZON);
        let next: Vec<(ClientId, State)> = self
            .registry
            .after(self.cursor)
            .take(MOVES)
            .take_while(|(_, entry, _)| entry.birth.plus(strictest) <= near)
            .map(|(id, _, state)| (id, state))
            .collect();
        for (id, state) in next {
            self.cursor = id;
            if state == State::Young {
                self.plan_anew(id);
            }
        }
    }

    fn queue_the_due(&mut self, now: Micros) {
        for _ in 0..MOVES {
            // A limit of its own never lets anybody live longer: once the operator's is due as well it waits with
            // the others.
            if let Some((at, id)) = self.registry.schedule().first_due(Queue::Own, now) {
                self.queue(id, at);
                continue;
            }
            let Some((at, id)) = self.registry.schedule().first_due(Queue::Limits, now) else {
                break;
            };
            let by_settings = if self.own.contains_key(&id) {
                self.earliest_by_rate(id)
            } else {
                at
            };
            if by_settings > now {
                self.registry.plan(id, State::Own, by_settings);
            } else {
                self.queue(id, at);
            }
        }
    }

    /// Drains whose look is due: those that OVER paces, and those that have spent their share of `rate` when they
    /// were taken off their keys, are looked at; the others queue for it.
    fn take_paced_drains(&mut self, now: Micros, plan: &mut Plan) {
        let batch = self.pace.batch();
        for _ in 0..MOVES {
            if plan.look.len().max(plan.known.len()) >= batch {
                break;
            }
            let Some((at, id)) = self.registry.schedule().first_due(Queue::Looks, now) else {
                break;
            };
            let drain = self.drains.get(id).copied().unwrap_or_default();
            let has_turn = |c: &Command| {
                c.paced && c.start <= now && !(drain.command_since.is_none() && c.is_missed(now))
            };
            let paced = drain.command.is_some_and(|command| has_turn(&command));
            if !paced && drain.off_keys.is_none() {
                let place = drain.due_since.unwrap_or(at);
                let in_between = drain.due_since.is_some() && at < drain.end;
                let state = if in_between { State::Again } else { State::Ready };
                self.registry.plan(id, state, place);
                continue;
            }
            if let Some(line) = self.prefetch.take(now, id) {
                plan.known.push(line);
            } else if self.pace.may_look(now) {
                plan.look.push(id);
            } else {
                break;
            }
            self.registry.plan(id, State::Looking, at);
        }
    }

    fn take_backlog(&mut self, now: Micros, plan: &mut Plan) {
        let due = self.registry.schedule().queue(Queue::Due);
        if due.is_empty() {
            return;
        }
        let allowance = self.purses.rate.left();
        let batch = self.pace.batch();
        let most = allowance.min(BATCH);
        let first: Vec<(Micros, ClientId)> = due.iter().take(batch).copied().collect();
        for (place, id) in &first {
            if plan.known.len() >= most || !self.prefetch.has(now, *id) {
                continue;
            }
            plan.known.extend(self.prefetch.take(now, *id));
            self.registry.plan(*id, State::Looking, *place);
        }
        let known = plan.known.len();
        if known < most && self.pace.may_look(now) {
            // Where a look costs the same for one and for many, those whom rules turn out to exempt need not
            // wait for `rate`.
            let wanted = if self.pace.looks_are_dear() {
                batch
            } else {
                batch.min(most).saturating_sub(known)
            };
            for (place, id) in first {
                if plan.look.len() >= wanted {
                    break;
                }
                if self.registry.state(id) == Some(State::Ready) && self.has_room(plan, id) {
                    self.prefetch.take(now, id);
                    self.registry.plan(id, State::Looking, place);
                    plan.look.push(id);
                }
            }
        }
    }

    /// Those past a limit of their own, as many as their share lets go, and in the time that is left.
    fn take_own(&mut self, now: Micros, plan: &mut Plan) {
        let room = self.pace.batch().saturating_sub(plan.look.len());
        self.take_from(Queue::Own, room.min(self.purses.own.left()), now, plan);
    }

    fn take_from(&mut self, queue: Queue, most: usize, now: Micros, plan: &mut Plan) {
        let queue = self.registry.schedule().queue(queue).iter();
        let those: Vec<(Micros, ClientId)> = queue.take(most).copied().collect();
        for (place, id) in those {
            if !self.has_room(plan, id) {
                continue;
            }
            self.prefetch.take(now, id);
            self.registry.plan(id, State::Looking, place);
            plan.look.push(id);
            plan.waited += 1;
        }
    }

    /// Those that were busy: whoever is quiet must not wait for them, so they get what time is left.
    fn take_again(&mut self, now: Micros, plan: &mut Plan) {
        if self.purses.rate.left() > 0 {
            let room = self.pace.batch().saturating_sub(plan.look.len());
            self.take_from(Queue::Again, room, now, plan);
        }
    }

    fn is_long(&self, id: ClientId) -> bool {
        !self.long.is_empty() && self.long.contains(&id)
    }

    /// Whether `id` may be looked at with the others: of those that are dear by themselves, one in a round.
    fn has_room(&self, plan: &mut Plan, id: ClientId) -> bool {
        let is_long = self.is_long(id);
        let has_room = !(is_long && plan.has_long);
        plan.has_long |= is_long;
        has_room
    }

    /// What was read of `id` had so many bytes.
    pub(super) fn note_length(&mut self, id: ClientId, bytes: usize) {
        self.texts = self.texts.saturating_add(bytes);
        if bytes > LONG {
            self.long.insert(id);
        } else if !self.long.is_empty() {
            self.long.remove(&id);
        }
    }

    fn is_backlogged(&self) -> bool {
        !self.registry.schedule().queue(Queue::Due).is_empty()
    }

    /// A look that there is anyway takes those along whose turn comes next.
    fn look_ahead(&mut self, now: Micros, plan: &mut Plan) {
        if plan.look.is_empty() || self.pace.looks_stall() {
            return;
        }
        let asked_for = self.prefetch.len();
        let room = self.pace.batch().saturating_sub(plan.look.len() + asked_for);
        if room == 0 {
            return;
        }
        let near = now.plus(HORIZON);
        let most = room + asked_for;
        let first = |queue| {
            let queue = self.registry.schedule().queue(queue).iter();
            let first = queue.take(most).take_while(|(at, _)| *at <= near);
            first.map(|(_, id)| *id)
        };
        let held_up = first(Queue::Due);
        let paced = first(Queue::Looks).filter(|id| self.drains.is_paced(*id));
        let mut next: Vec<ClientId> = held_up.chain(paced).chain(first(Queue::Limits)).collect();
        next.truncate(most);
        next.retain(|id| !self.prefetch.was_asked_for(*id) && !self.is_long(*id));
        next.truncate(room);
        plan.ahead = next;
    }

    pub(super) fn identity_wanted(&self) -> bool {
        self.settings.rules.matches_on_identity()
    }

    /// Nobody younger than this one can have been looked at and left.
    fn recheck_end(&self) -> ClientId {
        let own = self.own.last_key_value().map_or(ClientId(0), |(id, _)| *id);
        self.cursor.max(own)
    }

    fn is_recheck_wanted(&self) -> bool {
        let end = self.recheck_end();
        self.registry.oldest().is_some_and(|(id, _)| id <= end)
    }

    /// Whether what it may become meanwhile has to be noticed: nobody would look at it before long.
    fn is_rechecked(&self, id: ClientId, state: State) -> bool {
        match state {
            State::Parked => true,
            State::Draining => self.drains.has_not_begun(id),
            _ => false,
        }
    }

    /// One of those to whom it is dear to look, with a share of its own: others must not wait until it is paid for.
    fn take_long_recheck(&mut self, now: Micros, plan: &mut Plan) {
        if self.long.is_empty() || plan.has_long || self.recheck.next_long() > now {
            return;
        }
        let Some(id) = self.recheck.turn_of_long(now, &self.long) else {
            return;
        };
        let Some((entry, state)) = self.registry.get_with_state(id) else {
            return;
        };
        if self.is_rechecked(id, state) {
            let at = entry.at();
            self.registry.plan(id, State::Rechecking, at);
            plan.look.push(id);
            plan.rechecks += 1;
            plan.has_long = true;
        }
    }

    /// Whether what was read in this round of `count` is mostly what clients made long.
    fn is_mostly_long(&self, count: usize) -> bool {
        self.texts > LONG.max(count.saturating_mul(LONG / 4))
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
        } else if kind == Kind::Full && self.pace.looks_stall() {
            self.pace.batch()
        } else {
            RECHECK_CHUNK
        };
        let end = self.recheck_end();
        let mut position = self.recheck.position(kind, now);
        let mut found = Vec::new();
        let mut passed = 0;
        let mut done = true;
        for (id, _, state) in self.registry.after(position) {
            if id > end {
                break;
            }
            if passed == RECHECK_SPAN || found.len() == chunk {
                done = false;
                break;
            }
            position = id;
            passed += 1;
            if self.is_rechecked(id, state) && !self.is_long(id) {
                found.push(id);
            }
        }
        self.recheck.advance(kind, (!done).then_some(position));
        match kind {
            Kind::Identity => plan.identify = found,
            Kind::Full => {
                for id in &found {
                    let at = self.registry.get(*id).map_or(Micros::NEVER, |entry| entry.at());
                    self.registry.plan(*id, State::Rechecking, at);
                }
                plan.rechecks += found.len();
                plan.look.extend(found);
            }
        }
        // Passing over the others costs a little as well.
        self.recheck.spend(now, passed as u64 / 32 + 1, false);
    }

    /// Has those wait for time that is left of whom the server tells without a look that they are held up, in MULTI
    /// or by a command that blocks: whoever is quiet must not wait until all of them have been looked at. Only where
    /// looks are dear; elsewhere one costs hardly more than the question. Their grace runs from their look on.
    pub fn let_the_quiet_pass(
        &mut self,
        now: Micros,
        plan: &mut Plan,
        is_held_up: impl Fn(ClientId) -> bool,
    ) {
        let dear = self.pace.looks_stall() || self.pace.looks_are_dear();
        if !dear || self.settings.grace.0 == 0 {
            return;
        }
        let (mut begin, mut end, mut asked) = (0, plan.firsts, 0);
        loop {
            let mut place = 0;
            let mut waiting = 0;
            plan.look.retain(|id| {
                let is_first = (begin..end).contains(&place) && self.drains.get(*id).is_none();
                place += 1;
                asked += usize::from(is_first);
                let waits = is_first && is_held_up(*id);
                if waits {
                    self.registry.plan(*id, State::Again, now);
                    waiting += 1;
                }
                !waits
            });
            if waiting == 0 || asked >= ASKED {
                break;
            }
            // Others take their places.
            begin = plan.look.len();
            self.take_backlog(now, plan);
            end = plan.look.len();
        }
    }

    /// Takes those out of the plan that were busy at their last look and have input waiting now: they
    /// still are, and a look at a descriptor costs a tenth of one at a client, or a thousandth where
    /// the server has to stop its I/O threads for it.
    ///
    /// Answers with those before whose input a gate is to be shut for a moment: they have been busy
    /// without a pause for so long that they would stay so until their grace ends.
    pub fn put_off_the_busy(
        &mut self,
        now: Micros,
        plan: &mut Plan,
        has_input: impl Fn(i32) -> bool,
    ) -> Vec<(ClientId, i32)> {
        let mut gates = Vec::new();
        plan.look.retain(|id| {
            let Some(mut drain) = self.drains.get(*id).copied() else {
                return true;
            };
            if !drain.passes || drain.end <= now || drain.fd < 0 {
                return true;
            }
            let pause = drain.end.since(drain.gates_from) / 4;
            let pause = pause.clamp(*GATE_AGAIN_US.start(), *GATE_AGAIN_US.end());
            let again = drain
                .gate
                .map_or(drain.gates_from, |gate| gate.plus_micros(pause));
            let gate = drain.gateable && now >= again;
            if gate {
                drain.gate = Some(now);
                drain.silence_us = 0;
                gates.push((*id, drain.fd));
            }
            let busy = has_input(drain.fd);
            if busy {
                drain.quiet_since = None;
            }
            self.drains.put(*id, drain);
            if busy {
                let wait = backoff(drain.waited_us(now), true).max(drain.silence_us);
                let next_look = now.plus_micros(wait).min(drain.end);
                self.registry.plan(*id, State::Draining, next_look);
            }
            !busy
        });
        gates
    }

    /// User and name of a connection that [`Plan::identify`] named; whether to go on with the next. Where they
    /// turn out to be long, the rest of them have their turn later.
    pub fn identified(&mut self, now: Micros, id: ClientId, user: &[u8], name: &[u8]) -> bool {
        self.note_length(id, user.len().saturating_add(name.len()));
        self.notice_reset(&Client {
            user,
            name,
            ..Client::unknown(id)
        });
        let identity = identity::fingerprint(user, name);
        let changed = self
            .registry
            .get(id)
            .is_some_and(|entry| entry.identity() != identity);
        let state = self.registry.state(id);
        if changed && state.is_some_and(|state| self.is_rechecked(id, state)) {
            self.queue(id, now);
        }
        let goes_on = self.texts <= LONG_ROUND;
        if !goes_on {
            self.recheck.advance(Kind::Identity, Some(id));
        }
        goes_on
    }

    /// A plan was carried out: the server was asked for `asked_us`, and judging and closing took
    /// `other_us`.
    pub fn carried_out(&mut self, now: Micros, plan: &Plan, asked_us: u64, other_us: u64) {
        if !plan.look.is_empty() || !plan.known.is_empty() {
            self.tally.swept(asked_us + other_us);
        }
        let asked_for = match plan.look.len() {
            0 => 0,
            due => due + plan.ahead.len(),
        };
        let look = Look {
            ids: asked_for,
            spare: plan.rechecks + plan.waited,
            connections: self.registry.len(),
            is_long: self.is_mostly_long(asked_for),
        };
        self.pace.spend(now, look, asked_us, other_us);
        self.note_whom_rate_holds(now);
        for id in &plan.look {
            // Not in the reply: it is gone, and its event was missed or is on its way.
            if let Some(State::Looking | State::Rechecking) = self.registry.state(*id) {
                self.disconnected(*id);
            }
        }
        // What is looked at in one go shares its price.
        let share = match asked_for {
            0 => asked_us,
            all => (asked_us + other_us) * plan.rechecks as u64 / all as u64,
        };
        let names = plan.look.len() + plan.ahead.len() + plan.identify.len();
        self.recheck.spend(now, share, self.is_mostly_long(names));
    }

    /// Was to be looked at, and is not: it has its place again.
    fn put_back(&mut self, now: Micros, id: ClientId) {
        let Some((entry, state)) = self.registry.get_with_state(id) else {
            return;
        };
        let at = entry.at();
        match state {
            State::Looking if at > now => self.registry.plan(id, State::Own, at),
            State::Looking => self.queue(id, at),
            State::Rechecking if self.drains.get(id).is_some() => {
                self.registry.plan(id, State::Draining, at);
            }
            State::Rechecking => self.registry.plan(id, State::Parked, at),
            _ => {}
        }
    }

    /// Which names are to be measured before a look: a name can be had alone, and a line only with all others.
    pub fn to_measure<'a>(&'a self, plan: &'a Plan) -> impl Iterator<Item = ClientId> + 'a {
        let those = plan.look.iter().chain(&plan.ahead).copied();
        those.filter(|id| !self.is_long(*id))
    }

    /// Leaves those out whose names turned out to be long, but for one. `names` are the lengths for
    /// [`to_measure`](Self::to_measure), in its order, up to where they came to [`LONG_ROUND`]: the others
    /// have their turn in the next round.
    pub fn leave_out_the_long(&mut self, now: Micros, plan: &mut Plan, names: &[usize]) {
        let mut names = names.iter();
        for id in core::mem::take(&mut plan.look) {
            let fits = self.is_long(id)
                || match names.next() {
                    None => false,
                    Some(bytes) if *bytes <= LONG => true,
                    Some(_) => {
                        self.long.insert(id);
                        self.has_room(plan, id)
                    }
                };
            if fits {
                plan.look.push(id);
            } else {
                let rechecked = self.registry.state(id) == Some(State::Rechecking);
                plan.rechecks = plan.rechecks.saturating_sub(usize::from(rechecked));
                self.put_back(now, id);
            }
        }
        plan.ahead
            .retain(|_| names.next().is_some_and(|bytes| *bytes <= LONG));
    }

    /// The server would not be looked at: everybody keeps its place, to be looked at a little later. What was
    /// done until then is paid for all the same.
    pub fn look_failed(&mut self, now: Micros, plan: &Plan, asked_us: u64, other_us: u64) {
        plan.look.iter().for_each(|id| self.put_back(now, *id));
        self.carried_out(now, plan, asked_us, other_us);
        self.pace.rest(now.plus(Millis(100)));
    }
}
