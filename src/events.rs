//! Events: what the server tells, handed to the engine; and the rounds of work that follow.

use crate::api::event::{self, Events};
use crate::api::{self, Context};
use crate::close::{self, Depth};
use crate::kernel::clock;
use crate::state;
use crate::{advice, server_log, wakers};
use connage_engine::client::ClientId;
use connage_engine::text::time::Micros;
use std::os::raw::c_int;

/// The loop is followed on through pauses shorter than this.
const PAUSE_US: u64 = 2_000;

#[derive(Debug)]
pub struct Shell;

impl Events for Shell {
    fn connected(ctx: Context, id: u64, tls: bool) {
        let now = clock::now();
        let needs_cron = state::with(|state| {
            if let Some(at) = state.reaper.connected(now, ClientId(id), tls) {
                state.pacemaker.arm_no_later_than(at);
            }
            state.pacemaker.needs_cron()
        });
        if needs_cron == Some(true) {
            fall_back(ctx);
        }
    }

    fn disconnected(_ctx: Context, id: u64) {
        state::with(|state| {
            state.reaper.disconnected(ClientId(id));
            state.linger.freed(ClientId(id));
            state.gates.forget(ClientId(id));
        });
    }

    fn setting_changed(name: &[u8]) {
        if name == b"maxclients" {
            state::with(|state| {
                state.linger.max_clients_changed();
                state.pacemaker.arm_no_later_than(clock::now());
            });
        }
    }

    /// Only where there is no timer.
    fn cron(ctx: Context) {
        let now = clock::now();
        // The server has no cron inside a command or inside loading.
        wakers::step(ctx, now, Depth::Outermost);
        close::run_round(ctx, now, Depth::Outermost);
    }

    /// Right after the poll: replies of the round before have left, and requests of this one are not
    /// read yet. The best moment to find connections quiet; and the server tells of it in its outermost loop only.
    fn after_sleep(ctx: Context) {
        let now = clock::now();
        close::run_round(ctx, now, Depth::Outermost);
        state::with(|state| {
            state.pacemaker.heard_of_loop = true;
        });
        arm_with(ctx, now);
    }

    /// Something is due: look after the next poll, which is to return at once. Inside a command or inside loading
    /// there is no such poll, and what can be done is done here.
    fn timer(_fd: c_int) {
        let now = clock::now();
        let called = state::with_any(|state| {
            if !api::guard::is_healthy() {
                state.let_all_go();
                state.pacemaker.silence();
                return None;
            }
            let surely_outermost = state.pacemaker.went_off();
            let heard = std::mem::take(&mut state.pacemaker.heard_of_loop);
            state.reaper.tally.wakeups += 1;
            let near = now.plus_micros(PAUSE_US);
            Some(Call {
                surely_outermost,
                heard,
                follows: state.pacemaker.follows_loop,
                wanted: state.reaper.next_wake(now).is_some_and(|at| at <= near),
            })
        });
        api::with_own_context(|ctx| {
            if let Some(Some(call)) = called {
                if call.is_nested(ctx) {
                    wakers::step(ctx, now, Depth::Nested);
                    close::run_round(ctx, now, Depth::Nested);
                } else {
                    follow_loop(ctx, &call);
                    wakers::step(ctx, now, Depth::Outermost);
                }
            }
            arm_with(ctx, now);
        });
    }
}

/// What is known of a call of the timer's.
struct Call {
    /// See [`Pacemaker::went_off`](crate::pacemaker::Pacemaker::went_off).
    surely_outermost: bool,
    /// The loop has told of a round since the last call.
    heard: bool,
    /// The loop tells of its rounds.
    follows: bool,
    /// There is something to do soon.
    wanted: bool,
}

impl Call {
    fn is_nested(&self, ctx: Context) -> bool {
        if self.follows {
            !self.heard
        } else {
            api::is_in_script_or_loading(ctx)
        }
    }
}

/// The server must not be walking its listeners when the module stops to be one: it would go on with what was
/// freed. It never does in its outermost loop, outside of events. It may inside another module's event that yields;
/// there it only does no harm to become a listener, since new ones come last.
fn follow_loop(ctx: Context, call: &Call) {
    let may_change = call.wanted || call.surely_outermost;
    if call.follows != call.wanted && may_change && event::subscribe_loop::<Shell>(ctx, call.wanted) {
        state::with_any(|state| state.pacemaker.follows_loop = call.wanted);
    }
}

/// Settings or drains have changed: what comes next may come earlier.
pub fn arm() {
    api::with_own_context(|ctx| arm_with(ctx, clock::now()));
    advice::on_jitter();
}

fn arm_with(ctx: Context, now: Micros) {
    let needs_cron = state::with(|state| {
        wakers::arm(state, now);
        state.pacemaker.needs_cron()
    });
    if needs_cron == Some(true) {
        fall_back(ctx);
    }
}

/// The timer can't be had any more. Also inside a server event: to become a listener does no harm there.
fn fall_back(ctx: Context) {
    if event::subscribe_cron::<Shell>(ctx) {
        state::with_any(|state| state.pacemaker.has_cron = true);
        server_log::warning("the timer can be set no more: evictions come by the server's cron");
    }
}
