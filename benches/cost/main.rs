//! What connage costs, measured beside what users do without it: real servers, real connections,
//! both sides in the same run, rounds interleaved.
//!
//! `cargo bench --bench cost` for all of it, `-- --quick` for a short look, `-- --only lag,storm`
//! and `-- --server redis-8.2` for a part.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    dead_code,
    reason = "whatever goes wrong ends the run"
)]

mod clock;
mod closing;
mod cores;
mod crowd;
mod cycle;
mod idle;
mod lag;
mod memory;
mod pinger;
mod report;
mod resp;
mod server;
mod setting;
mod stats;
mod storm;
mod throughput;

use report::Report;
use server::Setup;

/// How much of everything.
#[derive(Debug)]
pub struct Plan {
    pub quick: bool,
    /// As many connections as a process may hold.
    pub many: usize,
    pub rounds: usize,
}

/// Measures one server, and adds rows.
type Experiment = fn(&Plan, &Setup, &mut Report);

const SERVERS: [&str; 4] = ["redis-7.0", "redis-8.2", "valkey-8.1", "valkey-9.1"];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let value = |option: &str| {
        let at = words.iter().position(|word| word == option)?;
        words
            .get(at + 1)
            .map(|value| value.split(',').map(str::to_string).collect::<Vec<_>>())
    };
    let quick = words.iter().any(|word| word == "--quick");
    let only = value("--only");
    let servers = value("--server");
    let is_wanted = |part: &str| {
        only.as_ref()
            .is_none_or(|only| only.iter().any(|word| word == part))
    };
    let plan = Plan {
        quick,
        many: value("--many").map_or(if quick { 5_000 } else { 19_900 }, |v| {
            v[0].parse().expect("a number")
        }),
        rounds: value("--rounds").map_or(if quick { 1 } else { 3 }, |v| v[0].parse().expect("a number")),
    };
    let cores = cores::Cores::choose();
    cores.take_load_core();
    if !cores.are_apart() {
        println!("only one core: waits will be long on both sides");
    }
    let mut report = Report::default();
    for name in SERVERS {
        let asked = servers.as_ref().map_or(!quick || name == "redis-8.2", |list| {
            list.iter().any(|s| s == name)
        });
        if !asked {
            continue;
        }
        if !server::is_fetched(name) {
            println!("{name} is not there: make servers");
            continue;
        }
        println!("{name} {}", server::version(name));
        let setup = Setup::new(name, cores);
        let parts: [(&str, Experiment); 6] = [
            ("idle", idle::measure),
            ("closing", closing::measure),
            ("cycle", cycle::measure),
            ("throughput", throughput::measure),
            ("memory", memory::measure),
            ("setting", setting::measure),
        ];
        for (part, measure) in parts {
            if is_wanted(part) {
                measure(&plan, &setup, &mut report);
            }
        }
        if is_wanted("lag") {
            lag::measure(&plan, &setup, &mut report);
        }
        if is_wanted("storm") {
            storm::measure(&plan, &setup, false, &mut report);
            storm::measure(&plan, &setup, true, &mut report);
        }
    }
    println!("\n{}\n{} not reached", report.table(), report.missed());
}
