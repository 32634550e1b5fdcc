//! Advice: what the log tells the operator of that can be mended.

use crate::api::Context;
use crate::state::{self, State};
use crate::{look, server_log};
use connage_engine::text::time::Micros;

/// Once: many come back together.
pub fn on_jitter() {
    let advise = |state: &mut State| {
        let advise = !state.told_of_jitter && state.reaper.wants_jitter();
        state.told_of_jitter |= advise;
        advise
    };
    if state::with(advise) == Some(true) {
        server_log::notice(
            "maxage is set without jitter: connections that came together go, and come back, together; \
             CONNAGE.CONFIG SET jitter 20 spreads them",
        );
    }
}

/// Where nobody can linger any more.
pub fn on_room(ctx: Context, now: Micros) {
    if state::with(|state| state.linger.is_stale()) == Some(true) {
        let max_clients = look::max_clients(ctx);
        state::with(|state| state.linger.set_max_clients(max_clients));
    }
    let warning = state::with(|state| state.linger.warning(now)).flatten();
    if let Some(text) = warning {
        server_log::warning(&text);
    }
}
