//! CONNAGE.KILL OVER: a drain that takes its time, evenly, whatever else happens; and
//! CANCEL, which calls it off.

use crate::on_servers;
use crate::rows::{log, row, wall_ms};
use crate::support::conn::{all_ends, Conn, Gone};
use crate::support::noise::beside;
use crate::support::server::{figure, figures, wait_for_figure, Setup};
use crate::support::{ms, wait_until};
use std::time::{Duration, Instant};

fn ids(conns: &mut [Conn]) -> String {
    let ids: Vec<String> = conns.iter_mut().map(|conn| conn.id().to_string()).collect();
    ids.join(" ")
}

/// When each went, after the command.
#[track_caller]
fn offsets(conns: &mut [Conn], asked: Instant) -> Vec<Duration> {
    let ends = all_ends(conns, asked + ms(20_000));
    let offset = |(gone, at): &(Gone, Instant)| {
        assert_eq!(*gone, Gone::End);
        at.saturating_duration_since(asked)
    };
    ends.iter().map(offset).collect()
}

on_servers!(FIVE, beside, over_spreads_the_closings_evenly_oldest_first);
fn over_spreads_the_closings_evenly_oldest_first(on: &'static str) {
    let server = Setup::of(on).module("").start();
    let mut admin = server.admin();
    let mut conns = server.clients(40);
    let ids: Vec<i64> = conns.iter_mut().map(Conn::id).collect();
    let words: Vec<String> = ids.iter().map(i64::to_string).collect();
    let line = format!("CONNAGE.KILL ID {} OVER 4s", words.join(" "));
    let (asked, noise) = beside(|| {
        let asked = wall_ms();
        admin.start(&[&line, "INFO connage"]);
        assert_eq!(admin.reply().expect("a reply").int(), 40);
        let info = admin.reply().expect("a reply").text();
        assert!(info.contains("connage_draining_connections:40\r"), "{info}");
        for conn in &mut conns {
            conn.ends();
        }
        asked
    });
    // By the server's own clock: a client sees its end later on a busy machine.
    let mut gone = log(&mut admin);
    gone.reverse();
    let in_turn: Vec<i64> = gone.iter().map(|entry| entry.int("id")).collect();
    assert_eq!(in_turn, ids);
    let late = 150 + 2 * noise.max.as_millis() as i64;
    for (place, entry) in (0..).zip(&gone) {
        // Not quite the milliseconds that turns are counted by.
        let offset = entry.int("time-ms") - asked - 100 * place;
        assert!((-5..late).contains(&offset), "number {place}: {offset} ms");
    }
    let [all, command, draining] = figures(
        &mut admin,
        [
            "evicted_connections",
            "evicted_by_command",
            "draining_connections",
        ],
    );
    assert_eq!([all, command, draining], [40, 40, 0]);
}

on_servers!(FIVE, beside, over_is_not_held_up_by_rate_nor_the_other_way_round);
fn over_is_not_held_up_by_rate_nor_the_other_way_round(on: &'static str) {
    let server = Setup::of(on).module("rate 1").start();
    let mut admin = server.admin();
    let mut conns = server.clients(30);
    let ids = ids(&mut conns);
    let asked = Instant::now();
    admin.ok(&format!("CONNAGE.KILL ID {ids} OVER 1s"));
    let offsets = offsets(&mut conns, asked);
    let last = offsets.iter().max().expect("some");
    assert!(
        *last < ms(15_000),
        "30 of them at a rate of one a second: {last:?}"
    );
}

on_servers!(FIVE, beside, cancel_calls_it_off_and_what_is_gone_is_gone);
fn cancel_calls_it_off_and_what_is_gone_is_gone(on: &'static str) {
    let server = Setup::of(on).module("").start();
    let mut admin = server.admin();
    let mut conns = server.clients(20);
    let ids = ids(&mut conns);
    assert_eq!(admin.ok("CONNAGE.KILL CANCEL").int(), 0, "nothing drains");
    admin.ok(&format!("CONNAGE.KILL ID {ids} OVER 1h"));
    wait_for_figure(&mut admin, "evicted_connections", 1);
    conns[0].ends();
    assert_eq!(admin.ok("CONNAGE.KILL CANCEL").int(), 19);
    assert_eq!(admin.ok("connage.kill cancel").int(), 0, "not twice");
    assert_eq!(figure(&mut admin, "draining_connections"), 0);
    for conn in &mut conns[1..] {
        assert_eq!(conn.run("PING").text(), "PONG");
    }
    // One that waits for its grace is called off too.
    let busy = conns[1].id();
    conns[1].ok("MULTI");
    assert_eq!(admin.ok(&format!("CONNAGE.KILL ID {busy} GRACE 1h")).int(), 1);
    wait_until("it to drain", || {
        row(&mut admin, busy).text("state") == "draining"
    });
    assert_eq!(admin.ok("CONNAGE.KILL CANCEL").int(), 1);
    conns[1].ok("EXEC");
    conns[1].stays_for(ms(300));
    assert_eq!(row(&mut admin, busy).text("state"), "exempt");
}

on_servers!(FIVE, beside, cancel_leaves_what_age_drains);
fn cancel_leaves_what_age_drains(on: &'static str) {
    let server = Setup::of(on).module("grace 1h").start();
    let mut admin = server.admin();
    let mut busy = server.client();
    let id = busy.id();
    busy.ok("MULTI");
    admin.ok("CONFIG SET connage.maxage 1");
    wait_until("it to drain", || row(&mut admin, id).text("state") == "draining");
    assert_eq!(admin.ok(&format!("CONNAGE.KILL ID {id} OVER 1h")).int(), 1);
    assert_eq!(admin.ok("CONNAGE.KILL CANCEL").int(), 1);
    busy.ok("EXEC");
    busy.ends();
    assert_eq!(log(&mut admin)[0].text("reason"), "maxage");
}

on_servers!(
    FIVE,
    beside,
    a_second_kill_doubles_nothing_and_new_connections_stay
);
fn a_second_kill_doubles_nothing_and_new_connections_stay(on: &'static str) {
    let server = Setup::of(on).module("").start();
    let mut admin = server.admin();
    let mut conns = server.clients(20);
    let mut leaving = server.clients(5);
    let both = format!("{} {}", ids(&mut conns), ids(&mut leaving));
    let asked = Instant::now();
    assert_eq!(admin.ok(&format!("CONNAGE.KILL ID {both} OVER 3s")).int(), 25);
    // It survives new connections coming and drained ones going on their own.
    let mut new = server.clients(10);
    drop(leaving);
    wait_until("those to be gone", || {
        figure(&mut admin, "tracked_connections") <= 31
    });
    let mut left = figure(&mut admin, "draining_connections");
    assert!(left <= 20, "{left} drain");
    // Named again, later: each keeps its own, earlier turn.
    let again = admin.ok(&format!("CONNAGE.KILL ID {both} OVER 1h")).int();
    assert!(again <= left, "{again} of {left}");
    left = figure(&mut admin, "draining_connections");
    assert!(left <= again, "{left} drain");
    let offsets = offsets(&mut conns, asked);
    let last = offsets.iter().max().expect("some");
    assert!(*last < ms(15_000), "by the first KILL's pace: {last:?}");
    assert_eq!(figure(&mut admin, "draining_connections"), 0);
    assert_eq!(figure(&mut admin, "evicted_by_command"), 20);
    assert_eq!(log(&mut admin).len(), 20);
    for conn in &mut new {
        assert_eq!(conn.run("PING").text(), "PONG");
    }
}

on_servers!(FIVE, beside, named_again_to_go_sooner_it_goes_sooner);
fn named_again_to_go_sooner_it_goes_sooner(on: &'static str) {
    let server = Setup::of(on).module("").start();
    let mut admin = server.admin();
    let mut conns = server.clients(10);
    let ids = ids(&mut conns);
    admin.ok(&format!("CONNAGE.KILL ID {ids} OVER 1h"));
    let asked = Instant::now();
    let left = admin.ok(&format!("CONNAGE.KILL ID {ids} OVER 500ms")).int();
    assert!((9..=10).contains(&left), "{left}");
    let offsets = offsets(&mut conns, asked);
    assert!(offsets.iter().all(|offset| *offset < ms(10_000)), "{offsets:?}");
    assert_eq!(figure(&mut admin, "evicted_by_command"), 10);
}

on_servers!(FIVE, beside, age_evicts_beside_a_drain);
fn age_evicts_beside_a_drain(on: &'static str) {
    let server = Setup::of(on).module("maxage 1200").start();
    let mut admin = server.admin();
    let mut conns = server.clients(12);
    let ids = ids(&mut conns[..6]);
    admin.ok(&format!("CONNAGE.KILL ID {ids} OVER 1h"));
    conns[0].ends();
    for conn in &mut conns[1..] {
        let age = conn.ends() - conn.before;
        assert!(age >= ms(1_200), "{age:?}");
    }
    let reasons: Vec<String> = log(&mut admin).iter().map(|entry| entry.text("reason")).collect();
    assert_eq!(
        reasons.iter().filter(|reason| *reason == "maxage").count(),
        11,
        "{reasons:?}"
    );
    assert_eq!(figure(&mut admin, "evicted_by_command"), 1);
}

on_servers!(FIVE, beside, enabled_no_stops_it_and_forgets_nothing);
fn enabled_no_stops_it_and_forgets_nothing(on: &'static str) {
    let server = Setup::of(on).module("").start();
    let mut admin = server.admin();
    let mut conns = server.clients(10);
    let ids = ids(&mut conns);
    admin.ok(&format!("CONNAGE.KILL ID {ids} OVER 5s"));
    wait_until("some to be gone", || {
        figure(&mut admin, "evicted_connections") >= 2
    });
    admin.ok("CONNAGE.CONFIG SET enabled no");
    let gone = figure(&mut admin, "evicted_connections");
    let left = 10 - gone;
    assert!((1..=8).contains(&left), "{left}");
    let last = conns.last_mut().expect("one");
    last.stays_for(ms(2_500));
    assert_eq!(
        figures(&mut admin, ["evicted_connections", "draining_connections"]),
        [gone, left]
    );
    admin.ok("CONNAGE.CONFIG SET enabled yes");
    for conn in &mut conns[gone as usize..] {
        conn.ends();
    }
    wait_for_figure(&mut admin, "evicted_connections", 10);
    // While it is off, a new one says so instead of waiting for better times.
    admin.ok("CONNAGE.CONFIG SET enabled no");
    let mut conn = server.client();
    let id = conn.id();
    let reply = admin.run(&format!("CONNAGE.KILL ID {id}"));
    assert!(reply.error().contains("connage.enabled yes"), "{reply:?}");
    assert_eq!(admin.ok(&format!("CONNAGE.KILL ID {id} DRYRUN")).int(), 1);
    conn.stays_for(ms(200));
}

on_servers!(FIVE, beside, limit_takes_the_oldest_and_dryrun_nobody);
fn limit_takes_the_oldest_and_dryrun_nobody(on: &'static str) {
    let server = Setup::of(on).module("").start();
    let mut admin = server.admin();
    let mut conns = server.clients(8);
    let ids = ids(&mut conns);
    for (words, wanted) in [
        ("LIMIT 3 OVER 1s DRYRUN", 3),
        ("DRYRUN", 8),
        ("LIMIT 100 DRYRUN", 8),
    ] {
        assert_eq!(
            admin.ok(&format!("CONNAGE.KILL ID {ids} {words}")).int(),
            wanted,
            "{words}"
        );
    }
    assert_eq!(
        figures(&mut admin, ["draining_connections", "evicted_connections"]),
        [0, 0]
    );
    assert_eq!(
        admin
            .ok(&format!("CONNAGE.KILL ID {ids} LIMIT 3 OVER 300ms"))
            .int(),
        3
    );
    for conn in &mut conns[..3] {
        conn.ends();
    }
    for conn in &mut conns[3..] {
        assert_eq!(conn.run("PING").text(), "PONG");
    }
    wait_for_figure(&mut admin, "evicted_by_command", 3);
}

on_servers!(FIVE, beside, with_skipme_no_the_caller_goes_after_its_reply);
fn with_skipme_no_the_caller_goes_after_its_reply(on: &'static str) {
    let server = Setup::of(on).module("").start();
    let mut conns = server.clients(3);
    // The connection that saw the server start may be on its way out.
    wait_until("three are there", || {
        conns[0].ok("CONNAGE.KILL TYPE normal DRYRUN").int() == 2
    });
    assert_eq!(conns[0].ok("CONNAGE.KILL TYPE normal SKIPME no DRYRUN").int(), 3);
    assert_eq!(conns[0].ok("CONNAGE.KILL TYPE normal SKIPME no").int(), 3);
    for conn in &mut conns {
        conn.ends();
    }
    let mut admin = server.admin();
    wait_for_figure(&mut admin, "evicted_by_command", 3);
}

on_servers!(
    FIVE,
    beside,
    who_logs_in_under_a_stricter_rule_while_it_waits_for_its_turn_goes_all_the_same
);
fn who_logs_in_under_a_stricter_rule_while_it_waits_for_its_turn_goes_all_the_same(on: &'static str) {
    let words = "maxage 1h rules ci: user=ci maxage=500";
    let server = Setup::of(on).module(words).start();
    let mut admin = server.admin();
    for user in ["ci", "web"] {
        admin.ok(&format!("ACL SETUSER {user} on >c +@all ~*"));
    }
    let mut conns = server.clients(3);
    conns.iter_mut().for_each(|conn| {
        conn.ok("AUTH web c");
    });
    assert_eq!(admin.ok("CONNAGE.KILL USER web OVER 1d").int(), 3);
    conns[0].ends();
    // Past the strictest limit that there is, so that it has been looked at and left.
    conns[1].stays_for(ms(1_500));
    conns[2].ok("AUTH ci c");
    conns[2].ends();
    assert_eq!(conns[1].run("PING").text(), "PONG");
    let [all, rule] = [
        figure(&mut admin, "evicted_connections"),
        figure(&mut admin, "evicted_by_command"),
    ];
    assert_eq!([all, rule], [2, 1]);
}
