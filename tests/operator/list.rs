//! CONNAGE.LIST: whole rows, oldest first, and what they cost.

use crate::many::{connect, main_thread, roomy, MANY};
use crate::on_servers;
use crate::rows::{listed, names, row, rows, Row};
use crate::support::conn::Conn;
use crate::support::server::{Server, Setup};
use crate::support::{ms, say, wait_until};
use std::io::{Read, Write};
use std::net::TcpStream;

const FIELDS: [&str; 14] = [
    "id",
    "addr",
    "laddr",
    "user",
    "name",
    "lib-name",
    "type",
    "flags",
    "age-ms",
    "idle-ms",
    "limit-ms",
    "expires-in-ms",
    "rule",
    "state",
];

on_servers!(ALL, beside, a_row_says_what_the_server_says_and_the_limit);
fn a_row_says_what_the_server_says_and_the_limit(on: &'static str) {
    let server = Setup::of(on).module("maxage 1h jitter 50").start();
    let mut admin = server.admin();
    let mut conn = server.client();
    let id = conn.id();
    conn.ok("CLIENT SETNAME worker");
    conn.run("CLIENT SETINFO LIB-NAME somelib");
    let reply = admin.ok(&format!("CONNAGE.LIST ID {id}"));
    assert_eq!(names(&reply.list()[0]), FIELDS);
    let line = admin.ok(&format!("CLIENT LIST ID {id}")).text();
    let field = |name: &str| {
        let start = format!("{name}=");
        let field = line
            .trim()
            .split(' ')
            .find_map(|field| field.strip_prefix(start.as_str()));
        field.unwrap_or_default().to_string()
    };
    let row = row(&mut admin, id);
    for name in ["addr", "laddr", "user", "name", "lib-name", "flags"] {
        assert_eq!(row.text(name), field(name), "{name}");
    }
    assert_eq!(row.text("type"), "normal");
    assert_eq!(row.text("rule"), "");
    assert_eq!(row.text("state"), "active");
    let (age, limit, left) = (row.int("age-ms"), row.int("limit-ms"), row.int("expires-in-ms"));
    assert!((0..20_000).contains(&age), "{age}");
    assert!(
        (1_800_000..=3_600_000).contains(&limit),
        "half of an hour of jitter: {limit}"
    );
    assert!(
        (limit - age - 1..=limit - age + 1).contains(&left),
        "{limit} - {age}: {left}"
    );
    // The same limit whenever it is asked.
    assert_eq!(crate::rows::row(&mut admin, id).int("limit-ms"), limit);
}

on_servers!(ALL, beside, a_row_among_many_is_the_same_as_alone);
fn a_row_among_many_is_the_same_as_alone(on: &'static str) {
    let server = Setup::of(on).module("maxage 1h jitter 50").start();
    let mut admin = server.admin();
    admin.ok("CLIENT SETNAME operator");
    let mut conns = server.clients(100);
    for (number, conn) in conns.iter_mut().enumerate() {
        conn.ok(&format!("CLIENT SETNAME worker-{number}"));
    }
    let many = admin.ok("CONNAGE.LIST NOT-NAME operator");
    assert_eq!(many.list().len(), conns.len());
    for map in many.list() {
        assert_eq!(names(map), FIELDS);
        let among = Row::of(map);
        let alone = row(&mut admin, among.int("id"));
        for name in [
            "addr", "laddr", "user", "name", "lib-name", "type", "flags", "rule", "state",
        ] {
            assert_eq!(among.text(name), alone.text(name), "{name}");
        }
        assert_eq!(among.int("limit-ms"), alone.int("limit-ms"));
        assert!(among.int("age-ms") <= alone.int("age-ms"));
        assert!(among.int("expires-in-ms") >= alone.int("expires-in-ms"));
    }
}

on_servers!(FIVE, beside, rows_come_oldest_first_and_limit_takes_the_oldest);
fn rows_come_oldest_first_and_limit_takes_the_oldest(on: &'static str) {
    let server = Setup::of(on).module("").start();
    let mut admin = server.admin();
    let mut conns = server.clients(30);
    let ids: Vec<i64> = conns.iter_mut().map(Conn::id).collect();
    conns[4].ok("CLIENT SETNAME x");
    conns[9].ok("CLIENT SETNAME x");
    conns[11].ok("CLIENT SETNAME x");
    let all = listed(&mut admin, "");
    assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "{all:?}");
    assert!(ids.iter().all(|id| all.contains(id)));
    for (filter, wanted) in [
        ("LIMIT 1".into(), all[..1].to_vec()),
        ("LIMIT 7".into(), all[..7].to_vec()),
        ("LIMIT 1000".into(), all.clone()),
        ("NAME x LIMIT 2".into(), vec![ids[4], ids[9]]),
        ("LIMIT 2 NAME x".into(), vec![ids[4], ids[9]]),
        ("MAXAGE 1ms LIMIT 3".into(), all[..3].to_vec()),
        (
            format!("ID {} {} {} LIMIT 2", ids[20], ids[3], ids[3]),
            vec![ids[3], ids[20]],
        ),
        ("NAME nobody LIMIT 2".into(), vec![]),
    ] {
        let filter: String = filter;
        assert_eq!(listed(&mut admin, &filter), wanted, "{filter}");
    }
    // Those that have gone make room for the next.
    drop(conns.drain(..10));
    wait_until("ten to be gone", || {
        listed(&mut admin, "").len() == all.len() - 10
    });
    assert_eq!(listed(&mut admin, "LIMIT 4").len(), 4);
}

on_servers!(FIVE, beside, state_tells_active_draining_and_exempt);
fn state_tells_active_draining_and_exempt(on: &'static str) {
    let server = Setup::of(on).module("maxage 400 grace 1h").start();
    let mut admin = server.admin();
    let me = admin.id();
    assert_eq!(row(&mut admin, me).text("state"), "exempt", "CLIENT NO-EVICT");
    let mut busy = server.client();
    let busy_id = busy.id();
    busy.ok("MULTI");
    assert_eq!(row(&mut admin, busy_id).text("state"), "active");
    wait_until("it to drain", || {
        row(&mut admin, busy_id).text("state") == "draining"
    });
    let left = row(&mut admin, busy_id);
    assert_eq!(left.int("expires-in-ms"), 0);
    assert!(left.int("age-ms") >= 400);
    busy.ok("EXEC");
    busy.ends();
    let mut subscriber = server.client();
    let id = subscriber.id();
    subscriber.ok("SUBSCRIBE news");
    let seen = row(&mut admin, id);
    assert_eq!(
        (seen.text("state").as_str(), seen.int("expires-in-ms")),
        ("exempt", -1)
    );
    assert_eq!(seen.text("type"), "pubsub");
    drop(subscriber);
    // Who will go next: the one with the least left.
    let conns = server.clients(3);
    let left: Vec<i64> = rows(&mut admin, "CONNAGE.LIST TYPE normal LIMIT 4")
        .iter()
        .filter(|row| row.text("state") == "active")
        .map(|row| row.int("expires-in-ms"))
        .collect();
    assert!(left.windows(2).all(|pair| pair[0] <= pair[1]), "{left:?}");
    drop(conns);
}

/// Asks, and reads the megabytes that come without looking at them.
fn skim(stream: &mut TcpStream, line: &str) {
    const END: &[u8] = b"$8\r\nit-ended\r\n";
    stream
        .write_all(format!("{line}\r\nECHO it-ended\r\n").as_bytes())
        .expect("sent");
    let (mut tail, mut chunk) = (Vec::new(), vec![0; 1 << 16]);
    while !tail.ends_with(END) {
        let got = stream.read(&mut chunk).expect("more");
        assert!(got > 0, "{line}: the end came");
        tail.extend_from_slice(&chunk[..got]);
        tail.drain(..tail.len().saturating_sub(END.len()));
    }
}

/// The median of rounds: µs of the server's main thread for each line, its reply included.
/// What else the machine runs meanwhile is not in it, and rounds are interleaved.
fn cost<const N: usize>(server: &Server, lines: [&str; N]) -> [u64; N] {
    let mut taken = [(); N].map(|()| Vec::new());
    let mut asking = TcpStream::connect(("127.0.0.1", server.port)).expect("connected");
    for _ in 0..15 {
        for (place, line) in lines.iter().enumerate() {
            let before = main_thread(server);
            skim(&mut asking, line);
            taken[place].push((main_thread(server) - before) / 1_000);
        }
    }
    taken.map(|mut times| {
        times.sort_unstable();
        times[times.len() / 2]
    })
}

on_servers!(
    FIVE,
    alone,
    list_of_ten_thousand_takes_at_most_two_and_a_half_times_client_list
);
fn list_of_ten_thousand_takes_at_most_two_and_a_half_times_client_list(on: &'static str) {
    let server = roomy(
        on,
        "maxage 1h jitter 10 rules ci: user=ci-* maxage=10m; me: name=me maxage=5m",
    );
    let mut admin = server.admin();
    let streams = connect(&server, &mut admin);
    let [theirs, all, hundred, named] = cost(
        &server,
        [
            "CLIENT LIST",
            "CONNAGE.LIST",
            "CONNAGE.LIST LIMIT 100",
            "CONNAGE.LIST NAME nobody",
        ],
    );
    say(format!(
        "{on}: of {MANY}: CLIENT LIST {theirs} µs, CONNAGE.LIST {all} µs ({:.2} times), LIMIT 100 {hundred} µs, \
         NAME nobody {named} µs",
        all as f64 / theirs as f64
    ));
    assert!(all * 10 <= theirs * 25, "{all} µs, CLIENT LIST {theirs} µs");
    // A hundredth of the rows; the rest is what the server's own look costs on Valkey 9.
    assert!(hundred * 10 <= all, "{hundred} µs of {all} µs");
    assert!(named <= all, "{named} µs of {all} µs");
    drop(streams);
}

on_servers!(FIVE, beside, list_answers_inside_of_multi_and_never_to_a_script);
fn list_answers_inside_of_multi_and_never_to_a_script(on: &'static str) {
    let server = Setup::of(on).module("").start();
    let mut admin = server.admin();
    // The connection that saw the server start may be on its way out.
    wait_until("it to be alone", || admin.ok("CONNAGE.LIST").list().len() == 1);
    admin.ok("MULTI");
    admin.ok("CONNAGE.LIST");
    let reply = admin.ok("EXEC");
    assert_eq!(reply.list()[0].list().len(), 1);
    for command in ["LIST", "SELF", "KILL", "LOG LEN", "CONFIG GET *"] {
        let call = format!("return redis.call('CONNAGE.{}')", command.replace(' ', "','"));
        let reply = admin.call(&["EVAL", &call, "0"]);
        assert!(
            reply.error().contains("not allowed from script"),
            "{command}: {reply:?}"
        );
    }
    admin.stays_for(ms(20));
}
