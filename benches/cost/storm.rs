//! Storm: all connections expire at once. How long another client waits meanwhile, when the last of
//! them is gone, and whether those that come back are let in.

use crate::clock::{self, MS, SECOND};
use crate::crowd::{Address, Crowd};
use crate::pinger::{longest_ms, longest_over_ms, Pinger, Sample};
use crate::plot;
use crate::report::{Report, Row};
use crate::resp::{command, Asker, Reply};
use crate::server::Setup;
use crate::stats::{number, Rounds};
use crate::Plan;

/// Ages are whole seconds for CLIENT KILL MAXAGE and CLIENT LIST: the crowd is well above, and the
/// client that PINGs well below.
const LIMIT_S: u64 = 3;
const CROWD_AGE: u64 = 1_900 * MS;
const QUIET: u64 = 1_250 * MS;
/// The longest wait of more time is longer: a slow storm is held against a quiet time as long.
const LONG_QUIET: u64 = DRAIN - SECOND;
const DRAIN: u64 = 6 * SECOND;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    KillMaxage,
    Script,
    Connage { rate: u32, again: bool },
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Way::KillMaxage => "CLIENT KILL MAXAGE",
            Way::Script => "script",
            Way::Connage { rate: 0, again: true } => "rate 0, all reconnect",
            Way::Connage { rate: 0, .. } => "rate 0",
            Way::Connage { .. } => "rate 1000",
        }
    }
}

/// One storm.
#[derive(Debug)]
pub struct Storm {
    pub samples: Vec<Sample>,
    pub began: u64,
    pub quiet_ms: f64,
    pub longest_ms: f64,
    /// From the order to the last end that a client saw; infinite if some were left.
    pub gone_ms: f64,
    pub cpu_us_each: f64,
    pub refused: usize,
}

fn run(setup: &Setup, unix: bool, many: usize, way: Way) -> Storm {
    let connage = matches!(way, Way::Connage { .. });
    let setup = if connage {
        setup.clone().module("grace 10s")
    } else {
        setup.clone()
    };
    let server = setup.start();
    let mut admin = server.admin();
    let address = Address::of(&server, unix);
    let mut crowd = Crowd::new(address.clone());
    crowd.fill(many);
    clock::sleep_until(clock::now() + CROWD_AGE);
    let pinger = Pinger::start(&address);
    clock::sleep_ms(50);
    let quiet_from = clock::now();
    let quiet = match way {
        Way::Connage { rate: 1.., .. } => LONG_QUIET,
        _ => QUIET,
    };
    clock::sleep_until(quiet_from + quiet);
    let cpu = server.main_thread_ns();
    let began = clock::now();
    let (again, wanted) = match way {
        Way::KillMaxage => {
            admin.send(&command(&["CLIENT", "KILL", "MAXAGE", &LIMIT_S.to_string()]));
            (false, many)
        }
        Way::Script => {
            script(&mut admin);
            (false, many)
        }
        Way::Connage { rate, again } => {
            let words = format!("CONFIG SET connage.rate {rate} connage.maxage {LIMIT_S}s");
            admin.send(&command(&words.split(' ').collect::<Vec<_>>()));
            let seconds = DRAIN as usize / SECOND as usize;
            let most = if rate == 0 {
                many
            } else {
                rate as usize * (seconds - 1)
            };
            (again, many.min(most))
        }
    };
    let all = crowd.watch(wanted, began + DRAIN, again);
    let last = crowd.ended.iter().map(|ended| ended.at).max().unwrap_or(began);
    let cpu = server.main_thread_ns() - cpu;
    clock::sleep_until((began + quiet).max(clock::now() + 100 * MS));
    let until = clock::now();
    let samples = pinger.finish();
    Storm {
        quiet_ms: longest_over_ms(&samples, quiet_from, began),
        longest_ms: longest_ms(&samples, began - MS, until),
        gone_ms: if all {
            (last - began) as f64 / MS as f64
        } else {
            f64::INFINITY
        },
        cpu_us_each: cpu as f64 / 1_000.0 / crowd.ended.len().max(1) as f64,
        refused: crowd.refused,
        began,
        samples,
    }
}

/// What people run once a second from cron: list, parse, kill by id, all kills in one go.
fn script(admin: &mut Asker) {
    let list = admin.ask("CLIENT LIST").text();
    let mut kills = Vec::new();
    let mut many = 0;
    for line in list.lines() {
        let field = |name: &str| line.split(' ').find_map(|word| word.strip_prefix(name));
        let age: u64 = field("age=").and_then(|age| age.parse().ok()).unwrap_or(0);
        let id = field("id=").unwrap_or_default();
        if age >= LIMIT_S && !field("flags=").unwrap_or_default().contains('e') {
            kills.extend(command(&["CLIENT", "KILL", "ID", id]));
            many += 1;
        }
    }
    let writer = std::thread::spawn({
        let mut admin = admin.another();
        move || admin.send(&kills)
    });
    for _ in 0..many {
        if let Ok(Reply::Error(error)) | Err(error) = admin.read().map_err(|e| e.to_string()) {
            panic!("CLIENT KILL ID: {error}");
        }
    }
    writer.join().expect("all were sent");
}

#[derive(Debug, Default)]
struct Tally {
    excess: Rounds,
    quiet: Rounds,
    longest: Rounds,
    gone: Rounds,
    cpu: Rounds,
    refused: usize,
}

impl Tally {
    fn add(&mut self, storm: &Storm) {
        self.excess.add(storm.longest_ms - storm.quiet_ms);
        self.quiet.add(storm.quiet_ms);
        self.longest.add(storm.longest_ms);
        self.gone.add(storm.gone_ms);
        self.cpu.add(storm.cpu_us_each);
        self.refused += storm.refused;
    }
}

fn ways(name: &str, unix: bool, quick: bool) -> Vec<Way> {
    let storm = |rate, again| Way::Connage { rate, again };
    let has_maxage = matches!(name, "redis-8.2" | "valkey-9.1");
    if quick {
        return vec![Way::KillMaxage, storm(0, false)];
    }
    let mut ways = vec![storm(0, false), storm(0, true)];
    if has_maxage {
        ways.push(Way::KillMaxage);
    }
    if has_maxage && !unix {
        ways.push(Way::Script);
    }
    if name == "redis-8.2" && !unix {
        ways.push(storm(1_000, false));
    }
    ways
}

pub fn tcp(plan: &Plan, setup: &Setup, report: &mut Report) {
    measure(plan, setup, false, report);
}

pub fn unix(plan: &Plan, setup: &Setup, report: &mut Report) {
    measure(plan, setup, true, report);
}

fn measure(plan: &Plan, setup: &Setup, unix: bool, report: &mut Report) {
    let ways = ways(setup.name, unix, plan.quick);
    let mut tallies: Vec<Tally> = ways.iter().map(|_| Tally::default()).collect();
    let mut pictured = Vec::new();
    for round in 0..plan.rounds {
        for (way, tally) in ways.iter().zip(&mut tallies) {
            // The slow one, once.
            if round > 0 && matches!(way, Way::Connage { rate: 1.., .. }) {
                continue;
            }
            let storm = run(setup, unix, plan.many, *way);
            tally.add(&storm);
            let is_like_the_others = matches!(
                way,
                Way::Connage { rate: 1.., .. } | Way::Connage { again: true, .. }
            );
            if round == 0 && !is_like_the_others {
                pictured.push((way.name(), storm));
            }
        }
    }
    if let Some(path) = plan.plot.as_ref().filter(|_| setup.name == "redis-8.2" && !unix) {
        std::fs::write(path, plot::waits(plan.many, &pictured)).expect("the picture is written");
    }
    let kill = ways.iter().position(|way| *way == Way::KillMaxage);
    let today = |tally: &Tally| format!("{} ms, quiet {} ms", tally.longest, tally.quiet);
    let without: Vec<String> = ways
        .iter()
        .zip(&tallies)
        .filter(|(way, _)| !matches!(way, Way::Connage { .. }))
        .map(|(way, tally)| format!("{}: {}", way.name(), today(tally)))
        .collect();
    let transport = if unix { "unix" } else { "TCP" };
    for (way, tally) in ways.iter().zip(&tallies) {
        let Way::Connage { rate, again } = *way else {
            continue;
        };
        report.add(Row {
            what: format!(
                "{} expire at once, {transport}, {}: longest wait of a PING",
                plan.many,
                way.name()
            ),
            server: setup.name,
            without: without.join("; "),
            with: format!("{}; above quiet {} ms", today(tally), tally.excess),
            target: "median at most 5 ms above quiet".into(),
            reached: Some(tally.excess.median() <= 5.0),
        });
        if let Some(kill) = kill.map(|at| &tallies[at]).filter(|_| !again) {
            let times = kill.longest.median() / tally.longest.median();
            report.add(Row {
                what: format!(
                    "the same, against CLIENT KILL MAXAGE, {transport}, {}",
                    way.name()
                ),
                server: setup.name,
                without: format!("{} ms", number(kill.longest.median())),
                with: format!("{} times below", number(times)),
                target: "at least 30 times below".into(),
                reached: Some(times >= 30.0),
            });
        }
        if rate == 0 {
            report.add(Row {
                what: format!("the same: all gone, {transport}, {}", way.name()),
                server: setup.name,
                without: String::new(),
                with: format!(
                    "{} ms, {} µs of CPU each, {} refused",
                    tally.gone, tally.cpu, tally.refused
                ),
                target: "within 2000 ms, none refused".into(),
                reached: Some(tally.refused == 0 && tally.gone.median() <= 2_000.0),
            });
        }
    }
}
