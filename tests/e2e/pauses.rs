//! A moment's silence belongs to quiet: who has just sent something may send more of it. Who never pauses
//! goes all the same, before its grace ends.

use crate::on_servers;
use crate::support::conn::{Address, Conn};
use crate::support::resp::{encode, Value};
use crate::support::server::{figures, wait_for_figure, Server, Setup};
use crate::support::{ms, wait_until};
use std::time::{Duration, Instant};

const HOW: [&str; 3] = ["evicted_quiet", "evicted_blocked", "evicted_forced"];

/// Sends a pipeline in pieces, from before its limit to after it. All of it is answered, and then it goes;
/// `None` if the machine made a longer pause between two of them, and it was cut there.
fn in_pieces(server: &Server, address: &Address, key: &str, gap: Duration) -> Option<()> {
    const LIMIT: Duration = ms(400);
    const PAUSE: Duration = ms(20);
    let mut conn = Conn::open(address).expect("connected");
    std::thread::sleep((conn.after + LIMIT * 3 / 4).saturating_duration_since(Instant::now()));
    let piece = encode(&["INCR", key]).repeat(20);
    let (mut sent, mut last, mut longest) = (0, Instant::now(), ms(0));
    while conn.before.elapsed() < LIMIT * 2 {
        let went = conn.send_bytes(&piece);
        longest = longest.max(last.elapsed());
        last = Instant::now();
        if went.is_err() {
            break;
        }
        sent += 20;
        std::thread::sleep(gap);
    }
    let mut answered = 0;
    while let Ok(Value::Int(_)) = conn.reply() {
        answered += 1;
    }
    let executed = server.admin().ok(&format!("GET {key}")).int();
    assert_eq!(executed, answered, "{key}: an answer for each");
    if answered < sent || conn.before.elapsed() < LIMIT * 2 {
        assert!(
            longest >= PAUSE,
            "{key}: cut at {answered} of {sent}, no pause above {longest:?}"
        );
        return None;
    }
    Some(())
}

on_servers!(ALL, alone, a_pipeline_that_arrives_in_pieces_is_not_cut);
fn a_pipeline_that_arrives_in_pieces_is_not_cut(on: &'static str) {
    let server = Setup::of(on).module("maxage 400 grace 20s").start();
    let counts_bytes = server.client().ok("CLIENT LIST").text().contains("tot-net-in=");
    std::thread::scope(|scope| {
        for gap in [ms(1), ms(6)] {
            for n in 0..4 {
                let server = &server;
                let mut addresses = vec![("tcp", server.tcp())];
                if counts_bytes {
                    addresses.push(("unix", server.unix()));
                }
                for (kind, address) in addresses {
                    scope.spawn(move || {
                        let mut tries = (0..20).map(|again| {
                            let key = format!("{kind}:{gap:?}:{n}:{again}");
                            in_pieces(server, &address, &key, gap)
                        });
                        assert!(
                            tries.any(|done| done.is_some()),
                            "the machine is too busy to tell"
                        );
                    });
                }
            }
        }
    });
}

on_servers!(FIVE, alone, who_never_pauses_goes_quietly_before_its_grace_ends);
fn who_never_pauses_goes_quietly_before_its_grace_ends(on: &'static str) {
    const EACH: i64 = 3;
    let server = Setup::of(on).module("maxage 400 grace 8s").start();
    let mut admin = server.admin();
    std::thread::scope(|scope| {
        for address in [server.tcp(), server.unix()] {
            for _ in 0..EACH {
                let mut conn = Conn::open(&address).expect("connected");
                scope.spawn(move || {
                    while conn.ask(&["PING"]).is_ok() {}
                    let age = conn.before.elapsed();
                    assert!(age >= ms(400), "{age:?}");
                });
            }
        }
    });
    assert_eq!(figures(&mut admin, HOW), [2 * EACH, 0, 0]);
}

on_servers!(
    ALL,
    beside,
    what_says_how_the_next_command_is_to_be_taken_is_not_parted_from_it
);
fn what_says_how_the_next_command_is_to_be_taken_is_not_parted_from_it(on: &'static str) {
    let server = Setup::of(on).module("grace 1h").start();
    let mut admin = server.admin();
    for (n, (before, line, next)) in (1..).zip([
        ("PING", "ASKING", "GET k"),
        ("CLIENT TRACKING on OPTIN", "CLIENT CACHING yes", "GET k"),
    ]) {
        admin.ok("CONFIG SET connage.maxage 0");
        let mut conn = server.client();
        conn.run("HELLO 3");
        conn.ok(before);
        conn.run(line);
        admin.ok("CONFIG SET connage.maxage 1");
        conn.stays_for(ms(400));
        assert_eq!(conn.run(next), Value::Nil, "{line}");
        conn.ends();
        wait_for_figure(&mut admin, "evicted_quiet", n);
    }
    wait_until("none to be left", || {
        figures(&mut admin, ["draining_connections"]) == [0]
    });
}
