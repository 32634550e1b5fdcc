//! Judge: what to do with a connection that was looked at.

use super::{Held, Reaper, GATE};
use crate::client::identity;
use crate::client::manner::{manner, Manner, Refusal, Surroundings};
use crate::client::quiet::{Activity, Seen};
use crate::client::silence::{Grace, Heard};
use crate::client::{Client, ClientId};
use crate::reaper::budget::BATCH;
use crate::reaper::drains::{backoff, Drain};
use crate::reaper::prefetch::Line;
use crate::reaper::registry::{Entry, State};
use crate::record::journal::{Circumstances, How, Reason};
use crate::text::time::{Micros, Millis};

/// In bytes.
const LONG: u64 = 16 * 1_024;
/// Who was taken off its keys has its answer, and has done what it sent behind, within this time; a client
/// that does not read may never.
const MOMENT_OFF_KEYS: Millis = Millis(1_000);

/// Of what an eviction takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Share {
    /// Of `rate`.
    Rate,
    /// Of as many again: nothing but a limit that the connection gave itself is due.
    Own,
    /// Of nothing: OVER has a rate of its own, and who was taken off its keys has spent its share.
    Paid,
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
    share: Share,
    /// It waits for data: to be taken off its keys first. Between the flag and the end of a client, what
    /// another one pushes would still be popped for it, and be lost.
    pub off_keys: bool,
    /// Quiet whenever it was looked at: µs since its limit, without those for which `rate` held it up.
    pub(super) lag_us: Option<u64>,
    /// How it was waited for, should it refuse to be closed so.
    drain: Drain,
}

impl Reaper {
    /// What to do with a connection of [`Plan::known`](super::Plan::known), whose socket was just looked at.
    pub fn judge_known(
        &mut self,
        now: Micros,
        line: &Line,
        seen: &Seen,
        around: &Surroundings,
    ) -> Option<Closing> {
        if line.holds(seen) {
            return self.judge(now, seen, around);
        }
        let id = seen.client.id;
        if let Some((entry, State::Looking)) = self.registry.get_with_state(id) {
            let place = entry.at();
            self.queue(id, place);
        }
        None
    }

    /// What to do with a connection that the server told of; `None`: leave it.
    pub fn judge(&mut self, now: Micros, seen: &Seen, around: &Surroundings) -> Option<Closing> {
        let client = &seen.client;
        let id = client.id;
        let state = self.registry.state(id)?;
        let watching = self.gauge.is_watching(client, around.jemalloc);
        let activity = Activity::of(seen, watching);
        // Asked for ahead of its turn.
        if matches!(
            state,
            State::Scheduled | State::Parked | State::Draining | State::Ready | State::Again
        ) {
            self.note_length(id, client.line.len());
            if activity != Activity::Quiet || client.is_closing() || !self.prefetch.keep(now, seen) {
                self.prefetch.keep_none(id);
            }
            return None;
        }
        if !matches!(state, State::Looking | State::Rechecking) {
            return None;
        }
        let identity = identity::fingerprint(client.user, client.name);
        self.registry.set_identity(id, identity);
        self.note_length(id, client.line.len());
        let entry = *self.registry.get(id)?;
        if client.is_closing() {
            self.park(id, Micros::NEVER);
            return None;
        }
        self.notice_reset(client);
        let mut held = self.held(client);
        held.exempt |= seen.awaits_link;
        let age_due = self.age_due(&entry, &held);
        let first_look = self.drains.get(id).is_none();
        let mut drain = self.drains.get(id).copied().unwrap_or_default();
        // It may have become something else since it was named.
        drain.command = drain.command.filter(|command| {
            let reach = command.reach;
            reach.allows(client) && (reach.replicas || !seen.awaits_link)
        });
        let command_due = drain.command.map_or(Micros::NEVER, |command| command.start);
        if age_due.min(command_due) > now {
            self.not_due(now, id, drain, age_due, command_due);
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
                self.not_due(now, id, drain, Micros::NEVER, command_due);
            } else {
                self.park(id, Micros::NEVER);
            }
            return None;
        }
        if age_due <= now && !self.settings.dry_run {
            let spent = self.drains.spent_us(id);
            drain.age_since = drain.age_since.or(Some(Micros(now.0.saturating_sub(spent))));
        } else {
            drain.age_since = None;
        }
        if command_due <= now {
            if let Some(command) = drain.command.as_mut().filter(|_| drain.command_since.is_none()) {
                command.paced &= !command.is_missed(now);
            }
            drain.command_since = drain.command_since.or(Some(now));
        }
        let by_command = match (drain.command_since, drain.age_since) {
            (Some(command), Some(age)) => command <= age,
            (command, _) => command.is_some(),
        };
        let due = if by_command {
            command_due
        } else {
            age_due.max(held.since)
        };
        let due_by_settings = self.due_by_settings(&entry, &held);
        let is_own = !by_command && due_by_settings > now;
        let moments = [age_due, due, due_by_settings, self.earliest_by_settings(id)];
        let planned = if is_own { &moments[..] } else { &moments[..2] };
        let was_planned = first_look && !by_command && planned.contains(&entry.at());
        if was_planned {
            drain.quiet_since = Some(due);
        }
        if activity != Activity::Quiet {
            drain.quiet_since = None;
        }
        drain.due_since = drain.due_since.or(Some(due.min(now)));
        let by_age = drain.age_since.map(|since| (since.plus(held.grace), since));
        let command = drain.command_since.zip(drain.command);
        let by_order = command.map(|(since, command)| (since.plus(command.grace), since));
        let (end, since) = by_age.into_iter().chain(by_order).min().unwrap_or((now, now));
        let grace = Grace { since, end };
        // Who was unblocked in this round of the loop executes what it has sent before the next one.
        let may_force = !around.paused && !around.nested && !client.is_unblocked();
        let over = now >= end && may_force;
        let (last, heard) = Heard::last(drain.heard, seen, now, activity == Activity::Quiet);
        drain.heard = heard;
        drain.silence_us = if drain.gate.is_some_and(|shut| now < shut.plus(GATE)) {
            // It could not send anything that counts.
            0
        } else {
            let round_trip_us = seen.received.map_or(0, |received| received.round_trip_us);
            grace.silence_us(now, round_trip_us, !client.is_unix())
        };
        let silent_at = if client.closes_after_reply() {
            now
        } else {
            last.plus_micros(drain.silence_us)
        };
        let is_silent = silent_at <= now;
        if !is_silent {
            drain.quiet_since = drain.quiet_since.map(|since| since.max(silent_at));
        }
        let how = match drain.off_keys {
            None => match activity {
                Activity::Quiet if is_silent => Some(How::Quiet),
                Activity::Blocked if over => Some(How::Blocked),
                Activity::Transaction | Activity::Executing | Activity::Busy if over => Some(How::Forced),
                _ => None,
            },
            Some(since) => Self::how_off_keys(now, seen, activity, since, over),
        };
        let only_off_keys = how == Some(How::Blocked) && drain.off_keys.is_none();
        let chosen = how.and_then(|how| {
            if only_off_keys {
                return Some((how, Manner::OnlyOffKeys));
            }
            let around = if drain.refused {
                around.without_lingering()
            } else {
                *around
            };
            let manner = manner(seen, entry.is_tls(), &around, over)?;
            // Quiet, but not closable without loss, and out of grace.
            let lossy = how == How::Quiet && over && manner.may_lose(seen);
            Some((if lossy { How::Forced } else { how }, manner))
        });
        let Some((how, manner)) = chosen else {
            let passes = matches!(activity, Activity::Busy | Activity::Quiet);
            drain.gates_from = grace.half();
            let waited = drain.waited_us(now);
            let only_silent = activity == Activity::Quiet && !is_silent;
            let next = if only_silent {
                silent_at
            } else {
                now.plus_micros(backoff(waited, passes))
            };
            let next_look = if end > now { next.min(end) } else { next };
            drain.end = end;
            drain.passes = passes;
            drain.fd = client.fd;
            let sends = activity == Activity::Busy || only_silent;
            drain.gateable = sends && is_gateable(client);
            self.drain(id, drain, next_look);
            return None;
        };
        let paced = by_command && drain.command.is_some_and(|command| command.paced);
        let share = if paced || drain.off_keys.is_some() {
            Share::Paid
        } else if is_own {
            Share::Own
        } else {
            Share::Rate
        };
        let is_held = self.left_of(share) == Some(0);
        // Where a look is for many at once, those whose lines will last take turns.
        let waits = is_held || self.closings >= BATCH;
        if waits && (how == How::Quiet && self.prefetch.keep(now, seen) || is_held) {
            if share == Share::Own {
                self.registry.plan(id, State::Own, due_by_settings);
            } else {
                self.queue(id, drain.due_since.unwrap_or(now));
            }
            return None;
        }
        match share {
            Share::Rate => self.may_close = self.may_close.saturating_sub(1),
            Share::Own => self.own_may_close = self.own_may_close.saturating_sub(1),
            Share::Paid => {}
        }
        self.closings += 1;
        let due_since = drain.due_since.unwrap_or(now);
        let quiet_since = drain.quiet_since.filter(|_| how == How::Quiet);
        let held_until = if is_own {
            self.own_rate_held_until
        } else {
            self.rate_held_until
        };
        let lag_us = quiet_since.map(|since| now.since(since.max(held_until)));
        if only_off_keys {
            drain.off_keys = Some(now);
            self.drain(id, drain, now);
        } else {
            self.drains.remove(id);
            self.registry.plan(id, State::Closing, Micros::NEVER);
        }
        Some(Closing {
            id,
            how,
            manner,
            reason: if by_command { Reason::Command } else { held.reason },
            limit: if held.exempt { Millis(0) } else { held.limit },
            age: Millis(now.since(entry.birth) / 1_000),
            waited: Millis(now.since(due_since) / 1_000),
            by_command,
            share,
            off_keys: client.waits_for_data(),
            lag_us,
            drain: Drain { end, ..drain },
        })
    }

    /// How one is to be closed that was taken off its keys at `since`, if now: once its answer, as at its
    /// timeout, has left. If it blocks again at once, or has sent what the server has not read, nothing is lost.
    fn how_off_keys(now: Micros, seen: &Seen, activity: Activity, since: Micros, over: bool) -> Option<How> {
        let read = Seen {
            unread: Some(0),
            ..*seen
        };
        match activity {
            Activity::Quiet => Some(How::Blocked),
            Activity::Blocked if over => Some(How::Blocked),
            Activity::Busy if over && Activity::of(&read, false) == Activity::Quiet => Some(How::Blocked),
            _ if over && now >= since.plus(MOMENT_OFF_KEYS) => Some(How::Forced),
            _ => None,
        }
    }

    fn not_due(&mut self, now: Micros, id: ClientId, mut drain: Drain, age_due: Micros, command_due: Micros) {
        // Exempt for a moment and back again must not begin grace anew.
        if let Some(since) = drain.age_since {
            self.drains.rest(id, now.since(since));
        }
        if drain.command.is_some() {
            drain.age_since = None;
            drain.command_since = None;
            drain.due_since = None;
            self.drain(id, drain, age_due.min(command_due));
        } else {
            self.park(id, age_due);
        }
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
        if !self.registry.report(seen.client.id) {
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
                waited: Millis(now.since(due.max(held.since)) / 1_000),
            },
        );
    }

    /// It could not be closed as judged: judged anew soon, and for good in another way if it is the one that
    /// refuses.
    pub fn not_closed(&mut self, now: Micros, closing: &Closing, refusal: Refusal) {
        if !self.is_tracked(closing.id) {
            return;
        }
        let mut drain = closing.drain;
        drain.refused |= refusal == Refusal::ThisSocket;
        let waited = now.since(drain.due_since.unwrap_or(now));
        let next_look = now.plus_micros(backoff(waited, true));
        self.drain(closing.id, drain, next_look);
    }

    /// [`Manner::OnlyOffKeys`] was done: to be closed at one of the next looks, whatever `rate` says then.
    pub fn taken_off_keys(&mut self, now: Micros, closing: &Closing) {
        self.spend(now, closing.share);
    }

    /// How many may still go in this round; `None`: as many as like.
    fn left_of(&self, share: Share) -> Option<usize> {
        match share {
            Share::Rate => Some(self.may_close),
            Share::Own => Some(self.own_may_close),
            Share::Paid => None,
        }
    }

    fn spend(&mut self, now: Micros, share: Share) {
        match share {
            Share::Rate => self.rate.spend(now),
            Share::Own => self.own_rate.spend(now),
            Share::Paid => {}
        }
    }

    /// The server has taken `closing` over.
    pub fn closed(&mut self, now: Micros, client: &Client, closing: &Closing, wall_ms: u64) {
        self.spend(now, closing.share);
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
}

/// Whether its input may be held back for a moment: with half of a long command read, or a long reply on
/// its way, that would only delay it.
fn is_gateable(client: &Client) -> bool {
    let halves = client.qbuf.saturating_add(client.argv_mem);
    !client.is_unix() && client.oll == 0 && halves <= LONG
}
