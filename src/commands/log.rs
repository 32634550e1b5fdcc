//! CONNAGE.LOG: the last evictions, as SLOWLOG.

use super::describe::{optional, value};
use super::{is_permitted, register_family, reply_help, Counterpart, FLAGS};
use crate::api::command::{register_sub, Arg, Command, Kind, Spec};
use crate::api::Context;
use crate::state;
use connage_engine::record::journal::Entry;
use connage_engine::text::word::{shown, whole};

const NAME: &str = "connage.log";
/// As SLOWLOG GET.
const DEFAULT_COUNT: u64 = 10;

struct Get;
struct Len;
struct Reset;
struct Help;

impl Command for Get {
    fn run(ctx: Context, args: &[&[u8]]) {
        if !is_permitted(ctx, Counterpart::ClientList) {
            return;
        }
        let count = match args.get(2..).unwrap_or_default() {
            [] => Ok(Some(DEFAULT_COUNT)),
            [b"-1"] => Ok(None),
            [word] => whole(word).map(Some).ok_or_else(|| {
                format!(
                    "ERR {} is not a count: give a whole number, or -1 for all",
                    shown(word)
                )
            }),
            _ => return ctx.reply_wrong_arity(),
        };
        match count {
            Ok(count) => reply_entries(ctx, count.unwrap_or(u64::MAX)),
            Err(error) => ctx.reply_error(&error),
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
    ctx.reply_map(13);
    let number = |name: &str, value: u64| {
        ctx.reply_bulk(name.as_bytes());
        ctx.reply_count(value);
    };
    let text = |name: &str, value: &[u8]| {
        ctx.reply_bulk(name.as_bytes());
        ctx.reply_bulk(value);
    };
    number("seq", entry.seq);
    number("time-ms", entry.time_ms);
    number("id", entry.id.0);
    text("addr", &entry.addr);
    text("laddr", &entry.laddr);
    text("user", &entry.user);
    text("name", &entry.name);
    text("type", entry.client_type.name().as_bytes());
    number("age-ms", entry.age.0);
    number("limit-ms", entry.limit.0);
    text("reason", entry.reason.to_string().as_bytes());
    text("how", entry.how.name().as_bytes());
    number("waited-ms", entry.waited.0);
}

impl Command for Len {
    fn run(ctx: Context, args: &[&[u8]]) {
        if args.len() != 2 {
            return ctx.reply_wrong_arity();
        }
        if is_permitted(ctx, Counterpart::ClientList) {
            let len = state::with_any(|state| state.reaper.journal.len()).unwrap_or(0);
            ctx.reply_count(len as u64);
        }
    }
}

impl Command for Reset {
    fn run(ctx: Context, args: &[&[u8]]) {
        if args.len() != 2 {
            return ctx.reply_wrong_arity();
        }
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
