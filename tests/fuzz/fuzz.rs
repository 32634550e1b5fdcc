//! Fuzz: millions of inputs, drawn from a seed, against everything in the engine that reads
//! what users and servers write, and against the reaper at the limits of its clock.
//!
//!     cargo run --release --example fuzz -- [INPUTS] [SEED]
//!
//! A panic, an overflow (where built with overflow checks) or a broken promise ends it with
//! the seed and the number of the input, which repeat it. An example and not a test, so that
//! the engine is built as in the module, without its own tests. Nothing here knows a server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

mod inputs;
mod lines;
mod parsers;
mod reaper;

use inputs::Inputs;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How far it has come, for the watch.
static DONE: AtomicU64 = AtomicU64::new(0);
/// No input may take so long.
const HANG: Duration = Duration::from_secs(10);

/// Each with its share of the inputs, in percent.
type Target = (&'static str, u64, fn(&mut Inputs));

const TARGETS: [Target; 8] = [
    ("CLIENT LIST lines", 25, parsers::client_list),
    ("durations", 15, parsers::duration),
    ("settings", 15, parsers::setting),
    ("loadmodule's words", 10, parsers::module_args),
    ("rules", 15, parsers::rules),
    ("commands", 10, parsers::requests),
    ("globs and addresses", 8, parsers::matches),
    ("the reaper at its limits", 2, reaper::life),
];

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let mut number = |otherwise: u64| args.next().and_then(|n| n.parse().ok()).unwrap_or(otherwise);
    let (inputs, seed) = (number(1_000_000), number(1));
    std::thread::spawn(watch);
    for (name, share, target) in TARGETS {
        let many = inputs * share / 100;
        for n in 0..many {
            let mut input = Inputs::new(seed, name, n);
            let run = std::panic::AssertUnwindSafe(|| target(&mut input));
            if std::panic::catch_unwind(run).is_err() {
                eprintln!("{name}: input {n} of seed {seed}");
                return ExitCode::FAILURE;
            }
            DONE.fetch_add(1, Ordering::Relaxed);
        }
        println!("{name}: {many} inputs");
    }
    println!(
        "{} inputs of seed {seed}: nothing found",
        DONE.load(Ordering::Relaxed)
    );
    ExitCode::SUCCESS
}

/// Ends it all where one input hangs.
fn watch() {
    let mut last = u64::MAX;
    loop {
        let done = DONE.load(Ordering::Relaxed);
        if done == last {
            eprintln!("input {done} hangs");
            std::process::exit(1);
        }
        last = done;
        std::thread::sleep(HANG);
    }
}
