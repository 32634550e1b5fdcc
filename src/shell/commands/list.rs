//! CONNAGE.LIST: connections with their limits, oldest first.

use super::describe::{filters, option};
use super::select::{self, Among};
use super::{is_permitted, FLAGS};
use crate::engine::client::{Client, ClientId};
use crate::engine::reaper::Row;
use crate::engine::request::ListRequest;
use crate::shell::ffi::command::{Command, Kind, Spec};
use crate::shell::ffi::Context;
use crate::shell::{clock, log, state};

#[derive(Debug)]
pub struct List;

impl Command for List {
    fn run(ctx: Context, args: &[&[u8]]) {
        if !is_permitted(ctx, &[b"CLIENT", b"LIST"]) {
            return;
        }
        if let Err(error) = run(ctx, args.get(1..).unwrap_or_default()) {
            ctx.reply_error(&error);
        }
    }

    fn fault(text: &str) {
        log::fault(text);
    }
}

/// Rows are gathered before the reply begins, since its length comes first.
struct Line {
    id: u64,
    addr: Vec<u8>,
    laddr: Vec<u8>,
    user: Vec<u8>,
    name: Vec<u8>,
    lib_name: Vec<u8>,
    client_type: &'static str,
    flags: Vec<u8>,
    idle_s: u64,
    row: Row,
}

impl Line {
    fn new(client: &Client, row: Row) -> Self {
        Line {
            id: client.id.0,
            addr: client.addr.to_vec(),
            laddr: client.laddr.to_vec(),
            user: client.user.to_vec(),
            name: client.name.to_vec(),
            lib_name: client.lib_name.to_vec(),
            client_type: client.client_type().name(),
            flags: client.flags.to_vec(),
            idle_s: client.idle_s,
            row,
        }
    }
}

fn run(ctx: Context, words: &[&[u8]]) -> Result<(), String> {
    let request = ListRequest::parse(words).map_err(|error| format!("ERR {error}"))?;
    let filter = &request.filter;
    select::refuse_unknown_users(ctx, filter)?;
    let now = clock::now();
    let among = match (filter.is_empty(), request.limit) {
        (true, Some(limit)) => Among::These(oldest(limit)),
        _ => Among::of(filter, now),
    };
    let mut lines = Vec::new();
    select::each(
        ctx,
        among,
        request.limit,
        |client, age| filter.matches(client, age),
        |client| {
            if let Some(row) = state::with(|state| state.reaper.row(now, client)).flatten() {
                lines.push(Line::new(client, row));
            }
            Ok(())
        },
    )?;
    ctx.reply_array(lines.len());
    lines.iter().for_each(|line| reply_line(ctx, line));
    Ok(())
}

/// A few more than asked for, in case some are gone meanwhile.
fn oldest(limit: u64) -> Vec<ClientId> {
    let count = usize::try_from(limit.saturating_add(16)).unwrap_or(usize::MAX);
    state::with(|state| state.reaper.oldest(count)).unwrap_or_default()
}

fn reply_line(ctx: Context, line: &Line) {
    ctx.reply_map(14);
    let number = |name: &str, value: u64| {
        ctx.reply_bulk(name.as_bytes());
        ctx.reply_count(value);
    };
    let text = |name: &str, value: &[u8]| {
        ctx.reply_bulk(name.as_bytes());
        ctx.reply_bulk(value);
    };
    number("id", line.id);
    text("addr", &line.addr);
    text("laddr", &line.laddr);
    text("user", &line.user);
    text("name", &line.name);
    text("lib-name", &line.lib_name);
    text("type", line.client_type.as_bytes());
    text("flags", &line.flags);
    number("age-ms", line.row.age.0);
    number("idle-ms", line.idle_s.saturating_mul(1_000));
    number("limit-ms", line.row.limit.0);
    ctx.reply_bulk(b"expires-in-ms");
    ctx.reply_integer(line.row.expires_in_ms);
    text("rule", line.row.rule.as_deref().unwrap_or_default().as_bytes());
    text("state", line.row.state.as_bytes());
}

/// The row of one connection, if there is one; for CONNAGE.SELF.
pub fn reply_row(ctx: Context, client: &Client) -> bool {
    let now = clock::now();
    match state::with(|state| state.reaper.row(now, client)).flatten() {
        Some(row) => {
            reply_line(ctx, &Line::new(client, row));
            true
        }
        None => false,
    }
}

pub fn spec() -> Spec {
    let mut args = filters();
    args.push(option("limit", "LIMIT", Kind::Integer));
    Spec {
        name: "connage.list",
        flags: FLAGS,
        acl: "admin dangerous connection",
        summary: "Lists connections with their age, limit and state, oldest first.",
        complexity: "O(N) where N is the number of connections, or of those that ID, MAXAGE or LIMIT pick",
        arity: -1,
        args,
    }
}
