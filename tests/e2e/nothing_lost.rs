//! No executed command loses its reply, however busy the clients are and whatever lies
//! between: counted by the servers and by the clients, and compared.

use crate::on_servers;
use crate::support::conn::{Address, Conn, Gone, PATIENCE};
use crate::support::load::{self, Seen, Until};
use crate::support::resp::Value;
use crate::support::server::{client_line, faults_built, figure, info, Server, Setup};
use crate::support::{ms, say, wait_until};
use std::time::{Duration, Instant};

/// So many evictions show whether one of them loses a reply.
const ENOUGH: Until = Until::Evicted(100);

fn nothing_was_lost(server: &Server, seen: &Seen) {
    assert_eq!(seen.lost(), 0, "{seen:?}");
    assert_eq!(figure(&mut server.admin(), "evicted_forced"), 0);
    nothing_was_lost_by_the_quiet(server, seen);
}

/// What comes in over a unix socket can't be held back, and threads that outnumber the processors keep the server from
/// looking often: who never pauses there may be forced when its grace ends. Nobody else loses a reply.
fn nothing_was_lost_by_the_quiet(server: &Server, seen: &Seen) {
    let mut admin = server.admin();
    let log = admin.ok("CONNAGE.LOG GET -1");
    for id in &seen.losers {
        let entry = log.list().iter().find(|entry| entry.field("id").int() == *id);
        let how = entry.map(|entry| entry.field("how").text());
        assert_eq!(how.as_deref(), Some("forced"), "{id} lost a reply: {seen:?}");
    }
    assert_eq!((seen.reset, seen.torn, seen.silent), (0, 0, 0), "{seen:?}");
    let evicted = figure(&mut admin, "evicted_connections");
    assert!(
        seen.ended > 0 && seen.ended <= evicted,
        "{seen:?}, {evicted} evicted"
    );
}

on_servers!(ALL, alone, no_reply_is_lost_under_load);
fn no_reply_is_lost_under_load(on: &'static str) {
    let server = Setup::of(on).module(load::SETTINGS).start();
    let seen = load::run(&server, &server.tcp(), "over TCP", ENOUGH);
    nothing_was_lost(&server, &seen);
}

on_servers!(FIVE, alone, no_reply_is_lost_with_io_threads);
fn no_reply_is_lost_with_io_threads(on: &'static str) {
    let setup = Setup::of(on).io_threads(4);
    let server = setup.module(load::SETTINGS).start();
    let seen = load::run(&server, &server.tcp(), "with 4 io-threads", ENOUGH);
    nothing_was_lost_by_the_quiet(&server, &seen);
}

on_servers!(FIVE, alone, no_reply_is_lost_over_unix_sockets);
fn no_reply_is_lost_over_unix_sockets(on: &'static str) {
    let server = Setup::of(on).module(load::SETTINGS).start();
    let seen = load::run(&server, &server.unix(), "over a unix socket", ENOUGH);
    nothing_was_lost_by_the_quiet(&server, &seen);
}

on_servers!(
    TLS,
    alone,
    no_reply_is_lost_over_tls_and_it_ends_with_close_notify
);
/// rustls tells an end without close_notify from one with it: `torn` would count.
fn no_reply_is_lost_over_tls_and_it_ends_with_close_notify(on: &'static str) {
    let server = Setup::of(on).tls().module(load::SETTINGS).start();
    let seen = load::run(&server, &server.tls(), "over TLS", ENOUGH);
    nothing_was_lost(&server, &seen);
}

on_servers!(TLS, alone, no_reply_is_lost_over_tls_with_io_threads);
fn no_reply_is_lost_over_tls_with_io_threads(on: &'static str) {
    let setup = Setup::of(on).tls().io_threads(2);
    let server = setup.module(load::SETTINGS).start();
    let seen = load::run(&server, &server.tls(), "over TLS with 2 io-threads", ENOUGH);
    nothing_was_lost_by_the_quiet(&server, &seen);
}

/// Longer than any of these takes; the child ends with its server.
pub(crate) const SAVING: Duration = ms(120_000);

/// For what is not to come about.
pub(crate) const A_MOMENT: Duration = ms(1000);

/// A dataset that takes a forked child so long to save.
pub(crate) fn slow_to_save(admin: &mut Conn, time: Duration) {
    admin.ok("DEBUG POPULATE 1000");
    let delay = time.as_micros() / 1000;
    admin.ok(&format!("CONFIG SET rdb-key-save-delay {delay}"));
}

pub(crate) fn saving(admin: &mut Conn) -> bool {
    info(admin, "persistence")["rdb_bgsave_in_progress"] == 1
}

on_servers!(FIVE, alone, no_reply_is_lost_while_a_child_saves);
fn no_reply_is_lost_while_a_child_saves(on: &'static str) {
    let server = Setup::of(on).module(load::SETTINGS).start();
    let mut admin = server.admin();
    slow_to_save(&mut admin, SAVING);
    admin.ok("BGSAVE");
    let seen = load::run(&server, &server.tcp(), "during BGSAVE", ENOUGH);
    assert!(saving(&mut admin), "a child all the time");
    nothing_was_lost(&server, &seen);
}

on_servers!(
    FIVE,
    alone,
    the_same_load_loses_replies_without_the_look_or_the_lingering
);
/// So it is known that the load sees losses.
fn the_same_load_loses_replies_without_the_look_or_the_lingering(on: &'static str) {
    if !faults_built() {
        return;
    }
    for (switch, title) in [
        ("no-look", "WITHOUT THE LOOK"),
        ("no-linger", "WITHOUT THE LINGERING"),
    ] {
        let setup = Setup::of(on).fault(switch);
        // So short a grace that those which never pause are evicted several times.
        let server = setup.module(&format!("{} grace 600", load::SETTINGS)).start();
        let (mut lost, mut resets) = (0, 0);
        // As long as it takes, within reason.
        for round in 0..20 {
            let (address, place) = match round % 2 {
                0 => (server.tcp(), "TCP"),
                _ => (server.unix(), "a unix socket"),
            };
            let title = format!("over {place} {title}");
            let seen = load::run(&server, &address, &title, Until::Over(ms(1500)));
            lost += seen.lost();
            resets += seen.reset;
            if lost > 0 && (switch == "no-look" || resets > 10) {
                break;
            }
        }
        match switch {
            "no-look" => assert!(lost > 0, "the load sees no loss"),
            // What a reset takes along, the slow reader below shows byte by byte.
            _ => assert!(resets > 10, "the load sees no reset"),
        }
    }
}

/// What the slow reader saw.
pub(crate) struct Slow {
    /// It was closed while it had read nothing.
    pub evicted_unread: bool,
    values: Vec<Value>,
    gone: Gone,
    counter: i64,
}

/// A client with a small receive buffer asks for much, reads nothing until well past its
/// limit, sends one more command, and only then reads.
///
/// For so long it is waited for that it is evicted: some can't be closed before they have read.
pub(crate) fn slow_reader(server: &Server, address: &Address, size: usize, patience: Duration) -> Slow {
    let mut admin = server.admin();
    let limit = figure(&mut admin, "maxage_ms");
    admin.ok("CONNAGE.CONFIG SET maxage 0");
    admin.ok("DEL n");
    admin.call(&["SET".into(), "big".into(), "x".repeat(size)]);
    let mut conn = Conn::open_with(address, Some(4096)).expect("connected");
    let id = conn.id();
    conn.start(&["INCR n", "GET big", "INCR n"]);
    wait_until("both to be executed", || {
        admin.run("GET n") == Value::Text("2".into())
    });
    admin.ok(&format!("CONNAGE.CONFIG SET maxage {limit}"));
    let until = Instant::now() + ms(limit as u64) + patience;
    while client_line(&mut admin, id).is_some() && Instant::now() < until {
        std::thread::sleep(ms(10));
    }
    std::thread::sleep(ms(400)); // "well after"
    let evicted_unread = client_line(&mut admin, id).is_none();
    // A broken pipe is no loss: it is what can be read that counts.
    let _ = conn.send(&["INCR", "n"]);
    std::thread::sleep(ms(100)); // a reset would arrive meanwhile
    let mut values = Vec::new();
    let gone = loop {
        match conn.reply() {
            Ok(value) => values.push(value),
            Err(gone) => break gone,
        }
    };
    let counter = admin.run("GET n").int();
    Slow {
        evicted_unread,
        values,
        gone,
        counter,
    }
}

impl Slow {
    /// Each command that was executed has its reply, whole and in order, and a clean end
    /// follows. Whoever was evicted unread ran nothing after that.
    #[track_caller]
    pub fn got_all(&self, size: usize, title: &str) {
        let expected: Vec<Value> = match self.evicted_unread {
            true => vec![Value::Int(1), big(size), Value::Int(2)],
            false => vec![Value::Int(1), big(size), Value::Int(2), Value::Int(3)],
        };
        let values = &self.values;
        let same = *values == expected || (!self.evicted_unread && *values == expected[..3]);
        assert!(same, "{title}: {values:?}, then {:?}", self.gone);
        assert_eq!(self.gone, Gone::End, "{title}");
        let incremented = values.len() as i64 - 1;
        assert_eq!(self.counter, incremented, "{title}: executed and answered");
    }
}

fn big(size: usize) -> Value {
    Value::Text(vec![b'x'; size])
}

on_servers!(ALL, beside, a_slow_reader_gets_every_byte_and_then_the_end);
fn a_slow_reader_gets_every_byte_and_then_the_end(on: &'static str) {
    let server = Setup::of(on).module("maxage 500 grace 20s").start();
    let mut admin = server.admin();
    // The kernel takes 600 KB over TCP, but far less over a unix socket: there the server
    // still holds the rest, so the client is closed only once it reads.
    let cases = [
        ("TCP", server.tcp(), 600_000, true),
        ("unix socket", server.unix(), 20_000, true),
        (
            "unix socket, more than the kernel takes",
            server.unix(),
            600_000,
            false,
        ),
    ];
    for (title, address, size, unread) in cases {
        let patience = if unread { PATIENCE } else { A_MOMENT };
        let slow = slow_reader(&server, &address, size, patience);
        assert_eq!(slow.evicted_unread, unread, "{title}: evicted before it read");
        slow.got_all(size, title);
    }
    assert_eq!(figure(&mut admin, "evicted_forced"), 0);
    wait_until("the lingering to end", || {
        figure(&mut admin, "lingering_connections") == 0
    });
}

on_servers!(FIVE, beside, a_slow_reader_gets_every_byte_while_a_child_saves);
/// Some servers shut down both halves while they have a child. There the client may be
/// left until it has read all: then its last command was executed, and answered.
fn a_slow_reader_gets_every_byte_while_a_child_saves(on: &'static str) {
    let server = Setup::of(on).module("maxage 500 grace 20s").start();
    let mut admin = server.admin();
    slow_to_save(&mut admin, SAVING);
    admin.ok("BGSAVE");
    for (title, address, size) in [
        ("TCP", server.tcp(), 600_000),
        ("unix socket", server.unix(), 20_000),
    ] {
        let slow = slow_reader(&server, &address, size, A_MOMENT);
        slow.got_all(size, title);
        let when = if slow.evicted_unread { "before" } else { "after" };
        say(format!("{on}: during BGSAVE, {title}: evicted {when} it read"));
    }
    assert!(saving(&mut admin), "a child all the time");
    assert_eq!(figure(&mut admin, "evicted_forced"), 0);
}

on_servers!(
    TLS,
    beside,
    a_slow_reader_over_tls_gets_every_byte_and_then_close_notify
);
fn a_slow_reader_over_tls_gets_every_byte_and_then_close_notify(on: &'static str) {
    let server = Setup::of(on).tls().module("maxage 500 grace 20s").start();
    let slow = slow_reader(&server, &server.tls(), 600_000, A_MOMENT);
    slow.got_all(600_000, "TLS");
}

on_servers!(FIVE, beside, a_slow_reader_loses_bytes_when_the_lingering_is_off);
fn a_slow_reader_loses_bytes_when_the_lingering_is_off(on: &'static str) {
    if !faults_built() {
        return;
    }
    let setup = Setup::of(on).fault("no-linger");
    let server = setup.module("maxage 500 grace 20s").start();
    let slow = slow_reader(&server, &server.tcp(), 600_000, PATIENCE);
    say(format!(
        "{on}: a slow reader WITHOUT THE LINGERING: {} of 3 replies, then {:?}",
        slow.values.len(),
        slow.gone
    ));
    assert!(slow.evicted_unread);
    assert!(slow.values.len() < 3 || slow.gone != Gone::End);
}
