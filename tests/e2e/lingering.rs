//! What the server closes is looked after until all has arrived, and no longer; and where that can't be, it is
//! closed another way that loses nothing.

use crate::nothing_lost::{saving, slow_reader, slow_to_save};
use crate::on_servers;
use crate::support::conn::Address;
use crate::support::conn::Conn;
use crate::support::server::{figure, Setup};
use crate::support::{ms, say};

on_servers!(
    FIVE,
    beside,
    where_no_number_can_be_had_all_are_closed_all_the_same
);
/// The limit falls below the numbers of duplicates after the module has measured it.
fn where_no_number_can_be_had_all_are_closed_all_the_same(on: &'static str) {
    let server = Setup::of(on).module("").start();
    let mut admin = server.admin();
    server.set_soft_limit_of_descriptors(4_100);
    let mut clients = server.clients(20);
    let before = figure(&mut admin, "wakeups");
    admin.ok("CONFIG SET connage.maxage 300");
    clients.iter_mut().for_each(|client| {
        client.ends();
    });
    assert_eq!(figure(&mut admin, "evicted_quiet"), 20);
    let wakeups = figure(&mut admin, "wakeups") - before;
    // A try that fails is not tried again at once.
    assert!(wakeups < 500, "{wakeups}");
}

on_servers!(
    ALL,
    beside,
    a_slow_reader_gets_every_byte_where_nothing_can_linger
);
fn a_slow_reader_gets_every_byte_where_nothing_can_linger(on: &'static str) {
    let server = few_descriptors(on).start();
    // What a unix socket's kernel holds only its client can take out, so that one is closed once it has read.
    for (title, address, size, unread) in [
        ("TCP", server.tcp(), 600_000, true),
        ("unix socket", server.unix(), 20_000, false),
    ] {
        let slow = slow_reader(&server, &address, size);
        assert_eq!(slow.evicted_unread, unread, "{title}: evicted before it read");
        slow.got_all(size, title);
    }
    let mut admin = server.admin();
    assert_eq!(figure(&mut admin, "evicted_forced"), 0);
    assert_eq!(figure(&mut admin, "lingering_connections"), 0);
}

on_servers!(
    TLS,
    beside,
    a_slow_reader_over_tls_gets_every_byte_where_nothing_can_linger
);
fn a_slow_reader_over_tls_gets_every_byte_where_nothing_can_linger(on: &'static str) {
    let server = few_descriptors(on).tls().start();
    let slow = slow_reader(&server, &server.tls(), 600_000);
    assert!(slow.evicted_unread);
    slow.got_all(600_000, "TLS");
}

/// Just enough for the server's clients.
fn few_descriptors(on: &'static str) -> Setup {
    let setup = Setup::of(on).line("maxclients 1000").descriptors(1_100);
    setup.module("maxage 500 grace 20s")
}

on_servers!(
    VALKEY_9,
    beside,
    a_client_over_multipath_tcp_takes_nothing_from_others
);
/// The kernel cuts nothing off what comes in over multipath TCP, which says nothing of others.
fn a_client_over_multipath_tcp_takes_nothing_from_others(on: &'static str) {
    let enabled = std::fs::read_to_string("/proc/sys/net/mptcp/enabled");
    if enabled.is_err() || enabled.is_ok_and(|text| text.trim() != "1") {
        say("skipped: this kernel has no multipath TCP".into());
        return;
    }
    let setup = Setup::of(on).line("mptcp yes");
    let server = setup.module("maxage 500 grace 20s").start();
    let mut admin = server.admin();
    slow_to_save(&mut admin, ms(15_000));
    admin.ok("BGSAVE");
    let mut multipath = Conn::open(&Address::Mptcp(server.port)).expect("connected");
    multipath.ends();
    let slow = slow_reader(&server, &server.tcp(), 600_000);
    assert!(slow.evicted_unread);
    slow.got_all(600_000, "TCP");
    assert!(saving(&mut admin), "a child all the time");
    assert_eq!(figure(&mut admin, "evicted_forced"), 0);
}
