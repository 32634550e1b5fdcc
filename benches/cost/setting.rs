//! Setting: what changing `maxage` costs the main thread while thousands are connected.

use crate::clock::{self, MS};
use crate::crowd::{Address, Crowd};
use crate::report::{Report, Row};
use crate::resp::Asker;
use crate::server::{Server, Setup};
use crate::stats::Rounds;
use crate::Plan;

/// CPU and wait of one command, in µs; what it leaves to be done right after is included.
fn cost(server: &Server, admin: &mut Asker, words: &str) -> (f64, f64) {
    let cpu = server.main_thread_ns();
    let began = clock::now();
    admin.ask(words);
    let waited = clock::now() - began;
    clock::sleep_ms(20);
    let cpu = server.main_thread_ns() - cpu;
    (cpu as f64 / 1_000.0, waited as f64 / 1_000.0)
}

pub fn measure(plan: &Plan, setup: &Setup, report: &mut Report) {
    let server = setup.clone().module("rate 1").start();
    let mut admin = server.admin();
    let mut crowd = Crowd::new(Address::of(&server, false));
    crowd.fill(plan.many);
    clock::sleep_until(clock::now() + 2_000 * MS);
    let cases: [(&str, Option<&str>, &str); 3] = [
        ("nobody near it", None, "CONFIG SET connage.maxage 2h"),
        (
            "all scheduled by jitter",
            Some("CONFIG SET connage.maxage 9s connage.jitter 90"),
            "CONFIG SET connage.maxage 2h connage.jitter 0",
        ),
        (
            "all in the backlog of rate",
            Some("CONFIG SET connage.maxage 1s"),
            "CONFIG SET connage.maxage 2h",
        ),
    ];
    for (what, prepare, change) in cases {
        let (mut cpu, mut wait, mut other) = <(Rounds, Rounds, Rounds)>::default();
        for _ in 0..if plan.quick { 3 } else { 9 } {
            admin.ask("CONFIG SET connage.maxage 1h connage.jitter 0");
            clock::sleep_ms(50);
            let (other_us, _) = cost(&server, &mut admin, "CONFIG SET maxmemory-samples 5");
            if let Some(prepare) = prepare {
                admin.ask(prepare);
                clock::sleep_ms(200);
            }
            let (cpu_us, wait_us) = cost(&server, &mut admin, change);
            cpu.add(cpu_us - other_us);
            other.add(other_us);
            wait.add(wait_us);
        }
        report.add(Row {
            what: format!("changing maxage with {}, {what}", crowd.len()),
            server: setup.name,
            without: format!("another setting: {other} µs of CPU in 20 ms"),
            with: format!("{cpu} µs more, with all that follows; answered after {wait} µs"),
            target: "under 1000 µs on the main thread".into(),
            reached: Some(cpu.median() < 1_000.0),
        });
    }
}
