//! CONNAGE.LOG: the last evictions, as SLOWLOG.

use super::describe::{optional, value};
use super::{is_permitted, register_family, reply_help, reply_wrong, Counterpart, FLAGS};
use crate::api::command::{register_sub, Arg, Command, Kind, Spec};
use crate::api::Context;
use crate::state;
use connage_engine::record::journal::Entry;
use connage_engine::request::log::parse_get;
use std::borrow::Cow;

const NAME: &str = "connage.log";

/// How a field of an entry is got.
enum Field {
    Number(fn(&Entry) -> u64),
    Text(fn(&Entry) -> Cow<[u8]>),
}

/// The fields of an entry, in their order.
const FIELDS: [(&str, Field); 13] = [
    ("seq", Field::Number(|entry| entry.seq)),
    ("time-ms", Field::Number(|entry| entry.time_ms)),
    ("id", Field::Number(|entry| entry.id.0)),
    ("addr", Field::Text(|entry| (&entry.addr).into())),
    ("laddr", Field::Text(|entry| (&entry.laddr).into())),
    ("user", Field::Text(|entry| (&entry.user).into())),
    ("name", Field::Text(|entry| (&entry.name).into())),
    (
        "type",
        Field::Text(|entry| entry.client_type.name().as_bytes().into()),
    ),
    ("age-ms", Field::Number(|entry| entry.age.0)),
    ("limit-ms", Field::Number(|entry| entry.limit.0)),
    (
        "reason",
        Field::Text(|entry| entry.reason.to_string().into_bytes().into()),
    ),
    ("how", Field::Text(|entry| entry.how.name().as_bytes().into())),
    ("waited-ms", Field::Number(|entry| entry.waited.0)),
];

struct Get;
struct Len;
struct Reset;
struct Help;

impl Command for Get {
    fn run(ctx: Context, args: &[&[u8]]) {
        if !is_permitted(ctx, Counterpart::ClientList) {
            return;
        }
        match parse_get(args.get(2..).unwrap_or_default()) {
            Ok(count) => reply_entries(ctx, count),
            Err(wrong) => reply_wrong(ctx, &wrong),
        }
    }
}

fn reply_entries(ctx: Context, count: u64) {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let entries: Vec<Entry> =
        state::with_any(|state| state.reaper.journal.newest().take(count).cloned().collect())
            .unwrap_or_default();
    ctx.reply_array(entries.len());
    entries.iter().for_each(|entry| reply_entry(ctx, entry));
}

fn reply_entry(ctx: Context, entry: &Entry) {
    ctx.reply_map(FIELDS.len());
    for (name, field) in FIELDS {
        ctx.reply_bulk(name.as_bytes());
        match field {
            Field::Number(value) => ctx.reply_count(value(entry)),
            Field::Text(text) => ctx.reply_bulk(&text(entry)),
        }
    }
}

impl Command for Len {
    fn run(ctx: Context, _args: &[&[u8]]) {
        if is_permitted(ctx, Counterpart::ClientList) {
            let len = state::with_any(|state| state.reaper.journal.len()).unwrap_or(0);
            ctx.reply_count(len as u64);
        }
    }
}

impl Command for Reset {
    fn run(ctx: Context, _args: &[&[u8]]) {
        if is_permitted(ctx, Counterpart::ConfigResetStat) {
            state::with_any(|state| state.reaper.journal.reset());
            ctx.reply_ok();
        }
    }
}

impl Command for Help {
    fn run(ctx: Context, _args: &[&[u8]]) {
        if !is_permitted(ctx, Counterpart::ClientList) {
            return;
        }
        reply_help(
            ctx,
            &[
                "CONNAGE.LOG <subcommand> [<arg> ...]. Subcommands are:",
                "GET [<count>]",
                "    Return the last evictions, newest first (default: 10, -1 means all).",
                "LEN",
                "    Return the number of entries.",
                "RESET",
                "    Remove all entries.",
                "HELP",
                "    Print this help.",
            ],
        );
    }
}

fn spec(name: &'static str, summary: &'static str, arity: i32, args: Vec<Arg>) -> Spec {
    Spec {
        name,
        flags: FLAGS,
        acl: "admin dangerous",
        summary,
        complexity: "O(N) where N is the number of entries returned",
        arity,
        args,
    }
}

pub fn register(ctx: Context) -> bool {
    let container = spec(
        NAME,
        "A container for commands about the last evictions.",
        -2,
        vec![],
    );
    let help = spec("help", "Prints help on CONNAGE.LOG.", 2, vec![]);
    let count = optional(value("count", Kind::Integer));
    register_family::<Help>(ctx, &container, &help)
        && register_sub::<Get>(
            ctx,
            NAME,
            &spec(
                "get",
                "Returns the last evictions, newest first.",
                -2,
                vec![count],
            ),
        )
        && register_sub::<Len>(
            ctx,
            NAME,
            &spec("len", "Returns how many entries there are.", 2, vec![]),
        )
        && register_sub::<Reset>(ctx, NAME, &spec("reset", "Removes all entries.", 2, vec![]))
}
