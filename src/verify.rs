//! Verify: trust the events, but compare now and then. Half-open TLS handshakes are connections without
//! a CONNECTED event; an event that was missed would leave a connection without a limit.

use crate::api::server_info::ServerInfo;
use crate::api::{self, Context};
use crate::kernel::clock;
use crate::look;
use crate::state::{self, State};
use connage_engine::client::info_line;
use connage_engine::client::ClientId;
use connage_engine::text::time::Micros;
use std::collections::BTreeSet;

/// Compares if it is time.
pub fn step(ctx: Context, now: Micros) {
    let due = state::with(|state| now >= state.verifier.next()).unwrap_or(false);
    if !due {
        return;
    }
    let began = clock::worked_us();
    let counted = count(ctx);
    let cost = clock::worked_us().saturating_sub(began);
    let work = |state: &mut State| {
        let Some(counted) = counted else {
            state.verifier.not_counted(now);
            return false;
        };
        let tracked = state.reaper.tracked();
        state.verifier.counted(now, counted, tracked, cost)
    };
    if state::with(work) == Some(true) {
        let began = clock::worked_us();
        find_all(ctx);
        let counted = count(ctx);
        let cost = clock::worked_us().saturating_sub(began);
        state::with(|state| {
            let tracked = state.reaper.tracked();
            state.verifier.walked(now, counted, tracked, cost);
        });
    }
}

/// Connections by the server's own count; replicas are counted apart there.
fn count(ctx: Context) -> Option<u64> {
    let clients = ServerInfo::section(ctx, c"clients")?.number(c"connected_clients")?;
    let replication = ServerInfo::section(ctx, c"replication");
    let replicas = replication.and_then(|info| info.number(c"connected_slaves"));
    Some(clients.saturating_add(replicas.unwrap_or(0)))
}

/// Makes the registry agree with CLIENT LIST; `false` when the server would not tell.
pub fn find_all(ctx: Context) -> bool {
    let Some(reply) = look::all_clients(ctx) else {
        return false;
    };
    let lines = reply.text().unwrap_or_default();
    let there: BTreeSet<ClientId> = info_line::lines(lines).map(|client| client.id).collect();
    let now = clock::now();
    state::with(|state| state.reaper.keep(|id| there.contains(&id)));
    for client in info_line::lines(lines) {
        let known = state::with(|state| state.reaper.is_tracked(client.id)).unwrap_or(true);
        if !known {
            let tls = api::is_tls(client.id.0);
            state::with(|state| state.reaper.found(now, &client, tls, state.untracked_since));
        }
    }
    state::with(|state| state.untracked_since = now);
    true
}
