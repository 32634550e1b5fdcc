//! Verify: trust the events, but compare now and then. Half-open TLS handshakes are connections without
//! a CONNECTED event; an event that was missed would leave a connection without a limit.

use super::ffi::{self, Context};
use super::{clock, look, state};
use crate::engine::client::ClientId;
use crate::engine::info_line;
use crate::engine::time::{Micros, Millis};
use std::collections::BTreeSet;

/// How often, where counting is cheap.
const PERIOD: Millis = Millis(10_000);
/// A difference that is still there after this long lasts.
const LASTING: Millis = Millis(2_000);
/// Counting takes at most this share of the time: on some servers it walks all clients.
const SHARE: u64 = 200_000;
const LONGEST: Millis = Millis(600_000);

/// When to compare, and what the last comparison said.
#[derive(Debug, Default)]
pub struct Verifier {
    next: Micros,
    suspicious: bool,
    /// A difference that a walk over all clients did not remove.
    accepted: i128,
}

impl Verifier {
    pub fn next(&self) -> Micros {
        self.next
    }
}

/// Compares if it is time.
pub fn run_if_due(ctx: Context, now: Micros) {
    let due = state::with(|state| now >= state.verifier.next).unwrap_or(false);
    if !due {
        return;
    }
    let began = clock::worked_us();
    let Some(counted) = count(ctx) else {
        state::with(|state| state.verifier.next = now.plus(PERIOD));
        return;
    };
    let cost = clock::worked_us().saturating_sub(began);
    let settle = state::with(|state| {
        let difference = i128::from(counted) - state.reaper.tracked() as i128;
        let differs = difference != state.verifier.accepted;
        let settle = differs && state.verifier.suspicious;
        state.verifier.suspicious = differs && !settle;
        let wait = PERIOD
            .max(Millis(cost.saturating_mul(SHARE) / 1_000))
            .min(LONGEST);
        state.verifier.next = now.plus(if state.verifier.suspicious { LASTING } else { wait });
        settle
    });
    if settle == Some(true) {
        find_all(ctx);
        let counted = count(ctx);
        state::with(|state| {
            let tracked = state.reaper.tracked() as i128;
            state.verifier.accepted = counted.map_or(0, |counted| i128::from(counted) - tracked);
        });
    }
}

/// Connections by the server's own count; replicas are counted apart there.
fn count(ctx: Context) -> Option<u64> {
    let clients = look::info_number(ctx, b"clients", b"connected_clients")?;
    let replicas = look::info_number(ctx, b"replication", b"connected_slaves").unwrap_or(0);
    Some(clients.saturating_add(replicas))
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
            let tls = ffi::is_tls(client.id.0);
            state::with(|state| state.reaper.found(now, &client, tls));
        }
    }
    state::with(|state| state.arm(now));
    true
}
