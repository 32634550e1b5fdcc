//! Test faults: switches for tests, absent from a release build. CONNAGE_TEST_FAULT in the server's
//! environment leaves out one of the precautions, to show what is lost without it.

use connage_engine::client::quiet::Seen;
use connage_engine::client::Client;
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

/// Panics once in the middle of a round.
#[allow(clippy::panic)] // What it is for.
pub fn strike_a_round() {
    if is_asked("panic") {
        forget();
        panic!("injected fault");
    }
}

/// What a look would see if nothing were ever under way.
pub fn unlooked(seen: Seen<'_>) -> Seen<'_> {
    if !is_asked("no-look") {
        return seen;
    }
    Seen {
        client: Client {
            multi: None,
            watch: Some(0),
            qbuf: 0,
            argv_mem: 0,
            obl: 0,
            oll: 0,
            ..seen.client
        },
        unread: Some(0),
        ..seen
    }
}

/// Sockets are not made ready for the server to close them.
pub fn leaves_sockets_alone() -> bool {
    is_asked("no-linger")
}

fn is_asked(fault: &str) -> bool {
    std::env::var("CONNAGE_TEST_FAULT").as_deref() == Ok(fault)
}

pub fn has_no_timer() -> bool {
    is_asked("no-timer")
}

/// The kernel sets the timer a few times, and then no more.
pub fn refuses_timer() -> bool {
    const SOME: u32 = 4;
    static SET: AtomicU32 = AtomicU32::new(0);
    is_asked("timer-refuses") && SET.fetch_add(1, Ordering::Relaxed) >= SOME
}

/// A reload is to find no fault.
fn forget() {
    std::env::remove_var("CONNAGE_TEST_FAULT");
}
