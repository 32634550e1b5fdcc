//! Judge: what to do with a connection that was looked at. Gathers the facts, has the [`verdict`] said, and
//! applies it; and is told what came of it.

use super::causes::Due;
use super::verdict::{verdict, Facts, Rest, Sentence, Verdict};
use super::Reaper;
use crate::client::identity;
use crate::client::manner::{CloseError, Environment, Manner};
use crate::client::quiet::{Activity, Seen};
use crate::client::{Client, ClientId};
use crate::reaper::drains::{backoff, Drain};
use crate::reaper::pace::BATCH;
use crate::reaper::prefetch::{self, Line};
use crate::reaper::registry::State;
use crate::reaper::share::Share;
use crate::record::journal::{Eviction, How, Reason};
use crate::text::time::{Micros, Millis};

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
    /// What to do with a connection of [`Round::cached`](super::Round::cached), whose socket was just looked at.
    pub fn judge_cached(
        &mut self,
        now: Micros,
        line: &Line,
        seen: &Seen,
        env: &Environment,
    ) -> Option<Closing> {
        if line.holds(seen) {
            return self.judge(now, seen, env);
        }
        let id = seen.client.id;
        if let Some((entry, State::Looking)) = self.registry.get_with_state(id) {
            let place = entry.at();
            self.queue(id, place);
        }
        None
    }

    /// What to do with a connection that the server told of; `None`: leave it.
    pub fn judge(&mut self, now: Micros, seen: &Seen, env: &Environment) -> Option<Closing> {
        let client = &seen.client;
        let state = self.registry.state(client.id)?;
        let watching = self.gauge.is_watching(client, env.jemalloc);
        let activity = Activity::of(seen, watching);
        match state {
            State::Looking | State::Rechecking => {}
            State::Scheduled | State::Parked | State::Draining | State::Ready | State::Again => {
                self.note_line(now, seen, activity);
                return None;
            }
            State::Young | State::Own | State::Closing => return None,
        }
        let identity = identity::hash(client.user, client.name);
        self.registry.set_identity(client.id, identity);
        self.note_length(client.id, client.line.len());
        if !client.is_closing() {
            self.notice_reset(client);
        }
        let verdict = verdict(&self.gather(now, seen, env, activity)?);
        self.apply(now, seen, env, verdict)
    }

    /// It was asked for ahead of its turn.
    fn note_line(&mut self, now: Micros, seen: &Seen, activity: Activity) {
        let (id, client) = (seen.client.id, &seen.client);
        self.note_length(id, client.line.len());
        if activity != Activity::Quiet || client.is_closing() || !self.prefetch.keep(now, seen) {
            self.prefetch.keep_none(id);
        }
    }

    fn gather<'a>(
        &'a self,
        now: Micros,
        seen: &'a Seen<'a>,
        env: &'a Environment,
        activity: Activity,
    ) -> Option<Facts<'a>> {
        let id = seen.client.id;
        let (entry, state) = self.registry.get_with_state(id)?;
        let mut drain = self.drains.get(id).copied();
        let command = drain.and_then(|drain| drain.command);
        let limit = self.limit(&seen.client);
        let dues = self.dues(entry, &seen.client, limit, seen.awaits_link, command);
        if let Some(drain) = drain.as_mut().filter(|_| dues.command.is_none()) {
            // It has become what the command does not mean.
            drain.command = None;
        }
        Some(Facts {
            now,
            seen,
            env,
            activity,
            tls: entry.is_tls(),
            dry_run: self.settings.dry_run,
            rechecked: state == State::Rechecking,
            dues,
            drain,
            spent_us: self.drains.spent_us(id),
            planned_at: entry.at(),
            earliest_by_rate: self.earliest_by_rate(id),
            purses: &self.purses,
            // Where a look is for many at once, those whose lines will last take turns.
            can_wait: self.closings >= BATCH && prefetch::lasts(now, seen),
        })
    }

    /// The only one that has a verdict's states set.
    fn apply(&mut self, now: Micros, seen: &Seen, env: &Environment, verdict: Verdict) -> Option<Closing> {
        let id = seen.client.id;
        match verdict {
            Verdict::Leave(rest) => self.leave(id, rest),
            Verdict::WouldEvict(due, rest) => {
                self.note_dry_run(now, seen, due, env);
                self.leave(id, rest);
            }
            Verdict::Queue => self.queue(id, now),
            Verdict::KeepPlace {
                state,
                place,
                is_quiet,
            } => {
                if is_quiet {
                    self.prefetch.keep(now, seen);
                }
                self.registry.plan(id, state, place);
            }
            Verdict::LookAgain(drain, at) => self.drain(id, drain, at),
            Verdict::Close(sentence) => return self.let_go(now, &seen.client, sentence),
        }
        None
    }

    fn leave(&mut self, id: ClientId, rest: Rest) {
        if let Some(spent_us) = rest.spent_us {
            self.drains.rest(id, spent_us);
        }
        match rest.drain {
            Some(drain) => self.drain(id, drain, rest.at),
            None => self.park(id, rest.at),
        }
    }

    fn let_go(&mut self, now: Micros, client: &Client, sentence: Sentence) -> Option<Closing> {
        let id = client.id;
        let birth = self.registry.get(id)?.birth;
        self.purses.set_aside(sentence.share);
        self.closings += 1;
        let mut drain = sentence.drain;
        if sentence.manner == Manner::OnlyOffKeys {
            drain.off_keys = Some(now);
            self.drain(id, drain, now);
        } else {
            self.drains.remove(id);
            self.registry.plan(id, State::Closing, Micros::NEVER);
        }
        Some(Closing {
            id,
            how: sentence.how,
            manner: sentence.manner,
            reason: self.named(sentence.reason),
            limit: sentence.limit,
            age: Millis(now.since(birth) / 1_000),
            waited: sentence.waited,
            share: sentence.share,
            off_keys: client.waits_for_data(),
            lag_us: sentence.lag_us,
            drain,
        })
    }

    fn note_dry_run(&mut self, now: Micros, seen: &Seen, due: Due, env: &Environment) {
        let id = seen.client.id;
        let Some(birth) = self.registry.get(id).map(|entry| entry.birth) else {
            return;
        };
        if !self.registry.report(id) {
            return;
        }
        let reason = self.named(due.reason);
        self.tally.count(How::DryRun, &reason);
        self.journal.add(
            &seen.client,
            Eviction {
                time_ms: env.wall_ms,
                age: Millis(now.since(birth) / 1_000),
                limit: due.limit,
                reason,
                how: How::DryRun,
                waited: Millis(now.since(due.at.max(due.since)) / 1_000),
            },
        );
    }

    /// It could not be closed as judged: judged anew soon, and for good in another way if it is the one that
    /// refuses.
    pub fn not_closed(&mut self, now: Micros, closing: &Closing, refusal: CloseError) {
        if !self.is_tracked(closing.id) {
            return;
        }
        let mut drain = closing.drain;
        drain.refused |= refusal == CloseError::ThisSocket;
        let waited = now.since(drain.due_since.unwrap_or(now));
        let next_look = now.plus_micros(backoff(waited, true));
        self.drain(closing.id, drain, next_look);
    }

    /// [`Manner::OnlyOffKeys`] was done: to be closed at one of the next looks, whatever `rate` says then.
    pub fn taken_off_keys(&mut self, now: Micros, closing: &Closing) {
        self.purses.spend(now, closing.share);
    }

    /// The server has taken `closing` over.
    pub fn closed(&mut self, now: Micros, client: &Client, closing: &Closing, wall_ms: u64) {
        self.purses.spend(now, closing.share);
        self.tally.count(closing.how, &closing.reason);
        if let Some(us) = closing.lag_us {
            self.tally.lag.record(us);
        }
        self.journal.add(
            client,
            Eviction {
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
