//! CONNAGE.SELF: what a connection may know of itself, and the limit that it may give itself.

use super::describe::option;
use super::list::reply_row;
use crate::engine::client::ClientId;
use crate::engine::info_line;
use crate::engine::time::Millis;
use crate::engine::word::shown;
use crate::shell::ffi::command::{Command, Kind, Spec};
use crate::shell::ffi::{self, Context};
use crate::shell::{clock, events, fault, look, state};

#[derive(Debug)]
pub struct SelfCommand;

impl Command for SelfCommand {
    fn run(ctx: Context, args: &[&[u8]]) {
        if let Err(error) = run(ctx, args.get(1..).unwrap_or_default()) {
            ctx.reply_error(&error);
        }
    }

    fn fault(text: &str) {
        fault::tell(text);
    }
}

fn run(ctx: Context, words: &[&[u8]]) -> Result<(), String> {
    let limit = parse(words)?;
    let id = ClientId(ffi::caller(ctx));
    let gone = || {
        "ERR there is no client's connection to tell of: a module or the server itself has called this"
            .to_owned()
    };
    let reply = look::clients(ctx, &[id]).ok_or_else(gone)?;
    let client = info_line::lines(reply.text().unwrap_or_default())
        .next()
        .ok_or_else(gone)?;
    let now = clock::now();
    state::with(|state| {
        if !state.reaper.is_tracked(id) {
            state.reaper.found(now, &client, ffi::is_tls(id.0));
        }
        if let Some(limit) = limit {
            state.reaper.set_own_limit(id, limit);
        }
    });
    if limit.is_some() {
        events::arm();
    }
    if reply_row(ctx, &client) {
        Ok(())
    } else {
        Err(gone())
    }
}

fn parse(words: &[&[u8]]) -> Result<Option<Millis>, String> {
    match words {
        [] => Ok(None),
        [word, value] if word.eq_ignore_ascii_case(b"MAXAGE") => Millis::parse(value)
            .map(Some)
            .map_err(|error| format!("ERR MAXAGE: {error}")),
        [word] if word.eq_ignore_ascii_case(b"MAXAGE") => {
            Err("ERR MAXAGE needs a value: a duration, or 0 to take it back".to_owned())
        }
        [word, _, extra, ..] if word.eq_ignore_ascii_case(b"MAXAGE") => Err(format!(
            "ERR {} is too much: MAXAGE and its value are all that is accepted",
            shown(extra)
        )),
        [word, ..] => Err(format!("ERR {} is not accepted: only MAXAGE is", shown(word))),
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
