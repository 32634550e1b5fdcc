//! The limit that a connection asked for itself (CONNAGE.SELF MAXAGE): it only ever shortens a life.

use super::{Cause, Due, Subject};
use crate::client::{Client, ClientId};
use crate::reaper::registry::{Entry, State};
use crate::reaper::share::Share;
use crate::reaper::Reaper;
use crate::record::journal::Reason;
use crate::text::time::{Micros, Millis};
use alloc::collections::BTreeMap;

/// All of them.
pub(in crate::reaper) type OwnLimits = BTreeMap<ClientId, Own>;

#[derive(Clone, Copy, Debug)]
pub(in crate::reaper) struct Own {
    limit: Millis,
    since: Micros,
    /// It was seen to have a name.
    named: bool,
}

pub(super) struct ByItself;

impl Cause for ByItself {
    fn earliest(&self, reaper: &Reaper, id: ClientId, entry: &Entry) -> Micros {
        let own = reaper.own.get(&id);
        own.map_or(Micros::NEVER, |own| entry.birth.plus(own.limit))
    }

    /// What the settings spare whatever its age, it does not evict either.
    fn due(&self, reaper: &Reaper, subject: &Subject<'_>) -> Option<Due> {
        let (limit, own) = subject.limit.zip(reaper.own.get(&subject.id))?;
        Some(Due {
            at: subject.entry.birth.plus(own.limit),
            since: reaper.limits_since.max(own.since),
            grace: limit.grace,
            limit: own.limit,
            reason: Reason::OWN,
            share: self.share(),
        })
    }

    fn share(&self) -> Share {
        Share::Own
    }
}

impl Reaper {
    /// RESET takes back all that a connection has asked for, its own limit among it. No server tells of it: it
    /// is noticed where it was the last command at a look, and of whoever had a name and has none any more.
    pub fn notice_reset(&mut self, client: &Client) {
        let Some(own) = self.own.get_mut(&client.id) else {
            return;
        };
        let lost_its_name = own.named && client.name.is_empty() && client.user == b"default";
        own.named |= !client.name.is_empty();
        if client.cmd == b"reset" || lost_its_name {
            self.own.remove(&client.id);
        }
    }

    /// CONNAGE.SELF MAXAGE: a limit of its own for `id`, 0 takes it back.
    pub fn set_own_limit(&mut self, now: Micros, id: ClientId, limit: Millis) {
        if limit.0 == 0 {
            self.own.remove(&id);
        } else if self.registry.get(id).is_some() {
            let own = Own {
                limit,
                since: now,
                named: false,
            };
            self.own.insert(id, own);
        }
        if self.drains.get(id).is_none() {
            self.plan_anew(id);
        } else if self.registry.state(id) == Some(State::Own) {
            self.registry.plan(id, State::Draining, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::info_line;
    use crate::policy::settings::Settings;

    #[test]
    fn reset_takes_the_own_limit_back_where_it_can_be_noticed() {
        // What is seen of a connection one after the other, and whether its own limit holds then.
        let cases: [(&[&str], bool); 7] = [
            (&["user=default name= cmd=get"], true),
            (&["user=default name= cmd=reset"], false),
            (
                &["user=default name=n cmd=get", "user=default name= cmd=get"],
                false,
            ),
            (&["user=u name=n cmd=get", "user=default name= cmd=get"], false),
            (&["user=u name=n cmd=get", "user=default name=n cmd=auth"], true),
            (&["user=u name=n cmd=get", "user=u name= cmd=get"], true),
            (&["user=u name= cmd=get", "user=default name= cmd=auth"], true),
        ];
        for (seen, holds) in cases {
            let mut reaper = Reaper::new(Micros(0), 0, Settings::default());
            reaper.connected(Micros(0), ClientId(1), false);
            reaper.set_own_limit(Micros(0), ClientId(1), Millis(700));
            let mut limit = Millis(0);
            for seen in seen {
                let line = format!("id=1 flags=N {seen}");
                let client = info_line::parse(line.as_bytes()).unwrap();
                reaper.notice_reset(&client);
                let entry = reaper.registry.get(client.id).unwrap();
                let dues = reaper.dues(entry, &client, reaper.limit(&client), false, None);
                limit = dues.limit();
            }
            assert_eq!(limit, Millis(if holds { 700 } else { 0 }), "{seen:?}");
        }
    }
}
