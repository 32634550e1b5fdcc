//! The limit that settings and rules give a connection.

use super::{Cause, Due, Subject};
use crate::client::ClientId;
use crate::policy::jitter;
use crate::policy::settings::Settings;
use crate::reaper::registry::Entry;
use crate::reaper::Reaper;
use crate::record::journal::Reason;
use crate::text::time::{Micros, Millis};

pub(super) struct BySettings;

impl Cause for BySettings {
    fn strictest(&self, settings: &Settings) -> Option<Millis> {
        settings.strictest_limit()
    }

    fn earliest(&self, reaper: &Reaper, id: ClientId, entry: &Entry) -> Micros {
        let limits = reaper.limits.iter();
        let drawn = limits.map(|(maxage, jitter)| jitter::limit(reaper.seed, id, *maxage, *jitter));
        drawn.min().map_or(Micros::NEVER, |limit| entry.birth.plus(limit))
    }

    fn due(&self, reaper: &Reaper, subject: &Subject<'_>) -> Option<Due> {
        let limit = subject.limit.filter(|limit| limit.age > Millis(0))?;
        Some(Due {
            at: subject.entry.birth.plus(limit.age),
            since: reaper.limits_since,
            grace: limit.grace,
            limit: limit.age,
            reason: limit.decided_by.map_or(Reason::MAXAGE, Reason::Rule),
            share: self.share(),
        })
    }
}
