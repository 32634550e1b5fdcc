//! Busy connections are left until they are quiet, and no longer than grace.

use crate::on_servers;
use crate::support::conn::Conn;
use crate::support::resp::Value;
use crate::support::server::{
    client_line, figure, figures, wait_for_blocked, wait_for_figure, Server, Setup,
};
use crate::support::{ms, wait_until};
use std::time::Instant;

const HOW: [&str; 3] = ["evicted_quiet", "evicted_blocked", "evicted_forced"];

on_servers!(ALL, beside, a_busy_connection_is_left_until_it_is_quiet);
/// Each is past its limit for a while, and then finishes what it has begun.
fn a_busy_connection_is_left_until_it_is_quiet(on: &'static str) {
    struct Case {
        title: &'static str,
        begin: &'static [&'static str],
        end: &'static [&'static str],
        last: Value,
    }
    let list = |items: &[i64]| Value::List(items.iter().map(|&n| Value::Int(n)).collect());
    let ok = || Value::Text("OK".into());
    let cases = [
        Case {
            title: "MULTI until EXEC",
            begin: &["MULTI", "INCR a", "INCR a"],
            end: &["INCR a", "EXEC"],
            last: list(&[1, 2, 3]),
        },
        Case {
            title: "an empty MULTI until DISCARD",
            begin: &["MULTI"],
            end: &["DISCARD"],
            last: ok(),
        },
        Case {
            title: "WATCH until UNWATCH",
            begin: &["WATCH w"],
            end: &["UNWATCH"],
            last: ok(),
        },
        Case {
            title: "WATCH of many keys until EXEC",
            begin: &["WATCH w1 w2 w3 w4 w5 w6 w7 w8"],
            end: &["MULTI", "INCR b", "EXEC"],
            last: list(&[1]),
        },
        Case {
            title: "WATCH, then a read, until EXEC",
            begin: &["WATCH c", "GET c"],
            end: &["MULTI", "INCR c", "EXEC"],
            last: list(&[1]),
        },
    ];
    let server = Setup::of(on).module("grace 1h").start();
    let mut admin = server.admin();
    for (n, case) in (1..).zip(cases) {
        let title = case.title;
        admin.ok("CONFIG SET connage.maxage 0");
        let mut conn = server.client();
        for line in case.begin {
            conn.ok(line);
        }
        admin.ok("CONFIG SET connage.maxage 1");
        conn.stays_for(ms(500));
        assert_eq!(figure(&mut admin, "draining_connections"), 1, "{title}");
        let mut last = Value::Nil;
        for line in case.end {
            last = conn.ok(line);
        }
        assert_eq!(last, case.last, "{title}");
        conn.ends();
        assert_eq!(figures(&mut admin, HOW), [n, 0, 0], "{title}");
    }
}

on_servers!(
    ALL,
    alone,
    what_is_begun_just_before_the_limit_is_left_until_it_is_over
);
/// When the first is due, the server is asked for those as well that follow soon. What these begin
/// after that and before their own limits has to be seen all the same. Begun in time and after that it is only
/// where the machine lets it: else once more.
fn what_is_begun_just_before_the_limit_is_left_until_it_is_over(on: &'static str) {
    let server = Setup::of(on).module("maxage 700 grace 1h").start();
    let mut tries = (0..20).map(|_| begun_just_before_the_limit(&server));
    assert!(
        tries.any(|done| done.is_some()),
        "the machine is too busy to tell"
    );
}

/// `None` if it was begun too late, or the server asked once more meanwhile.
fn begun_just_before_the_limit(server: &Server) -> Option<()> {
    let cases: [(&[u8], &[u8]); 4] = [
        (b"MULTI\r\nINCR a\r\n", b"EXEC\r\n"),
        (b"WATCH w\r\n", b"UNWATCH\r\n"),
        (b"BLPOP list 0\r\n", b""),
        (b"*2\r\n$4\r\nINCR\r\n$1\r\n", b"n\r\n"),
    ];
    let mut admin = server.admin();
    admin.ok("FLUSHALL");
    admin.ok("CONNAGE.CONFIG RESETSTAT");
    // The first's limit must not be soon after this one's.
    std::thread::sleep(ms(400));
    let mut first = server.client();
    std::thread::sleep(ms(80));
    let mut idle = server.client();
    std::thread::sleep(ms(80));
    let mut conns = server.clients(cases.len());
    first.ends();
    for (conn, (begin, _)) in conns.iter_mut().zip(cases) {
        conn.send_bytes(begin).ok()?;
    }
    // Executed, that is: whoever is asked after it is answered after it.
    admin.ok("PING");
    if conns[0].before.elapsed() >= ms(700) {
        return None;
    }
    let asked = asked_for_clients(&mut admin);
    idle.ends();
    if asked_for_clients(&mut admin) != asked {
        return None; // not together with the first
    }
    wait_for_figure(&mut admin, "draining_connections", cases.len() as i64);
    std::thread::sleep(ms(300));
    assert_eq!(figures(&mut admin, HOW), [2, 0, 0]);
    admin.ok("LPUSH list x");
    for (conn, (begin, end)) in conns.iter_mut().zip(cases) {
        conn.send_bytes(end).expect("sent");
        let title = String::from_utf8_lossy(begin);
        while let Ok(value) = conn.reply() {
            assert!(!value.is_error(), "{title}: {value:?}");
        }
    }
    assert_eq!(admin.run("GET a"), Value::Text("1".into()));
    assert_eq!(admin.run("GET n"), Value::Text("1".into()));
    assert_eq!(figures(&mut admin, HOW), [6, 0, 0]);
    Some(())
}

/// How often anybody has called CLIENT LIST.
fn asked_for_clients(admin: &mut Conn) -> String {
    let stats = admin.ok("INFO commandstats").text();
    let line = stats
        .lines()
        .find(|line| line.starts_with("cmdstat_client|list:"));
    let calls = line.and_then(|line| line.split(',').next());
    calls.expect("it has been called").to_string()
}

on_servers!(FIVE, beside, a_large_reply_arrives_whole);
fn a_large_reply_arrives_whole(on: &'static str) {
    const SIZE: usize = 50_000_000;
    let server = Setup::of(on).module("grace 1h").start();
    let mut admin = server.admin();
    admin.ok(&format!("SETRANGE big {} x", SIZE - 1));
    let mut conn = Conn::open_with(&server.tcp(), Some(16 * 1024)).expect("connected");
    let id = conn.id();
    conn.send(&["GET", "big"]).expect("sent");
    wait_until("it to be executed", || {
        client_line(&mut admin, id).is_some_and(|line| line.contains(" cmd=get "))
    });
    admin.ok("CONFIG SET connage.maxage 1");
    // Nothing is read before it is long past its limit.
    wait_for_figure(&mut admin, "draining_connections", 1);
    std::thread::sleep(ms(700));
    assert_eq!(figure(&mut admin, "draining_connections"), 1);
    match conn.reply() {
        Ok(Value::Text(big)) => assert_eq!(big.len(), SIZE),
        other => panic!("{other:?}"),
    }
    conn.ends();
    assert_eq!(figures(&mut admin, HOW), [1, 0, 0]);
}

on_servers!(FIVE, beside, a_blocked_connection_is_left_until_grace_ends);
fn a_blocked_connection_is_left_until_grace_ends(on: &'static str) {
    let server = Setup::of(on).module("grace 600").start();
    let mut admin = server.admin();
    admin.ok("XGROUP CREATE stream group $ MKSTREAM");
    let lines = [
        "BLPOP nothing 0",
        "XREADGROUP GROUP group me BLOCK 0 STREAMS stream >",
        "BRPOPLPUSH nothing other 0",
        "BZPOPMIN nothing 0",
    ];
    let mut conns = Vec::new();
    for line in lines {
        let mut conn = server.client();
        conn.start(&[line]);
        conns.push(conn);
    }
    wait_for_blocked(&mut admin, 4);
    admin.ok("CONFIG SET connage.maxage 400");
    for (conn, line) in conns.iter_mut().zip(lines) {
        assert_eq!(conn.reply(), Ok(Value::Nil), "{line}: as at its timeout");
        let at = conn.ends();
        assert!(at >= conn.before + ms(1000), "{line}: {:?}", at - conn.before);
    }
    assert_eq!(figures(&mut admin, HOW), [0, 4, 0]);
    assert_eq!(figure(&mut admin, "evicted_connections"), 4);
}

on_servers!(
    FIVE,
    beside,
    a_blocked_connection_that_is_served_within_grace_gets_its_reply
);
fn a_blocked_connection_that_is_served_within_grace_gets_its_reply(on: &'static str) {
    let server = Setup::of(on).module("grace 1h").start();
    let mut admin = server.admin();
    let mut conn = server.client();
    conn.start(&["BLPOP queue 0"]);
    wait_for_blocked(&mut admin, 1);
    admin.ok("CONFIG SET connage.maxage 1");
    wait_for_figure(&mut admin, "draining_connections", 1);
    std::thread::sleep(ms(300));
    admin.ok("RPUSH queue job");
    let reply = conn.reply().expect("the job");
    assert_eq!(reply.list()[1].text(), "job");
    conn.ends();
    assert_eq!(admin.run("LLEN queue").int(), 0);
    assert_eq!(figures(&mut admin, HOW), [1, 0, 0]);
}

on_servers!(FIVE, beside, grace_over_in_multi_closes_and_is_counted_as_forced);
fn grace_over_in_multi_closes_and_is_counted_as_forced(on: &'static str) {
    for (words, limit) in [("grace 500", 900), ("grace 0", 400), ("grace 1ms", 401)] {
        let server = Setup::of(on).module(words).start();
        let mut admin = server.admin();
        let mut conn = server.client();
        conn.ok("MULTI");
        conn.ok("INCR never");
        admin.ok("CONFIG SET connage.maxage 400");
        let age = conn.ends() - conn.before;
        assert!(age >= ms(limit), "{words}: {age:?}");
        assert_eq!(figures(&mut admin, HOW), [0, 0, 1], "{words}");
        assert_eq!(admin.run("GET never"), Value::Nil, "{words}");
    }
}

on_servers!(FIVE, beside, nobody_is_forced_while_clients_are_paused);
fn nobody_is_forced_while_clients_are_paused(on: &'static str) {
    let server = Setup::of(on).module("grace 200").start();
    let mut admin = server.admin();
    for pause in ["60000 WRITE", "1800 ALL"] {
        admin.ok("CONFIG SET connage.maxage 0");
        admin.ok("CONNAGE.CONFIG RESETSTAT");
        let mut multi = server.client();
        multi.ok("MULTI");
        let paused = Instant::now();
        // Together, so that no grace ends between them.
        admin.start(&["CONFIG SET connage.maxage 1", &format!("CLIENT PAUSE {pause}")]);
        for _ in 0..2 {
            assert_eq!(admin.reply().expect("a reply").text(), "OK");
        }
        multi.stays_until(paused + ms(1600));
        if pause.contains("WRITE") {
            assert_eq!(figures(&mut admin, HOW), [0, 0, 0], "{pause}");
            admin.ok("CLIENT UNPAUSE");
        }
        let at = multi.ends();
        assert!(at >= paused + ms(1600), "{pause}");
        wait_until("the pause to end", || figures(&mut admin, HOW) == [0, 0, 1]);
    }
}

on_servers!(
    FIVE,
    beside,
    what_a_pause_has_held_back_is_answered_once_it_is_executed
);
/// Past grace all of them; whoever is first to ask whether the pause is over ends it, and sets them going.
fn what_a_pause_has_held_back_is_answered_once_it_is_executed(on: &'static str) {
    let server = Setup::of(on).module("").start();
    let mut admin = server.admin();
    for round in 0..2 {
        admin.ok("CONNAGE.CONFIG SET maxage 0");
        let mut conns = server.clients(150);
        admin.ok("CONNAGE.CONFIG SET maxage 300 grace 50 jitter 90 rate 0");
        admin.ok("SET n 0");
        admin.ok("CLIENT PAUSE 700 ALL");
        for conn in &mut conns {
            conn.start(&["INCR n"]);
        }
        let mut answered = 0;
        for conn in &mut conns {
            while conn.reply().is_ok() {
                answered += 1;
            }
        }
        assert_eq!(admin.ok("GET n").int(), answered, "executed, in round {round}");
    }
}

on_servers!(FIVE, beside, a_pipeline_that_is_under_way_is_answered_whole);
/// Half a command is unparsed input: the rest may still come, and its reply.
fn a_pipeline_that_is_under_way_is_answered_whole(on: &'static str) {
    let server = Setup::of(on).module("grace 1h").start();
    let mut admin = server.admin();
    let cases = [
        ("within the header", "*2\r\n$4\r\nIN", "CR\r\n$4\r\nhalf\r\n"),
        ("between arguments", "*2\r\n$4\r\nINCR\r\n", "$4\r\nhalf\r\n"),
        ("within the last", "*2\r\n$4\r\nINCR\r\n$4\r\nha", "lf\r\n"),
    ];
    for (n, (title, first, rest)) in (1..).zip(cases) {
        admin.ok("CONFIG SET connage.maxage 0");
        let mut conn = server.client();
        conn.send_bytes(first.as_bytes()).expect("sent");
        admin.ok("CONFIG SET connage.maxage 1");
        conn.stays_for(ms(500));
        conn.send_bytes(rest.as_bytes()).expect("sent");
        assert_eq!(conn.reply(), Ok(Value::Int(n)), "{title}");
        conn.ends();
    }
    assert_eq!(figures(&mut admin, HOW), [3, 0, 0]);
}

on_servers!(
    FIVE,
    beside,
    a_command_that_comes_byte_by_byte_is_answered_and_then_its_client_goes
);
/// It is past its limit all the while, and its kernel has to send some bytes again: what holds back
/// the input of one that never pauses lets it go on after a moment.
fn a_command_that_comes_byte_by_byte_is_answered_and_then_its_client_goes(on: &'static str) {
    let server = Setup::of(on).module("grace 1m").start();
    let mut admin = server.admin();
    let mut conn = server.client();
    let value = "x".repeat(200);
    let command = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$200\r\n{value}\r\n");
    for (n, byte) in command.as_bytes().iter().enumerate() {
        conn.send_bytes(&[*byte]).expect("sent");
        if n == 0 {
            admin.ok("CONFIG SET connage.maxage 1");
        }
        std::thread::sleep(ms(10));
    }
    assert_eq!(conn.reply().expect("answered"), Value::Text("OK".into()));
    conn.ends();
    assert_eq!(figures(&mut admin, HOW), [1, 0, 0]);
    assert_eq!(admin.ok("GET k"), Value::Text(value.into()));
}

on_servers!(
    FIVE,
    beside,
    who_is_to_be_closed_after_a_reply_that_it_does_not_read_goes_when_grace_ends
);
/// The server itself waits for ever.
fn who_is_to_be_closed_after_a_reply_that_it_does_not_read_goes_when_grace_ends(on: &'static str) {
    let server = Setup::of(on).module("").start();
    let mut admin = server.admin();
    admin.ok("SETRANGE big 20000000 x");
    let mut conns = Vec::new();
    for last in ["*1\r\n$4\r\nQUIT\r\n", "*1\r\n$-5\r\n"].repeat(2) {
        let mut conn = Conn::open_with(&server.tcp(), Some(4096)).expect("connected");
        let id = conn.id();
        conn.start(&["GET big"]);
        conn.send_bytes(last.as_bytes()).expect("sent");
        conns.push((id, conn));
    }
    for (id, _) in &conns {
        wait_until("the server to know", || {
            let line = client_line(&mut admin, *id).expect("there");
            line.contains(" flags=c ")
        });
    }
    let asked = Instant::now();
    for (id, _) in &conns[..2] {
        assert_eq!(admin.ok(&format!("CONNAGE.KILL ID {id} GRACE 200")).int(), 1);
    }
    wait_for_figure(&mut admin, "evicted_forced", 2);
    assert!(asked.elapsed() >= ms(200), "{:?}", asked.elapsed());
    admin.ok("CONNAGE.CONFIG SET maxage 1 grace 200");
    wait_for_figure(&mut admin, "evicted_forced", 4);
    assert_eq!(figures(&mut admin, HOW), [0, 0, 4]);
}
