//! Causes: why a connection goes. A list: each says for itself when it is due, with which grace, for which
//! reason, and of which share of the evictions it takes.
//!
//! A new cause is a file here and a line in [`CAUSES`]. Of those that are due the earliest decides; a command has
//! a grace of its own, and all others share one. A cause must not know what a connection is doing.

mod command;
mod own;
mod settings;

pub(super) use own::{Own, OwnLimits};

use crate::client::reach::Reach;
use crate::client::{Client, ClientId};
use crate::policy::jitter;
use crate::policy::limit::Limit;
use crate::policy::settings::Settings;
use crate::reaper::drains::Command;
use crate::reaper::registry::Entry;
use crate::reaper::share::Share;
use crate::reaper::Reaper;
use crate::record::journal::Reason;
use crate::text::time::{Micros, Millis};
use alloc::borrow::ToOwned;

/// Of two that are due at the same moment the first decides.
const CAUSES: [&dyn Cause; 3] = [&settings::BySettings, &own::ByItself, &command::ByCommand];

pub(super) trait Cause: Sync {
    /// Whoever is younger than this it does not evict, whatever the connection is: it is not even planned for.
    /// `None`: it evicts nobody, or plans for whom it does when it is asked for.
    fn strictest(&self, _: &Settings) -> Option<Millis> {
        None
    }

    /// A lower bound on the moment at which it may be due, whatever the connection becomes until then: nobody
    /// looks before. [`Micros::NEVER`] for what is planned when it is asked for.
    fn earliest(&self, reaper: &Reaper, id: ClientId, entry: &Entry) -> Micros;

    /// What it says of a connection as it is now; `None`: nothing.
    fn due(&self, reaper: &Reaper, subject: &Subject<'_>) -> Option<Due>;

    fn share(&self) -> Share {
        Share::Rate
    }
}

/// A lower bound on the age at which anybody may be evicted by what nobody has to ask for.
pub(super) fn strictest(settings: &Settings) -> Option<Millis> {
    let each = CAUSES.iter().filter_map(|cause| cause.strictest(settings));
    each.min()
}

/// A connection as it is now.
pub(super) struct Subject<'a> {
    pub id: ClientId,
    pub entry: &'a Entry,
    /// What the settings give it; `None` where nothing about its age can evict what it is now.
    pub limit: Option<Limit>,
    /// What CONNAGE.KILL asked for, where that can mean what it is now.
    pub command: Option<Command>,
}

/// What a cause says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub at: Micros,
    /// Nobody was to wait for it before this moment.
    pub since: Micros,
    pub grace: Millis,
    /// The limit in age that it comes from; 0 for none.
    pub limit: Millis,
    /// With the place of the rule.
    pub reason: Reason<usize>,
    pub share: Share,
}

/// What all of them say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dues {
    pub command: Option<Due>,
    /// The first of the others.
    pub policy: Option<Due>,
    /// When one of the others is due that takes of `rate`.
    pub by_rate: Micros,
}

impl Dues {
    pub(super) fn policy_at(&self) -> Micros {
        self.policy.map_or(Micros::NEVER, |due| due.at)
    }

    pub(super) fn command_at(&self) -> Micros {
        self.command.map_or(Micros::NEVER, |due| due.at)
    }

    /// The limit that holds for it; 0 when it has none.
    pub(super) fn limit(&self) -> Millis {
        self.policy.map_or(Millis(0), |due| due.limit)
    }
}

impl Reaper {
    /// What the settings give `client` as it is now.
    pub(super) fn limit(&self, client: &Client) -> Limit {
        let draw = |maxage, jitter| jitter::limit(self.seed, client.id, maxage, jitter);
        self.settings.effective(client, draw)
    }

    /// `awaits_link`: see [`Seen`](crate::client::quiet::Seen::awaits_link).
    pub(super) fn dues(
        &self,
        entry: &Entry,
        client: &Client,
        limit: Limit,
        awaits_link: bool,
        command: Option<Command>,
    ) -> Dues {
        let is_within = |reach: Reach| reach.allows(client, || awaits_link);
        let subject = Subject {
            id: client.id,
            entry,
            limit: Some(limit).filter(|limit| limit.holds && is_within(Reach::AGE)),
            command: command.filter(|command| is_within(command.reach)),
        };
        let mut dues = Dues {
            command: None,
            policy: None,
            by_rate: Micros::NEVER,
        };
        for due in CAUSES.iter().filter_map(|cause| cause.due(self, &subject)) {
            if due.reason == Reason::COMMAND {
                dues.command = Some(due);
                continue;
            }
            if dues.policy.is_none_or(|first| due.at < first.at) {
                dues.policy = Some(due);
            }
            if due.share == Share::Rate {
                dues.by_rate = dues.by_rate.min(due.at);
            }
        }
        dues
    }

    /// A lower bound on the moment at which `id` may be evicted by what nobody has to ask for, exact where there
    /// are no rules.
    pub(super) fn earliest(&self, id: ClientId) -> Micros {
        self.earliest_of(id, |_| true)
    }

    /// The same of what takes of `rate`.
    pub(super) fn earliest_by_rate(&self, id: ClientId) -> Micros {
        self.earliest_of(id, |cause| cause.share() == Share::Rate)
    }

    fn earliest_of(&self, id: ClientId, counts: impl Fn(&dyn Cause) -> bool) -> Micros {
        let Some(entry) = self.registry.get(id) else {
            return Micros::NEVER;
        };
        let causes = CAUSES.into_iter().filter(|cause| counts(*cause));
        let moments = causes.map(|cause| cause.earliest(self, id, entry));
        moments.fold(Micros::NEVER, Micros::min)
    }

    /// With the label of the rule.
    pub(super) fn named(&self, reason: Reason<usize>) -> Reason {
        match reason {
            Reason::Cause(name) => Reason::Cause(name),
            Reason::Rule(index) => {
                let label = self.settings.rules.label(index);
                label.map_or(Reason::MAXAGE, |label| Reason::Rule(label.to_owned()))
            }
        }
    }
}
