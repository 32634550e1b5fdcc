//! Unload: makes sure that nothing of the server's points to our commands any more, or refuses to go.

use crate::api::call::call;
use crate::api::server_info::ServerInfo;
use crate::api::{self, ran, Context};
use crate::kernel::{clock, socket};
use crate::{look, state};
use connage_engine::client::info_line;
use connage_engine::client::ClientId;
use connage_engine::reaper::unload::{user_whose_rules_name_a_command, Circumstances, Survey};
use connage_engine::text::time::Millis;
use connage_engine::text::word::shown;

/// Who asks again within this time insists.
const INSISTENCE: Millis = Millis(60_000);
/// So long nobody may have run a command of ours, where threads look commands up.
const SECOND_US: u64 = 1_000_000;
/// As many are ended by one CLIENT KILL, where the server takes more than one id.
const CHUNK: usize = 1_024;
/// From here on a server works out all ACL rules again when a module has gone.
pub const RECOMPUTES_RULES_SINCE: i32 = 0x0007_0200;

/// Ends whoever points to our commands. Nobody can where MODULE LOADEX takes back what it has just loaded.
///
/// # Errors
/// Somebody does who cannot be ended, or ought not to be; nobody has been ended then, or those that have
/// been are not all gone yet.
pub fn clear_the_way(ctx: Context) -> Result<(), String> {
    let now = clock::now();
    let unlisted = || "the server would not list its clients".to_owned();
    let reply = look::all_clients(ctx).ok_or_else(unlisted)?;
    let lines = reply.text().unwrap_or_default();
    if ran::us_since_loading() < SECOND_US && is_executing(lines, b"|loadex") {
        return Ok(());
    }
    look_for_rules(ctx)?;
    let refused_at = state::with_any(|state| state.unload_refused_at).flatten();
    let info = ServerInfo::section(ctx, c"server");
    let around = Circumstances {
        looks_ahead: is_at_least(info.as_ref(), (9, 0), (8, 4)),
        threads_look_up: is_at_least(info.as_ref(), (8, 0), (8, 0)) && has_threads(ctx),
        insists: refused_at.is_some_and(|at| now < at.plus(INSISTENCE)),
    };
    let survey = Survey::of(info_line::lines(lines), around);
    if around.threads_look_up {
        wait_for_silence(lines)?;
    }
    if let Some(refusal) = survey.refusal() {
        state::with_any(|state| state.unload_refused_at = Some(now));
        return Err(refusal);
    }
    for client in &survey.end {
        // As long as the server has a child, that holds the socket open too.
        if !api::is_tls(client.id.0) {
            socket::shut_writing(client.fd);
        }
    }
    let ended: Vec<ClientId> = survey.end.iter().map(|client| client.id).collect();
    for chunk in ended.chunks(CHUNK) {
        kill(ctx, chunk);
        let rest = look::clients(ctx, chunk).ok_or_else(unlisted)?;
        let left = info_line::lines(rest.text().unwrap_or_default()).count();
        if left > 0 {
            return Err(format!(
                "{left} connection(s) are being closed: try again in a moment"
            ));
        }
    }
    if !ended.is_empty() {
        crate::server_log::notice(&format!(
            "ended {} connection(s) that pointed to a command of the module, to unload it",
            ended.len()
        ));
    }
    Ok(())
}

/// An ACL rule that names one of our commands would outlive it.
fn look_for_rules(ctx: Context) -> Result<(), String> {
    let Some(reply) = call(ctx, c"ACL", &[b"LIST"]).filter(|reply| reply.error().is_none()) else {
        return if api::server_version() < RECOMPUTES_RULES_SINCE {
            Ok(())
        } else {
            Err("the server would not list its ACL rules (rename-command?), and ends where one names a command of the module that has gone".to_owned())
        };
    };
    let lines = (0..).map_while(|index| reply.element(index));
    for line in lines {
        if let Some(user) = user_whose_rules_name_a_command(&line) {
            return Err(format!(
                "an ACL rule of user {} names a command of the module, which would take the server down: \
                 give that user its rules anew without it (ACL SETUSER … nocommands …)",
                shown(user)
            ));
        }
    }
    Ok(())
}

/// Whether somebody is executing a command whose full name ends so; the full name is the server's own, whatever
/// `rename-command` says.
fn is_executing(lines: &[u8], command: &[u8]) -> bool {
    let mut clients = info_line::lines(lines);
    clients.any(|client| client.argv_mem > 0 && client.cmd.ends_with(command))
}

/// A thread may be looking up one of our commands at this very moment, unless nobody but the one who unloads has run any
/// for a while.
fn wait_for_silence(lines: &[u8]) -> Result<(), String> {
    let unloads = |id| {
        let mut clients = info_line::lines(lines);
        clients.any(|client| client.id.0 == id && client.cmd.ends_with(b"|unload"))
    };
    let ago_us = ran::us_since_others(unloads);
    if ago_us >= SECOND_US {
        return Ok(());
    }
    let ago_ms = ago_us / 1_000;
    Err(format!(
        "a command of the module was run, or the module loaded, {ago_ms} ms ago, and the server reads with threads (io-threads), which look \
         commands up ahead: have clients run none for a second, and try again"
    ))
}

fn kill(ctx: Context, ids: &[ClientId]) {
    let numbers: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let kill = |numbers: &[String]| {
        let mut words: Vec<&[u8]> = vec![b"KILL", b"ID"];
        words.extend(numbers.iter().map(|number| number.as_bytes()));
        call(ctx, c"CLIENT", &words).is_some_and(|reply| reply.error().is_none())
    };
    if !kill(&numbers) {
        // Older servers take one at a time.
        for number in &numbers {
            kill(std::slice::from_ref(number));
        }
    }
}

/// Whether the server is at least this Valkey, or this Redis; where it does not say what it is, it may be.
fn is_at_least(info: Option<&ServerInfo>, valkey: (u32, u32), redis: (u32, u32)) -> bool {
    let version = |field| {
        let mut parts = info?.text(field)?.split('.').map(str::parse::<u32>);
        Some((parts.next()?.ok()?, parts.next()?.ok()?))
    };
    let is_valkey = version(c"valkey_version").map(|version| version >= valkey);
    is_valkey
        .or_else(|| version(c"redis_version").map(|version| version >= redis))
        .unwrap_or(true)
}

/// Whether threads read for the server; where it does not say, they may.
fn has_threads(ctx: Context) -> bool {
    look::setting(ctx, b"io-threads").is_none_or(|threads| threads != b"1")
}
