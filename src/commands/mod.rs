//! Commands: each parses, asks the engine, and replies.

pub mod config;
pub mod describe;
pub mod kill;
pub mod list;
pub mod log;
pub mod rows;
pub mod select;
pub mod self_;

use crate::api::command::{self, Command};
use crate::api::rights::{by_name, try_as_caller, Rights};
use crate::api::Context;
use connage_engine::request::Wrong;
use std::ffi::CStr;

/// As CLIENT's: not from scripts, but while loading and while stale.
const FLAGS: &str = "admin deny-script allow-loading allow-stale";

/// A command of the server's own: whoever may run it may run those of ours that it stands for. Asked where
/// modules cannot give their commands categories (Redis 7.0), since `admin` alone would not keep anybody out.
#[derive(Clone, Copy, Debug)]
enum Counterpart {
    ClientKill,
    ClientList,
    ConfigGet,
    ConfigSet,
    ConfigResetStat,
}

/// A use of CONFIG that changes nothing, and shows nothing.
const GET_NOTHING: (&CStr, &[&[u8]]) = (c"CONFIG", &[b"GET", b""]);
/// What only the caller's name can be asked about: no use of it changes nothing.
const RESETSTAT: &[&[u8]] = &[b"CONFIG", b"RESETSTAT"];

impl Counterpart {
    fn name(self) -> &'static str {
        match self {
            Counterpart::ClientKill => "client|kill",
            Counterpart::ClientList => "client|list",
            Counterpart::ConfigGet => "config|get",
            Counterpart::ConfigSet => "config|set",
            Counterpart::ConfigResetStat => "config|resetstat",
        }
    }

    fn rights(self, ctx: Context) -> Rights {
        // These end with an error of syntax, or find nothing, at once.
        match self {
            Counterpart::ClientKill => try_as_caller(ctx, c"CLIENT", &[b"KILL", b"ID", b"1", b"?"]),
            Counterpart::ClientList => try_as_caller(ctx, c"CLIENT", &[b"LIST", b"?"]),
            Counterpart::ConfigGet => try_as_caller(ctx, GET_NOTHING.0, GET_NOTHING.1),
            Counterpart::ConfigSet => try_as_caller(ctx, c"CONFIG", &[b"SET", b"?", b"", b"?"]),
            Counterpart::ConfigResetStat => by_name(ctx, RESETSTAT, GET_NOTHING),
        }
    }
}

/// Whether the caller may; it is told if not.
fn is_permitted(ctx: Context, counterpart: Counterpart) -> bool {
    if command::has_categories() {
        return true;
    }
    let mut counterpart = counterpart;
    let mut rights = counterpart.rights(ctx);
    if rights == Rights::NoCommand {
        // Of CONFIG, which `rename-command` may have taken away; CLIENT is there, or the module is not.
        counterpart = Counterpart::ClientKill;
        rights = counterpart.rights(ctx);
    }
    if matches!(rights, Rights::Granted | Rights::NoUser) {
        return true;
    }
    ctx.reply_error(&format!(
        "NOPERM this command is for users who may run '{}'",
        counterpart.name()
    ));
    false
}

/// What is answered where the engine may be broken.
fn unhealthy() -> String {
    "ERR connage has stopped after an internal fault: see the server's log; CONNAGE.CONFIG SET of any setting starts it again".to_owned()
}

/// Replies what is wrong with the words of a command.
fn reply_wrong(ctx: Context, wrong: &Wrong) {
    match wrong {
        Wrong::Arity => ctx.reply_wrong_arity(),
        Wrong::Refused(refusal) => ctx.reply_error(&format!("ERR {refusal}")),
    }
}

/// Replies as HELP of the server's own commands.
fn reply_help(ctx: Context, lines: &[&str]) {
    ctx.reply_array(lines.len());
    for line in lines {
        ctx.reply_bulk(line.as_bytes());
    }
}

/// Makes all commands known to the server.
pub fn register(ctx: Context) -> bool {
    command::register::<kill::Kill>(ctx, &kill::spec())
        && command::register::<list::List>(ctx, &list::spec())
        && command::register::<self_::SelfCommand>(ctx, &self_::spec())
        && config::register(ctx)
        && log::register(ctx)
}

/// A command with subcommands; each of these has a name, and what it does.
fn register_family<Help: Command>(ctx: Context, container: &command::Spec, help: &command::Spec) -> bool {
    command::register_container(ctx, container) && command::register_sub::<Help>(ctx, container.name, help)
}
