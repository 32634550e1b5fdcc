//! What the server closes is looked after until all has arrived, and no longer; and where that can't be, it is
//! closed another way that loses nothing.

use crate::nothing_lost::{saving, slow_reader, slow_to_save, A_MOMENT, SAVING};
use crate::on_servers;
use crate::support::conn::{Address, Conn, PATIENCE};
use crate::support::noise::beside;
use crate::support::server::{faults_built, figure, Server, Setup};
use crate::support::{ms, say, wait_until};
use std::time::{Duration, Instant};

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
    let (began, before) = (Instant::now(), figure(&mut admin, "wakeups"));
    assert!(figure(&mut admin, "linger_room") > 1_000);
    admin.ok("CONFIG SET connage.maxage 300");
    clients.iter_mut().for_each(|client| {
        client.ends();
    });
    assert_eq!(figure(&mut admin, "evicted_quiet"), 20);
    let wakeups = figure(&mut admin, "wakeups") - before;
    // A try that fails is not tried again at once.
    let seconds = began.elapsed().as_secs() as i64 + 1;
    assert!(wakeups < 500 * seconds, "{wakeups} in {seconds} s");
    assert_eq!(figure(&mut admin, "linger_room"), 0);
    wait_until("the log to tell", || server.log().contains(NO_ROOM));
}

/// What the log says.
const NO_ROOM: &str = "no room for evicted connections to linger in: the limit of open files is";

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
        let patience = if unread { PATIENCE } else { A_MOMENT };
        let slow = slow_reader(&server, &address, size, patience);
        assert_eq!(slow.evicted_unread, unread, "{title}: evicted before it read");
        slow.got_all(size, title);
    }
    let mut admin = server.admin();
    assert_eq!(figure(&mut admin, "evicted_forced"), 0);
    assert_eq!(figure(&mut admin, "lingering_connections"), 0);
    assert_eq!(figure(&mut admin, "linger_room"), 0);
    let told = format!("{NO_ROOM} 1100, and maxclients 1000 needs 2329");
    assert_eq!(server.log().matches(&told).count(), 1, "once, at load");
}

on_servers!(
    TLS,
    beside,
    a_slow_reader_over_tls_gets_every_byte_where_nothing_can_linger
);
fn a_slow_reader_over_tls_gets_every_byte_where_nothing_can_linger(on: &'static str) {
    let server = few_descriptors(on).tls().start();
    let slow = slow_reader(&server, &server.tls(), 600_000, PATIENCE);
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
    slow_to_save(&mut admin, SAVING);
    admin.ok("BGSAVE");
    let mut multipath = Conn::open(&Address::Mptcp(server.port)).expect("connected");
    multipath.ends();
    let slow = slow_reader(&server, &server.tcp(), 600_000, PATIENCE);
    assert!(slow.evicted_unread);
    slow.got_all(600_000, "TCP");
    assert!(saving(&mut admin), "a child all the time");
    assert_eq!(figure(&mut admin, "evicted_forced"), 0);
}

/// Evicted with much still in the kernel, and in no hurry to read it.
fn slow_readers(server: &Server, admin: &mut Conn, many: usize) -> Vec<Conn> {
    admin.call(&["SET", "big", &"x".repeat(600_000)]);
    let open = || Conn::open_with(&server.tcp(), Some(4096)).expect("connected");
    let mut readers: Vec<Conn> = (0..many).map(|_| open()).collect();
    readers.iter_mut().for_each(|reader| reader.start(&["GET big"]));
    readers
}

on_servers!(FIVE, beside, they_give_way_when_the_server_may_take_more_clients);
fn they_give_way_when_the_server_may_take_more_clients(on: &'static str) {
    const MANY: usize = 20;
    let server = Setup::of(on).line("maxclients 1000").module("maxage 300").start();
    let mut admin = server.admin();
    let mut readers = slow_readers(&server, &mut admin, MANY);
    let above = |number: u64| server.descriptors().iter().filter(|n| **n >= number).count();
    wait_until("all to linger", || above(1_000 + 128) == MANY);
    let room = figure(&mut admin, "linger_room");
    admin.ok("CONFIG SET maxclients 2000");
    wait_until("all to give way", || above(2_000 + 128) == MANY);
    assert!(
        figure(&mut admin, "linger_room") >= room,
        "as much room as before"
    );
    assert_eq!(above(1_000), MANY, "none is left");
    for reader in &mut readers {
        assert_eq!(reader.reply().expect("a reply").text().len(), 600_000);
        reader.ends();
    }
    wait_until("all to have been let go", || above(1_000) == 0);
}

on_servers!(
    FIVE,
    beside,
    they_have_room_whatever_the_servers_commands_are_called
);
fn they_have_room_whatever_the_servers_commands_are_called(on: &'static str) {
    for renamed in [&["CONFIG"][..], &["CONFIG", "INFO"][..]] {
        let setup = Setup::of(on).soft_descriptors(6_000).module("maxage 300");
        let rename = |setup: Setup, name: &&str| setup.line(&format!("rename-command {name} \"\""));
        let server = renamed.iter().fold(setup, rename).start();
        let mut readers = slow_readers(&server, &mut server.admin(), 3);
        wait_until("all to linger", || {
            server.descriptors().iter().filter(|n| **n >= 4_000 + 128).count() == 3
        });
        for reader in &mut readers {
            assert_eq!(reader.reply().expect("a reply").text().len(), 600_000);
            reader.ends();
        }
    }
}

on_servers!(FIVE, beside, what_a_client_that_never_reads_sends_fails_soon);
/// A child holds its socket open as well.
fn what_a_client_that_never_reads_sends_fails_soon(on: &'static str) {
    let server = Setup::of(on).module("maxage 400 grace 400").start();
    let mut admin = server.admin();
    for child in [false, true] {
        if child {
            slow_to_save(&mut admin, SAVING);
            admin.ok("BGSAVE");
        }
        // What it does not read stays with its kernel over TCP, and with itself over a unix socket.
        for (title, address, first) in [
            ("TCP, no replies", server.tcp(), "CLIENT REPLY OFF"),
            ("TCP", server.tcp(), "PING"),
            ("a unix socket", server.unix(), "PING"),
        ] {
            // Sooner by chance never, later by chance on a busy machine.
            let mut tries = (0..10).map(|_| {
                let (vanishing, noise) = beside(|| writes_until_it_fails(&address, first, &mut admin));
                say(format!(
                    "{on}: {title}, child {child}: what was sent vanished for {vanishing:?}, an idle thread {:?}",
                    noise.max
                ));
                vanishing < ms(700) + noise.max * 2
            });
            assert!(tries.any(|soon| soon), "{title}, child {child}");
        }
        assert_eq!(saving(&mut admin), child, "a child all the time");
    }
}

/// How long it is from the last command that was executed to the first that fails.
fn writes_until_it_fails(address: &Address, first: &str, admin: &mut Conn) -> Duration {
    admin.ok("SET n 0");
    let mut writer = Conn::open(address).expect("connected");
    writer.start(&[first]);
    let mut sent = Vec::new();
    while writer.send(&["INCR", "n"]).is_ok() {
        sent.push(Instant::now());
        assert!(sent.len() < 20_000, "it goes on and on");
        std::thread::sleep(ms(4));
    }
    let executed = admin.run("GET n").int();
    let last = usize::try_from(executed - 1).ok().and_then(|n| sent.get(n));
    last.expect("some were executed").elapsed()
}

on_servers!(FIVE, beside, none_is_left_after_a_fault_and_all_arrives);
fn none_is_left_after_a_fault_and_all_arrives(on: &'static str) {
    if !faults_built() {
        return;
    }
    let setup = Setup::of(on).fault("panic-command");
    let server = setup.module("maxage 300").start();
    let mut admin = server.admin();
    let mut readers = slow_readers(&server, &mut admin, 3);
    wait_until("all to linger", || {
        figure(&mut admin, "lingering_connections") == 3
    });
    admin.run("CONNAGE.CONFIG GET *");
    assert_eq!(figure(&mut admin, "healthy"), 0);
    assert_eq!(figure(&mut admin, "lingering_connections"), 0);
    assert!(
        server.descriptors().iter().all(|number| *number < 4_000),
        "none is left"
    );
    for reader in &mut readers {
        let _ = reader.send(&["INCR", "n"]);
    }
    std::thread::sleep(ms(100)); // a reset would arrive meanwhile
    for reader in &mut readers {
        assert_eq!(reader.reply().expect("a reply").text().len(), 600_000);
        reader.ends();
    }
}
