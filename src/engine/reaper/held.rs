//! Held: which limit holds for a connection as it is now.

use super::Reaper;
use crate::engine::client::{Client, ClientId};
use crate::engine::jitter;
use crate::engine::journal::Reason;
use crate::engine::reach::Reach;
use crate::engine::registry::Entry;
use crate::engine::time::{Micros, Millis};

/// What holds for one connection: the limit with its jitter, 0 for none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub limit: Millis,
    pub grace: Millis,
    pub reason: Reason,
    /// Label of the rule that matched, whether or not its limit is the one that holds.
    pub rule: Option<String>,
    /// Nothing about its age can evict what it is now.
    pub exempt: bool,
}

impl Reaper {
    /// A lower bound on the moment at which age may evict `id`, exact where there are no rules.
    pub(super) fn earliest(&self, id: ClientId) -> Micros {
        let Some(entry) = self.registry.get(id) else {
            return Micros::NEVER;
        };
        let drawn = self
            .limits
            .iter()
            .map(|(maxage, jitter)| jitter::limit(self.seed, id, *maxage, *jitter));
        let own = self.own.get(&id).copied();
        drawn
            .chain(own)
            .min()
            .map_or(Micros::NEVER, |limit| entry.birth.plus(limit))
    }

    /// What holds for `client` as it is now.
    pub fn held(&self, client: &Client) -> Held {
        let draw = |maxage, jitter| jitter::limit(self.seed, client.id, maxage, jitter);
        let limit = self.settings.effective(client, draw);
        let label = |index: Option<usize>| index.and_then(|index| self.settings.rules.label(index));
        let mut held = Held {
            limit: limit.age,
            grace: limit.grace,
            reason: label(limit.decided_by).map_or(Reason::Maxage, |label| Reason::Rule(label.to_owned())),
            rule: label(limit.rule).map(str::to_owned),
            exempt: !limit.holds || !Reach::AGE.allows(client),
        };
        if let Some(own) = self.own.get(&client.id).copied() {
            if held.limit.0 == 0 || own < held.limit {
                held.limit = own;
                held.reason = Reason::Own;
            }
        }
        held
    }

    pub(super) fn age_due(&self, entry: &Entry, held: &Held) -> Micros {
        if held.exempt || held.limit.0 == 0 {
            Micros::NEVER
        } else {
            entry.birth.plus(held.limit)
        }
    }

    /// CONNAGE.SELF MAXAGE: a limit of its own for `id`, 0 takes it back.
    pub fn set_own_limit(&mut self, id: ClientId, limit: Millis) {
        if limit.0 == 0 {
            self.own.remove(&id);
        } else {
            self.own.insert(id, limit);
        }
        if self.drains.get(id).is_none() {
            self.plan_anew(id);
        }
    }
}
