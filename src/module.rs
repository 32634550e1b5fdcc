//! Module: loading and unloading, the table of contents of the shell.

use crate::api::log::{log, Level};
use crate::api::{entry, event, guard, reply, Context};
use crate::kernel::{self, clock};
use crate::{advice, api, commands, config, events, fault, info, look, server_log, state, unload, verify};
use connage_engine::policy::settings::{self, Settings};
use connage_engine::reaper::{lookups, Reaper};
use redis_module::raw;
use std::ffi::CStr;
use std::os::raw::c_int;

/// The server knows versions as one number: 1.2.3 is 10203.
const VERSION: c_int = number(env!("CARGO_PKG_VERSION_MAJOR")) * 10_000
    + number(env!("CARGO_PKG_VERSION_MINOR")) * 100
    + number(env!("CARGO_PKG_VERSION_PATCH"));

const fn number(digits: &str) -> c_int {
    let (mut number, mut rest) = (0, digits.as_bytes());
    while let [digit, more @ ..] = rest {
        number = number * 10 + (*digit - b'0') as c_int;
        rest = more;
    }
    number
}

#[cfg(not(test))]
#[global_allocator]
static ALLOCATOR: redis_module::alloc::RedisAlloc = redis_module::alloc::RedisAlloc;

/// # Safety
/// Only the server may call this, with the pointers that its API promises.
#[allow(unsafe_code)] // The server looks this name up, and calls it.
#[no_mangle]
pub unsafe extern "C" fn RedisModule_OnLoad(
    ctx: *mut raw::RedisModuleCtx,
    argv: *mut *mut raw::RedisModuleString,
    argc: c_int,
) -> c_int {
    // SAFETY: as above.
    unsafe { entry::on_load::<Connage>(ctx, argv, argc) }
}

/// # Safety
/// Likewise.
#[allow(unsafe_code)] // Likewise.
#[no_mangle]
pub unsafe extern "C" fn RedisModule_OnUnload(ctx: *mut raw::RedisModuleCtx) -> c_int {
    // SAFETY: as above.
    unsafe { entry::on_unload::<Connage>(ctx) }
}

struct Connage;

impl entry::Module for Connage {
    const NAME: &'static CStr = c"connage";
    const VERSION: c_int = VERSION;

    fn load(ctx: Context, args: &[&[u8]]) -> bool {
        guard::tell_faults_to(fault::tell);
        let refuse = |text: &str| log(Some(ctx), Level::Warning, text);
        let loaded = guard::run("load", || load(ctx, args), refuse);
        if let Some(Err(reason)) = &loaded {
            refuse(&format!("not loaded: {reason}"));
        }
        let is_loaded = loaded == Some(Ok(()));
        if !is_loaded {
            let _ = guard::run("unload", || tear_down(ctx), refuse);
        }
        is_loaded
    }

    fn unload(ctx: Context) -> bool {
        let refuse = |text: &str| log(Some(ctx), Level::Warning, text);
        let cleared = guard::run("unload", || unload::clear_the_way(ctx), refuse);
        // After a panic nobody knows who is left.
        let is_clear = cleared == Some(Ok(()));
        if is_clear {
            let _ = guard::run("unload", || tear_down(ctx), |_| {});
        } else {
            let reason = cleared.and_then(Result::err).unwrap_or_default();
            refuse(&format!("not unloaded: {reason}"));
        }
        is_clear
    }
}

fn load(ctx: Context, args: &[&[u8]]) -> Result<(), String> {
    if !api::has_what_it_needs() {
        return Err("this server lacks parts of the module API: Redis 7.0 or later is needed".to_owned());
    }
    let defaults = settings::parse_module_args(args).map_err(|error| error.to_string())?;
    install(&defaults);
    if !config::register(ctx, &defaults) {
        return Err("a setting was refused: see the line before".to_owned());
    }
    config::commit();
    if !commands::register(ctx) {
        return Err("the server refused a command".to_owned());
    }
    if !reply::register_info::<info::Section>(ctx) {
        return Err("the server refused the INFO section".to_owned());
    }
    api::stay_out_of_the_way(ctx);
    api::make_own_context(ctx);
    warn_of_missing_commands(ctx);
    let max_clients = look::max_clients(ctx);
    state::with(|state| state.linger.set_max_clients(max_clients));
    advice::on_room(ctx, clock::now());
    if !verify::find_all(ctx) {
        return Err("the server would not list its clients: is there a rename-command of CLIENT?".to_owned());
    }
    // Redis 7.0 goes on calling a module that failed to load: subscribing comes last.
    if !event::subscribe_clients::<events::Shell>(ctx) {
        return Err("the server refused to tell of its clients".to_owned());
    }
    if !event::subscribe_settings::<events::Shell>(ctx) {
        return Err("the server refused to tell of its settings".to_owned());
    }
    if !state::start_pacemaker::<events::Shell>() {
        server_log::warning("no timer can be had: evictions come by the server's cron");
        if !event::subscribe_cron::<events::Shell>(ctx) {
            return Err("the server refused both a timer and its cron".to_owned());
        }
    }
    events::arm();
    api::ran::begin();
    Ok(())
}

/// `rename-command` may have taken away what some things are asked by.
fn warn_of_missing_commands(ctx: Context) {
    if !look::has_command(ctx, c"CONFIG", &[b"GET", b"loglevel"]) {
        server_log::notice(
            "the server has no CONFIG (rename-command): CONNAGE.CONFIG goes without it, but what it sets cannot be \
             written to the configuration file",
        );
    }
    if !look::has_command(ctx, c"ACL", &[b"WHOAMI"]) && lookups::works_out_rules_again(api::server_version())
    {
        server_log::warning(
            "the server has no ACL (rename-command): it can't be seen whether an ACL rule names a command of the \
             module, so that MODULE UNLOAD will be refused",
        );
    }
}

fn install(defaults: &Settings) {
    let reaper = Reaper::new(clock::now(), kernel::random(), defaults.clone());
    state::install(state::State::new(reaper));
}

/// Gives back all that the module holds; the server drops its commands and settings.
fn tear_down(ctx: Context) {
    event::unsubscribe(ctx);
    state::remove();
    api::free_own_context();
    api::setting::free_lent();
}
