//! CONNAGE.LIST: connections with their limits, oldest first.

use super::describe::{filters, option};
use super::select::{self, Among};
use super::{is_permitted, Counterpart, FLAGS};
use crate::api::command::{Command, Kind, Spec};
use crate::api::words::Words;
use crate::api::Context;
use crate::kernel::clock;
use crate::state;
use connage_engine::client::{Client, ClientId};
use connage_engine::reaper::Row;
use connage_engine::request::ListRequest;
use connage_engine::text::word::cut;

#[derive(Debug)]
pub struct List;

impl Command for List {
    fn run(ctx: Context, args: &[&[u8]]) {
        if !is_permitted(ctx, Counterpart::ClientList) {
            return;
        }
        if let Err(error) = run(ctx, args.get(1..).unwrap_or_default()) {
            ctx.reply_error(&error);
        }
    }
}

/// Rows are gathered before the reply begins, since its length comes first. Their texts, cut to what [`cut`]
/// leaves of them, lie in one buffer: with one of its own for each, ten thousand rows take half as long again.
#[derive(Default)]
pub struct Table {
    texts: Vec<u8>,
    lines: Vec<Line>,
}

struct Line {
    id: u64,
    /// Where its texts begin in the buffer.
    start: usize,
    /// Where each of them ends; each begins where the one before ends.
    ends: [usize; TEXTS],
    client_type: &'static str,
    idle_s: u64,
    row: Row,
}

/// From so many rows on it saves time to have the keys printed once.
const WORTH_PRINTING: usize = 64;

const KEYS: [&str; 14] = [
    "id",
    "addr",
    "laddr",
    "user",
    "name",
    "lib-name",
    "type",
    "flags",
    "age-ms",
    "idle-ms",
    "limit-ms",
    "expires-in-ms",
    "rule",
    "state",
];

/// `addr laddr user name lib-name flags`.
const TEXTS: usize = 6;

impl Table {
    /// Of one connection.
    pub fn of(client: &Client, row: Row) -> Table {
        let mut table = Table::default();
        table.add(client, row);
        table
    }

    fn add(&mut self, client: &Client, row: Row) {
        let texts: [&[u8]; TEXTS] = [
            client.addr,
            client.laddr,
            client.user,
            client.name,
            client.lib_name,
            client.flags,
        ];
        let start = self.texts.len();
        let ends = texts.map(|text| {
            let [head, mark] = cut(text);
            self.texts.extend_from_slice(head);
            self.texts.extend_from_slice(mark);
            self.texts.len()
        });
        self.lines.push(Line {
            id: client.id.0,
            start,
            ends,
            client_type: client.client_type().name(),
            idle_s: client.idle_s,
            row,
        });
    }

    pub fn reply(&self, ctx: Context) {
        let keys = if self.lines.len() < WORTH_PRINTING {
            Words::plain(KEYS)
        } else {
            Words::print(ctx, KEYS)
        };
        for line in &self.lines {
            let mut start = line.start;
            let texts = line.ends.map(|end| {
                let text = self.texts.get(start..end).unwrap_or_default();
                start = end;
                text
            });
            reply_line(ctx, &keys, line, texts);
        }
    }
}

fn run(ctx: Context, words: &[&[u8]]) -> Result<(), String> {
    let request = ListRequest::parse(words).map_err(|error| format!("ERR {error}"))?;
    let filter = &request.filter;
    select::refuse_unknown_users(filter)?;
    let now = clock::now();
    let among = match (filter.is_empty(), request.limit) {
        (true, Some(limit)) => Among::These(oldest(limit)),
        _ => Among::of(ctx, filter, now),
    };
    let mut table = Table::default();
    select::each(
        ctx,
        among,
        request.limit,
        filter.maxage().is_some(),
        |client, age| filter.matches(client, age),
        |client| {
            let row = || state::with(|state| state.reaper.row(now, client)).flatten();
            let row = row().or_else(|| {
                select::age_of(now, client);
                row()
            });
            if let Some(row) = row {
                table.add(client, row);
            }
            Ok(())
        },
    )?;
    table.lines.sort_unstable_by_key(|line| line.id);
    ctx.reply_array(table.lines.len());
    table.reply(ctx);
    Ok(())
}

/// A few more than asked for, in case some are gone meanwhile.
fn oldest(limit: u64) -> Vec<ClientId> {
    let count = usize::try_from(limit.saturating_add(16)).unwrap_or(usize::MAX);
    state::with(|state| state.reaper.oldest(count)).unwrap_or_default()
}

fn reply_line(
    ctx: Context,
    keys: &Words<14>,
    line: &Line,
    [addr, laddr, user, name, lib_name, flags]: [&[u8]; TEXTS],
) {
    let number = |key: usize, value: u64| {
        keys.reply(ctx, key);
        ctx.reply_count(value);
    };
    let text = |key: usize, value: &[u8]| {
        keys.reply(ctx, key);
        ctx.reply_bulk(value);
    };
    ctx.reply_map(KEYS.len());
    number(0, line.id);
    text(1, addr);
    text(2, laddr);
    text(3, user);
    text(4, name);
    text(5, lib_name);
    text(6, line.client_type.as_bytes());
    text(7, flags);
    number(8, line.row.age.0);
    number(9, line.idle_s.saturating_mul(1_000));
    number(10, line.row.limit.0);
    keys.reply(ctx, 11);
    ctx.reply_integer(line.row.expires_in_ms);
    text(12, line.row.rule.as_deref().unwrap_or_default().as_bytes());
    text(13, line.row.state.as_bytes());
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
