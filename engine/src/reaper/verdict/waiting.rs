//! How a connection is waited for: its grace, for how long it has to be silent, and when to look at it again.

use super::{Facts, Verdict};
use crate::client::quiet::Activity;
use crate::client::silence::{Grace, Heard};
use crate::client::Client;
use crate::reaper::causes::Due;
use crate::reaper::drains::{backoff, Drain};
use crate::reaper::GATE;
use crate::text::time::Micros;

/// In bytes.
const LONG: u64 = 16 * 1_024;

/// The first look at which it is due begins its grace: of a command, and of all else.
pub(super) fn with_grace_begun(facts: &Facts, mut drain: Drain) -> Drain {
    let now = facts.now;
    if facts.dues.policy_at() <= now && !facts.dry_run {
        let begun = Micros(now.0.saturating_sub(facts.spent_us));
        drain.age_since = drain.age_since.or(Some(begun));
    } else {
        drain.age_since = None;
    }
    if facts.dues.command_at() <= now {
        if let Some(command) = drain.command.as_mut().filter(|_| drain.command_since.is_none()) {
            command.spread &= !command.is_missed(now);
        }
        drain.command_since = drain.command_since.or(Some(now));
    }
    drain
}

/// That which ends first.
pub(super) fn grace(facts: &Facts, drain: &Drain) -> Grace {
    let runs = |since: Option<Micros>, due: Option<Due>| {
        let (since, due) = since.zip(due)?;
        Some((since.plus(due.grace), since))
    };
    let by_policy = runs(drain.age_since, facts.dues.policy);
    let by_command = runs(drain.command_since, facts.dues.command);
    let first = by_policy.into_iter().chain(by_command).min();
    let (end, since) = first.unwrap_or((facts.now, facts.now));
    Grace { since, end }
}

/// From when on it has been silent for long enough.
pub(super) fn silent_at(facts: &Facts, drain: &mut Drain, grace: Grace) -> Micros {
    let Facts { now, seen, .. } = *facts;
    let (last, heard) = Heard::last(drain.heard, seen, now, facts.activity == Activity::Quiet);
    drain.heard = heard;
    drain.silence_us = if drain.gate.is_some_and(|shut| now < shut.plus(GATE)) {
        // It could not send anything that counts.
        0
    } else {
        let round_trip_us = seen.received.map_or(0, |received| received.round_trip_us);
        grace.silence_us(now, round_trip_us, !seen.client.is_unix())
    };
    if seen.client.closes_after_reply() {
        now
    } else {
        last.plus_micros(drain.silence_us)
    }
}

pub(super) fn look_again(facts: &Facts, drain: Drain, grace: Grace, silent_at: Micros) -> Verdict {
    let (now, activity, client) = (facts.now, facts.activity, &facts.seen.client);
    let mut drain = Drain {
        gates_from: grace.half(),
        end: grace.end,
        passes: matches!(activity, Activity::Busy | Activity::Quiet),
        fd: client.fd,
        ..drain
    };
    let only_silent = activity == Activity::Quiet && silent_at > now;
    let sends = activity == Activity::Busy || only_silent;
    drain.gateable = sends && is_gateable(client);
    let next = if only_silent {
        silent_at
    } else {
        now.plus_micros(backoff(drain.waited_us(now), drain.passes))
    };
    let at = if grace.end > now {
        next.min(grace.end)
    } else {
        next
    };
    Verdict::LookAgain(drain, at)
}

/// Whether its input may be held back for a moment: with half of a long command read, or a long reply on
/// its way, that would only delay it.
fn is_gateable(client: &Client) -> bool {
    let halves = client.qbuf.saturating_add(client.argv_mem);
    !client.is_unix() && client.oll == 0 && halves <= LONG
}
