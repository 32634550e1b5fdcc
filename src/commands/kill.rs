//! CONNAGE.KILL: closes connections, or drains them towards it.

use super::describe::{filters, option, optional, token, value};
use super::select;
use super::{is_permitted, unhealthy, Counterpart, FLAGS};
use crate::api::command::{Command, Kind, Spec};
use crate::api::{self, Context};
use crate::kernel::clock;
use crate::{events, look, state};
use connage_engine::client::ClientId;
use connage_engine::reaper::Order;
use connage_engine::request::{self, KillRequest};

#[derive(Debug)]
pub struct Kill;

impl Command for Kill {
    fn run(ctx: Context, args: &[&[u8]]) {
        if !is_permitted(ctx, Counterpart::ClientKill) {
            return;
        }
        match run(ctx, args.get(1..).unwrap_or_default()) {
            Ok(count) => ctx.reply_count(count as u64),
            Err(error) => ctx.reply_error(&error),
        }
    }
}

fn run(ctx: Context, words: &[&[u8]]) -> Result<usize, String> {
    let kill = match KillRequest::parse(words).map_err(|error| format!("ERR {error}"))? {
        KillRequest::Cancel => {
            let cancelled = state::with(|state| state.reaper.cancel());
            events::arm();
            return cancelled.ok_or_else(unhealthy);
        }
        KillRequest::Close(kill) => kill,
    };
    select::refuse_unknown_users(&kill.filter)?;
    let enabled = state::with(|state| state.reaper.settings().enabled).ok_or_else(unhealthy)?;
    if !enabled && !kill.dry_run {
        return Err("ERR connage is off, nothing would be closed: CONFIG SET connage.enabled yes".to_owned());
    }
    let ids = chosen(ctx, &kill)?;
    if kill.dry_run {
        return Ok(ids.len());
    }
    let now = clock::now();
    let taken = state::with(|state| {
        let order = Order {
            grace: kill.grace.unwrap_or(state.reaper.settings().grace),
            over: kill.over,
            reach: kill.filter.reach(),
        };
        state.reaper.kill(now, &ids, &order)
    });
    events::arm();
    taken.ok_or_else(unhealthy)
}

fn chosen(ctx: Context, kill: &request::Kill) -> Result<Vec<ClientId>, String> {
    let now = clock::now();
    let caller = ClientId(api::caller(ctx));
    let mut ids = Vec::new();
    select::each(ctx, now, kill.candidates(), kill.limit, true, |client, age| {
        let is_past_limit = || state::with(|state| state.reaper.is_expired(now, client)) == Some(true);
        let awaits_link = || look::awaits_link(client);
        let is_picked = kill
            .picks(caller, client, age, is_past_limit, awaits_link)
            .map_err(|error| format!("ERR {error}"))?;
        if is_picked {
            ids.push(client.id);
        }
        Ok(is_picked)
    })?;
    ids.sort_unstable();
    Ok(ids)
}

pub fn spec() -> Spec {
    let mut args = filters();
    args.push(option(
        "skipme",
        "SKIPME",
        Kind::OneOf(vec![token("yes", "YES"), token("no", "NO")]),
    ));
    args.push(option("grace", "GRACE", Kind::Text));
    args.push(option("over", "OVER", Kind::Text));
    args.push(option("limit", "LIMIT", Kind::Integer));
    args.push(optional(token("dryrun", "DRYRUN")));
    Spec {
        name: "connage.kill",
        flags: FLAGS,
        acl: "admin dangerous connection",
        summary: "Closes the connections that match, losing no reply; without a filter, those past their limit.",
        complexity: "O(N) where N is the number of matching connections with only ID or MAXAGE or no filter, else of all connections",
        arity: -1,
        args: vec![optional(value(
            "what",
            Kind::OneOf(vec![token("cancel", "CANCEL"), value("which", Kind::Block(args))]),
        ))],
    }
}
