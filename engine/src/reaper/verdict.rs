//! Verdict: what becomes of a connection that was looked at.
//!
//! A pure function of [`Facts`]: it must not keep anything, nor know of other connections than by how many have
//! gone in this round.

mod how;
mod waiting;

use how::{how, how_and_manner};
use waiting::{grace, look_again, silent_at, with_grace_begun};

use crate::client::manner::{Environment, Manner};
use crate::client::quiet::{Activity, Seen};
use crate::reaper::causes::{Due, Dues};
use crate::reaper::drains::Drain;
use crate::reaper::registry::State;
use crate::reaper::share::{Purses, Share};
use crate::record::journal::{How, Reason};
use crate::text::time::{Micros, Millis};

/// All that a verdict goes by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    pub now: Micros,
    pub seen: &'a Seen<'a>,
    pub env: &'a Environment,
    pub activity: Activity,
    pub tls: bool,
    pub dry_run: bool,
    /// It was looked at though nothing was due.
    pub rechecked: bool,
    pub dues: Dues,
    /// How it is waited for; `None` at the first look.
    pub drain: Option<Drain>,
    /// How much of its grace, in µs, it had when it was waited for before.
    pub spent_us: u64,
    /// The moment that was planned for it.
    pub planned_at: Micros,
    /// The earliest that it can have been planned for by what takes of `rate`.
    pub earliest_by_rate: Micros,
    pub purses: &'a Purses,
    /// As many are closed in this round as may be at once; and it can go in the next one without another look.
    pub can_wait: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Leave(Rest),
    /// It would have been evicted, but for the setting `dry-run`.
    WouldEvict(Due, Rest),
    /// It is due, and has its turn with all others that are.
    Queue,
    /// It could go, and its turn has not come: it keeps its place.
    KeepPlace {
        state: State,
        place: Micros,
        is_quiet: bool,
    },
    LookAgain(Drain, Micros),
    Close(Sentence),
}

/// Nothing evicts it before `at`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rest {
    pub at: Micros,
    /// It is waited for: its turn by a command comes.
    pub drain: Option<Drain>,
    /// How much of its grace it has had, in µs: exempt for a moment and back again must not begin grace anew.
    pub spent_us: Option<u64>,
}

/// How one is to be closed, or taken off its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sentence {
    pub how: How,
    pub manner: Manner,
    pub reason: Reason<usize>,
    pub limit: Millis,
    pub waited: Millis,
    pub share: Share,
    pub lag_us: Option<u64>,
    /// How it was waited for, should it refuse to be closed so.
    pub drain: Drain,
}

pub(super) fn verdict(facts: &Facts) -> Verdict {
    let now = facts.now;
    let drain = facts.drain.unwrap_or_default();
    let (policy_at, command_at) = (facts.dues.policy_at(), facts.dues.command_at());
    if facts.seen.client.is_closing() {
        return Verdict::Leave(Rest {
            at: Micros::NEVER,
            drain: None,
            spent_us: None,
        });
    }
    if policy_at.min(command_at) > now {
        return Verdict::Leave(rest(facts, drain, policy_at));
    }
    if facts.rechecked {
        return Verdict::Queue;
    }
    if facts.dry_run && command_at > now {
        let drain = Drain {
            age_since: None,
            ..drain
        };
        let rest = rest(facts, drain, Micros::NEVER);
        return match facts.dues.policy {
            Some(due) => Verdict::WouldEvict(due, rest),
            None => Verdict::Leave(rest),
        };
    }
    let mut drain = with_grace_begun(facts, drain);
    let Some(due) = decisive(&facts.dues, &drain) else {
        return Verdict::Leave(rest(facts, drain, policy_at));
    };
    let by_command = due.reason == Reason::COMMAND;
    let is_own = !by_command && facts.dues.by_rate > now;
    let due_at = due.at.max(due.since);
    let moments = [policy_at, due_at, facts.dues.by_rate, facts.earliest_by_rate];
    let planned = if is_own { &moments[..] } else { &moments[..2] };
    if facts.drain.is_none() && !by_command && planned.contains(&facts.planned_at) {
        drain.quiet_since = Some(due_at);
    }
    drain.due_since = drain.due_since.or(Some(due_at.min(now)));
    let grace = grace(facts, &drain);
    let silent_at = silent_at(facts, &mut drain, grace);
    let is_silent = silent_at <= now;
    drain.quiet_since = match facts.activity {
        Activity::Quiet if is_silent => drain.quiet_since,
        Activity::Quiet => drain.quiet_since.map(|since| since.max(silent_at)),
        _ => None,
    };
    let grace_ended = now >= grace.end && may_force(facts);
    let how = how(facts, &drain, is_silent, grace_ended);
    let Some((how, manner)) = how.and_then(|how| how_and_manner(facts, &drain, how, grace_ended)) else {
        return look_again(facts, drain, grace, silent_at);
    };
    drain.end = grace.end;
    let share = if due.share == Share::Paid || drain.off_keys.is_some() {
        Share::Paid
    } else if is_own {
        Share::Own
    } else {
        Share::Rate
    };
    let purse = facts.purses.of(share);
    let is_held = purse.is_some_and(|purse| purse.left() == 0);
    let is_quiet = how == How::Quiet;
    if is_held || facts.can_wait && is_quiet {
        let (state, place) = if share == Share::Own {
            (State::Own, facts.dues.by_rate)
        } else {
            (State::Ready, drain.due_since.unwrap_or(now))
        };
        return Verdict::KeepPlace {
            state,
            place,
            is_quiet,
        };
    }
    // Whatever it is paid by.
    let held_by = if is_own {
        &facts.purses.own
    } else {
        &facts.purses.rate
    };
    let quiet_since = drain.quiet_since.filter(|_| is_quiet);
    Verdict::Close(Sentence {
        how,
        manner,
        reason: due.reason,
        limit: facts.dues.limit(),
        waited: Millis(now.since(drain.due_since.unwrap_or(now)) / 1_000),
        share,
        lag_us: quiet_since.map(|since| now.since(since.max(held_by.held_until()))),
        drain,
    })
}

/// Not due before `policy_at`, or its turn by a command.
fn rest(facts: &Facts, drain: Drain, policy_at: Micros) -> Rest {
    let spent_us = drain.age_since.map(|since| facts.now.since(since));
    let Some(command) = facts.dues.command else {
        return Rest {
            at: policy_at,
            drain: None,
            spent_us,
        };
    };
    Rest {
        at: policy_at.min(command.at),
        drain: Some(Drain {
            age_since: None,
            command_since: None,
            due_since: None,
            ..drain
        }),
        spent_us,
    }
}

/// Why it goes: of a command and all else, what began earlier.
fn decisive(dues: &Dues, drain: &Drain) -> Option<Due> {
    let by_command = match (drain.command_since, drain.age_since) {
        (Some(command), Some(age)) => command <= age,
        (command, _) => command.is_some(),
    };
    if !by_command {
        return dues.policy;
    }
    let spread = drain.command.is_some_and(|command| command.spread);
    dues.command.map(|due| Due {
        share: if spread { Share::Paid } else { Share::Rate },
        ..due
    })
}

/// Who was unblocked in this round of the loop executes what it has sent before the next one.
fn may_force(facts: &Facts) -> bool {
    !facts.env.paused && !facts.env.nested && !facts.seen.client.is_unblocked()
}

#[cfg(test)]
mod tests;
