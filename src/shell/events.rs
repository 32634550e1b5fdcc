//! Events: what the server tells, handed to the engine; and the rounds of work that follow.

use super::ffi::event::{self, Events};
use super::ffi::{self, Context};
use super::{clock, close, fault, state, verify};
use crate::engine::client::ClientId;
use crate::engine::time::Micros;
use std::os::raw::c_int;

/// The loop is followed on through pauses shorter than this.
const PAUSE_US: u64 = 2_000;

#[derive(Debug)]
pub struct Shell;

impl Events for Shell {
    fn connected(_ctx: Context, id: u64, tls: bool) {
        let now = clock::now();
        state::with(|state| {
            if let Some(at) = state.reaper.connected(now, ClientId(id), tls) {
                state.pacemaker.arm_no_later_than(at);
            }
        });
    }

    fn disconnected(_ctx: Context, id: u64) {
        state::with(|state| {
            state.reaper.disconnected(ClientId(id));
            state.linger.freed(ClientId(id));
            state.gates.forget(ClientId(id));
        });
    }

    /// Only where there is no timer.
    fn cron(ctx: Context) {
        let now = clock::now();
        state::with(|state| {
            state.linger.step(now);
            state.gates.step(now);
        });
        close::carry_out(ctx, now);
        housekeep(ctx, now);
    }

    /// Right after the poll: replies of the round before have left, and requests of this one are not
    /// read yet. The best moment to find connections quiet.
    fn after_sleep(ctx: Context) {
        let now = clock::now();
        close::carry_out(ctx, now);
        state::with(|state| {
            state.pacemaker.heard_of_loop = true;
            state.arm(now);
        });
    }

    /// Something is due: look after the next poll, which is to return at once.
    fn timer(_fd: c_int) {
        let now = clock::now();
        let mut deaf = false;
        let follow = state::with_any(|state| {
            if !ffi::guard::is_healthy() {
                state.pacemaker.silence();
                return false;
            }
            state.pacemaker.went_off();
            let heard = std::mem::take(&mut state.pacemaker.heard_of_loop);
            deaf = state.pacemaker.follows_loop && !heard;
            state.reaper.tally.wakeups += 1;
            state.linger.step(now);
            state.gates.step(now);
            let near = now.plus_micros(PAUSE_US);
            state.reaper.next_wake(now).is_some_and(|at| at <= near)
        });
        if let Some(ctx) = ffi::own_context() {
            if deaf {
                close::carry_out(ctx, now);
            }
            follow_loop(ctx, follow.unwrap_or(false));
            housekeep(ctx, now);
        }
        state::with(|state| state.arm(now));
    }

    fn fault(text: &str) {
        fault::tell(text);
    }
}

/// What is due now and then, whatever is evicted.
fn housekeep(ctx: Context, now: Micros) {
    state::with(|state| state.summary.tell(now));
    verify::run_if_due(ctx, now);
}

/// Not inside a server event: see [`event::subscribe_loop`].
fn follow_loop(ctx: Context, wanted: bool) {
    let follows = state::with_any(|state| state.pacemaker.follows_loop).unwrap_or(false);
    if follows != wanted && event::subscribe_loop::<Shell>(ctx, wanted) {
        state::with_any(|state| state.pacemaker.follows_loop = wanted);
    }
}

/// Settings or drains have changed: what comes next may come earlier.
pub fn arm() {
    let now: Micros = clock::now();
    state::with(|state| state.arm(now));
}
