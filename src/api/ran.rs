//! Who last ran a command of the module, and when: what an unloading has to know where the server's threads look up
//! commands before they are run.

use super::{caller, Context};
use crate::kernel::clock;
use std::sync::atomic::{AtomicU64, Ordering};

static LOADED_AT_US: AtomicU64 = AtomicU64::new(0);
static LAST: AtomicU64 = AtomicU64::new(0);
static LAST_AT_US: AtomicU64 = AtomicU64::new(0);
/// When the last one ran that was not [`LAST`]'s.
static OTHERS_AT_US: AtomicU64 = AtomicU64::new(0);

/// The module has just been loaded: what was run before, by another copy of it, is not known.
pub fn begin() {
    let now = clock::monotonic_us();
    LOADED_AT_US.store(now, Ordering::Relaxed);
    LAST_AT_US.store(now, Ordering::Relaxed);
    OTHERS_AT_US.store(now, Ordering::Relaxed);
}

pub fn us_since_loading() -> u64 {
    clock::monotonic_us().saturating_sub(LOADED_AT_US.load(Ordering::Relaxed))
}

/// A client runs a command now.
pub fn note(ctx: Context) {
    let id = caller(ctx);
    if LAST.swap(id, Ordering::Relaxed) != id {
        OTHERS_AT_US.store(LAST_AT_US.load(Ordering::Relaxed), Ordering::Relaxed);
    }
    LAST_AT_US.store(clock::monotonic_us(), Ordering::Relaxed);
}

/// How long ago one was run, or the module loaded, by somebody whom `but` does not excuse.
pub fn us_since_others(but: impl FnOnce(u64) -> bool) -> u64 {
    let at = if but(LAST.load(Ordering::Relaxed)) {
        &OTHERS_AT_US
    } else {
        &LAST_AT_US
    };
    clock::monotonic_us().saturating_sub(at.load(Ordering::Relaxed))
}
