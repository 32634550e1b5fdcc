//! Closing: what closing one connection costs the main thread, by the client, by CLIENT KILL and by
//! connage.

use crate::clock::{self, MS, SECOND};
use crate::crowd::{Address, Crowd};
use crate::report::{Report, Row};
use crate::server::Setup;
use crate::stats::{number, Rounds};
use crate::Plan;

/// Above the second after which a connection counts as idle.
const LIMIT_MS: u64 = 1_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    ClientLeaves,
    ClientKill,
    Connage,
}

const WAYS: [Way; 3] = [Way::ClientLeaves, Way::ClientKill, Way::Connage];

/// CPU of the main thread for each connection, in µs. They have been idle for more than a second, and are
/// simply closed, or were `answered` just now: then a duplicate lingers.
fn run(setup: &Setup, unix: bool, many: usize, answered: bool, way: Way) -> f64 {
    let mut setup = setup.clone().max_clients(2 * many);
    if way == Way::Connage {
        setup = setup.module("rate 0");
    }
    let server = setup.start();
    let mut admin = server.admin();
    let mut crowd = Crowd::new(Address::of(&server, unix));
    crowd.fill(many);
    clock::sleep_until(clock::now() + (LIMIT_MS + 1_600) * MS);
    if answered {
        crowd.ask_all();
    }
    crowd.never_sleeps = true;
    let before = server.main_thread_ns();
    match way {
        Way::ClientLeaves => crowd.leave(),
        Way::ClientKill => {
            let killed = admin.ask("CLIENT KILL TYPE normal SKIPME yes");
            assert_eq!(killed.text(), many.to_string());
        }
        Way::Connage => {
            admin.ask(&format!("CONFIG SET connage.maxage {LIMIT_MS}"));
        }
    }
    let all = way == Way::ClientLeaves || crowd.watch(many, clock::now() + 20 * SECOND, false);
    assert!(all, "{way:?}: {} of {many} are closed", crowd.ended.len());
    clock::sleep_ms(300);
    let spent = server.main_thread_ns() - before;
    assert_eq!(admin.info("clients", "connected_clients"), 1, "{way:?}");
    spent as f64 / 1_000.0 / many as f64
}

pub fn measure(plan: &Plan, setup: &Setup, report: &mut Report) {
    let many = if plan.quick { 2_000 } else { 5_000 };
    for (unix, answered) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut rounds = WAYS.map(|_| Rounds::default());
        for _ in 0..plan.rounds {
            for (way, rounds) in WAYS.iter().zip(&mut rounds) {
                rounds.add(run(setup, unix, many, answered, *way));
            }
        }
        let [leaves, kill, connage] = &rounds;
        let floor = kill.median().max(leaves.median());
        let times = connage.median() / floor;
        report.add(Row {
            what: format!(
                "closing one, {}, {}: CPU",
                if unix { "unix" } else { "TCP" },
                if answered {
                    "answered just now, lingering"
                } else {
                    "idle"
                }
            ),
            server: setup.name,
            without: format!("the client leaves: {leaves} µs; CLIENT KILL: {kill} µs"),
            with: format!("{connage} µs, {} times", number(times)),
            target: "at most 1.5 times".into(),
            reached: Some(times <= 1.5),
        });
    }
}
