//! Cores: the servers on one, the load on another, where there are two.

use rustix::thread::{sched_getaffinity, sched_setaffinity, CpuSet};

/// The core of the servers and the core of the load.
#[derive(Clone, Copy, Debug)]
pub struct Cores {
    server: usize,
    load: usize,
}

impl Cores {
    pub fn choose() -> Cores {
        let allowed = sched_getaffinity(None).expect("this process's cores");
        let mut cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
        let load = cores.next().expect("a core");
        Cores {
            server: cores.next_back().unwrap_or(load),
            load,
        }
    }

    pub fn are_apart(self) -> bool {
        self.server != self.load
    }

    pub fn take_load_core(self) {
        pin_to(self.load);
    }

    /// What `start` starts inherits the core of the servers.
    pub fn on_server_core<T>(self, start: impl FnOnce() -> T) -> T {
        pin_to(self.server);
        let started = start();
        pin_to(self.load);
        started
    }
}

fn pin_to(core: usize) {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).expect("pinned to a core");
}

/// Runs this thread before others of its core, where that is allowed.
pub fn hurry() {
    let param = libc::sched_param { sched_priority: 10 };
    // SAFETY: a valid structure; a refusal is an error without effect.
    let refused = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const param) } != 0;
    if refused {
        eprintln!("no real-time priority for the client that measures: waits may be a little longer");
    }
}
