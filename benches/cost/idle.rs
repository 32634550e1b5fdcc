//! Idle: a second in which nothing expires. What it costs the main thread with the module and
//! without, windows of both in turn in the same server; and what users run once a second instead.

use crate::clock::{self, SECOND};
use crate::crowd::{Address, Crowd};
use crate::report::{Report, Row};
use crate::resp::Asker;
use crate::server::{load_module, unload_module, Server, Setup};
use crate::stats::{number, Rounds};
use crate::Plan;

/// Main-thread time of one command, in µs, once a second as in life: caches are cold.
fn each_second(server: &Server, admin: &mut Asker, words: &str, times: usize) -> Rounds {
    let start = clock::now();
    let cost = |n: usize, admin: &mut Asker| {
        clock::sleep_until(start + n as u64 * SECOND);
        let before = server.main_thread_ns();
        admin.ask(words);
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
    let sizes = if plan.quick {
        vec![1_000, plan.many]
    } else {
        vec![1_000, 10_000, plan.many]
    };
    let (pairs, seconds, times) = if plan.quick { (2, 2, 3) } else { (5, 5, 5) };
    let server = setup.start();
    let mut admin = server.admin();
    let mut crowd = Crowd::new(Address::of(&server, false));
    for size in sizes {
        crowd.fill(size);
        clock::sleep_ms(3_000);
        let mut today = Vec::new();
        let ping = each_second(&server, &mut admin, "PING", times);
        let mut commands = vec!["CLIENT LIST"];
        if matches!(setup.name, "redis-8.2" | "valkey-9.1") {
            commands.insert(0, "CLIENT KILL MAXAGE 100000");
        }
        for command in commands {
            let costs = each_second(&server, &mut admin, command, times);
            let more: Rounds = costs.iter().map(|cost| cost - ping.median()).collect();
            today.push(format!("{command}: {more} µs"));
        }
        let mut bare = Rounds::default();
        let mut with = Rounds::default();
        let mut difference = Rounds::default();
        let mut noise = Rounds::default();
        for _ in 0..pairs {
            let first = window(&server, seconds);
            load_module(&mut admin, "maxage 1h");
            clock::sleep_ms(1_000);
            let connage = window(&server, seconds);
            unload_module(&mut admin);
            clock::sleep_ms(1_000);
            let second = window(&server, seconds);
            bare.add(first);
            with.add(connage);
            noise.add(second - first);
            difference.add(connage - (first + second) / 2.0);
        }
        report.add(Row {
            what: format!("an idle second, {size} connections: main thread"),
            server: setup.name,
            without: format!("{}; nothing: {bare} µs", today.join("; ")),
            with: format!("{difference} µs more (A/A noise {noise})"),
            target: "median at most 20 µs".into(),
            reached: Some(number(difference.median()).parse::<f64>().unwrap_or(0.0) <= 20.0),
        });
    }
}
