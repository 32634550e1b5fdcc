//! Drains: connections that are past their limit or named by CONNAGE.KILL, and are waited for.
//!
//! Holds what is waited for; when to look again is the registry's to keep, and whether a connection may be
//! closed the reaper's to say.

use crate::client::reach::Reach;
use crate::client::silence::Heard;
use crate::client::ClientId;
use crate::text::time::{Micros, Millis};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// What CONNAGE.KILL asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Command {
    /// Not before this moment: OVER spreads them.
    pub start: Micros,
    pub grace: Millis,
    /// Spread by OVER, hence not by `rate`.
    pub spread: bool,
    pub reach: Reach,
}

/// A turn that is later than this was missed: the process stood still, or was stopped.
const MISSED: Millis = Millis(1_000);

impl Command {
    /// Whether the turn that OVER gave it is past. All that were missed would come at once otherwise; they go as
    /// `rate` lets them.
    pub(super) fn is_missed(&self, now: Micros) -> bool {
        now > self.start.plus(MISSED)
    }
}

/// A connection that is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Drain {
    pub command: Option<Command>,
    /// First look at which age would have closed it, had it been quiet; its grace runs from here.
    pub age_since: Option<Micros>,
    /// The same for the command.
    pub command_since: Option<Micros>,
    /// First moment at which it was due for either reason.
    pub due_since: Option<Micros>,
    /// Since when it could have gone if it had been looked at, where it was quiet whenever it was.
    pub quiet_since: Option<Micros>,
    /// When its grace ends.
    pub end: Micros,
    /// When it was taken off the keys for which it waited, to be closed once it has its answer.
    pub off_keys: Option<Micros>,
    /// When it was last heard, where the kernel does not tell.
    pub heard: Option<Heard>,
    /// For how long it had to be silent at the last look.
    pub silence_us: u64,
    /// What was under way at the last look passes by itself.
    pub passes: bool,
    /// A gate before its input may make it quiet: TCP, and no half of a long command or reply.
    pub gateable: bool,
    /// Not before this moment.
    pub gates_from: Micros,
    /// When one was last shut.
    pub gate: Option<Micros>,
    /// Its descriptor, as the last look told; -1 before.
    pub fd: i32,
    /// It has refused to linger.
    pub refused: bool,
}

impl Default for Drain {
    fn default() -> Self {
        Drain {
            command: None,
            age_since: None,
            command_since: None,
            due_since: None,
            quiet_since: None,
            end: Micros::NEVER,
            off_keys: None,
            heard: None,
            silence_us: 0,
            passes: false,
            gateable: false,
            gates_from: Micros::NEVER,
            gate: None,
            fd: -1,
            refused: false,
        }
    }
}

impl Drain {
    /// For how long it has been waited for: since it was due; or, once any instant at which it is quiet will do,
    /// since then, so that it is looked at often.
    pub(super) fn waited_us(&self, now: Micros) -> u64 {
        let since = self.due_since.unwrap_or(now);
        let any_instant = self.silence_us == 0 && self.gates_from < now;
        now.since(if any_instant {
            self.gates_from.max(since)
        } else {
            since
        })
    }
}

/// All that are waited for.
#[derive(Debug, Default)]
pub(super) struct Drains {
    by_id: BTreeMap<ClientId, Drain>,
    /// How much of its grace, in µs, one has had that was exempt before it ended: should it be so no more, it has
    /// the rest.
    spent: BTreeMap<ClientId, u64>,
}

impl Drains {
    pub(super) fn get(&self, id: ClientId) -> Option<&Drain> {
        self.by_id.get(&id)
    }

    /// Adds or replaces.
    pub(super) fn put(&mut self, id: ClientId, drain: Drain) {
        self.by_id.insert(id, drain);
    }

    pub(super) fn remove(&mut self, id: ClientId) -> Option<Drain> {
        self.by_id.remove(&id)
    }

    /// It is gone.
    pub(super) fn forget(&mut self, id: ClientId) {
        self.by_id.remove(&id);
        self.spent.remove(&id);
    }

    /// `id` is waited for no more, after so much of its grace.
    pub(super) fn rest(&mut self, id: ClientId, spent_us: u64) {
        self.by_id.remove(&id);
        self.spent.insert(id, spent_us);
    }

    /// How much of its grace `id` has had when it was waited for before.
    pub(super) fn spent_us(&self, id: ClientId) -> u64 {
        self.spent.get(&id).copied().unwrap_or(0)
    }

    /// Other limits hold: grace begins anew.
    pub(super) fn forget_spent(&mut self) {
        self.spent.clear();
    }

    #[cfg(test)]
    pub(crate) fn resting(&self) -> usize {
        self.spent.len()
    }

    /// Whether it is waited for, and its time has not come: it may become something else meanwhile, as one may
    /// that is not waited for.
    pub(super) fn has_not_begun(&self, id: ClientId) -> bool {
        self.get(id)
            .is_some_and(|drain| drain.age_since.is_none() && drain.command_since.is_none())
    }

    /// Whether OVER says when its turn is.
    pub(super) fn is_spread(&self, id: ClientId) -> bool {
        let command = self.get(id).and_then(|drain| drain.command);
        command.is_some_and(|command| command.spread)
    }

    pub(super) fn ids(&self) -> Vec<ClientId> {
        self.by_id.keys().copied().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// About how much memory they hold, in bytes.
    pub(super) fn memory(&self) -> usize {
        let spent = self.spent.len() * 2 * size_of::<(ClientId, u64)>();
        self.by_id.len() * 2 * size_of::<(ClientId, Drain)>() + spent
    }
}

/// The wait before the next look at a connection that has been waited for `waited_us`. What passes by
/// itself, a command or a reply on its way, is over within a fraction of a millisecond, and back as
/// soon: look often. A transaction or a blocking command takes as long as its client likes. Neither
/// is the price of looking, which [`Pace`](super::pace::Pace) bounds.
pub(super) fn backoff(waited_us: u64, passes: bool) -> u64 {
    if passes {
        (waited_us / 64).clamp(250, 2_000)
    } else {
        (waited_us / 8).clamp(1_000, 500_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_get_rarer_and_less_so_for_what_passes_by_itself() {
        for (waited, passes, expected) in [
            (0, true, 250),
            (64_000, true, 1_000),
            (60_000_000, true, 2_000),
            (0, false, 1_000),
            (80_000, false, 10_000),
            (60_000_000, false, 500_000),
        ] {
            assert_eq!(backoff(waited, passes), expected);
        }
    }
}
