//! When it is wrong about itself: an internal fault stops eviction and shows, and any change
//! of a setting or a reload starts it again, clean.

use crate::on_servers;
use crate::support::conn::Conn;
use crate::support::server::{faults_built, figure, wait_for_figure, Server, Setup};
use crate::support::{ms, wait_until};

/// Panics in the module's first round of work.
fn faulty(on: &'static str) -> Server {
    let server = Setup::of(on).fault("panic").module("maxage 300").start();
    let mut admin = server.admin();
    let mut conns = server.clients(3);
    wait_for_figure(&mut admin, "healthy", 0);
    assert!(server.log().contains("injected fault"), "the log tells of it");

    // Eviction stops, and the server serves on.
    let evicted = figure(&mut admin, "evicted_connections");
    let mut late = server.client();
    late.stays_for(ms(700));
    assert_eq!(late.run("INCR n").int(), 1);
    for conn in &mut conns {
        conn.ok("PING");
    }
    assert_eq!(figure(&mut admin, "evicted_connections"), evicted);
    server
}

/// All that was there, and all that comes, is evicted again.
fn works(server: &Server, admin: &mut Conn, conns: &mut [Conn]) {
    assert_eq!(figure(admin, "healthy"), 1);
    for conn in conns {
        conn.ends();
    }
    server.client().ends();
    wait_until("a count that agrees", || {
        let connected = crate::support::server::info(admin, "clients")["connected_clients"];
        figure(admin, "tracked_connections") == connected
    });
}

on_servers!(FIVE, beside, after_a_fault_any_setting_starts_it_again);
fn after_a_fault_any_setting_starts_it_again(on: &'static str) {
    if !faults_built() {
        return;
    }
    for line in [
        "CONNAGE.CONFIG SET rate 500",
        "CONNAGE.CONFIG SET maxage 300",
        "CONFIG SET connage.log-max-len 10",
    ] {
        let server = faulty(on);
        let mut admin = server.admin();
        let mut conns = server.clients(3);
        admin.ok(line);
        works(&server, &mut admin, &mut conns);
    }
}

on_servers!(FIVE, beside, after_a_fault_a_reload_starts_it_again);
fn after_a_fault_a_reload_starts_it_again(on: &'static str) {
    if !faults_built() {
        return;
    }
    let server = faulty(on);
    let mut admin = server.admin();
    let mut conns = server.clients(3);
    admin.ok("MODULE UNLOAD connage");
    server.load(&mut admin, "maxage 300");
    works(&server, &mut admin, &mut conns);
}
