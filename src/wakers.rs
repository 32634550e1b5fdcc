//! Wakers: whatever has something to do at a moment of its own. Each says when, and does it; the timer follows the
//! one list of them.

use crate::api::Context;
use crate::close::Depth;
use crate::state::{self, State};
use crate::{advice, server_log, verify};
use connage_engine::text::time::Micros;

struct Waker {
    /// When there is something to do; `None`: only when something changes, or whenever another wakes.
    next: fn(&State) -> Option<Micros>,
    /// Does what is due.
    step: fn(Context, Micros),
    /// It may do so inside a command or inside loading, too.
    nests: bool,
}

const WAKERS: [Waker; 6] = [
    Waker {
        next: |state| state.linger.next(),
        step: |_, now| with(|state| state.linger.step(now)),
        nests: true,
    },
    Waker {
        next: |state| state.gates.next(),
        step: |_, now| with(|state| state.gates.step(now)),
        nests: true,
    },
    Waker {
        next: |_| None,
        step: advice::on_room,
        nests: false,
    },
    Waker {
        next: |_| None,
        step: |_, _| advice::on_jitter(),
        nests: false,
    },
    Waker {
        next: |state| state.summary.next(),
        step: |_, now| {
            if let Some(line) = state::with(|state| state.summary.step(now)).flatten() {
                server_log::notice(&line);
            }
        },
        nests: false,
    },
    Waker {
        next: |state| Some(state.verifier.next()),
        step: verify::step,
        nests: false,
    },
];

fn with(work: impl FnOnce(&mut State)) {
    state::with(work);
}

/// Has each do what is due. The rounds of work, which have their place in the server's loop, are not among them.
pub fn step(ctx: Context, now: Micros, depth: Depth) {
    let may_step = |waker: &&Waker| waker.nests || depth == Depth::Outermost;
    for waker in WAKERS.iter().filter(may_step) {
        (waker.step)(ctx, now);
    }
}

/// Arms the timer for whatever comes next, the next round of work among it.
pub fn arm(state: &mut State, now: Micros) {
    let round = state.reaper.next_wake(now);
    let others = WAKERS.iter().filter_map(|waker| (waker.next)(state));
    let next = others.chain(round).min();
    state.pacemaker.arm(next);
}
