//! A panic in the module is contained: the server serves on, and says so in INFO.

use crate::on_servers;
use crate::support::server::{faults_built, figure, Setup};
use crate::support::{ms, wait_until};

/// The switch of the module's test-only feature for each of its entry points.
const ENTRIES: [&str; 5] = [
    "panic-command",
    "panic-client-event",
    "panic-timer",
    "panic-event-loop",
    "panic-info",
];

on_servers!(FIVE, beside, a_panic_leaves_the_server_serving_and_is_shown);
fn a_panic_leaves_the_server_serving_and_is_shown(on: &'static str) {
    if !faults_built() {
        return;
    }
    for entry in ENTRIES {
        let setup = Setup::of(on).fault(entry);
        let server = setup.module("maxage 300").start();
        let mut admin = server.admin();
        let mut conns = server.clients(3);
        admin.run("CONNAGE.CONFIG GET *");
        admin.run("INFO connage");
        let unhealthy = || admin.ok("INFO connage").text().contains("connage_healthy:0");
        wait_until(entry, unhealthy);
        assert!(server.log().contains("panic"), "{entry}: the log tells");

        // Eviction stops, and all else goes on.
        let evicted = figure(&mut admin, "evicted_connections");
        let mut late = server.client();
        late.stays_for(ms(700));
        assert_eq!(late.run("INCR n").int(), 1, "{entry}");
        assert_eq!(figure(&mut admin, "evicted_connections"), evicted, "{entry}");
        for line in ["CONNAGE.KILL MAXAGE 1ms", "CONNAGE.CONFIG GET *"] {
            admin.run(line); // an answer of some kind
        }
        drop(conns.pop());
        admin.ok("MODULE UNLOAD connage");
    }
}

on_servers!(FIVE, beside, without_a_timer_the_servers_cron_does_the_work);
fn without_a_timer_the_servers_cron_does_the_work(on: &'static str) {
    if !faults_built() {
        return;
    }
    for (fault, told) in [
        ("no-timer", "no timer can be had"),
        ("timer-refuses", "the timer can be set no more"),
    ] {
        let server = Setup::of(on).fault(fault).module("maxage 300").start();
        let mut admin = server.admin();
        let clients = server.clients(20);
        wait_until("all gone", || figure(&mut admin, "evicted_connections") >= 20);
        assert_eq!(server.log().matches(told).count(), 1, "the log tells, once");
        // Not beside what is left of the timer.
        let wakeups = figure(&mut admin, "wakeups");
        let late = server.clients(20);
        wait_until("all gone", || figure(&mut admin, "evicted_connections") >= 40);
        assert_eq!(figure(&mut admin, "wakeups"), wakeups, "{fault}");
        assert_eq!(figure(&mut admin, "healthy"), 1);
        admin.ok("MODULE UNLOAD connage");
        drop((clients, late));
    }
}
