//! Faults: switches for tests, absent from a release build. CONNAGE_TEST_FAULT in the server's
//! environment leaves out one of the precautions, to show what is lost without it.

use connage_engine::reaper::Reaper;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

static STRUCK: AtomicBool = AtomicBool::new(false);

/// Panics once at the entry point that `panic-ENTRY` names.
#[allow(clippy::panic)] // What it is for.
pub fn strike(entry: &str) {
    let asked = std::env::var("CONNAGE_TEST_FAULT");
    let asked = asked
        .as_deref()
        .ok()
        .and_then(|fault| fault.strip_prefix("panic-"));
    if asked == Some(entry) && !STRUCK.swap(true, Ordering::Relaxed) {
        forget();
        panic!("injected fault");
    }
}

pub fn inject(mut reaper: Reaper) -> Reaper {
    match std::env::var("CONNAGE_TEST_FAULT").as_deref() {
        Ok("no-look") => reaper.faults.no_look = true,
        Ok("no-linger") => reaper.faults.no_linger = true,
        Ok("panic") => {
            forget();
            reaper.faults.panics_once = true;
        }
        _ => {}
    }
    reaper
}

pub fn has_no_timer() -> bool {
    std::env::var("CONNAGE_TEST_FAULT").as_deref() == Ok("no-timer")
}

/// The kernel sets the timer a few times, and then no more.
pub fn refuses_timer() -> bool {
    const SOME: u32 = 4;
    static SET: AtomicU32 = AtomicU32::new(0);
    let asked = std::env::var("CONNAGE_TEST_FAULT").as_deref() == Ok("timer-refuses");
    asked && SET.fetch_add(1, Ordering::Relaxed) >= SOME
}

/// A reload is to find no fault.
fn forget() {
    std::env::remove_var("CONNAGE_TEST_FAULT");
}
