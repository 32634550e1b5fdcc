//! Who watches is waited for, and nobody else is taken for it; also on Redis 7.0, which does not say.

use crate::on_servers;
use crate::support::ms;
use crate::support::resp::Value;
use crate::support::server::{figures, Setup};

const HOW: [&str; 3] = ["evicted_quiet", "evicted_blocked", "evicted_forced"];

on_servers!(
    ALL,
    beside,
    whoever_watches_is_waited_for_though_no_other_is_there_to_compare
);
fn whoever_watches_is_waited_for_though_no_other_is_there_to_compare(on: &'static str) {
    let server = Setup::of(on).module("").start();
    let mut conn = server.client();
    conn.ok("CONNAGE.SELF MAXAGE 1500");
    conn.ok("WATCH a b c");
    conn.ok("GET a");
    conn.stays_until(conn.after + ms(2000));
    conn.ok("MULTI");
    conn.ok("INCR a");
    assert_eq!(conn.ok("EXEC"), Value::List(vec![Value::Int(1)]));
    conn.ends();
    assert_eq!(figures(&mut server.admin(), HOW), [1, 0, 0]);
}

on_servers!(ALL, beside, whoever_watched_what_was_changed_is_still_told_so);
/// The server forgets what it watched; on a new connection its transaction would go through.
fn whoever_watched_what_was_changed_is_still_told_so(on: &'static str) {
    let server = Setup::of(on).module("grace 1h").start();
    let mut admin = server.admin();
    let mut conn = server.client();
    conn.ok("WATCH a");
    admin.ok("SET a 5");
    conn.ok("GET b");
    admin.ok("CONFIG SET connage.maxage 1");
    conn.stays_for(ms(500));
    conn.ok("MULTI");
    conn.ok("INCR a");
    assert_eq!(conn.ok("EXEC"), Value::Nil);
    conn.ends();
    assert_eq!(figures(&mut admin, HOW), [1, 0, 0]);
}

on_servers!(ALL, beside, nobody_else_is_taken_for_it);
fn nobody_else_is_taken_for_it(on: &'static str) {
    let server = Setup::of(on).module("").start();
    let mut admin = server.admin();
    let mut conns = server.clients(3);
    // Its query buffer grows with it, and shrinks to about its size within a second or so.
    let value = "x".repeat(27_000);
    conns[0].call(&["SET", "k", &value]);
    let channels: Vec<String> = (0..200).map(|n| format!("channel-{n}")).collect();
    for conn in &mut conns[1..] {
        conn.ok("HELLO 3");
    }
    conns[1].start(&[&format!("SUBSCRIBE {}", channels.join(" ")), "UNSUBSCRIBE"]);
    for _ in 0..2 * channels.len() {
        conns[1].reply().expect("a channel");
    }
    conns[1].ok("GET k");
    conns[2].ok("CLIENT TRACKING on");
    conns[2].ok("GET k");
    for _ in 0..12 {
        std::thread::sleep(ms(100));
        conns[0].ok("PING");
    }
    admin.ok("CONNAGE.CONFIG SET maxage 1 grace 1h");
    for conn in &mut conns {
        conn.ends();
    }
    assert_eq!(figures(&mut admin, HOW), [3, 0, 0]);
}
