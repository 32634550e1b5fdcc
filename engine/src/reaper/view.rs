//! View: what LIST, SELF and INFO tell.

use super::causes::Own;
use super::Reaper;
use crate::client::{Client, ClientId};
use crate::reaper::registry::State;
use crate::reaper::schedule::Queue;
use crate::text::time::{Micros, Millis};
use alloc::borrow::ToOwned;
use alloc::string::String;

/// What CONNAGE.LIST and CONNAGE.SELF tell of a connection beside the server's own fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub age: Millis,
    pub limit: Millis,
    /// -1 when it has no limit.
    pub expires_in_ms: i64,
    pub rule: Option<String>,
    pub state: &'static str,
}

/// Numbers for INFO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    pub tracked: usize,
    pub draining: usize,
    pub backlog: usize,
    pub oldest_age: Millis,
    pub next_expiry_in_ms: i64,
    pub recheck_period_ms: u64,
    pub memory: usize,
}

/// From so many connections on it is felt that those which came together go and come back together: a hundred TLS
/// handshakes at once take a tenth of a second of the server's loop.
const MANY: usize = 100;

impl Reaper {
    /// Whether many connections have a limit that is not spread.
    pub fn wants_jitter(&self) -> bool {
        let settings = self.settings();
        let is_spread = settings.jitter.0 > 0 || settings.maxage == Millis(0);
        settings.enabled && !is_spread && self.tracked() >= MANY
    }

    /// What is known of `client`; `None` for a connection that is not known.
    pub fn row(&self, now: Micros, client: &Client) -> Option<Row> {
        let (entry, state) = self.registry.get_with_state(client.id)?;
        let limit = self.limit(client);
        let dues = self.dues(entry, client, limit, false, None);
        let due = dues.policy_at();
        let draining = match state {
            State::Draining | State::Closing => true,
            State::Ready | State::Again | State::Own => self.drains.get(client.id).is_some(),
            _ => false,
        };
        let label = limit.rule.and_then(|index| self.settings.rules.label(index));
        let limited = due < Micros::NEVER;
        Some(Row {
            age: Millis(now.since(entry.birth) / 1_000),
            limit: if limited { dues.limit() } else { Millis(0) },
            expires_in_ms: if limited {
                i64::try_from(due.since(now).div_ceil(1_000)).unwrap_or(i64::MAX)
            } else {
                -1
            },
            rule: label.map(str::to_owned),
            state: match (draining, limited) {
                (true, _) => "draining",
                (false, true) => "active",
                (false, false) => "exempt",
            },
        })
    }

    pub fn report(&self, now: Micros) -> Report {
        let schedule = self.registry.schedule();
        let scheduled = schedule.queue(Queue::Limits).first().map(|(at, _)| *at);
        let backlog = schedule.queue(Queue::Due).len() + schedule.queue(Queue::Own).len();
        let young = self
            .registry
            .after(self.cursor)
            .next()
            .map(|(id, _, _)| self.earliest(id));
        let next = scheduled
            .into_iter()
            .chain(young)
            .filter(|at| *at < Micros::NEVER)
            .min();
        let next_expiry_in_ms = match next {
            _ if !self.settings.enabled => -1,
            _ if backlog > 0 => 0,
            None => -1,
            Some(at) => i64::try_from(at.since(now).div_ceil(1_000)).unwrap_or(i64::MAX),
        };
        Report {
            tracked: self.registry.len(),
            draining: self.drains.len(),
            backlog,
            oldest_age: Millis(
                self.registry
                    .oldest()
                    .map_or(0, |(_, entry)| now.since(entry.birth) / 1_000),
            ),
            next_expiry_in_ms,
            recheck_period_ms: self.recheck.period_ms(self.identity_wanted(), now),
            memory: self.registry.memory()
                + self.drains.memory()
                + self.own.len() * 2 * size_of::<(ClientId, Own)>()
                + self.prefetch.memory()
                + self.kept.memory()
                + self.long.len() * 2 * size_of::<ClientId>()
                + self.journal.memory(),
        }
    }
}
