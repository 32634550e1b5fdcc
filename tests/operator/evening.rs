//! An operator's evening, from the first look to the last, on one server.

use crate::on_servers;
use crate::rows::{listed, log, row, rows, set_rules, Row};
use crate::support::conn::{Address, Conn, Gone};
use crate::support::resp::Value;
use crate::support::server::{figure, wait_for_figure, Server, Setup};
use crate::support::{ms, wait_until};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::{AtomicBool, Ordering};

/// A worker of the application: counts, and connects again whenever it was sent away.
/// Answers with the replies that it got.
fn work(address: &Address, password: &AtomicUsize, key: &str, stop: &AtomicBool) -> i64 {
    let mut got = 0;
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut conn) = Conn::open(address) else {
            continue;
        };
        let word = ["old", "new"][password.load(Ordering::Relaxed)];
        match conn.ask(&["AUTH", "app", word]) {
            Ok(reply) if !reply.is_error() => {}
            _ => continue,
        }
        while !stop.load(Ordering::Relaxed) {
            match conn.ask(&["INCR", key]) {
                Ok(Value::Int(_)) => got += 1,
                Ok(other) => panic!("INCR: {other:?}"),
                Err(Gone::End) => break,
                Err(gone) => panic!("it should end cleanly: {gone:?}"),
            }
            std::thread::sleep(ms(1));
        }
    }
    got
}

/// The rotated password: everybody on the old one goes within five seconds, and misses
/// nothing.
fn rotate(server: &Server, admin: &mut Conn) {
    admin.ok("ACL SETUSER app on >old ~* &* +@all -@dangerous");
    let (stop, password) = (AtomicBool::new(false), AtomicUsize::new(0));
    let address = server.tcp();
    let keys: Vec<String> = (0..10).map(|n| format!("app:{n}")).collect();
    let replies: Vec<i64> = std::thread::scope(|scope| {
        let workers: Vec<_> = keys
            .iter()
            .map(|key| scope.spawn(|| work(&address, &password, key, &stop)))
            .collect();
        wait_until("all to work", || listed(admin, "USER app").len() == 10);
        let old = listed(admin, "USER app");
        admin.ok("ACL SETUSER app >new");
        password.store(1, Ordering::Relaxed);
        admin.ok("ACL SETUSER app <old");
        assert_eq!(admin.ok("CONNAGE.KILL USER app OVER 5s").int(), 10);
        wait_for_figure(admin, "draining_connections", 0);
        wait_until("all to be back", || listed(admin, "USER app").len() == 10);
        let new = listed(admin, "USER app");
        assert!(old.iter().all(|id| !new.contains(id)), "{old:?} {new:?}");
        stop.store(true, Ordering::Relaxed);
        workers
            .into_iter()
            .map(|worker| worker.join().expect("a worker"))
            .collect()
    });
    for (key, got) in keys.iter().zip(replies) {
        assert_eq!(
            admin.call(&["GET", key]).int(),
            got,
            "{key}: replies and executions"
        );
    }
    let mine: Vec<Row> = log(admin)
        .into_iter()
        .filter(|e| e.text("user") == "app")
        .collect();
    assert_eq!(mine.len(), 10);
    assert!(mine
        .iter()
        .all(|e| e.text("reason") == "command" && e.text("how") == "quiet"));
    admin.ok("CONNAGE.LOG RESET");
}

/// A user whose rights are revoked: the sessions that age and plain KILLs spare go too.
fn revoke(server: &Server, admin: &mut Conn) {
    admin.ok("ACL SETUSER eve on nopass ~* &* +@all");
    let mut sessions = server.clients(3);
    for conn in &mut sessions {
        conn.ok("AUTH eve x");
    }
    sessions[1].ok("CLIENT NO-EVICT on");
    sessions[2].ok("MONITOR");
    admin.ok("ACL SETUSER eve off");
    assert_eq!(
        admin.ok("CONNAGE.KILL TYPE normal NOT-USER default DRYRUN").int(),
        1,
        "two are spared unless named"
    );
    assert_eq!(admin.ok("CONNAGE.KILL USER eve GRACE 0").int(), 3);
    wait_until("all of them to be gone", || listed(admin, "USER eve").is_empty());
    sessions[0].ends();
    sessions[1].ends();
    assert_eq!(log(admin).len(), 3);
    admin.ok("CONNAGE.LOG RESET");
}

on_servers!(FIVE, beside, an_operators_evening);
fn an_operators_evening(on: &'static str) {
    let server = Setup::of(on).module("maxage 1h").start();
    let mut admin = server.admin();
    rotate(&server, &mut admin);
    revoke(&server, &mut admin);

    // Who will go next?
    let (mut first, mut second) = (server.client(), server.client());
    let (first_id, second_id) = (first.id(), second.id());
    let next = &rows(&mut admin, "CONNAGE.LIST TYPE normal NOT-FLAGS e LIMIT 1")[0];
    assert_eq!(next.int("id"), first_id);
    let left = next.int("expires-in-ms");
    assert!((3_500_000..=3_600_000).contains(&left), "{left}");

    // A test user is limited (to seconds here; to a minute in the evening's life).
    admin.ok("ACL SETUSER test-7 on nopass ~* &* +@all");
    set_rules(&mut admin, "tests: user=test-* maxage=5s");
    second.ok("AUTH test-7 x");
    assert_eq!(row(&mut admin, second_id).text("rule"), "tests");
    second.ends();

    // Why did that one go?
    let why = &log(&mut admin)[0];
    assert_eq!(why.int("id"), second_id);
    assert_eq!(
        (why.text("reason").as_str(), why.text("user").as_str()),
        ("rule:tests", "test-7")
    );
    assert_eq!((why.text("how").as_str(), why.int("limit-ms")), ("quiet", 5_000));

    // A worker asks for its own limit.
    let mut worker = server.client();
    let own = Row::of(&worker.ok("CONNAGE.SELF MAXAGE 800ms"));
    assert_eq!(own.int("limit-ms"), 800);
    worker.ends();
    assert_eq!(log(&mut admin)[0].text("reason"), "self");

    // A mistaken drain is called off.
    let mut others = server.clients(8);
    let asked = admin.ok("CONNAGE.KILL TYPE normal OVER 1h").int();
    assert_eq!(asked, 9, "the operator's own connection is spared");
    wait_until("the first to be gone", || {
        figure(&mut admin, "draining_connections") == 8
    });
    assert_eq!(admin.ok("CONNAGE.KILL CANCEL").int(), 8);
    assert_eq!(figure(&mut admin, "draining_connections"), 0);
    first.ends();
    for conn in &mut others {
        assert_eq!(conn.run("PING").text(), "PONG");
    }
    assert_eq!(figure(&mut admin, "healthy"), 1);
}
