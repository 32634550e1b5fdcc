//! INFO connage: every field is there, is a number, and agrees with what happened.

use crate::on_servers;
use crate::support::server::{figure, figures, info, wait_for_figure, Setup};
use crate::support::{ms, wait_until};
use std::time::Instant;

const FIELDS: [&str; 29] = [
    "enabled",
    "maxage_ms",
    "jitter_percent",
    "grace_ms",
    "rate",
    "dry_run",
    "tracked_connections",
    "draining_connections",
    "lingering_connections",
    "linger_room",
    "backlog_connections",
    "oldest_connection_age_ms",
    "next_expiry_in_ms",
    "evicted_connections",
    "evicted_quiet",
    "evicted_blocked",
    "evicted_forced",
    "evicted_by_command",
    "would_evict",
    "wakeups",
    "sweeps",
    "sweep_usec",
    "sweep_usec_max",
    "lag_usec_p50",
    "lag_usec_p99",
    "lag_usec_max",
    "recheck_period_ms",
    "memory_bytes",
    "healthy",
];

on_servers!(ALL, beside, every_field_is_there_and_a_number);
fn every_field_is_there_and_a_number(on: &'static str) {
    let words = "enabled no maxage 1h jitter 7 grace 3s rate 9 dry-run yes";
    let server = Setup::of(on).module(words).start();
    let mut admin = server.admin();
    let text = admin.ok("INFO connage").text();
    let lines: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    assert_eq!(lines[0].to_lowercase(), "# connage", "one section");
    let mut names = Vec::new();
    for line in &lines[1..] {
        let (name, value) = line.trim().split_once(':').expect("a field");
        let number: i64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
        assert!(number >= -1, "{line}");
        names.push(name.strip_prefix("connage_").expect("the prefix"));
    }
    for field in FIELDS {
        let times = names.iter().filter(|n| **n == field).count();
        assert_eq!(times, 1, "{field} in {names:?}");
    }
    let settings = [
        "enabled",
        "maxage_ms",
        "jitter_percent",
        "grace_ms",
        "rate",
        "dry_run",
        "healthy",
    ];
    let said = figures(&mut admin, settings);
    assert_eq!(said, [0, 3_600_000, 7, 3000, 9, 1, 1]);
    let everything = admin.ok("INFO everything").text();
    assert!(everything.contains("connage_healthy:1"));
}

on_servers!(FIVE, beside, figures_agree_with_what_happened);
fn figures_agree_with_what_happened(on: &'static str) {
    let born = Instant::now();
    let server = Setup::of(on).module("maxage 1h").start();
    let mut admin = server.admin();
    let mut conns = server.clients(50);
    let fields = [
        "tracked_connections",
        "oldest_connection_age_ms",
        "next_expiry_in_ms",
        "memory_bytes",
    ];
    conns[0].stays_for(ms(200));
    let [tracked, oldest, next, memory] = figures(&mut admin, fields);
    let age = born.elapsed().as_millis() as i64;
    assert_eq!(tracked, 51);
    assert!((200..=age).contains(&oldest), "{oldest} {age}");
    assert!(
        (3_600_000 - age..=3_600_000 - 200).contains(&next),
        "{next} {age}"
    );
    assert!(memory > 0 && memory < 10_000_000, "{memory}");
    // It looks at nobody as long as nobody is due.
    let began = Instant::now();
    let quiet = figures(&mut admin, ["sweeps", "wakeups"]);
    conns[0].stays_for(ms(500));
    let later = figures(&mut admin, ["sweeps", "wakeups"]);
    assert_eq!(quiet[0], later[0], "sweeps while nothing is due");
    let most = 20 + began.elapsed().as_millis() as i64 / 25;
    assert!(later[1] - quiet[1] <= most, "wakeups while nothing is due");

    admin.ok("CONFIG SET connage.maxage 100");
    for conn in &mut conns {
        conn.ends();
    }
    let fields = [
        "evicted_connections",
        "evicted_quiet",
        "evicted_blocked",
        "evicted_forced",
        "evicted_by_command",
    ];
    let [all, quiet, blocked, forced, command] = figures(&mut admin, fields);
    assert_eq!((all, command), (50, 0));
    assert_eq!(all, quiet + blocked + forced);
    let [sweeps, usec, max, wakeups] =
        figures(&mut admin, ["sweeps", "sweep_usec", "sweep_usec_max", "wakeups"]);
    assert!(sweeps >= 1 && wakeups >= 1, "{sweeps} {wakeups}");
    assert!(max <= usec && 0 < max, "{max} {usec}");
    wait_for_figure(&mut admin, "tracked_connections", 1);
    wait_for_figure(&mut admin, "lingering_connections", 0);
    assert_eq!(figure(&mut admin, "backlog_connections"), 0);
}

on_servers!(FIVE, beside, resetstat_starts_the_counters_anew);
fn resetstat_starts_the_counters_anew(on: &'static str) {
    let server = Setup::of(on).module("maxage 200").start();
    let mut admin = server.admin();
    let counters = [
        "evicted_connections",
        "evicted_quiet",
        "evicted_by_command",
        "would_evict",
        "lag_usec_max",
        "sweep_usec_max",
    ];
    server.client().ends();
    assert!(figure(&mut admin, "evicted_connections") >= 1);
    admin.ok("CONNAGE.CONFIG RESETSTAT");
    let said = figures(&mut admin, counters);
    assert_eq!(said[..5], [0, 0, 0, 0, 0]);
    // What is, is no counter.
    assert_eq!(figure(&mut admin, "tracked_connections"), 1);
    assert_eq!(figure(&mut admin, "maxage_ms"), 200);
}

on_servers!(FIVE, beside, whoever_comes_and_goes_is_counted);
fn whoever_comes_and_goes_is_counted(on: &'static str) {
    let server = Setup::of(on).module("maxage 1h").line("maxclients 100").start();
    let mut admin = server.admin();
    for _ in 0..5 {
        // More than the server takes: those refused come without having connected.
        let conns: Vec<_> = (0..120)
            .map(|_| crate::support::conn::Conn::open(&server.tcp()))
            .collect();
        let taken = conns.iter().filter(|c| c.is_ok()).count() as i64;
        assert!((50..120).contains(&taken), "{taken} of 120");
        wait_until("the count to agree", || {
            let connected = info(&mut admin, "clients")["connected_clients"];
            figure(&mut admin, "tracked_connections") == connected && connected == taken + 1
        });
        drop(conns);
        wait_for_figure(&mut admin, "tracked_connections", 1);
    }
}
