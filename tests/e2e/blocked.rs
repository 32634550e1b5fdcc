//! Who waits for data is taken off its keys before it is closed: it is answered as at its timeout, and what
//! others push is not lost to it.

use crate::on_servers;
use crate::support::conn::{Conn, Gone};
use crate::support::resp::Value;
use crate::support::server::{figure, figures, info, wait_for_blocked, Server, Setup};
use crate::support::{ms, wait_until};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Barrier;
use std::time::Instant;

const HOW: [&str; 3] = ["evicted_quiet", "evicted_blocked", "evicted_forced"];

/// Commands that wait, and their answers when they time out. WAITAOF is not known everywhere.
fn waits() -> Vec<(&'static str, Value)> {
    vec![
        ("BLPOP nothing 0", Value::Nil),
        ("BRPOP nothing 0", Value::Nil),
        ("BRPOPLPUSH nothing other 0", Value::Nil),
        ("BLMOVE nothing other LEFT LEFT 0", Value::Nil),
        ("BLMPOP 0 1 nothing LEFT", Value::Nil),
        ("BZPOPMIN nothing 0", Value::Nil),
        ("BZPOPMAX nothing 0", Value::Nil),
        ("BZMPOP 0 1 nothing MIN", Value::Nil),
        ("XREAD BLOCK 0 STREAMS stream $", Value::Nil),
        ("XREADGROUP GROUP group me BLOCK 0 STREAMS stream >", Value::Nil),
        ("WAIT 1 0", Value::Int(0)),
        ("WAITAOF 0 1 0", Value::List(vec![Value::Int(0), Value::Int(0)])),
    ]
}

/// Who has begun to wait, each with its answer to come.
fn waiting(server: &Server, admin: &mut Conn) -> Vec<(String, Conn, Value)> {
    admin.run("XGROUP CREATE stream group $ MKSTREAM");
    let knows = |line: &str, admin: &mut Conn| {
        let name = line.split(' ').next().expect("a name");
        admin.ok(&format!("COMMAND INFO {name}")).list()[0] != Value::Nil
    };
    let mut all = Vec::new();
    for resp in [2, 3] {
        for (line, answer) in waits() {
            if knows(line, admin) {
                let mut conn = server.client();
                conn.ok(&format!("HELLO {resp}"));
                conn.ok("AUTH worker x");
                conn.start(&[line]);
                all.push((format!("RESP{resp} {line}"), conn, answer));
            }
        }
    }
    wait_for_blocked(admin, all.len() as i64);
    all
}

on_servers!(
    ALL,
    beside,
    who_waits_for_data_gets_the_answer_of_a_timeout_and_then_a_clean_end
);
fn who_waits_for_data_gets_the_answer_of_a_timeout_and_then_a_clean_end(on: &'static str) {
    for (by_age, threads) in [(true, 1), (false, 4)] {
        let server = Setup::of(on).module("rate 0").io_threads(threads).start();
        let mut admin = server.admin();
        admin.ok("ACL SETUSER worker on nopass ~* +@all");
        let mut all = waiting(&server, &mut admin);
        if by_age {
            admin.call(&[
                "CONFIG",
                "SET",
                "connage.rules",
                "w: user=worker maxage=1 grace=1",
            ]);
        } else {
            admin.ok("CONNAGE.KILL USER worker GRACE 0");
        }
        for (what, conn, answer) in &mut all {
            assert_eq!(conn.reply().as_ref(), Ok(&*answer), "{what}");
            conn.ends();
        }
        assert_eq!(
            figures(&mut admin, HOW),
            [0, all.len() as i64, 0],
            "by age: {by_age}"
        );
        assert_eq!(info(&mut admin, "clients")["blocked_clients"], 0);
    }
}

on_servers!(
    FIVE,
    beside,
    what_is_pushed_while_those_who_wait_are_closed_is_received_or_still_there
);
/// Each element goes to somebody who gets it, or nobody.
fn what_is_pushed_while_those_who_wait_are_closed_is_received_or_still_there(on: &'static str) {
    const WORKERS: usize = 60;
    let kinds = [
        ("PING", "BLPOP list 0", "RPUSH list x", "LLEN list"),
        // It is forced, and waits for data all the same.
        ("WATCH k", "BLPOP other 0", "RPUSH other x", "LLEN other"),
        ("PING", "BZPOPMIN set 0", "ZADD set 1 {}", "ZCARD set"),
        // What is lost of a stream is pending for somebody who has never seen it.
        (
            "PING",
            "XREADGROUP GROUP group {} COUNT 1 BLOCK 0 STREAMS stream >",
            "XADD stream * a b",
            "",
        ),
    ];
    for kill in [true, false] {
        let server = Setup::of(on).module("rate 0").start();
        let mut admin = server.admin();
        let mut producer = Conn::open(&server.unix()).expect("connected");
        producer.ok("CLIENT NO-EVICT on");
        admin.ok("ACL SETUSER worker on nopass ~* +@all");
        admin.ok("XGROUP CREATE stream group $ MKSTREAM");
        let mut workers = Vec::new();
        for n in 0..WORKERS * kinds.len() {
            let kind = n % kinds.len();
            let mut conn = server.client();
            conn.ok("AUTH worker x");
            let (before, wait, ..) = kinds[kind];
            conn.ok(before);
            conn.start(&[&wait.replace("{}", &format!("w{n}"))]);
            workers.push((kind, conn));
        }
        let all = workers.len() as i64;
        wait_for_blocked(&mut admin, all);
        let (began, stop) = (Barrier::new(2), AtomicBool::new(false));
        let pushed = std::thread::scope(|scope| {
            let pushing = scope.spawn(|| {
                let mut pushed = 0;
                began.wait();
                while !stop.load(Ordering::Relaxed) && pushed < WORKERS * 9 / 10 {
                    for (_, _, push, _) in kinds {
                        producer.ok(&push.replace("{}", &pushed.to_string()));
                    }
                    pushed += 1;
                }
                pushed
            });
            began.wait();
            if kill {
                admin.ok("CONNAGE.KILL USER worker GRACE 0");
            } else {
                admin.call(&[
                    "CONFIG",
                    "SET",
                    "connage.rules",
                    "w: user=worker maxage=1 grace=0",
                ]);
            }
            wait_until("all to be gone", || {
                figure(&mut admin, "evicted_connections") == all
            });
            stop.store(true, Ordering::Relaxed);
            pushing.join().expect("pushed")
        });
        let mut received = [0; 4];
        for (kind, mut conn) in workers {
            match conn.reply() {
                Ok(Value::Nil) | Err(Gone::End) => {}
                Ok(Value::List(_)) => received[kind] += 1,
                other => panic!("{other:?}"),
            }
        }
        for (kind, (_, wait, _, left)) in kinds.iter().enumerate() {
            let (there, wanted) = if left.is_empty() {
                let pending = admin.ok("XPENDING stream group").list()[0].int();
                (pending, received[kind])
            } else {
                (received[kind] + admin.ok(left).int(), pushed as i64)
            };
            assert_eq!(there, wanted, "{wait}, by KILL: {kill}");
        }
    }
}

on_servers!(FIVE, beside, who_waits_again_at_once_is_closed_all_the_same);
/// It is a timeout for each of them, and most of them ask anew.
fn who_waits_again_at_once_is_closed_all_the_same(on: &'static str) {
    const WORKERS: usize = 8;
    let server = Setup::of(on).module("grace 100").start();
    let mut admin = server.admin();
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            let mut conn = server.client();
            scope.spawn(move || {
                // No answer to come but of timeouts.
                while let Ok(value) = conn.ask(&["BLPOP", "nothing", "0"]) {
                    assert_eq!(value, Value::Nil);
                }
            });
        }
        wait_for_blocked(&mut admin, WORKERS as i64);
        admin.ok("CONFIG SET connage.maxage 1");
    });
    assert_eq!(figures(&mut admin, HOW), [0, WORKERS as i64, 0]);
}

on_servers!(
    FIVE,
    beside,
    what_was_sent_behind_a_command_that_waits_is_answered
);
fn what_was_sent_behind_a_command_that_waits_is_answered(on: &'static str) {
    let server = Setup::of(on).module("grace 100").start();
    let mut admin = server.admin();
    let mut conn = server.client();
    conn.start(&["BLPOP nothing 0", "INCR a", "INCR a"]);
    wait_for_blocked(&mut admin, 1);
    admin.ok("CONFIG SET connage.maxage 1");
    for answer in [Value::Nil, Value::Int(1), Value::Int(2)] {
        assert_eq!(conn.reply(), Ok(answer));
    }
    conn.ends();
    assert_eq!(figures(&mut admin, HOW), [0, 1, 0]);
}

on_servers!(
    FIVE,
    beside,
    who_is_blocked_while_its_command_is_executed_is_forced_when_grace_ends
);
/// What becomes of that command nobody is told: that is no end at which nothing is lost.
fn who_is_blocked_while_its_command_is_executed_is_forced_when_grace_ends(on: &'static str) {
    let server = Setup::of(on).other_module().module("grace 500").start();
    let mut admin = server.admin();
    let mut by_age = server.client();
    by_age.start(&["OTHER.BLOCK 3600000"]);
    wait_for_blocked(&mut admin, 1);
    let changed = Instant::now();
    admin.ok("CONFIG SET connage.maxage 1");
    assert!(by_age.ends() >= changed + ms(500));
    admin.ok("CONFIG SET connage.maxage 0 connage.grace 1h");
    let mut killed = server.client();
    let id = killed.id();
    killed.start(&["OTHER.BLOCK 3600000"]);
    wait_for_blocked(&mut admin, 1);
    admin.ok(&format!("CONNAGE.KILL ID {id} GRACE 0"));
    killed.ends();
    let mut served = server.client();
    served.start(&["OTHER.BLOCK 400"]);
    admin.ok("CONFIG SET connage.maxage 1");
    assert_eq!(served.reply(), Ok(Value::Int(0)));
    served.ends();
    assert_eq!(figures(&mut admin, HOW), [1, 0, 2]);
}
