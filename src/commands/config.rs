//! CONNAGE.CONFIG: the module's settings without the module's name in front. Reads and writes the
//! server's own store, so that there is one way for a setting to change.

use super::describe::{multiple, value};
use super::{is_permitted, register_family, reply_help, reply_wrong, Counterpart, FLAGS};
use crate::api::call::call;
use crate::api::command::{register_sub, Arg, Command, Kind, Spec};
use crate::api::Context;
use crate::{config, state};
use connage_engine::policy::settings::Name;
use connage_engine::record::tally::Tally;
use connage_engine::request::config::{parse_get, parse_set, PREFIX};

const NAME: &str = "connage.config";

struct Get;
struct Set;
struct ResetStat;
struct Help;

impl Command for Get {
    fn run(ctx: Context, args: &[&[u8]]) {
        if !is_permitted(ctx, Counterpart::ConfigGet) {
            return;
        }
        let wanted = match parse_get(args.get(2..).unwrap_or_default()) {
            Ok(wanted) => wanted,
            Err(wrong) => return reply_wrong(ctx, &wrong),
        };
        let settings = state::with_any(|state| state.reaper.settings().clone()).unwrap_or_default();
        ctx.reply_map(wanted.len());
        for name in wanted {
            ctx.reply_bulk(name.as_str().as_bytes());
            ctx.reply_bulk(settings.get(name).as_bytes());
        }
    }
}

impl Command for Set {
    fn run(ctx: Context, args: &[&[u8]]) {
        if !is_permitted(ctx, Counterpart::ConfigSet) {
            return;
        }
        match parse_set(args.get(2..).unwrap_or_default()) {
            Ok(settings) => set(ctx, &settings),
            Err(wrong) => reply_wrong(ctx, &wrong),
        }
    }
}

fn set(ctx: Context, settings: &[(Name, &[u8])]) {
    let names: Vec<String> = settings
        .iter()
        .map(|(name, _)| format!("{PREFIX}{}", name.as_str()))
        .collect();
    let pairs = names.iter().zip(settings);
    let pairs = pairs.flat_map(|(name, (_, value))| [name.as_bytes(), value]);
    let words: Vec<&[u8]> = [&b"SET"[..]].into_iter().chain(pairs).collect();
    match call(ctx, c"CONFIG", &words) {
        None => ctx.reply_error("ERR the server would not set it now"),
        Some(reply) if reply.is_of_no_command() => match config::set(settings) {
            Ok(()) => ctx.reply_ok(),
            Err(error) => ctx.reply_error(&format!("ERR {error}")),
        },
        Some(reply) => match reply.error() {
            Some(error) => ctx.reply_error(&String::from_utf8_lossy(error)),
            None => {
                config::restart_if_stopped();
                ctx.reply_ok();
            }
        },
    }
}

impl Command for ResetStat {
    fn run(ctx: Context, _args: &[&[u8]]) {
        if is_permitted(ctx, Counterpart::ConfigResetStat) {
            state::with_any(|state| state.reaper.tally = Tally::default());
            ctx.reply_ok();
        }
    }
}

impl Command for Help {
    fn run(ctx: Context, _args: &[&[u8]]) {
        if !is_permitted(ctx, Counterpart::ConfigGet) {
            return;
        }
        reply_help(
            ctx,
            &[
                "CONNAGE.CONFIG <subcommand> [<arg> ...]. Subcommands are:",
                "GET <pattern> [<pattern> ...]",
                "    Return settings that match the patterns, durations in milliseconds.",
                "SET <setting> <value> [<setting> <value> ...]",
                "    Set all of these, or none. Durations are milliseconds, or take ms, s, m, h or d.",
                "RESETSTAT",
                "    Set the counters of INFO connage to zero.",
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
        complexity: "O(N) where N is the number of settings",
        arity,
        args,
    }
}

pub fn register(ctx: Context) -> bool {
    let container = spec(
        NAME,
        "A container for commands about the settings of connage.",
        -2,
        vec![],
    );
    let help = spec("help", "Prints help on CONNAGE.CONFIG.", 2, vec![]);
    let patterns = multiple(value("pattern", Kind::Text));
    let pair = Kind::Block(vec![value("setting", Kind::Text), value("value", Kind::Text)]);
    let pairs = multiple(value("data", pair));
    register_family::<Help>(ctx, &container, &help)
        && register_sub::<Get>(
            ctx,
            NAME,
            &spec("get", "Returns settings that match patterns.", -3, vec![patterns]),
        )
        && register_sub::<Set>(
            ctx,
            NAME,
            &spec("set", "Sets all of these settings, or none.", -4, vec![pairs]),
        )
        && register_sub::<ResetStat>(
            ctx,
            NAME,
            &spec(
                "resetstat",
                "Sets the counters of INFO connage to zero.",
                2,
                vec![],
            ),
        )
}
