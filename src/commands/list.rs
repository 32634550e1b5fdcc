//! CONNAGE.LIST: connections with their limits, oldest first.

use super::describe::{filters, option};
use super::rows::Rows;
use super::select;
use super::{is_permitted, Counterpart, FLAGS};
use crate::api::command::{Command, Kind, Spec};
use crate::api::Context;
use crate::kernel::clock;
use crate::state;
use connage_engine::request::ListRequest;

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

fn run(ctx: Context, words: &[&[u8]]) -> Result<(), String> {
    let request = ListRequest::parse(words).map_err(|error| format!("ERR {error}"))?;
    let filter = &request.filter;
    select::refuse_unknown_users(filter)?;
    let now = clock::now();
    let mut rows = Rows::default();
    let with_age = filter.maxage().is_some();
    select::each(
        ctx,
        now,
        request.candidates(),
        request.limit,
        with_age,
        |client, age| {
            if !filter.matches(client, age) {
                return Ok(false);
            }
            let row = || state::with(|state| state.reaper.row(now, client)).flatten();
            let row = row().or_else(|| {
                select::age_of(now, client);
                row()
            });
            if let Some(row) = row {
                rows.add(client, &row);
            }
            Ok(true)
        },
    )?;
    rows.sort_oldest_first();
    ctx.reply_array(rows.len());
    rows.reply(ctx);
    Ok(())
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
