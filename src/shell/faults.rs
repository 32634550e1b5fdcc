//! Faults: switches for tests, absent from a release build. CONNAGE_TEST_FAULT in the server's
//! environment leaves out one of the precautions, to show what is lost without it.

use crate::engine::reaper::Reaper;

pub fn inject(mut reaper: Reaper) -> Reaper {
    match std::env::var("CONNAGE_TEST_FAULT").as_deref() {
        Ok("no-look") => reaper.faults.no_look = true,
        Ok("no-linger") => reaper.faults.no_linger = true,
        Ok("panic") => reaper.faults.panics_once = true,
        _ => {}
    }
    reaper
}
