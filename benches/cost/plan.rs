//! Plan: what is measured, in which order, and how long it may take in all. What no longer fits is
//! left out, and said to be.

use crate::clock::{self, SECOND};
use std::path::PathBuf;

/// How much of everything.
#[derive(Clone, Debug)]
pub struct Plan {
    pub quick: bool,
    /// As many connections as a process may hold.
    pub many: usize,
    pub rounds: usize,
    /// Where the picture of the storms goes.
    pub plot: Option<PathBuf>,
    only: Option<Vec<String>>,
    servers: Option<Vec<String>>,
    deadline: u64,
}

/// One part on one server.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    pub part: &'static str,
    pub server: &'static str,
    pub rounds: usize,
    /// How long it takes, about.
    seconds: u64,
}

const fn job(part: &'static str, server: &'static str, rounds: usize, seconds: u64) -> Job {
    Job {
        part,
        server,
        rounds,
        seconds,
    }
}

const QUICK: [Job; 5] = [
    job("cycle", "redis-8.2", 1, 4),
    job("setting", "redis-8.2", 1, 5),
    job("lag", "redis-8.2", 1, 12),
    job("storm", "redis-8.2", 1, 15),
    job("memory", "redis-8.2", 1, 10),
];

/// What matters most comes first.
const FULL: [Job; 17] = [
    job("instructions", "redis-8.2", 1, 50),
    job("idle", "redis-8.2", 2, 95),
    job("lag", "redis-8.2", 1, 20),
    job("lag", "redis-7.0", 1, 20),
    job("lag", "valkey-8.1", 1, 20),
    job("lag", "valkey-9.1", 1, 20),
    job("storm", "redis-8.2", 3, 95),
    job("setting", "redis-8.2", 1, 12),
    job("memory", "redis-8.2", 1, 14),
    job("cycle", "redis-8.2", 1, 8),
    job("throughput", "redis-8.2", 1, 15),
    job("closing", "redis-8.2", 2, 50),
    job("storm", "valkey-9.1", 2, 55),
    job("storm", "redis-7.0", 2, 32),
    job("storm", "valkey-8.1", 2, 32),
    job("unix", "redis-8.2", 2, 42),
    job("setting", "valkey-9.1", 1, 12),
];

impl Plan {
    /// `words` are those of the command line.
    pub fn new(words: &[String]) -> Plan {
        let value = |option: &str| {
            let at = words.iter().position(|word| word == option)?;
            words.get(at + 1).cloned()
        };
        let number = |option: &str| value(option).map(|v| v.parse::<u64>().expect("a number"));
        let list = |option: &str| value(option).map(|v| v.split(',').map(str::to_string).collect());
        let quick = words.iter().any(|word| word == "--quick");
        let seconds = number("--minutes").map_or(if quick { 50 } else { 560 }, |minutes| 60 * minutes);
        Plan {
            quick,
            many: number("--many").unwrap_or(if quick { 5_000 } else { 19_900 }) as usize,
            rounds: number("--rounds").unwrap_or(0) as usize,
            plot: value("--plot").map(Into::into),
            only: list("--only"),
            servers: list("--server"),
            deadline: clock::now() + seconds * SECOND,
        }
    }

    pub fn jobs(&self) -> Vec<Job> {
        let all: &[Job] = if self.quick { &QUICK } else { &FULL };
        let among = |list: &Option<Vec<String>>, word: &str| {
            list.as_ref().is_none_or(|list| list.iter().any(|w| w == word))
        };
        let is_wanted = |job: &&Job| among(&self.only, job.part) && among(&self.servers, job.server);
        all.iter().filter(is_wanted).copied().collect()
    }

    pub fn has_time_for(&self, job: Job) -> bool {
        clock::now() + job.seconds * SECOND <= self.deadline
    }

    /// The same with as many rounds as the job has, unless the command line says how many.
    pub fn for_job(&self, job: Job) -> Plan {
        let mut plan = self.clone();
        if plan.rounds == 0 {
            plan.rounds = job.rounds;
        }
        plan
    }
}
