//! The engine alone, with up to a million connections: what connecting, disconnecting, a tick with
//! nothing due, a tick with a thousand due and a change of `maxage` cost, and that these costs grow as
//! docs/performance.md says. `cargo bench --bench engine`; `-- --growth` for the growth alone.
#![allow(
    unused,
    clippy::all,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a benchmark reads the time, uses a part of the engine, and ends with what goes wrong"
)]

use connage_engine::client::info_line;
use connage_engine::client::manner::Environment;
use connage_engine::client::quiet::Seen;
use connage_engine::client::ClientId;
use connage_engine::policy::settings::Settings;
use connage_engine::reaper::{Outcome, Reaper};
use connage_engine::text::time::{Micros, Millis};
use criterion::{BenchmarkId, Criterion};
use rustix::time::{clock_gettime, ClockId};
use std::hint::black_box;
use std::time::Duration;

const SIZES: [u64; 4] = [1_000, 10_000, 100_000, 1_000_000];
const START: Micros = Micros(1_000_000_000_000);
const LIMIT: Millis = Millis(3_600_000);
const AT_A_TIME: u64 = 1_000;
const LINE: &str = "addr=127.0.0.1:50000 laddr=127.0.0.1:6379 fd=8 name= age=3600 idle=100 flags=N db=0 sub=0 \
    psub=0 ssub=0 multi=-1 watch=0 qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=1024 rbp=0 obl=0 oll=0 omem=0 \
    tot-mem=1928 events=r cmd=ping user=default redir=-1 resp=2 lib-name= lib-ver=";

/// What is measured, and how its cost may grow with the number of connections.
struct Operation {
    name: &'static str,
    /// The most that the slope of the cost may be, both axes logarithmic: 0 is constant, 1 is linear.
    /// Logarithmic growth stays under 0.4; where each step is a cache miss too, under 0.6.
    slope: f64,
    /// Time for doing it `times` times with so many connected.
    run: fn(connections: u64, times: u64) -> Duration,
}

const OPERATIONS: [Operation; 5] = [
    Operation {
        name: "connect",
        slope: 0.4,
        run: connect,
    },
    Operation {
        name: "disconnect",
        slope: 0.6,
        run: disconnect,
    },
    Operation {
        name: "tick, nothing due",
        slope: 0.2,
        run: idle_tick,
    },
    Operation {
        name: "tick, a thousand due, each of them",
        slope: 0.4,
        run: due_ticks,
    },
    Operation {
        name: "reconfigure",
        slope: 0.2,
        run: reconfigure,
    },
];

fn settings(maxage: Millis) -> Settings {
    Settings {
        maxage,
        rate: 0,
        ..Settings::default()
    }
}

/// Connections 1 to `many`, a microsecond apart.
fn reaper(many: u64) -> Reaper {
    let mut reaper = Reaper::new(START, 7, settings(LIMIT));
    for id in 1..=many {
        reaper.connected(Micros(START.0 + id), ClientId(id), false);
    }
    reaper
}

/// Of this thread: what others do on the machine must not count.
fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.try_into().unwrap(), now.tv_nsec.try_into().unwrap())
}

fn connect(connections: u64, times: u64) -> Duration {
    let mut reaper = reaper(connections);
    let mut spent = Duration::ZERO;
    let mut id = connections;
    for batch in batches(times) {
        let began = cpu_time();
        for _ in 0..batch {
            id += 1;
            black_box(reaper.connected(Micros(START.0 + id), ClientId(id), false));
        }
        spent += cpu_time() - began;
        // The oldest leave, so that there are always as many.
        (0..batch).for_each(|n| reaper.disconnected(ClientId(id - connections - n)));
    }
    spent
}

fn disconnect(connections: u64, times: u64) -> Duration {
    let mut reaper = reaper(connections);
    let mut spent = Duration::ZERO;
    let mut next = connections;
    let mut who = 0;
    for batch in batches(times) {
        // Anywhere among them: a step that has no divisor in common with their number.
        let ids: Vec<ClientId> = (0..batch.min(connections / 2))
            .map(|_| {
                who = (who + 7_368_787) % connections;
                ClientId(who + 1)
            })
            .collect();
        let began = cpu_time();
        ids.iter().for_each(|id| reaper.disconnected(*id));
        spent += (cpu_time() - began) * u32::try_from(batch).unwrap() / u32::try_from(ids.len()).unwrap();
        next += batch;
        for id in ids {
            reaper.connected(Micros(START.0 + next), id, false);
        }
    }
    spent
}

/// With the question when to wake next, as after every round of the server's loop.
fn idle_tick(connections: u64, times: u64) -> Duration {
    let mut reaper = reaper(connections);
    let began = cpu_time();
    for n in 0..times {
        let now = Micros(START.0 + connections + n);
        assert!(black_box(reaper.tick(now)).is_empty());
        black_box(reaper.next_wake(now));
    }
    cpu_time() - began
}

/// A thousand are due: all ticks until they are gone, with judging and forgetting each of them.
fn due_ticks(connections: u64, times: u64) -> Duration {
    let mut spent = Duration::ZERO;
    let mut reaper = reaper(connections);
    let mut last = connections;
    for batch in batches(times) {
        let first = last + 1 - connections;
        let now = Micros(START.0 + first + batch - 1).plus(LIMIT);
        let lines: Vec<String> = (first..first + batch)
            .map(|id| format!("id={id} {LINE}"))
            .collect();
        let began = cpu_time();
        let gone = evict(&mut reaper, now, first, &lines);
        spent += cpu_time() - began;
        assert_eq!(gone, batch);
        for _ in 0..batch {
            last += 1;
            reaper.connected(Micros(START.0 + last), ClientId(last), false);
        }
    }
    spent
}

fn evict(reaper: &mut Reaper, now: Micros, first: u64, lines: &[String]) -> u64 {
    let env = Environment {
        linger_room: 1_000,
        ..Environment::default()
    };
    let mut gone = 0;
    loop {
        let round = reaper.tick(now);
        if round.look.is_empty() {
            return gone;
        }
        for id in &round.look {
            let line = &lines[usize::try_from(id.0 - first).unwrap()];
            let client = info_line::parse(line.as_bytes()).expect("a line");
            let seen = Seen::with_idle_socket(client);
            let closing = reaper.judge(now, &seen, &env).expect("to be closed");
            reaper.closed(now, &client, &closing, 0);
            reaper.disconnected(*id);
            gone += 1;
        }
        reaper.end_round(now, round, Outcome::default());
    }
}

fn reconfigure(connections: u64, times: u64) -> Duration {
    let mut reaper = reaper(connections);
    let now = Micros(START.0 + connections);
    let began = cpu_time();
    for n in 0..times {
        reaper.reconfigure(now, settings(Millis(LIMIT.0 + 1 + n % 2)));
        black_box(reaper.next_wake(now));
    }
    cpu_time() - began
}

fn batches(times: u64) -> impl Iterator<Item = u64> {
    (0..times.div_ceil(AT_A_TIME)).map(move |n| AT_A_TIME.min(times - n * AT_A_TIME))
}

fn criterion() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(10)
        .without_plots()
        .configure_from_args();
    for operation in &OPERATIONS {
        let mut group = criterion.benchmark_group(operation.name);
        for size in SIZES {
            let id = BenchmarkId::from_parameter(size);
            group.bench_function(id, |bencher| {
                bencher.iter_custom(|times| (operation.run)(size, times))
            });
        }
        group.finish();
    }
    criterion.final_summary();
}

/// The slope of a line through the points, by least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    let many = points.len() as f64;
    let mean = |pick: fn(&(f64, f64)) -> f64| points.iter().map(pick).sum::<f64>() / many;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let above: f64 = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
    let below: f64 = points.iter().map(|p| (p.0 - x).powi(2)).sum();
    above / below
}

/// Measures the curve of each operation; whether all grow as they should.
fn growth() -> bool {
    println!("| engine, ns each | 10^3 | 10^4 | 10^5 | 10^6 | slope | at most | holds |\n|---|---|---|---|---|---|---|---|");
    let mut all = true;
    for operation in &OPERATIONS {
        let costs = SIZES.map(|size| {
            let once = || (operation.run)(size, 4 * AT_A_TIME).as_nanos() as f64 / (4 * AT_A_TIME) as f64;
            (0..7).map(|_| once()).fold(f64::INFINITY, f64::min)
        });
        let points: Vec<(f64, f64)> = SIZES
            .iter()
            .zip(costs)
            .map(|(size, cost)| ((*size as f64).ln(), cost.ln()))
            .collect();
        let slope = slope(&points);
        let holds = slope <= operation.slope;
        all &= holds;
        let cells: Vec<String> = costs.iter().map(|cost| format!("{cost:.0}")).collect();
        println!(
            "| {} | {} | {slope:.2} | {} | {} |",
            operation.name,
            cells.join(" | "),
            operation.slope,
            if holds { "yes" } else { "**no**" },
        );
    }
    all
}

fn main() {
    if !std::env::args().any(|word| word == "--growth") {
        criterion();
    }
    if !growth() {
        eprintln!("a cost grows faster than docs/performance.md says");
        std::process::exit(1);
    }
}
