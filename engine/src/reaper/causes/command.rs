//! What CONNAGE.KILL asked for.

use super::{Cause, Due, Subject};
use crate::client::ClientId;
use crate::reaper::registry::Entry;
use crate::reaper::share::Share;
use crate::reaper::Reaper;
use crate::record::journal::Reason;
use crate::text::time::{Micros, Millis};

pub(super) struct ByCommand;

impl Cause for ByCommand {
    /// [`Reaper::kill`] plans it.
    fn earliest(&self, _: &Reaper, _: ClientId, _: &Entry) -> Micros {
        Micros::NEVER
    }

    fn due(&self, _: &Reaper, subject: &Subject<'_>) -> Option<Due> {
        let command = subject.command?;
        Some(Due {
            at: command.start,
            since: Micros(0),
            grace: command.grace,
            limit: Millis(0),
            reason: Reason::COMMAND,
            share: if command.spread { Share::Paid } else { self.share() },
        })
    }
}
