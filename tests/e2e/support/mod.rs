//! What the scenarios stand on: servers, connections, and where each scenario runs.

// Several test binaries share it, and none uses all of it.
#![allow(dead_code)]

pub mod closings;
pub mod conn;
pub mod load;
pub mod matrix;
pub mod noise;
pub mod other;
pub mod resp;
pub mod server;

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Waits for a condition, and fails the test where it does not come about.
#[track_caller]
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + conn::PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// To be read also when the test passes: past the capture of the test runner.
pub fn say(line: String) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

pub const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Tells threads beside a scenario when to end: at the latest when the scenario fails.
#[derive(Default)]
pub struct Stop(AtomicBool);

impl Stop {
    pub fn asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Asks when what this returns goes out of scope.
    pub fn at_the_end(&self) -> impl Drop + '_ {
        struct AtTheEnd<'a>(&'a Stop);
        impl Drop for AtTheEnd<'_> {
            fn drop(&mut self) {
                self.0 .0.store(true, Ordering::Relaxed);
            }
        }
        AtTheEnd(self)
    }
}
