//! How a connection could go at this moment, if at all.

use super::Facts;
use crate::client::manner::{manner, Manner};
use crate::client::quiet::{Activity, Seen};
use crate::reaper::drains::Drain;
use crate::record::journal::How;
use crate::text::time::{Micros, Millis};

/// Who was taken off its keys has its answer, and has done what it sent behind, within this time; a client
/// that does not read may never.
const MOMENT_OFF_KEYS: Millis = Millis(1_000);

/// How it could go now; `grace_ended`: and nothing forbids to force it.
pub(super) fn how(facts: &Facts, drain: &Drain, is_silent: bool, grace_ended: bool) -> Option<How> {
    if let Some(since) = drain.off_keys {
        return how_off_keys(facts, since, grace_ended);
    }
    match facts.activity {
        Activity::Quiet if is_silent => Some(How::Quiet),
        Activity::Blocked if grace_ended => Some(How::Blocked),
        Activity::Transaction | Activity::Executing | Activity::Busy if grace_ended => Some(How::Forced),
        _ => None,
    }
}

/// Who was taken off its keys at `since` goes once its answer, as at its timeout, has left. If it blocks again at
/// once, or has sent what the server has not read, nothing is lost.
fn how_off_keys(facts: &Facts, since: Micros, grace_ended: bool) -> Option<How> {
    let read = Seen {
        unread: Some(0),
        ..*facts.seen
    };
    match facts.activity {
        Activity::Quiet => Some(How::Blocked),
        Activity::Blocked if grace_ended => Some(How::Blocked),
        Activity::Busy if grace_ended && Activity::of(&read, false) == Activity::Quiet => Some(How::Blocked),
        _ if grace_ended && facts.now >= since.plus(MOMENT_OFF_KEYS) => Some(How::Forced),
        _ => None,
    }
}

pub(super) fn how_and_manner(
    facts: &Facts,
    drain: &Drain,
    how: How,
    grace_ended: bool,
) -> Option<(How, Manner)> {
    if how == How::Blocked && drain.off_keys.is_none() {
        return Some((how, Manner::OnlyOffKeys));
    }
    let env = if drain.refused {
        facts.env.without_lingering()
    } else {
        *facts.env
    };
    let manner = manner(facts.seen, facts.tls, &env, grace_ended)?;
    // Quiet, but not closable without loss, and out of grace.
    let lossy = how == How::Quiet && grace_ended && manner.may_lose(facts.seen);
    Some((if lossy { How::Forced } else { how }, manner))
}
