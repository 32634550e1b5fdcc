//! Idle: a second in which nothing expires. How often the module wakes and what it asks then, which is all
//! that it does; whole seconds with the module and without in turn, whose noise is greater than that;
//! and what users run once a second instead.

use crate::clock::{self, SECOND};
use crate::crowd::{Address, Crowd};
use crate::report::{Report, Row};
use crate::resp::Asker;
use crate::server::{load_module, unload_module, Server, Setup};
use crate::stats::{number, Rounds};
use crate::Plan;

/// What the module asks the server every ten seconds, to see whether it has missed a connection.
const HOUSEKEEPING: [&str; 3] = ["INFO clients", "INFO replication", "CONFIG GET maxclients"];
const HOUSEKEEPING_S: f64 = 10.0;
/// How many times, and how long apart.
const EACH_SECOND: (usize, u64) = (3, SECOND);
/// What is small beside the server's own cron takes more of them.
const OFTEN: (usize, u64) = (25, SECOND / 8);

/// Main-thread time of a few commands beyond that of as many PINGs, in µs, `times` times with a pause:
/// back to back, caches would be warm as they never are in life.
fn now_and_then(
    server: &Server,
    admin: &mut Asker,
    commands: &[&str],
    (times, every): (usize, u64),
) -> Rounds {
    let start = clock::now();
    let mut turn = 0;
    let mut cost = |commands: &[&str]| {
        turn += 1;
        clock::sleep_until(start + turn * every / 2);
        let before = server.main_thread_ns();
        for words in commands {
            admin.ask(words);
        }
        clock::sleep_ms(1);
        (server.main_thread_ns() - before) as f64 / 1_000.0
    };
    let pings = vec!["PING"; commands.len()];
    let pairs: Vec<(f64, f64)> = (0..times).map(|_| (cost(&pings), cost(commands))).collect();
    let ping: Rounds = pairs.iter().map(|(ping, _)| *ping).collect();
    pairs.iter().map(|(_, cost)| cost - ping.median()).collect()
}

/// Main-thread time of a second, in µs.
fn window(server: &Server, seconds: u64) -> f64 {
    let before = server.main_thread_ns();
    let start = clock::now();
    clock::sleep_until(start + seconds * SECOND);
    let spent = server.main_thread_ns() - before;
    spent as f64 / 1_000.0 * SECOND as f64 / (clock::now() - start) as f64
}

const MOST_US: f64 = 20.0;

pub fn measure(plan: &Plan, setup: &Setup, report: &mut Report) {
    let sizes = [1_000, 10_000, plan.many];
    let seconds = 2;
    let server = setup.start();
    let mut admin = server.admin();
    let mut crowd = Crowd::new(Address::of(&server, false));
    let mut by_size = Vec::new();
    for size in sizes {
        crowd.fill(size);
        clock::sleep_ms(2_000);
        let mut today = Vec::new();
        let mut commands = vec!["CLIENT LIST"];
        if matches!(setup.name, "redis-8.2" | "valkey-9.1") {
            commands.insert(0, "CLIENT KILL MAXAGE 100000");
        }
        for command in commands {
            let costs = now_and_then(&server, &mut admin, &[command], EACH_SECOND);
            today.push(format!("{command}: {costs} µs"));
        }
        let housekeeping = now_and_then(&server, &mut admin, &HOUSEKEEPING, OFTEN);
        let a_second = housekeeping.median() / HOUSEKEEPING_S;
        let mut bare = Rounds::default();
        let mut difference = Rounds::default();
        let mut noise = Rounds::default();
        let mut wakeups = 0;
        for _ in 0..plan.rounds {
            let first = window(&server, seconds);
            load_module(&mut admin, "maxage 1h");
            clock::sleep_ms(500);
            let before = admin.info("connage", "connage_wakeups");
            let connage = window(&server, seconds);
            wakeups += admin.info("connage", "connage_wakeups") - before;
            unload_module(&mut admin);
            clock::sleep_ms(500);
            let second = window(&server, seconds);
            bare.add(first);
            noise.add(second - first);
            difference.add(connage - (first + second) / 2.0);
        }
        let noise_us = noise.iter().map(f64::abs).fold(0.0, f64::max);
        by_size.push(a_second);
        report.add(Row {
            what: format!("an idle second, {size} connections: main thread"),
            server: setup.name,
            without: format!("{}; nothing: {bare} µs", today.join("; ")),
            with: format!(
                "{wakeups} wake-ups in {} s, a tenth of its housekeeping {} µs; the whole second {difference} µs \
                 more (A/A noise {noise})",
                plan.rounds as u64 * seconds,
                number(a_second)
            ),
            target: format!("at most {MOST_US} µs"),
            reached: Some(wakeups <= 1 && a_second <= MOST_US && difference.median() <= noise_us.max(MOST_US)),
        });
    }
    let (few, many) = (by_size[0], by_size[by_size.len() - 1]);
    report.add(Row {
        what: format!("the same: {} connections against 1,000", plan.many),
        server: setup.name,
        without: String::new(),
        with: format!(
            "housekeeping {} and {} µs, ratio {}",
            number(many),
            number(few),
            number(many / few)
        ),
        target: "ratio under 1.3".into(),
        reached: Some(many <= 1.3 * few),
    });
}
