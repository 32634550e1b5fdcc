//! The panic guard: no panic of ours may unwind into the server, which would abort it.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::OnceLock;

static HEALTHY: AtomicBool = AtomicBool::new(true);

/// `false` once an entry point has panicked, until [`heal`].
pub fn is_healthy() -> bool {
    HEALTHY.load(Ordering::Relaxed)
}

/// An internal fault that is not a panic: the same consequences.
pub fn fail() {
    HEALTHY.store(false, Ordering::Relaxed);
}

pub fn heal() {
    HEALTHY.store(true, Ordering::Relaxed);
}

/// Who is told of a fault: one for all entry points.
static TOLD: OnceLock<fn(&str)> = OnceLock::new();

pub fn tell_faults_to(tell: fn(&str)) {
    let _ = TOLD.set(tell);
}

/// Runs an entry point of the loaded module, as [`run`] does.
pub fn enter<R>(entry: &str, work: impl FnOnce() -> R) -> Option<R> {
    run(entry, work, |text| {
        if let Some(tell) = TOLD.get() {
            tell(text);
        }
    })
}

/// Runs the entry point `entry`. `None` after a panic, which stops eviction and is told by `on_fault`.
pub fn run<R>(entry: &str, work: impl FnOnce() -> R, on_fault: impl FnOnce(&str)) -> Option<R> {
    #[cfg(not(feature = "test-faults"))]
    let _ = entry;
    let work = || {
        #[cfg(feature = "test-faults")]
        crate::faults::strike(entry);
        work()
    };
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => Some(result),
        Err(payload) => {
            fail();
            let text = payload
                .downcast_ref::<&str>()
                .copied()
                .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
                .unwrap_or("without a message");
            // A second panic, while telling of the first, is contained as well.
            let _ = catch_unwind(AssertUnwindSafe(|| on_fault(&format!("panic: {text}"))));
            // Dropping a payload can panic in theory; leaking a few bytes cannot.
            std::mem::forget(payload);
            None
        }
    }
}
