//! Unload: makes sure that nothing of the server's points to our commands any more, or refuses to go.

use crate::api::call::call;
use crate::api::server_info::ServerInfo;
use crate::api::{self, ran, Context};
use crate::kernel::{clock, socket};
use crate::{look, state};
use connage_engine::client::info_line;
use connage_engine::client::ClientId;
use connage_engine::reaper::lookups::{self, works_out_rules_again, Versions};
use connage_engine::reaper::unload::{user_whose_rules_name_a_command, Conditions, Survey};
use connage_engine::text::word::shown;

/// As many are ended by one CLIENT KILL, where the server takes more than one id.
const CHUNK: usize = 1_024;
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
    if lookups::is_being_taken_back(lines, ran::us_since_loading()) {
        return Ok(());
    }
    look_for_rules(ctx)?;
    let info = ServerInfo::section(ctx, c"server");
    let version = |field| info.as_ref().and_then(|info| info.text(field));
    let versions = Versions {
        valkey: version(c"valkey_version"),
        redis: version(c"redis_version"),
    };
    let conditions = Conditions {
        looks_ahead: versions.look_ahead(),
        threads_look_up: versions.look_up_in_threads() && has_threads(ctx),
        insists: state::with_any(|state| state.insistence.insists(now)).unwrap_or(false),
    };
    let survey = Survey::of(info_line::lines(lines), conditions);
    if conditions.threads_look_up {
        lookups::silence(ran::us_since_others(|id| lookups::unloads(lines, id)))?;
    }
    if let Some(refusal) = survey.refusal() {
        state::with_any(|state| state.insistence.refused(now));
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
        return if !works_out_rules_again(api::server_version()) {
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

/// Whether threads read for the server; where it does not say, they may.
fn has_threads(ctx: Context) -> bool {
    look::setting(ctx, b"io-threads").is_none_or(|threads| threads != b"1")
}
