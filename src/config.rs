//! Config: the settings in the server's own store, so that CONFIG SET, CONFIG REWRITE, configuration
//! files and CONNAGE.CONFIG all mean the same one.
//!
//! A setter stages, and `apply` commits what was staged: CONFIG SET of several names is all or
//! nothing. At load nobody calls `apply`, so loading commits by itself.

use crate::api::setting::{self, Store};
use crate::api::{self, guard, Context};
use crate::kernel::{self, clock};
use crate::{events, server_log, state, verify};
use connage_engine::policy::settings::{Name, Settings};
use connage_engine::reaper::Reaper;

#[derive(Debug)]
pub struct Config;

impl Config {
    fn name(index: usize) -> Option<Name> {
        Name::ALL.get(index).copied()
    }
}

impl Store for Config {
    fn get(index: usize) -> String {
        let name = Config::name(index);
        let value = |settings: &Settings| name.map(|name| settings.get(name));
        state::with_any(|state| value(state.staged.as_ref().unwrap_or(state.reaper.settings())))
            .flatten()
            .unwrap_or_default()
    }

    fn set(index: usize, value: &[u8]) -> Result<(), String> {
        let Some(name) = Config::name(index) else {
            return Err("no such setting".to_owned());
        };
        let staged = state::with_any(|state| {
            let mut settings = state
                .staged
                .clone()
                .unwrap_or_else(|| state.reaper.settings().clone());
            settings.set(name, value).map_err(|error| error.to_string())?;
            state.staged = Some(settings);
            Ok(())
        });
        staged.unwrap_or_else(|| Err("the module is not loaded".to_owned()))
    }

    /// The context that the server gives here has no client, and can't call commands.
    fn apply() {
        if !restart_if_stopped() {
            commit();
        }
    }
}

/// Sets all of these, or none, without CONFIG, which `rename-command` may have taken away. The server keeps no
/// values of its own, and so has the new ones too.
pub fn set(settings: &[(Name, &[u8])]) -> Result<(), String> {
    for (at, (name, value)) in settings.iter().enumerate() {
        let before = settings.get(..at).unwrap_or_default();
        let index = Name::ALL.iter().position(|known| known == name);
        let result = match index {
            Some(index) if before.iter().all(|(other, _)| other != name) => Config::set(index, value),
            _ => Err("given twice".to_owned()),
        };
        if let Err(error) = result {
            state::with_any(|state| state.staged = None);
            return Err(format!("{}: {error}", name.as_str()));
        }
    }
    Config::apply();
    Ok(())
}

/// Makes what was staged hold.
pub fn commit() {
    let now = clock::now();
    state::with(|state| {
        if let Some(settings) = state.staged.take() {
            state.reaper.reconfigure(now, settings);
        }
    });
    events::arm();
}

/// Starts eviction again after an internal fault; `false` where there was none. Also for CONNAGE.CONFIG SET
/// of the value that a setting has already, of which the server does not tell.
pub fn restart_if_stopped() -> bool {
    !guard::is_healthy() && api::with_own_context(restart).is_some()
}

/// After an internal fault: a new engine, with the connections that the server knows of.
fn restart(ctx: Context) {
    let now = clock::now();
    state::with_any(|state| {
        let settings = state
            .staged
            .take()
            .unwrap_or_else(|| state.reaper.settings().clone());
        state.let_all_go();
        state.reaper = Reaper::new(now, kernel::random(), settings);
        state.untracked_since = clock::process_began();
    });
    guard::heal();
    if verify::find_all(ctx) {
        events::arm();
        server_log::notice("eviction started again");
    } else {
        guard::fail();
        server_log::warning("the server would not list its clients: eviction stays stopped");
    }
}

/// Adds the settings to the server's, with `defaults`, and gives each its value.
pub fn register(ctx: Context, defaults: &Settings) -> bool {
    let added = Name::ALL
        .iter()
        .enumerate()
        .all(|(index, name)| setting::register::<Config>(ctx, index, name.as_str(), &defaults.get(*name)));
    added && setting::load_all(ctx)
}
