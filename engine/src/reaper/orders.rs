//! Orders: what commands ask for, and which connections they can mean.

use super::Reaper;
use crate::client::reach::Reach;
use crate::client::{Client, ClientId};
use crate::reaper::drains::Command;
use crate::reaper::registry::State;
use crate::text::time::{Micros, Millis};
use alloc::vec::Vec;

/// What CONNAGE.KILL asks for.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    pub grace: Millis,
    /// Spread over so long; `None`: now, as fast as `rate` allows.
    pub over: Option<Millis>,
    pub reach: Reach,
}

impl Reaper {
    /// Connections at least `age` old, oldest first.
    pub fn older_than(&self, now: Micros, age: Millis) -> impl Iterator<Item = ClientId> + '_ {
        self.registry
            .iter()
            .take_while(move |(_, entry)| entry.birth.plus(age) <= now)
            .map(|(id, _)| id)
    }

    /// The `count` oldest connections, oldest first.
    pub fn oldest(&self, count: usize) -> Vec<ClientId> {
        self.registry.iter().take(count).map(|(id, _)| id).collect()
    }

    /// Connections that may be past a limit of their own, oldest first.
    pub fn perhaps_expired(&self, now: Micros) -> Vec<ClientId> {
        let mut ids: Vec<ClientId> = match self.strictest {
            Some(strictest) => self.older_than(now, strictest).collect(),
            None => Vec::new(),
        };
        let last = ids.last().copied();
        ids.extend(self.own.keys().filter(|id| Some(**id) > last).copied());
        ids
    }

    /// How old it is; `None` for a connection that is not known.
    pub fn age(&self, now: Micros, id: ClientId) -> Option<Millis> {
        let entry = self.registry.get(id)?;
        Some(Millis(now.since(entry.birth) / 1_000))
    }

    pub fn is_expired(&self, now: Micros, client: &Client) -> bool {
        let Some(entry) = self.registry.get(client.id) else {
            return false;
        };
        let dues = self.dues(entry, client, self.limit(client), false, None);
        dues.policy_at() <= now
    }

    /// Closes `ids`, in this order, or drains them towards it. One that drains by command already
    /// keeps the earlier start and the shorter grace. Answers with how many are known.
    pub fn kill(&mut self, now: Micros, ids: &[ClientId], order: &Order) -> usize {
        let mut taken = 0;
        let count = ids.len().max(1) as u128;
        for (place, id) in ids.iter().enumerate() {
            let Some(state) = self.registry.state(*id) else {
                continue;
            };
            taken += 1;
            if state == State::Closing {
                continue;
            }
            let spread = order
                .over
                .map_or(0, |over| u128::from(over.0) * 1_000 * place as u128 / count);
            let mut command = Command {
                start: now.plus_micros(u64::try_from(spread).unwrap_or(u64::MAX)),
                grace: order.grace,
                spread: order.over.is_some(),
                reach: order.reach,
            };
            let mut drain = self.drains.get(*id).copied().unwrap_or_default();
            if let Some(old) = drain.command {
                command.start = command.start.min(old.start);
                command.grace = command.grace.min(old.grace);
                command.spread &= old.spread;
                command.reach = command.reach.or(old.reach);
            }
            drain.command = Some(command);
            // What is planned goes on: its age counts meanwhile.
            let planned = match state {
                State::Parked | State::Draining | State::Ready | State::Again => {
                    self.registry.get(*id).map_or(Micros::NEVER, |entry| entry.at())
                }
                _ => self.earliest(*id),
            };
            self.drain(*id, drain, planned.min(command.start));
        }
        taken
    }

    /// Calls off what commands asked for; answers with how many were draining by command.
    pub fn cancel(&mut self) -> usize {
        let mut cancelled = 0;
        for id in self.drains.ids() {
            let Some(mut drain) = self.drains.get(id).copied() else {
                continue;
            };
            if drain.command.take().is_none() {
                continue;
            }
            cancelled += 1;
            drain.command_since = None;
            if drain.age_since.is_some() {
                self.drains.put(id, drain);
            } else {
                self.drains.remove(id);
                self.plan_anew(id);
            }
        }
        cancelled
    }
}
