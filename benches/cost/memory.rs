//! Memory: what the module holds for each connection. Measured by unloading it, which gives back all
//! that it holds and touches nothing else.

use crate::clock::{self, MS};
use crate::crowd::{Address, Crowd};
use crate::report::{Report, Row};
use crate::server::{unload_module, Setup};
use crate::stats::number;
use crate::Plan;

/// Bytes freed by unloading, and how many connections there were.
fn run(setup: &Setup, many: usize, words: &'static str, wait_ms: u64) -> (f64, f64, f64) {
    let server = setup.clone().module(words).start();
    let mut admin = server.admin();
    let bare = admin.info("memory", "used_memory");
    let mut crowd = Crowd::new(Address::of(&server, false));
    crowd.fill(many);
    clock::sleep_until(clock::now() + wait_ms * MS);
    let before = admin.info("memory", "used_memory");
    let connections = admin.info("clients", "connected_clients");
    unload_module(&mut admin);
    let after = admin.info("memory", "used_memory");
    let freed = before.saturating_sub(after) as f64;
    (freed, connections as f64, after.saturating_sub(bare) as f64)
}

pub fn measure(plan: &Plan, setup: &Setup, report: &mut Report) {
    // With jitter all are past the least limit that there may be, and hold an exact moment each.
    for (what, words, wait_ms) in [
        ("maxage only", "maxage 1h", 100),
        ("jitter 90%, all scheduled", "maxage 40s jitter 90", 3_980),
    ] {
        let (fixed, few, _) = run(setup, 8, words, wait_ms);
        let (freed, many, servers) = run(setup, plan.many, words, wait_ms);
        let each = (freed - fixed) / (many - few);
        report.add(Row {
            what: format!("memory a connection, {what}"),
            server: setup.name,
            without: format!("{} bytes", number(servers / many)),
            with: format!(
                "{} bytes more ({} in all without connections)",
                number(each),
                number(fixed)
            ),
            target: "at most 96 bytes".into(),
            reached: Some(each <= 96.0),
        });
    }
}
