//! What part the machine has in any lateness: how late it wakes a thread that does nothing.
//!
//! Scenarios that measure time allow for this on top of what is promised, so that they can
//! be judged on a machine that others use as well. Nothing is allowed to be early.

use super::{ms, Stop};
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug)]
pub struct Noise {
    pub p99: Duration,
    pub max: Duration,
}

pub fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent).div_ceil(100) - 1]
}

/// Does the work, and listens to the machine meanwhile.
pub fn beside<R>(work: impl FnOnce() -> R) -> (R, Noise) {
    let stop = Stop::default();
    std::thread::scope(|scope| {
        let at_the_end = stop.at_the_end();
        let listening = scope.spawn(|| listen(&stop));
        let result = work();
        drop(at_the_end);
        (result, listening.join().expect("no panic"))
    })
}

fn listen(stop: &Stop) -> Noise {
    let mut late = Vec::new();
    loop {
        let due = Instant::now() + ms(2);
        std::thread::sleep(ms(2));
        late.push(due.elapsed());
        if stop.asked() {
            break;
        }
    }
    late.sort();
    Noise {
        p99: percentile(&late, 99),
        max: late[late.len() - 1],
    }
}
