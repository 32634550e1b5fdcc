//! Lag: a thousand expire each second among many that don't. How long after its limit each is closed.

use crate::clock::{self, MS, SECOND};
use crate::crowd::{Address, Crowd};
use crate::report::{Report, Row};
use crate::resp::Asker;
use crate::server::Setup;
use crate::stats::{number, Rounds};
use crate::Plan;

const PER_SECOND: u64 = 1_000;
const PAUSE_MS: u64 = 1_500;

/// How often anybody has called CLIENT LIST.
fn asked_for_clients(admin: &mut Asker) -> u64 {
    let stats = admin.ask("INFO commandstats").text();
    let line = stats
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_client|list:calls="));
    let calls = line.and_then(|line| line.split(',').next());
    calls.and_then(|calls| calls.parse().ok()).unwrap_or(0)
}

pub fn measure(plan: &Plan, setup: &Setup, report: &mut Report) {
    let seconds: u64 = if plan.quick { 3 } else { 5 };
    // The oldest are those that expire, so they come first; the others come after them, quickly.
    let limit = seconds * SECOND + 7 * SECOND;
    let server = setup.clone().module("rate 0").start();
    let mut admin = server.admin();
    // The kernel's table of the server's descriptors doubles as clients come, and each time it stands
    // still for 10 ms: those who come then are born late for the server, and would seem to go late.
    let mut crowd = Crowd::new(Address::of(&server, false));
    crowd.fill(plan.many);
    crowd.leave();
    clock::sleep_ms(PAUSE_MS);
    admin.ask(&format!("CONFIG SET connage.maxage {}", limit / MS));
    let expiring = (seconds * PER_SECOND) as usize;
    let born = clock::now();
    crowd.fill_paced(expiring, PER_SECOND);
    // The others expire after the last that is watched, not at once: that would be a storm.
    clock::sleep_ms(PAUSE_MS);
    crowd.fill(plan.many);
    let filled = clock::now();
    assert!(filled < born + limit, "the rest came too late");
    clock::sleep_until(born + limit - 20 * MS);
    let cpu = server.main_thread_ns();
    let until = born + limit + seconds * SECOND + 20 * MS;
    crowd.watch(expiring, until + SECOND, true);
    let cpu = (server.main_thread_ns() - cpu) as f64 / 1_000.0;
    let seen: Rounds = crowd
        .ended
        .iter()
        .map(|e| (e.at as f64 - (e.born + limit) as f64) / MS as f64)
        .collect();
    let early = seen.iter().filter(|lag| *lag < 0.0).count();
    let own = |admin: &mut Asker, field| admin.info("connage", field) as f64 / 1_000.0;
    let p50 = own(&mut admin, "connage_lag_usec_p50");
    let p99 = own(&mut admin, "connage_lag_usec_p99");
    let most = own(&mut admin, "connage_lag_usec_max");
    let rounds = admin.info("connage", "connage_sweeps");
    let round = admin.info("connage", "connage_sweep_usec") as f64 / rounds.max(1) as f64;
    let looks = asked_for_clients(&mut admin);
    let bound = if setup.name.starts_with("valkey-9") {
        25.0
    } else {
        2.0
    };
    report.add(Row {
        what: format!("{PER_SECOND} of {} expire each second: lag", crowd.len()),
        server: setup.name,
        without: "whole seconds".into(),
        with: format!(
            "INFO p50 {} p99 {} max {} ms; clients see p50 {} p99 {} max {} ms, {early} early; \
             {rounds} rounds of {} µs, {looks} times CLIENT LIST; {} µs of CPU each with its reconnection",
            number(p50),
            number(p99),
            number(most),
            number(seen.median()),
            number(seen.quantile(0.99)),
            number(seen.max()),
            number(round),
            number(cpu / crowd.ended.len().max(1) as f64),
        ),
        target: format!("p99 under {bound} ms, none early"),
        reached: Some(
            p99 < bound && seen.quantile(0.99) < bound && early == 0 && crowd.ended.len() >= expiring,
        ),
    });
}
