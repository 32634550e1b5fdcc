//! CONNAGE.SELF: a connection's own row, and the limit that it may give itself.

use crate::on_servers;
use crate::rows::{log, names, row, set_rules, Row};
use crate::support::conn::Conn;
use crate::support::resp::Value;
use crate::support::server::{figure, Setup};
use crate::support::{ms, wait_until};
use std::io::{Read, Write};
use std::net::TcpStream;

fn me(conn: &mut Conn, words: &str) -> Row {
    Row::of(&conn.ok(&format!("CONNAGE.SELF {words}")))
}

on_servers!(ALL, beside, it_answers_the_row_that_list_has);
fn it_answers_the_row_that_list_has(on: &'static str) {
    let server = Setup::of(on).module("maxage 1h jitter 50").start();
    let mut admin = server.admin();
    let mut conn = server.client();
    conn.ok("CLIENT SETNAME worker");
    let own = conn.ok("CONNAGE.SELF");
    let id = conn.id();
    let listed = admin.ok(&format!("CONNAGE.LIST ID {id}"));
    assert_eq!(names(&own), names(&listed.list()[0]));
    let (own, listed) = (Row::of(&own), Row::of(&listed.list()[0]));
    for name in [
        "addr", "laddr", "user", "name", "lib-name", "type", "flags", "rule", "state",
    ] {
        assert_eq!(own.text(name), listed.text(name), "{name}");
    }
    assert_eq!(own.int("id"), id);
    assert_eq!(own.int("limit-ms"), listed.int("limit-ms"), "jitter included");
    assert!(own.int("limit-ms") <= 3_600_000);
    let gap = listed.int("age-ms") - own.int("age-ms");
    assert!((0..10_000).contains(&gap), "{gap}");
}

on_servers!(ALL, beside, its_row_is_that_of_list_whatever_it_is);
fn its_row_is_that_of_list_whatever_it_is(on: &'static str) {
    let server = Setup::of(on).module("maxage 1h types both").start();
    let mut admin = server.admin();
    admin.ok("ACL SETUSER worker on nopass +@all");
    let has_setinfo = on != "redis-7.0";
    let cases: [(bool, &[&str]); 7] = [
        (false, &[]),
        (true, &[]),
        (
            false,
            &["CLIENT NO-EVICT on", "AUTH worker x", "CLIENT SETNAME n"],
        ),
        (true, &["HELLO 3", "CLIENT TRACKING on"]),
        (false, &["HELLO 3", "CLIENT TRACKING on bcast", "SUBSCRIBE x"]),
        (false, &["HELLO 3", "SUBSCRIBE x", "UNSUBSCRIBE x"]),
        (false, &["CLIENT SETINFO lib-name l", "CLIENT SETINFO lib-ver 1"]),
    ];
    for (unix, lines) in cases {
        if !has_setinfo && lines.iter().any(|line| line.contains("SETINFO")) {
            continue;
        }
        let address = if unix { server.unix() } else { server.tcp() };
        let mut conn = Conn::open(&address).expect("connected");
        // Asked before as well: what it has changed since is looked at anew, soon.
        let id = me(&mut conn, "").int("id");
        lines.iter().for_each(|line| drop(conn.ok(line)));
        let fields = [
            "addr", "laddr", "user", "name", "lib-name", "type", "flags", "rule", "state",
        ];
        let texts = |row: Row| fields.map(|name| row.text(name));
        let mut own = Vec::new();
        wait_until("the row that LIST has", || {
            own.push(texts(me(&mut conn, "")));
            own.last() == Some(&texts(row(&mut admin, id)))
        });
        // All but what only a look tells is so at once.
        let at_once = |row: &[String; 9]| [0, 2, 3, 5].map(|field| row[field].clone());
        let (first, last) = (own.first().expect("a row"), own.last().expect("a row"));
        assert_eq!(at_once(first), at_once(last), "{lines:?}");
    }
}

on_servers!(FIVE, beside, maps_are_maps_to_who_speaks_resp3);
/// And flat lists to the others: the bytes as they come.
fn maps_are_maps_to_who_speaks_resp3(on: &'static str) {
    let server = Setup::of(on).module("maxage 1h").start();
    let mut admin = server.admin();
    let mut gone = server.client();
    let id = gone.id();
    admin.ok(&format!("CONNAGE.KILL ID {id}"));
    gone.ends();
    let begin = |version: u8, line: &str, wanted: &str| {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port)).expect("connected");
        stream.set_read_timeout(Some(ms(5_000))).expect("a timeout");
        // ECHO's answer ends what HELLO says.
        let hello = format!("HELLO {version}\r\nECHO here-it-ends\r\n{line}\r\n");
        stream.write_all(hello.as_bytes()).expect("sent");
        let (mut seen, mut chunk) = (String::new(), [0; 4096]);
        let begin = loop {
            let got = stream.read(&mut chunk).expect("an answer");
            seen.push_str(&String::from_utf8_lossy(&chunk[..got]));
            if let Some((_, after)) = seen.split_once("here-it-ends\r\n") {
                if after.len() >= wanted.len() {
                    break after[..wanted.len()].to_string();
                }
            }
            assert!(got > 0, "the end came: {seen}");
        };
        assert_eq!(begin, wanted, "{line} with RESP{version}");
    };
    begin(2, "CONNAGE.SELF", "*28\r\n$2\r\nid\r\n:");
    begin(3, "CONNAGE.SELF", "%14\r\n$2\r\nid\r\n:");
    begin(3, "CONNAGE.SELF MAXAGE 1h", "%14\r\n$2\r\nid\r\n:");
    begin(2, "CONNAGE.LIST LIMIT 1", "*1\r\n*28\r\n$2\r\nid\r\n:");
    begin(3, "CONNAGE.LIST LIMIT 1", "*1\r\n%14\r\n$2\r\nid\r\n:");
    begin(2, "CONNAGE.LOG GET 1", "*1\r\n*26\r\n$3\r\nseq\r\n:");
    begin(3, "CONNAGE.LOG GET 1", "*1\r\n%13\r\n$3\r\nseq\r\n:");
    begin(
        2,
        "CONNAGE.CONFIG GET maxage",
        "*2\r\n$6\r\nmaxage\r\n$7\r\n3600000\r\n",
    );
    begin(
        3,
        "CONNAGE.CONFIG GET maxage",
        "%1\r\n$6\r\nmaxage\r\n$7\r\n3600000\r\n",
    );
}

on_servers!(FIVE, beside, its_own_limit_evicts_it_and_0_takes_that_back);
fn its_own_limit_evicts_it_and_0_takes_that_back(on: &'static str) {
    let server = Setup::of(on).module("").start();
    let mut admin = server.admin();
    let mut conn = server.client();
    let id = conn.id();
    assert_eq!(me(&mut conn, "").int("limit-ms"), 0);
    assert_eq!(me(&mut conn, "MAXAGE 2000").int("limit-ms"), 2000);
    let seen = row(&mut admin, id);
    assert_eq!(
        (seen.int("limit-ms"), seen.text("state").as_str()),
        (2000, "active")
    );
    // Not jittered, and from its birth on.
    let age = conn.ends() - conn.before;
    assert!(age >= ms(2000), "{age:?} after its birth");
    let why = &log(&mut admin)[0];
    assert_eq!((why.text("reason").as_str(), why.int("limit-ms")), ("self", 2000));

    let mut conn = server.client();
    me(&mut conn, "MAXAGE 1500ms");
    assert_eq!(me(&mut conn, "MAXAGE 0").int("limit-ms"), 0);
    conn.stays_until(conn.after + ms(1900));
    // One that is over already: at once, after its reply.
    assert_eq!(me(&mut conn, "maxage 1").int("limit-ms"), 1);
    conn.ends();
    assert_eq!(figure(&mut admin, "evicted_connections"), 2);
}

on_servers!(FIVE, beside, reset_takes_its_own_limit_back);
fn reset_takes_its_own_limit_back(on: &'static str) {
    let server = Setup::of(on).module("").start();
    let mut admin = server.admin();
    admin.ok("ACL SETUSER worker on nopass +@all");
    // A pool's: RESET was the last that it sent.
    let mut pooled = server.client();
    assert_eq!(me(&mut pooled, "MAXAGE 1500").int("limit-ms"), 1500);
    pooled.ok("RESET");
    // One with a name works on, and so does one that logs in anew, which keeps its limit.
    let mut working = Vec::new();
    for (before, after, limit) in [
        ("CLIENT SETNAME n", "RESET", 0),
        ("CLIENT SETNAME n", "AUTH worker x", 3_600_000),
        ("AUTH worker x", "AUTH default x", 3_600_000),
    ] {
        let mut conn = server.client();
        conn.ok(before);
        assert_eq!(me(&mut conn, "MAXAGE 1h").int("limit-ms"), 3_600_000);
        conn.ok(after);
        conn.ok("PING");
        assert_eq!(me(&mut conn, "").int("limit-ms"), limit, "{before}, {after}");
        working.push(conn);
    }
    // Asked for again, it holds again.
    assert_eq!(me(&mut working[0], "MAXAGE 700").int("limit-ms"), 700);
    working[0].ends();
    let end = pooled.after + ms(1_900);
    pooled.stays_until(end);
    assert_eq!(figure(&mut admin, "evicted_connections"), 1);
}

on_servers!(FIVE, beside, it_can_only_tighten);
fn it_can_only_tighten(on: &'static str) {
    let server = Setup::of(on).module("maxage 1h").start();
    let mut admin = server.admin();
    admin.ok("ACL SETUSER ops on nopass ~* &* +@all");
    set_rules(&mut admin, "ops: user=ops maxage=0");
    let mut conn = server.client();
    for (words, wanted) in [
        ("MAXAGE 2h", 3_600_000),
        ("MAXAGE 30m", 1_800_000),
        ("", 1_800_000),
        ("MAXAGE 90m", 3_600_000),
        ("MAXAGE 1d", 3_600_000),
        ("MAXAGE 0", 3_600_000),
    ] {
        assert_eq!(me(&mut conn, words).int("limit-ms"), wanted, "{words}");
    }
    // Its own counts where rules say none, and the settings' where these become tighter.
    me(&mut conn, "MAXAGE 45m");
    conn.ok("AUTH ops x");
    assert_eq!(me(&mut conn, "").int("limit-ms"), 2_700_000);
    conn.ok("AUTH default x");
    admin.ok("CONNAGE.CONFIG SET maxage 10m");
    assert_eq!(me(&mut conn, "").int("limit-ms"), 600_000);
    // A refused word changes nothing.
    for words in ["MAXAGE", "MAXAGE x", "MAXAGE -1", "MAXAGE 1m 2m", "LIMIT 5"] {
        assert!(conn.run(&format!("CONNAGE.SELF {words}")).is_error(), "{words}");
    }
    admin.ok("CONNAGE.CONFIG SET maxage 0");
    assert_eq!(me(&mut conn, "").int("limit-ms"), 2_700_000);
    // It is the connection's, and nobody else's.
    assert_eq!(me(&mut server.client(), "").int("limit-ms"), 0);
}

on_servers!(FIVE, beside, it_answers_inside_of_multi);
fn it_answers_inside_of_multi(on: &'static str) {
    let server = Setup::of(on).module("").start();
    let mut conn = server.client();
    conn.ok("MULTI");
    for line in ["CONNAGE.SELF MAXAGE 600", "CONNAGE.SELF", "INCR n"] {
        assert_eq!(conn.ok(line).text(), "QUEUED");
    }
    let replies = conn.ok("EXEC");
    let [first, second, number] = replies.list() else {
        panic!("{replies:?}");
    };
    assert_eq!(
        (Row::of(first).int("limit-ms"), Row::of(second).int("limit-ms")),
        (600, 600)
    );
    assert_eq!(*number, Value::Int(1));
    conn.ends();
    // A limit that is over already ends it after EXEC's reply, not in its midst.
    let mut conn = server.client();
    conn.stays_for(ms(20));
    conn.start(&["MULTI", "CONNAGE.SELF MAXAGE 1", "INCR n", "EXEC"]);
    for wanted in ["OK", "QUEUED", "QUEUED"] {
        assert_eq!(conn.reply().expect("a reply").text(), wanted);
    }
    let replies = conn.reply().expect("EXEC's reply");
    assert_eq!(replies.list()[1], Value::Int(2));
    conn.ends();
}

on_servers!(
    FIVE,
    beside,
    limits_that_clients_give_themselves_take_nothing_of_rate_nor_of_the_log
);
fn limits_that_clients_give_themselves_take_nothing_of_rate_nor_of_the_log(on: &'static str) {
    let server = Setup::of(on).module("rate 10 log-max-len 2").start();
    let mut admin = server.admin();
    let mut named = server.client();
    let id = named.id();
    // One after the other they go, for seconds.
    let mut churn = server.clients(60);
    for conn in &mut churn {
        conn.ok("CONNAGE.SELF MAXAGE 1");
    }
    assert_eq!(admin.ok(&format!("CONNAGE.KILL ID {id}")).int(), 1);
    named.ends();
    let gone = figure(&mut admin, "evicted_connections");
    assert!(gone < 60, "it did not wait for those that came before it");
    wait_until("more of them to go than the log keeps", || {
        figure(&mut admin, "evicted_connections") >= gone + 4
    });
    let reasons: Vec<String> = log(&mut admin).iter().map(|row| row.text("reason")).collect();
    assert_eq!(reasons, ["self", "command"]);
}
