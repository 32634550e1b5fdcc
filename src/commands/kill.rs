//! CONNAGE.KILL: closes connections, or drains them towards it.

use super::describe::{filters, option, optional, token, value};
use super::select::{self, Candidates};
use super::{is_permitted, unhealthy, Counterpart, FLAGS};
use crate::api::command::{Command, Kind, Spec};
use crate::api::{self, Context};
use crate::kernel::clock;
use crate::{events, look, state};
use connage_engine::client::{Client, ClientId};
use connage_engine::reaper::Order;
use connage_engine::request::{self, KillRequest};
use connage_engine::text::time::Millis;

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
    let filter = &kill.filter;
    let candidates = if filter.is_empty() {
        Candidates::These(state::with(|state| state.reaper.perhaps_expired(now)).unwrap_or_default())
    } else {
        Candidates::of(ctx, filter, now)
    };
    let caller = ClientId(api::caller(ctx));
    let picks = |client: &Client, age: Millis| {
        if kill.skipme && client.id == caller || client.is_closing() {
            return false;
        }
        let is_allowed = || filter.allows(client, || look::awaits_link(client));
        if filter.is_empty() {
            let expired = state::with(|state| state.reaper.is_expired(now, client));
            return expired == Some(true) && is_allowed();
        }
        let is_refused = client.is_master() && filter.names_id();
        filter.matches(client, age) && (is_refused || is_allowed())
    };
    let mut ids = Vec::new();
    select::each(ctx, candidates, kill.limit, true, picks, |client| {
        select::refuse_master(filter, client)?;
        ids.push(client.id);
        Ok(())
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
