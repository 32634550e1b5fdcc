//! Commands: each parses, asks the engine, and replies.

pub mod config;
pub mod describe;
pub mod kill;
pub mod list;
pub mod log;
pub mod select;
pub mod self_;

use super::ffi::command::{self, Command};
use super::ffi::Context;

/// As CLIENT's: not from scripts, but while loading and while stale.
const FLAGS: &str = "admin deny-script allow-loading allow-stale";
/// On a server where modules cannot give categories, `admin` alone would not keep anybody out: there each
/// command asks whether the caller may run the server's own counterpart.
fn is_permitted(ctx: Context, counterpart: &[&[u8]]) -> bool {
    if command::has_categories() || command::caller_may(ctx, counterpart) {
        return true;
    }
    let name: Vec<_> = counterpart
        .iter()
        .map(|word| String::from_utf8_lossy(word).to_lowercase())
        .collect();
    ctx.reply_error(&format!(
        "NOPERM this command is for users who may run '{}'",
        name.join("|")
    ));
    false
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
