//! KILL while clients are paused (CLIENT PAUSE, FAILOVER): it answers whom it has taken up.

use crate::on_servers;
use crate::support::ms;
use crate::support::server::{wait_for_figure, Setup};

on_servers!(
    FIVE,
    beside,
    whoever_is_busy_goes_when_the_pause_is_over_grace_0_or_not
);
fn whoever_is_busy_goes_when_the_pause_is_over_grace_0_or_not(on: &'static str) {
    let server = Setup::of(on).module("").start();
    let mut admin = server.admin();
    let mut quiet = server.clients(2);
    let mut busy = server.clients(3);
    for conn in &mut busy {
        conn.ok("MULTI");
    }
    admin.ok("CLIENT PAUSE 60000 WRITE");
    assert_eq!(admin.ok("CONNAGE.KILL TYPE normal GRACE 0").int(), 5);
    for conn in &mut quiet {
        conn.ends();
    }
    wait_for_figure(&mut admin, "draining_connections", 3);
    for conn in &mut busy {
        conn.stays_for(ms(50));
    }
    admin.ok("CLIENT UNPAUSE");
    for conn in &mut busy {
        conn.ends();
    }
}
