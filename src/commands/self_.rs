//! CONNAGE.SELF: what a connection may know of itself, and the limit that it may give itself.
//!
//! Anybody may ask, and asks often, so that what it costs must not grow with the connections: the registry and
//! what the server tells by id answer nearly all of it. What only CLIENT LIST tells comes from a line that is
//! kept, and looked at anew now and then.

use super::describe::option;
use super::rows::Rows;
use super::{select, unhealthy};
use crate::api::client::info;
use crate::api::command::{Command, Kind, Spec};
use crate::api::{self, text, Context};
use crate::kernel::clock;
use crate::{events, look, state};
use connage_engine::client::info_line;
use connage_engine::client::{Client, ClientId};
use connage_engine::reaper::kept::{flags, Line};
use connage_engine::request::parse_self;
use connage_engine::text::time::Micros;

#[derive(Debug)]
pub struct SelfCommand;

impl Command for SelfCommand {
    fn run(ctx: Context, args: &[&[u8]]) {
        if let Err(error) = run(ctx, args.get(1..).unwrap_or_default()) {
            ctx.reply_error(&error);
        }
    }
}

fn run(ctx: Context, words: &[&[u8]]) -> Result<(), String> {
    const NOBODY: &str =
        "ERR there is no client's connection to tell of: a module or the server itself has called this";
    let limit = parse_self(words).map_err(|refusal| format!("ERR {refusal}"))?;
    let id = ClientId(api::caller(ctx));
    let now = clock::now();
    let is_known = || state::with(|state| state.reaper.is_tracked(id)).ok_or_else(unhealthy);
    // A module's call has a client too, of which the server must not be asked by id: see `info`.
    if !is_known()? {
        look_if_due(ctx, now, id, b"");
    }
    if !is_known()? {
        return Err(NOBODY.to_owned());
    }
    let info = info(id.0).ok_or(NOBODY)?;
    let name = text::name_of(ctx, id.0);
    let name = name.as_ref().map_or(&b""[..], |name| name.bytes());
    look_if_due(ctx, now, id, name);
    if let Some(limit) = limit {
        state::with(|state| state.reaper.set_own_limit(now, id, limit));
        events::arm();
    }
    let user = text::user_of(ctx, id.0);
    let user = user.as_ref().map_or(&b"(superuser)"[..], |user| user.bytes());
    let addr = info.addr();
    let row = state::with(|state| {
        let is_now = Client {
            user,
            name,
            ..Client::unknown(id)
        };
        state.reaper.notice_reset(&is_now);
        let unknown = Line::default();
        let line = state.reaper.kept.get(id).unwrap_or(&unknown);
        let client = Client {
            addr: if info.is_unix() { &line.addr } else { &addr },
            laddr: &line.laddr,
            flags: &flags(&info.flags(), &line.flags),
            lib_name: &line.lib_name,
            ..is_now
        };
        Some(Rows::of(&client, &state.reaper.row(now, &client)?))
    });
    row.ok_or_else(unhealthy)?.ok_or(NOBODY)?.reply(ctx);
    Ok(())
}

/// The little that only a look tells, where it may be had. A connection that was not known (its event was missed)
/// becomes so.
fn look_if_due(ctx: Context, now: Micros, id: ClientId, name: &[u8]) {
    let due = state::with(|state| state.reaper.kept.may_look(now, id, name));
    if due != Some(true) {
        return;
    }
    let began = clock::worked_us();
    let reply = look::clients(ctx, &[id]);
    let line = reply.as_ref().and_then(|reply| info_line::parse(reply.text()?));
    let cost = clock::worked_us().saturating_sub(began);
    state::with(|state| state.reaper.kept.spend(now, cost));
    if let Some(client) = line {
        select::age_of(now, &client);
        state::with(|state| state.reaper.kept.keep(&client));
    }
}

pub fn spec() -> Spec {
    Spec {
        name: "connage.self",
        flags: "deny-script allow-loading allow-stale fast",
        acl: "connection fast",
        summary: "Tells a connection its own age and limit; MAXAGE gives it a limit of its own, which can only tighten.",
        complexity: "O(log N) where N is the number of connections",
        arity: -1,
        args: vec![option("maxage", "MAXAGE", Kind::Text)],
    }
}
