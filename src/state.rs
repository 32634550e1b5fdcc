//! State: the one cell that holds the engine. Never borrowed across a call into the server, which may
//! call back.

use crate::api::event::Events;
use crate::api::guard;
use crate::gates::Gates;
use crate::kernel::clock;
use crate::linger::Linger;
use crate::pacemaker::Pacemaker;
use connage_engine::policy::settings::Settings;
use connage_engine::reaper::lookups::Insistence;
use connage_engine::reaper::verify::Verifier;
use connage_engine::reaper::Reaper;
use connage_engine::record::summary::{Summary, Verbosity};
use connage_engine::text::time::Micros;
use std::sync::{Mutex, TryLockError};

/// All that the module keeps.
#[derive(Debug)]
pub struct State {
    pub reaper: Reaper,
    /// What CONFIG SET has set and not yet applied.
    pub staged: Option<Settings>,
    pub linger: Linger,
    pub gates: Gates,
    pub pacemaker: Pacemaker,
    pub summary: Summary,
    pub verbosity: Verbosity,
    pub verifier: Verifier,
    /// The log has told that a limit without jitter is none for so many.
    pub told_of_jitter: bool,
    pub insistence: Insistence,
    /// Nobody who is not tracked was there before.
    pub untracked_since: Micros,
}

impl State {
    pub fn new(reaper: Reaper) -> Self {
        State {
            reaper,
            staged: None,
            linger: Linger::default(),
            gates: Gates::default(),
            pacemaker: Pacemaker::default(),
            summary: Summary::default(),
            verbosity: Verbosity::default(),
            verifier: Verifier::default(),
            told_of_jitter: false,
            insistence: Insistence::default(),
            untracked_since: clock::process_began(),
        }
    }

    /// What is held of connections' sockets is given back.
    pub fn let_all_go(&mut self) {
        self.gates.open_all();
        self.linger.let_all_go();
    }
}

static STATE: Mutex<Option<State>> = Mutex::new(None);

/// The state is used by the server's main thread, or under its lock, only: that the cell is taken
/// means that the rule above was broken, which stops eviction as any fault does.
fn cell<R>(work: impl FnOnce(&mut Option<State>) -> R) -> Option<R> {
    let mut guard = match STATE.try_lock() {
        Ok(guard) => guard,
        // After a panic only those go on that rebuild it.
        Err(TryLockError::Poisoned(poisoned)) => {
            STATE.clear_poison();
            poisoned.into_inner()
        }
        Err(TryLockError::WouldBlock) => {
            guard::fail_and_tell_later();
            return None;
        }
    };
    Some(work(&mut guard))
}

pub fn install(state: State) {
    cell(|cell| *cell = Some(state));
}

/// Takes the state away; what it holds of the server and the kernel is given back.
pub fn remove() {
    let state = cell(Option::take).flatten();
    if let Some(mut state) = state {
        state.let_all_go();
    }
}

/// Works on the state, whole or not.
pub fn with_any<R>(work: impl FnOnce(&mut State) -> R) -> Option<R> {
    cell(|cell| cell.as_mut().map(work)).flatten()
}

/// Works on the state, unless it may be broken.
pub fn with<R>(work: impl FnOnce(&mut State) -> R) -> Option<R> {
    if guard::is_healthy() {
        with_any(work)
    } else {
        None
    }
}

/// Starts the timer; not part of [`State::new`] since settings are loaded before there is work.
/// `false` when there can be none.
pub fn start_pacemaker<E: Events>() -> bool {
    let pacemaker = Pacemaker::start::<E>();
    let ticks = pacemaker.is_some();
    with_any(|state| {
        state.pacemaker = pacemaker.unwrap_or_default();
    });
    ticks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_lent_once_at_a_time_and_whoever_asks_meanwhile_gets_none_and_stops_eviction() {
        let _alone = guard::tests::alone();
        let told = std::cell::Cell::new(0);
        let enter = |work: &dyn Fn()| guard::run("entry", work, |_| told.set(told.get() + 1));
        install(State::new(Reaper::new(Micros(0), 1, Settings::default())));
        enter(&|| assert_eq!(with(|_| with(|_| ())), Some(None)));
        assert_eq!((guard::is_healthy(), told.get()), (false, 1));
        enter(&|| assert_eq!(with(|_| ()), None, "it may be broken"));
        enter(&|| assert_eq!(with_any(|_| ()), Some(()), "to be mended"));
        assert_eq!(told.get(), 1);
        guard::heal();
        enter(&|| assert_eq!(with(|_| ()), Some(())));

        // After a panic as well.
        let panics = || {
            with(|_| panic!("inside"));
        };
        enter(&panics);
        assert_eq!((guard::is_healthy(), told.get()), (false, 2));
        assert_eq!(with_any(|_| ()), Some(()));
        guard::heal();
        remove();
        assert_eq!(with(|_| ()), None, "taken away");
        assert!(guard::is_healthy(), "which is no fault");
    }
}
