//! The panic guard: no panic of ours may unwind into the server, which would abort it.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::OnceLock;

static HEALTHY: AtomicBool = AtomicBool::new(true);

/// `false` once an entry point has panicked, until [`heal`].
pub fn is_healthy() -> bool {
    HEALTHY.load(Ordering::Relaxed)
}

/// An internal fault that is not a panic, and that whoever calls this tells of.
pub fn fail() {
    HEALTHY.store(false, Ordering::Relaxed);
}

/// A fault that nobody has been told of yet.
static UNTOLD: AtomicBool = AtomicBool::new(false);

/// Likewise, but told of when the entry point is over that it happened in: what telling takes may be in use.
pub fn fail_and_tell_later() {
    fail();
    UNTOLD.store(true, Ordering::Relaxed);
}

fn is_untold() -> bool {
    UNTOLD.load(Ordering::Relaxed) && UNTOLD.swap(false, Ordering::Relaxed)
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

/// Runs the entry point `entry`. `None` after a panic, which stops eviction; `on_fault` is told of every fault.
pub fn run<R>(entry: &str, work: impl FnOnce() -> R, on_fault: impl FnOnce(&str)) -> Option<R> {
    #[cfg(not(feature = "test-faults"))]
    let _ = entry;
    let work = || {
        #[cfg(feature = "test-faults")]
        crate::test_faults::strike(entry);
        work()
    };
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => {
            if is_untold() {
                let _ = catch_unwind(AssertUnwindSafe(|| {
                    on_fault("the state was asked for while in use")
                }));
            }
            Some(result)
        }
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

#[cfg(test)]
pub mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::sync::{Mutex, MutexGuard, PoisonError};

    /// For a test that makes the module unhealthy, which is known to all of it.
    pub fn alone() -> MutexGuard<'static, ()> {
        static ALONE: Mutex<()> = Mutex::new(());
        ALONE.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[test]
    fn every_fault_is_contained_stops_eviction_and_is_told_once_it_can_be() {
        let _alone = alone();
        let told = RefCell::new(Vec::new());
        let tell = |text: &str| told.borrow_mut().push(text.to_owned());
        assert_eq!(run("entry", || 7, tell), Some(7));
        assert!(is_healthy() && told.borrow().is_empty());

        for (panics, text) in [
            (Box::new(|| panic!("plain")) as Box<dyn Fn()>, "panic: plain"),
            (Box::new(|| panic!("of {}", 3)), "panic: of 3"),
            (Box::new(|| std::panic::panic_any(9)), "panic: without a message"),
        ] {
            assert_eq!(run("entry", panics, tell), None);
            assert!(!is_healthy());
            assert_eq!(told.take(), [text]);
            heal();
        }

        // A panic while telling is contained as well.
        assert_eq!(run("entry", || panic!("first"), |_| panic!("second")), None::<()>);
        heal();

        let inside = || {
            fail_and_tell_later();
            assert!(!is_healthy(), "at once");
            assert!(told.borrow().is_empty(), "not yet");
            7
        };
        assert_eq!(run("entry", inside, tell), Some(7));
        assert_eq!(told.take(), ["the state was asked for while in use"]);
        assert_eq!(run("entry", || 7, tell), Some(7));
        assert!(told.take().is_empty(), "told once");
        assert!(!is_healthy(), "until it is healed");
        heal();
    }
}
