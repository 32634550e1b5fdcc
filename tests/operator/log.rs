//! CONNAGE.LOG: which connections went, why, and how; and what the server's log says.

use crate::on_servers;
use crate::rows::{log, names, set_rules, wall_ms, Row};
use crate::support::conn::Conn;
use crate::support::resp::Value;
use crate::support::server::{client_line, wait_for_blocked, wait_for_figure, Server, Setup};
use crate::support::{ms, wait_until};

const FIELDS: [&str; 13] = [
    "seq",
    "time-ms",
    "id",
    "addr",
    "laddr",
    "user",
    "name",
    "type",
    "age-ms",
    "limit-ms",
    "reason",
    "how",
    "waited-ms",
];

/// An entry for each reason and each way to go.
#[track_caller]
fn entry_of(admin: &mut Conn, id: i64) -> Row {
    let entries = log(admin);
    let entry = entries.iter().find(|entry| entry.int("id") == id);
    entry
        .cloned()
        .unwrap_or_else(|| panic!("no entry of {id} in {entries:?}"))
}

on_servers!(FIVE, beside, an_entry_says_who_went_why_and_how);
fn an_entry_says_who_went_why_and_how(on: &'static str) {
    let server = Setup::of(on).module("grace 300").start();
    let mut admin = server.admin();
    admin.ok("ACL SETUSER ci-1 on nopass ~* &* +@all");
    // What it does, why it then goes, and how.
    let cases: [(&[&str], &str, &str, i64); 5] = [
        (&["AUTH ci-1 x", "CLIENT SETNAME build"], "rule:ci", "quiet", 500),
        (&["CONNAGE.SELF MAXAGE 1500"], "self", "quiet", 1500),
        (&["CONNAGE.SELF MAXAGE 1500", "MULTI"], "self", "forced", 1500),
        (&["AUTH ci-1 x", "BLPOP nothing 0"], "rule:ci", "blocked", 500),
        (&["AUTH ci-1 x", "WATCH k"], "rule:ci", "forced", 500),
    ];
    for (lines, reason, how, limit) in cases {
        set_rules(&mut admin, "");
        let began = wall_ms();
        let mut conn = server.client();
        let id = conn.id();
        for line in lines {
            if line.starts_with("BLPOP") {
                conn.start(&[line]);
            } else {
                conn.ok(line);
            }
        }
        if how == "blocked" {
            wait_for_blocked(&mut admin, 1);
        }
        let line = client_line(&mut admin, id).expect("there");
        set_rules(&mut admin, "ci: user=ci-* maxage=500");
        if how == "blocked" {
            assert_eq!(conn.reply(), Ok(Value::Nil));
        }
        conn.ends();
        wait_until("the entry", || {
            log(&mut admin).iter().any(|entry| entry.int("id") == id)
        });
        let entry = entry_of(&mut admin, id);
        assert_eq!(
            (entry.text("reason").as_str(), entry.text("how").as_str()),
            (reason, how),
            "{lines:?}"
        );
        assert_eq!(entry.int("limit-ms"), limit, "{lines:?}");
        assert!(entry.int("age-ms") >= limit, "{entry:?}");
        assert!((began..=wall_ms()).contains(&entry.int("time-ms")), "{entry:?}");
        for name in ["addr", "laddr", "user", "name"] {
            let wanted = format!(" {name}={} ", entry.text(name));
            assert!(line.contains(&wanted), "{wanted} in {line}");
        }
        assert_eq!(entry.text("type"), "normal");
        let waited = entry.int("waited-ms");
        let least = if how == "quiet" { 0 } else { 300 };
        assert!(waited >= least, "{entry:?}");
    }
    // By the setting, and by command.
    admin.ok("CONNAGE.CONFIG SET maxage 300");
    let mut conn = server.client();
    let id = conn.id();
    conn.ends();
    assert_eq!(entry_of(&mut admin, id).text("reason"), "maxage");
    admin.ok("CONNAGE.CONFIG SET maxage 0");
    let mut conn = server.client();
    let id = conn.id();
    assert_eq!(admin.ok(&format!("CONNAGE.KILL ID {id}")).int(), 1);
    conn.ends();
    let entry = entry_of(&mut admin, id);
    assert_eq!(
        (entry.text("reason").as_str(), entry.int("limit-ms")),
        ("command", 0)
    );
}

fn evict(server: &Server, admin: &mut Conn, many: usize) {
    let mut conns = server.clients(many);
    let first = conns[0].id();
    let ids: Vec<String> = (0..many as i64).map(|n| (first + n).to_string()).collect();
    assert_eq!(
        admin.ok(&format!("CONNAGE.KILL ID {}", ids.join(" "))).int(),
        many as i64
    );
    for conn in &mut conns {
        conn.ends();
    }
}

on_servers!(FIVE, beside, it_is_asked_as_slowlog_is);
fn it_is_asked_as_slowlog_is(on: &'static str) {
    let server = Setup::of(on).module("log-max-len 20").start();
    let mut admin = server.admin();
    assert_eq!(admin.ok("CONNAGE.LOG LEN").int(), 0);
    assert_eq!(admin.ok("CONNAGE.LOG GET"), Value::List(vec![]));
    evict(&server, &mut admin, 15);
    assert_eq!(admin.ok("CONNAGE.LOG LEN").int(), 15);
    for (line, wanted) in [
        ("CONNAGE.LOG GET", 10),
        ("CONNAGE.LOG GET 3", 3),
        ("connage.log get 100", 15),
        ("CONNAGE.LOG GET -1", 15),
        ("CONNAGE.LOG GET 0", 0),
    ] {
        assert_eq!(admin.ok(line).list().len(), wanted, "{line}");
    }
    let reply = admin.ok("CONNAGE.LOG GET 1");
    assert_eq!(names(&reply.list()[0]), FIELDS);
    let seqs: Vec<i64> = log(&mut admin).iter().map(|entry| entry.int("seq")).collect();
    assert_eq!(
        seqs,
        (0..15).rev().collect::<Vec<i64>>(),
        "newest first, numbered without gaps"
    );
    // The oldest make room, a shorter log forgets at once, and numbers go on.
    evict(&server, &mut admin, 10);
    assert_eq!(admin.ok("CONNAGE.LOG LEN").int(), 20);
    admin.ok("CONNAGE.CONFIG SET log-max-len 5");
    let seqs: Vec<i64> = log(&mut admin).iter().map(|entry| entry.int("seq")).collect();
    assert_eq!(seqs, [24, 23, 22, 21, 20]);
    assert_eq!(admin.ok("CONNAGE.LOG RESET").text(), "OK");
    assert_eq!(admin.ok("CONNAGE.LOG LEN").int(), 0);
    evict(&server, &mut admin, 1);
    assert_eq!(log(&mut admin)[0].int("seq"), 25);
    admin.ok("CONNAGE.CONFIG SET log-max-len 0");
    evict(&server, &mut admin, 2);
    assert_eq!(admin.ok("CONNAGE.LOG LEN").int(), 0);
    let help = format!("{:?}", admin.ok("CONNAGE.LOG HELP"));
    for word in ["GET [<count>]", "LEN", "RESET", "HELP"] {
        assert!(help.contains(word), "{word} in {help}");
    }
}

on_servers!(
    FIVE,
    beside,
    the_servers_log_has_a_verbose_line_each_and_one_notice_a_second
);
fn the_servers_log_has_a_verbose_line_each_and_one_notice_a_second(on: &'static str) {
    let server = Setup::of(on).module("").start();
    let mut admin = server.admin();
    for round in 1..=4 {
        evict(&server, &mut admin, 10);
        wait_for_figure(&mut admin, "evicted_connections", 10 * round);
        admin.stays_for(ms(300));
    }
    let notices = |server: &Server| -> Vec<(String, i64)> {
        let log = server.log();
        let told = log.lines().filter_map(|line| {
            let (head, rest) = line.split_once("<connage> evicted ")?;
            let (many, _) = rest.split_once(" connection(s): ")?;
            // "123:M 22 Nov 2026 19:35:08.123 * "
            let time = head.split(' ').find(|word| word.matches(':').count() == 2);
            assert!(head.ends_with("* "), "a notice: {line}");
            Some((time.expect("a time").to_string(), many.parse().expect("a number")))
        });
        told.collect()
    };
    wait_until("all to be summed up", || {
        notices(&server).iter().map(|(_, many)| many).sum::<i64>() == 40
    });
    let seconds: Vec<f64> = notices(&server)
        .iter()
        .map(|(time, _)| {
            time.split(':').fold(0.0, |all, part| {
                all * 60.0 + part.parse::<f64>().expect("a number")
            })
        })
        .collect();
    for pair in seconds.windows(2) {
        let apart = (pair[1] - pair[0]).rem_euclid(86_400.0 + 3_600.0);
        assert!(apart >= 0.99, "two notices within a second: {seconds:?}");
    }
    let log = server.log();
    let each: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("<connage> evicted id="))
        .collect();
    assert_eq!(each.len(), 40);
    for word in ["- <connage>", " user=default ", " reason=command ", " how=quiet "] {
        assert!(
            each.iter().all(|line| line.contains(word)),
            "{word} in {}",
            each[0]
        );
    }
}
