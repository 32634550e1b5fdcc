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
/// How many times, and how long apart.
const EACH_SECOND: (usize, u64) = (3, SECOND);
/// What is small beside the server's own cron takes more of them.
const OFTEN: (usize, u64) = (25, SECOND / 8);

/// Main-thread time of a few commands, in µs, `times` times with a pause: back to back, caches would be
/// warm as they never are in life.
fn now_and_then(
    server: &Server,
    admin: &mut Asker,
    commands: &[&str],
    (times, every): (usize, u64),
) -> Rounds {
    let start = clock::now();
    let cost = |n: usize, admin: &mut Asker| {
        clock::sleep_until(start + n as u64 * every);
        let before = server.main_thread_ns();
        for words in commands {
            admin.ask(words);
        }
        clock::sleep_ms(1);
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

/// `None` where the noise is too great to tell.
fn verdict(more: f64, noise: f64) -> Option<bool> {
    const MOST: f64 = 20.0;
    if more > MOST.max(noise) {
        Some(false)
    } else {
        (noise <= MOST).then_some(more <= MOST)
    }
}

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
        let ping = now_and_then(&server, &mut admin, &["PING"], EACH_SECOND);
        let mut commands = vec!["CLIENT LIST"];
        if matches!(setup.name, "redis-8.2" | "valkey-9.1") {
            commands.insert(0, "CLIENT KILL MAXAGE 100000");
        }
        for command in commands {
            let costs = now_and_then(&server, &mut admin, &[command], EACH_SECOND);
            let more: Rounds = costs.iter().map(|cost| cost - ping.median()).collect();
            today.push(format!("{command}: {more} µs"));
        }
        let pings = now_and_then(&server, &mut admin, &["PING"; HOUSEKEEPING.len()], OFTEN);
        let housekeeping = now_and_then(&server, &mut admin, &HOUSEKEEPING, OFTEN);
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
        let noise_us = noise.iter().map(f64::abs).fold(0.0, f64::max);
        let more = difference.median();
        by_size.push((more, noise_us));
        report.add(Row {
            what: format!("an idle second, {size} connections: main thread"),
            server: setup.name,
            without: format!("{}; nothing: {bare} µs", today.join("; ")),
            with: format!(
                "{difference} µs more (A/A noise {noise}), its housekeeping {} µs of them",
                number(a_second)
            ),
            target: "at most 20 µs".into(),
            reached: verdict(more, noise_us),
        });
    }
    let ((few, few_noise), (many, many_noise)) = (by_size[0], by_size[by_size.len() - 1]);
    let is_noise = few.abs() <= few_noise || many.abs() <= many_noise;
    report.add(Row {
        what: format!("the same: {} connections against 1,000", plan.many),
        server: setup.name,
        without: String::new(),
        with: if is_noise {
            "within the noise: no ratio".into()
        } else {
            format!(
                "{} and {} µs, ratio {}",
                number(many),
                number(few),
                number(many / few)
            )
        },
        target: "ratio under 1.3".into(),
        reached: (!is_noise).then_some(many <= 1.3 * few.max(0.0)),
    });
}
