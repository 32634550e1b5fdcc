//! CONNAGE.KILL: whom it takes, how many it says, and how they go.

use crate::on_servers;
use crate::support::conn::Conn;
use crate::support::ms;
use crate::support::resp::Value;
use crate::support::server::{figure, figures, wait_for_blocked, wait_for_figure, Setup};
use std::time::{Duration, Instant};

on_servers!(FIVE, beside, each_filter_takes_those_that_match_and_no_others);
fn each_filter_takes_those_that_match_and_no_others(on: &'static str) {
    // Old and young, alice's and the default user's, subscribed and not.
    let names = ["old", "old alice", "old sub", "young", "young alice", "young sub"];
    let server = Setup::of(on).module("").start();
    let mut admin = server.admin();
    admin.ok("ACL SETUSER alice on nopass ~* &* +@all");
    admin.ok("ACL SETUSER Alice on nopass ~* &* +@all");
    let old = Duration::from_millis(600);
    let cases: [(&str, &[usize]); 14] = [
        ("ID {0}", &[0]),
        ("ID {0} {4} 999999", &[0, 4]),
        ("id {2}", &[2]),
        ("MAXAGE 600", &[0, 1, 2]),
        ("maxage 600ms", &[0, 1, 2]),
        ("MAXAGE 1h", &[]),
        ("TYPE normal", &[0, 1, 3, 4]),
        ("TYPE pubsub", &[2, 5]),
        ("TYPE PUBSUB MAXAGE 600", &[2]),
        ("USER alice", &[1, 4]),
        ("USER alice MAXAGE 600", &[1]),
        ("USER Alice MAXAGE 1ms", &[]),
        ("MAXAGE 600 LIMIT 2", &[0, 1]),
        ("TYPE normal LIMIT 3 SKIPME yes", &[0, 1, 3]),
    ];
    let mut cases_left = cases.to_vec();
    while let Some((filter, taken)) = cases_left.pop() {
        let mut conns: Vec<Conn> = Vec::new();
        for name in names {
            if name == "young" {
                let grown = conns[2].after + old;
                conns[0].stays_until(grown);
            }
            let mut conn = server.client();
            if name.contains("alice") {
                conn.ok("AUTH alice x");
            }
            conns.push(conn);
        }
        let ids: Vec<i64> = conns.iter_mut().map(Conn::id).collect();
        for i in [2, 5] {
            conns[i].ok("SUBSCRIBE news");
        }
        let mut line = filter.to_string();
        for (i, id) in ids.iter().enumerate() {
            line = line.replace(&format!("{{{i}}}"), &id.to_string());
        }
        let wanted = taken.len() as i64;
        if conns[3].before.elapsed() > old / 2 {
            cases_left.push((filter, taken)); // the young ones will soon be old: once more
            drop(conns);
            wait_for_figure(&mut admin, "tracked_connections", 1);
            continue;
        }
        let reply = admin.ok(&format!("CONNAGE.KILL {line} DRYRUN"));
        assert_eq!(reply.int(), wanted, "{filter} DRYRUN");
        for (i, conn) in conns.iter_mut().enumerate() {
            if i % 3 != 2 {
                assert_eq!(conn.run("PING").text(), "PONG", "{filter} DRYRUN: {}", names[i]);
            }
        }
        let reply = admin.ok(&format!("CONNAGE.KILL {line}"));
        assert_eq!(reply.int(), wanted, "{filter}");
        for &i in taken {
            conns[i].ends();
        }
        for (i, conn) in conns.iter_mut().enumerate() {
            if !taken.contains(&i) {
                let said = conn.run("PING");
                assert!(!said.is_error(), "{filter} should leave {}", names[i]);
            }
        }
        drop(conns);
        wait_for_figure(&mut admin, "tracked_connections", 1);
    }
    let all: i64 = cases.iter().map(|(_, taken)| taken.len() as i64).sum();
    let counts = figures(&mut admin, ["evicted_connections", "evicted_by_command"]);
    assert_eq!(counts, [all, all]);
}

on_servers!(FIVE, beside, without_a_filter_it_takes_those_past_their_own_limit);
fn without_a_filter_it_takes_those_past_their_own_limit(on: &'static str) {
    // Age itself is in dry-run, so that there are some past their limit.
    let server = Setup::of(on).module("maxage 500 dry-run yes").start();
    let mut admin = server.admin();
    let mut old = server.clients(3);
    wait_for_figure(&mut admin, "would_evict", 3);
    let mut young = server.client();
    assert_eq!(admin.ok("CONNAGE.KILL DRYRUN").int(), 3);
    assert_eq!(admin.ok("CONNAGE.KILL LIMIT 1").int(), 1);
    old[0].ends();
    assert_eq!(admin.ok("CONNAGE.KILL").int(), 2);
    for conn in &mut old[1..] {
        conn.ends();
    }
    assert_eq!(young.run("PING").text(), "PONG");
}

on_servers!(FIVE, beside, a_busy_one_drains_first_and_no_longer_than_grace);
fn a_busy_one_drains_first_and_no_longer_than_grace(on: &'static str) {
    let server = Setup::of(on).module("grace 1h").start();
    let mut admin = server.admin();

    // Until it is quiet.
    let mut conn = server.client();
    let id = conn.id();
    conn.ok("MULTI");
    conn.ok("INCR a");
    assert_eq!(admin.ok(&format!("CONNAGE.KILL ID {id}")).int(), 1);
    assert_eq!(figure(&mut admin, "draining_connections"), 1);
    conn.stays_for(ms(400));
    assert_eq!(conn.run("EXEC"), Value::List(vec![Value::Int(1)]));
    conn.ends();

    // Until its own grace ends, not the setting's; or at once.
    for (grace, least) in [("400ms", ms(400)), ("0", ms(0))] {
        let mut conn = server.client();
        let id = conn.id();
        conn.ok("MULTI");
        let asked = Instant::now();
        let reply = admin.ok(&format!("CONNAGE.KILL ID {id} GRACE {grace}"));
        assert_eq!(reply.int(), 1);
        let at = conn.ends();
        assert!(at >= asked + least, "GRACE {grace}: {:?}", at - asked);
    }

    // Blocked: nothing is lost.
    let mut conn = server.client();
    let id = conn.id();
    conn.start(&["BLPOP nothing 0"]);
    wait_for_blocked(&mut admin, 1);
    assert_eq!(admin.ok(&format!("CONNAGE.KILL ID {id} GRACE 100")).int(), 1);
    assert_eq!(conn.reply(), Ok(Value::Nil));
    conn.ends();
    let how = [
        "evicted_quiet",
        "evicted_blocked",
        "evicted_forced",
        "evicted_by_command",
    ];
    assert_eq!(figures(&mut admin, how), [1, 1, 2, 4]);
}

on_servers!(FIVE, beside, cancel_ends_the_draining_by_command);
fn cancel_ends_the_draining_by_command(on: &'static str) {
    let server = Setup::of(on).module("grace 1h").start();
    let mut admin = server.admin();
    let mut conn = server.client();
    let id = conn.id();
    conn.ok("MULTI");
    assert_eq!(admin.ok("CONNAGE.KILL CANCEL").int(), 0);
    assert_eq!(admin.ok(&format!("CONNAGE.KILL ID {id}")).int(), 1);
    assert_eq!(admin.ok("CONNAGE.KILL CANCEL").int(), 1);
    assert_eq!(figure(&mut admin, "draining_connections"), 0);
    conn.ok("EXEC");
    conn.stays_for(ms(300));
}

on_servers!(FIVE, beside, it_works_while_eviction_by_age_is_off);
fn it_works_while_eviction_by_age_is_off(on: &'static str) {
    let server = Setup::of(on).module("maxage 0").start();
    let mut admin = server.admin();
    let mut conns = server.clients(5);
    conns[0].stays_for(ms(50));
    assert_eq!(admin.ok("CONNAGE.KILL MAXAGE 50").int(), 5);
    for conn in &mut conns {
        conn.ends();
    }
}

on_servers!(FIVE, beside, wrong_arguments_are_named_and_close_nobody);
fn wrong_arguments_are_named_and_close_nobody(on: &'static str) {
    let server = Setup::of(on).module("").start();
    let mut admin = server.admin();
    let mut conn = server.client();
    let id = conn.id();
    let cases = [
        ("MAXAGE 0", "MAXAGE"),
        ("MAXAGE -1", "MAXAGE"),
        ("MAXAGE 1.5s", "MAXAGE"),
        ("MAXAGE 5x", "MAXAGE"),
        ("MAXAGE", "MAXAGE"),
        ("ID", "ID"),
        ("ID x", "ID"),
        ("ID 0", "ID"),
        ("ID -5", "ID"),
        ("TYPE sentinel", "TYPE"),
        ("TYPE", "TYPE"),
        ("USER", "USER"),
        ("MAXAGE 1ms LIMIT 0", "LIMIT"),
        ("MAXAGE 1ms LIMIT x", "LIMIT"),
        ("MAXAGE 1ms LIMIT -1", "LIMIT"),
        ("MAXAGE 1ms GRACE -1", "GRACE"),
        ("MAXAGE 1ms GRACE", "GRACE"),
        ("MAXAGE 1ms SKIPME perhaps", "SKIPME"),
        ("MAXAGE 1ms SKIPME", "SKIPME"),
        ("NONSENSE", "NONSENSE"),
        ("MAXAGE 1ms NONSENSE", "NONSENSE"),
        ("MAXAGE 1ms DRYRUN yes", "yes"),
    ];
    conn.stays_for(ms(20));
    for (words, blamed) in cases {
        let reply = admin.run(&format!("CONNAGE.KILL {words}"));
        let why = reply.error().to_lowercase();
        assert!(why.contains(&blamed.to_lowercase()), "{words}: {why}");
    }
    assert_eq!(conn.run("PING").text(), "PONG");
    assert_eq!(admin.ok(&format!("CONNAGE.KILL ID {}", id + 1000)).int(), 0);
    assert_eq!(figure(&mut admin, "evicted_connections"), 0);
}

on_servers!(FIVE, beside, who_may_not_kill_clients_may_not_use_it);
/// By categories where the server has them for modules, by the server's own command else.
fn who_may_not_kill_clients_may_not_use_it(on: &'static str) {
    let server = Setup::of(on).module("").start();
    let mut admin = server.admin();
    admin.ok("ACL SETUSER safe on nopass ~* &* +@all -@admin -@dangerous");
    let mut other = server.client();
    let id = other.id();
    let mut safe = server.client();
    safe.ok("AUTH safe x");
    for line in [
        format!("CONNAGE.KILL ID {id}"),
        "CONNAGE.KILL MAXAGE 1ms".into(),
        "CONNAGE.KILL".into(),
        "CONNAGE.CONFIG GET *".into(),
        "CONNAGE.CONFIG SET maxage 1".into(),
        "CONNAGE.CONFIG RESETSTAT".into(),
    ] {
        let reply = safe.run(&line);
        assert!(reply.error().starts_with("NOPERM"), "{line}: {reply:?}");
    }
    assert_eq!(other.run("PING").text(), "PONG");
    assert_eq!(figure(&mut admin, "maxage_ms"), 0);
}
