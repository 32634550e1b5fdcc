//! Idle: a second in which nothing expires. What it costs the main thread with the module and
//! without, windows of both in turn in the same server; and what users run once a second instead.

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

/// Main-thread time of a few commands, in µs, once a second as in life: caches are cold.
fn each_second(server: &Server, admin: &mut Asker, commands: &[&str], times: usize) -> Rounds {
    let start = clock::now();
    let cost = |n: usize, admin: &mut Asker| {
        clock::sleep_until(start + n as u64 * SECOND);
        let before = server.main_thread_ns();
        for words in commands {
            admin.ask(words);
        }
        clock::sleep_ms(2);
        (server.main_thread_ns() - before) as f64 / 1_000.0
    };
    (1..=times).map(|n| cost(n, admin)).collect()
}

/// Main-thread time of a second, in µs.
fn window(server: &Server, seconds: u64) -> f64 {
    let before = server.main_thread_ns();
    let start = clock::now();
    clock::sleep_until(start + seconds * SECOND);
    let spent = server.main_thread_ns() - before;
    spent as f64 / 1_000.0 * SECOND as f64 / (clock::now() - start) as f64
}

pub fn measure(plan: &Plan, setup: &Setup, report: &mut Report) {
    let sizes = [1_000, 10_000, plan.many];
    let (seconds, times) = (2, 3);
    let server = setup.start();
    let mut admin = server.admin();
    let mut crowd = Crowd::new(Address::of(&server, false));
    let mut by_size = Vec::new();
    for size in sizes {
        crowd.fill(size);
        clock::sleep_ms(2_000);
        let mut today = Vec::new();
        let ping = each_second(&server, &mut admin, &["PING"], times);
        let mut commands = vec!["CLIENT LIST"];
        if matches!(setup.name, "redis-8.2" | "valkey-9.1") {
            commands.insert(0, "CLIENT KILL MAXAGE 100000");
        }
        for command in commands {
            let costs = each_second(&server, &mut admin, &[command], times);
            let more: Rounds = costs.iter().map(|cost| cost - ping.median()).collect();
            today.push(format!("{command}: {more} µs"));
        }
        let pings = each_second(&server, &mut admin, &["PING"; HOUSEKEEPING.len()], times);
        let housekeeping = each_second(&server, &mut admin, &HOUSEKEEPING, times);
        let a_second = (housekeeping.median() - pings.median()) / HOUSEKEEPING_S;
        let mut bare = Rounds::default();
        let mut difference = Rounds::default();
        let mut noise = Rounds::default();
        for _ in 0..plan.rounds {
            let first = window(&server, seconds);
            load_module(&mut admin, "maxage 1h");
            clock::sleep_ms(500);
            let connage = window(&server, seconds);
            unload_module(&mut admin);
            clock::sleep_ms(500);
            let second = window(&server, seconds);
            bare.add(first);
            noise.add(second - first);
            difference.add(connage - (first + second) / 2.0);
        }
        by_size.push(a_second);
        report.add(Row {
            what: format!("an idle second, {size} connections: main thread"),
            server: setup.name,
            without: format!("{}; nothing: {bare} µs", today.join("; ")),
            with: format!(
                "{} µs: a tenth of its housekeeping, and no instruction besides; by windows of {seconds} s \
                 {difference} µs (A/A {noise})",
                number(a_second)
            ),
            target: "at most 20 µs".into(),
            reached: Some(a_second <= 20.0),
        });
    }
    let (few, many) = (by_size[0], by_size[by_size.len() - 1]);
    report.add(Row {
        what: format!("the same: {} connections against 1,000", plan.many),
        server: setup.name,
        without: String::new(),
        with: format!(
            "{} and {} µs, ratio {}",
            number(many),
            number(few),
            number(many / few)
        ),
        target: "ratio under 1.3".into(),
        reached: Some(many <= 1.3 * few),
    });
}
