//! What connage costs, measured beside what users do without it: real servers, real connections,
//! both sides in the same run, rounds interleaved.
//!
//! `cargo bench --bench cost` for all of it (under ten minutes), `-- --quick` for a short look (under
//! one). For a part: `-- --only lag,storm --server redis-8.2`. `--rounds 5 --minutes 60` takes longer
//! over it, `--plot FILE` draws the storms.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "whatever goes wrong ends the run"
)]

mod clock;
mod closing;
mod cores;
mod crowd;
mod cycle;
mod idle;
mod instructions;
mod lag;
mod memory;
mod pinger;
mod plan;
mod plot;
mod profile;
mod report;
mod resp;
mod server;
mod setting;
mod stats;
mod storm;
mod throughput;

use plan::Plan;
use report::Report;
use server::Setup;
use std::panic::AssertUnwindSafe;

/// Measures one server, and adds rows.
type Experiment = fn(&Plan, &Setup, &mut Report);

const PARTS: [(&str, Experiment); 10] = [
    ("instructions", instructions::measure),
    ("idle", idle::measure),
    ("lag", lag::measure),
    ("storm", storm::tcp),
    ("unix", storm::unix),
    ("setting", setting::measure),
    ("memory", memory::measure),
    ("cycle", cycle::measure),
    ("throughput", throughput::measure),
    ("closing", closing::measure),
];

fn experiment(part: &str) -> Experiment {
    PARTS.iter().find(|(name, _)| *name == part).expect("a part").1
}

fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_string()
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let plan = Plan::new(&words);
    let cores = cores::Cores::choose();
    cores.take_load_core();
    if !cores.are_apart() {
        println!("only one core: waits will be long on both sides");
    }
    let began = clock::now();
    let mut report = Report::default();
    let mut skipped = Vec::new();
    for job in plan.jobs() {
        let name = format!("{} on {}", job.part, job.server);
        if !server::is_fetched(job.server) {
            skipped.push(format!("{name} (not fetched: make servers)"));
        } else if !plan.has_time_for(job) {
            skipped.push(format!("{name} (out of time)"));
        } else {
            let at = (clock::now() - began) / clock::SECOND;
            let version = server::version(job.server);
            println!("{at} s: {name} ({version}), load average {}", load_average());
            let (plan, setup) = (plan.for_job(job), Setup::new(job.server, cores));
            let mut measure = || experiment(job.part)(&plan, &setup, &mut report);
            // A machine that is busy otherwise may spoil one part; the others still count.
            if std::panic::catch_unwind(AssertUnwindSafe(&mut measure)).is_err() {
                skipped.push(format!("{name} (failed, see above)"));
            }
        }
    }
    println!("\n{}", report.table());
    println!(
        "{} not reached, {} that the noise hides",
        report.missed(),
        report.untold()
    );
    if !skipped.is_empty() {
        println!("left out: {}", skipped.join(", "));
    }
}
