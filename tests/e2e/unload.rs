//! Unloading: the server frees the module's commands, so that nothing may point to them any more.

use crate::on_servers;
use crate::support::conn::{Conn, Gone};
use crate::support::server::{figure, Server, Setup};
use crate::support::{ms, wait_until, Stop};
use std::time::Instant;

/// What a fault would leave dangling is used for something else.
fn reuse_memory(conn: &mut Conn) {
    let lines: Vec<String> = (0..600)
        .map(|i| format!("SET key{i} {}", "y".repeat(1 + i % 600)))
        .collect();
    conn.start(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    for _ in &lines {
        assert!(conn.reply().is_ok_and(|v| !v.is_error()));
    }
}

/// The server looks up a whole pipeline before it executes the first command of it.
fn looks_ahead(server: &Server) -> bool {
    server.setup.name == "valkey-9.1"
}

fn refused(server: &Server, admin: &mut Conn, because: &str) {
    let before = server.log().matches("not unloaded: ").count();
    assert!(admin.run("MODULE UNLOAD connage").is_error());
    let log = server.log();
    let reasons: Vec<&str> = log.split("not unloaded: ").skip(before + 1).collect();
    assert_eq!(reasons.len(), 1, "one line says why");
    let reason = reasons[0].lines().next().expect("a line");
    assert!(reason.contains(because), "{because}: {reason}");
    assert_eq!(figure(admin, "healthy"), 1);
}

on_servers!(ALL, beside, once_unloaded_nothing_points_to_its_commands);
fn once_unloaded_nothing_points_to_its_commands(on: &'static str) {
    type Begin = fn(&Server, &mut Conn) -> Vec<Conn>;
    let after = |lines: &[&str], server: &Server| {
        let mut conn = server.client();
        for line in lines {
            conn.run(line);
        }
        vec![conn]
    };
    let cases: [(&str, Begin); 12] = [
        ("each command", |s, _| {
            let lines = [
                "CONNAGE.SELF",
                "CONNAGE.LIST",
                "CONNAGE.KILL ID 999999",
                "CONNAGE.CONFIG GET *",
                "CONNAGE.LOG LEN",
                "CONNAGE.LOG NOSUCH",
                "CONNAGE.SELF MAXAGE",
            ];
            let mut conns = s.clients(lines.len());
            for (conn, line) in conns.iter_mut().zip(lines) {
                conn.run(line);
            }
            conns
        }),
        ("as a subscriber", |s, _| {
            let mut conn = s.client();
            conn.ok("HELLO 3");
            conn.start(&["SUBSCRIBE news"]);
            wait_until("the subscription", || conn.reply().is_ok());
            conn.run("CONNAGE.SELF");
            vec![conn]
        }),
        ("by somebody who may not", |s, admin| {
            admin.ok("ACL SETUSER ci on >pw +@read -@admin ~*");
            let mut conn = s.client();
            conn.ok("AUTH ci pw");
            assert!(conn.run("CONNAGE.LIST").is_error());
            vec![conn]
        }),
        ("by the one who unloads", |_, admin| {
            admin.ok("CONNAGE.LIST");
            Vec::new()
        }),
        ("in a transaction that is over", |s, _| {
            let mut conn = s.client();
            for line in ["MULTI", "CONNAGE.SELF", "EXEC"] {
                conn.ok(line);
            }
            vec![conn]
        }),
        ("in a transaction that was given up", |s, _| {
            let mut conn = s.client();
            for line in ["MULTI", "CONNAGE.SELF", "DISCARD", "PING", "CONNAGE.SELF"] {
                conn.ok(line);
            }
            vec![conn]
        }),
        ("in a script, refused", |s, _| {
            let mut conn = s.client();
            conn.run("EVAL return{redis.pcall('CONNAGE.SELF')} 0");
            vec![conn]
        }),
        ("before it blocked", |s, admin| {
            let mut conn = s.client();
            conn.ok("CONNAGE.SELF");
            conn.start(&["BLPOP queue 0"]);
            wait_until("it to block", || {
                admin.ok("CLIENT LIST").text().contains("cmd=blpop")
            });
            vec![conn]
        }),
        ("behind a command that blocks", |s, admin| {
            let mut conn = s.client();
            conn.start(&["BLPOP queue 0", "CONNAGE.SELF"]);
            wait_until("it to block", || {
                admin.ok("CLIENT LIST").text().contains("cmd=blpop")
            });
            vec![conn]
        }),
        ("by a monitor", |s, admin| {
            let mut conn = s.client();
            conn.ok("MONITOR");
            conn.start(&["CONNAGE.SELF"]);
            wait_until("it to run", || {
                admin.ok("CLIENT LIST").text().contains("cmd=connage.self")
            });
            vec![conn]
        }),
        ("and half of the next", |s, _| {
            let mut conn = s.client();
            conn.ok("CONNAGE.SELF");
            conn.send_bytes(b"*2\r\n$3\r\n").expect("sent");
            vec![conn]
        }),
        ("while it is being closed", |s, admin| {
            let mut conn = s.client();
            let id = conn.id();
            conn.ok("CONNAGE.SELF");
            admin.ok(&format!("CONNAGE.KILL ID {id} GRACE 0"));
            vec![conn]
        }),
    ];
    let server = Setup::of(on).module("maxage 1h").start();
    let mut admin = server.admin();
    for (title, begin) in cases {
        let mut conns = begin(&server, &mut admin);
        let reply = admin.run("MODULE UNLOAD connage");
        assert!(!reply.is_error(), "{title}: {reply:?}\n{}", server.log());
        reuse_memory(&mut admin);
        admin.ok("CLIENT LIST");
        admin.ok("RPUSH queue a b c");
        for conn in &mut conns {
            // Whoever is there still goes on.
            let _ = conn.ask(&["PING"]);
        }
        conns.extend(after(&["EVAL return{redis.pcall('CONNAGE.SELF')} 0"], &server));
        admin.ok("CLIENT LIST");
        drop(conns);
        admin.ok("DEL queue");
        server.load(&mut admin, "maxage 1h");
    }
}

on_servers!(
    ALL,
    beside,
    what_may_be_queued_stands_in_the_way_until_the_operator_insists
);
fn what_may_be_queued_stands_in_the_way_until_the_operator_insists(on: &'static str) {
    let server = Setup::of(on).module("").start();
    let mut admin = server.admin();
    let mut queued = server.client();
    queued.ok("CONNAGE.SELF");
    queued.ok("CLIENT NO-EVICT on");
    queued.ok("MULTI");
    queued.ok("CONNAGE.SELF");
    let mut ran = server.client();
    ran.ok("CLIENT NO-EVICT on");
    ran.ok("CONNAGE.SELF");
    refused(&server, &mut admin, "in MULTI, with commands queued");
    // Nothing is torn down, and nobody ended.
    admin.ok("CONFIG SET connage.maxage 1");
    server.client().ends();
    ran.ok("PING");
    assert!(!queued.ok("EXEC").list().is_empty());
    queued.ok("MULTI");
    queued.ok("CONNAGE.SELF");
    admin.ok("MODULE UNLOAD connage");
    reuse_memory(&mut admin);
    admin.ok("CLIENT LIST");
    queued.ends();
    ran.ok("PING");
}

on_servers!(ALL, beside, it_does_not_unload_inside_a_transaction);
fn it_does_not_unload_inside_a_transaction(on: &'static str) {
    let server = Setup::of(on).module("maxage 1h").start();
    let mut admin = server.admin();
    for _ in 0..2 {
        admin.ok("MULTI");
        admin.ok("MODULE UNLOAD connage");
        admin.ok("CONNAGE.LOG LEN");
        let replies = admin.ok("EXEC");
        let replies = replies.list();
        assert!(replies[0].is_error(), "{replies:?}");
        assert!(!replies[1].is_error(), "{replies:?}");
    }
    admin.ok("MODULE UNLOAD connage");
}

on_servers!(ALL, beside, an_answer_that_has_not_left_stands_in_the_way);
fn an_answer_that_has_not_left_stands_in_the_way(on: &'static str) {
    let server = Setup::of(on).module("maxage 1h").start();
    let mut admin = server.admin();
    admin.call(&["SET", "big", &"x".repeat(8_000_000)]);
    let mut slow = Conn::open_with(&server.tcp(), Some(4096)).expect("connected");
    slow.start(&["INCR n", "GET big", "CONNAGE.SELF"]);
    wait_until("it to have run", || {
        let list = admin.ok("CLIENT LIST").text();
        list.contains("cmd=connage.self")
    });
    refused(&server, &mut admin, "its answers have not left");
    assert_eq!(slow.reply().expect("a reply").int(), 1);
    assert_eq!(slow.reply().expect("a reply").text().len(), 8_000_000);
    assert!(slow.reply().is_ok_and(|v| !v.is_error()));
    wait_until("it to unload", || !admin.run("MODULE UNLOAD connage").is_error());
    slow.ends();
}

on_servers!(ALL, beside, an_acl_rule_that_names_a_command_stands_in_the_way);
/// Since Redis 7.2 the server would end at such a rule.
fn an_acl_rule_that_names_a_command_stands_in_the_way(on: &'static str) {
    let server = Setup::of(on).module("maxage 1h").start();
    let mut admin = server.admin();
    for rule in ["+connage.self", "+connage.config|get", "(+connage.list)"] {
        admin.ok(&format!("ACL SETUSER monitoring on >pw +info {rule}"));
        assert!(admin.run("MODULE UNLOAD connage").is_error());
        let log = server.log();
        assert!(
            // Some servers look themselves.
            log.contains("an ACL rule of user 'monitoring'") || on.starts_with("valkey"),
            "{log}"
        );
        assert!(!admin.ok("CONNAGE.LIST").list().is_empty());
        admin.ok("ACL DELUSER monitoring");
    }
    admin.ok("MODULE UNLOAD connage");
    admin.ok("ACL SETUSER monitoring on >pw +info");
}

on_servers!(
    ALL,
    beside,
    with_threads_nobody_may_have_run_a_command_within_the_second
);
/// A thread of the server's that has looked up a command would run it after it is freed.
fn with_threads_nobody_may_have_run_a_command_within_the_second(on: &'static str) {
    let server = Setup::of(on).io_threads(4).module("maxage 1h").start();
    let mut admin = server.admin();
    let mut other = server.admin();
    let looked_up_by_threads = !["redis-7.0", "redict-7.3", "redis-7.4"].contains(&on);
    let stop = Stop::default();
    std::thread::scope(|scope| {
        let _stop = stop.at_the_end();
        let mut conns = server.clients(20);
        let stop = &stop;
        scope.spawn(move || {
            while !stop.asked() {
                for conn in &mut conns {
                    // Ended where the server has no such threads.
                    let _ = conn.send(&["CONNAGE.SELF"]);
                }
                for conn in &mut conns {
                    let _ = conn.reply();
                }
            }
        });
        wait_until("the commands", || {
            admin.ok("CLIENT LIST").text().contains("cmd=connage.self")
        });
        for _ in 0..20 {
            // Where the server has no such threads it is not there any more.
            let (asked, _) = (Instant::now(), other.ask(&["CONNAGE.SELF"]));
            let reply = admin.run("MODULE UNLOAD connage");
            let unloads = !reply.is_error() && looked_up_by_threads;
            assert!(!unloads || asked.elapsed() > ms(900), "{reply:?}");
            if unloads {
                server.load(&mut admin, "maxage 1h");
            }
        }
    });
    if looked_up_by_threads {
        assert!(
            server.log().contains("the server reads with threads"),
            "{}",
            server.log()
        );
        wait_until("it to unload", || !admin.run("MODULE UNLOAD connage").is_error());
    }
    reuse_memory(&mut admin);
    admin.ok("CLIENT LIST");
}

on_servers!(
    ALL,
    beside,
    what_loadex_takes_back_goes_whoever_is_in_a_transaction
);
fn what_loadex_takes_back_goes_whoever_is_in_a_transaction(on: &'static str) {
    let server = Setup::of(on).io_threads(4).start();
    let mut admin = server.admin();
    let mut queued = server.client();
    queued.ok("MULTI");
    queued.ok("GET key");
    let reply = server.try_loadex(&mut admin, "CONFIG connage.nosuch 1");
    assert!(reply.is_error(), "{reply:?}");
    assert!(admin.run("CONNAGE.LIST").is_error(), "it is not there");
    queued.ok("EXEC");
    let reply = server.try_loadex(&mut admin, "CONFIG connage.maxage 1h");
    assert!(!reply.is_error(), "{reply:?}");
    admin.ok("CONNAGE.LIST");
}

on_servers!(FIVE, beside, unloading_ends_nobody_who_has_nothing_of_it);
fn unloading_ends_nobody_who_has_nothing_of_it(on: &'static str) {
    let server = Setup::of(on).module("maxage 1h").start();
    let mut admin = server.admin();
    let mut idle = server.client();
    let mut multi = server.client();
    multi.ok("MULTI");
    let mut subscriber = server.client();
    subscriber.ok("SUBSCRIBE news");
    let mut blocked = server.client();
    blocked.start(&["BLPOP queue 0"]);
    let mut went_on = server.client();
    went_on.ok("CONNAGE.SELF");
    went_on.ok("GET key");
    wait_until("it to block", || {
        admin.ok("CLIENT LIST").text().contains("cmd=blpop")
    });
    admin.ok("MODULE UNLOAD connage");
    for conn in [&mut idle, &mut went_on, &mut subscriber] {
        conn.ok("PING");
    }
    multi.ok("EXEC");
    admin.ok("RPUSH queue element");
    if looks_ahead(&server) {
        // What comes behind such a command is looked up before, and CLIENT LIST does not tell of it.
        assert_eq!(blocked.reply(), Err(Gone::End));
        assert_eq!(admin.ok("LLEN queue").int(), 1, "no element is lost");
    } else {
        assert!(blocked.reply().is_ok());
    }
}
