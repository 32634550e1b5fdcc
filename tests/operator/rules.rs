//! Rules: the first that matches what a connection is *now* decides; what is bad changes
//! nothing; what a client says of itself can only tighten.

use crate::many::{connect, main_thread, roomy};
use crate::on_servers;
use crate::rows::{log, row, set, set_rules};
use crate::support::conn::{Address, Conn};
use crate::support::noise::beside;
use crate::support::server::{figure, info, setting, wait_for_figure, Server, Setup};
use crate::support::{ms, say, wait_until};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

fn users(admin: &mut Conn, names: &[&str]) {
    for name in names {
        admin.ok(&format!("ACL SETUSER {name} on nopass ~* &* +@all"));
    }
}

fn from(server: &Server, ip: [u8; 4]) -> Conn {
    let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, server.port);
    Conn::open(&Address::Between(Ipv4Addr::from(ip), to)).expect("connected")
}

/// Which rule a connection has, and which limit. `settings` are maxage 1h and no jitter.
const LIST: &str = "ci: user=ci-* maxage=10m; near: addr=127.0.1.0/24 name=etl-* maxage=2h; \
     home: addr=127.0.2.7 maxage=20m; ops: user=admin maxage=0; sock: laddr=unix user=cron maxage=3h; \
     named: name=Q[ab]? maxage=30m; loose: name=vip maxage=5h; never: name=me maxage=0; \
     kept: user=keep grace=1m; last: user=c* maxage=40m; subs: type=pubsub user=sub maxage=50m";

type Case = (&'static str, [u8; 4], &'static [&'static str], &'static str, i64);
const MINUTE: i64 = 60_000;
/// What is proved, where it comes from (0: the Unix socket), what it says, its rule, its limit.
const CASES: &[Case] = &[
    (
        "without a rule: the settings'",
        [127, 0, 0, 1],
        &[],
        "",
        60 * MINUTE,
    ),
    (
        "a user by a glob",
        [127, 0, 0, 1],
        &["AUTH ci-7 x"],
        "ci",
        10 * MINUTE,
    ),
    (
        "the first that matches, of two",
        [127, 0, 0, 1],
        &["AUTH ci-7 x", "CLIENT SETNAME Qaz"],
        "ci",
        10 * MINUTE,
    ),
    (
        "a later one, where the first does not match",
        [127, 0, 0, 1],
        &["AUTH cron x"],
        "last",
        40 * MINUTE,
    ),
    (
        "the socket, before a later one",
        [0; 4],
        &["AUTH cron x"],
        "sock",
        180 * MINUTE,
    ),
    (
        "a network and a name, both",
        [127, 0, 1, 200],
        &["CLIENT SETNAME etl-3"],
        "near",
        120 * MINUTE,
    ),
    (
        "a network without the name",
        [127, 0, 1, 200],
        &["CLIENT SETNAME other"],
        "",
        60 * MINUTE,
    ),
    (
        "a name without the network",
        [127, 0, 0, 1],
        &["CLIENT SETNAME etl-3"],
        "",
        60 * MINUTE,
    ),
    ("one address", [127, 0, 2, 7], &[], "home", 20 * MINUTE),
    ("its neighbour", [127, 0, 2, 8], &[], "", 60 * MINUTE),
    ("maxage=0 exempts", [127, 0, 0, 1], &["AUTH admin x"], "ops", 0),
    (
        "a name that tightens",
        [127, 0, 0, 1],
        &["CLIENT SETNAME Qaz"],
        "named",
        30 * MINUTE,
    ),
    (
        "a glob's class",
        [127, 0, 0, 1],
        &["CLIENT SETNAME Qcz"],
        "",
        60 * MINUTE,
    ),
    (
        "capitals count in names",
        [127, 0, 0, 1],
        &["CLIENT SETNAME qaz"],
        "",
        60 * MINUTE,
    ),
    (
        "a name that would loosen",
        [127, 0, 0, 1],
        &["CLIENT SETNAME vip"],
        "",
        60 * MINUTE,
    ),
    (
        "a name that would exempt",
        [127, 0, 0, 1],
        &["CLIENT SETNAME me"],
        "",
        60 * MINUTE,
    ),
    (
        "a name that would loosen what a later rule says",
        [127, 0, 0, 1],
        &["AUTH cq x", "CLIENT SETNAME vip"],
        "last",
        40 * MINUTE,
    ),
    (
        "what a rule leaves out is the settings'",
        [127, 0, 0, 1],
        &["AUTH keep x"],
        "kept",
        60 * MINUTE,
    ),
    (
        "a type",
        [127, 0, 0, 1],
        &["AUTH sub x", "SUBSCRIBE news"],
        "subs",
        50 * MINUTE,
    ),
    (
        "before it has the type",
        [127, 0, 0, 1],
        &["AUTH sub x"],
        "",
        60 * MINUTE,
    ),
];

on_servers!(FIVE, beside, the_first_that_matches_decides_and_says_so_in_list);
fn the_first_that_matches_decides_and_says_so_in_list(on: &'static str) {
    // Redis 7.0 takes 127.0.0.1 alone for its own machine.
    let server = Setup::of(on)
        .module("maxage 1h")
        .line("protected-mode no")
        .start();
    let mut admin = server.admin();
    users(&mut admin, &["ci-7", "cron", "admin", "keep", "sub", "cq"]);
    set(&mut admin, "types", "normal pubsub");
    set_rules(&mut admin, LIST);
    for (what, ip, lines, rule, limit) in CASES {
        let mut conn = match ip {
            [0, ..] => Conn::open(&server.unix()).expect("connected"),
            ip => from(&server, *ip),
        };
        let id = conn.id();
        for line in *lines {
            conn.ok(line);
        }
        let row = row(&mut admin, id);
        assert_eq!(
            (row.text("rule").as_str(), row.int("limit-ms")),
            (*rule, *limit),
            "{what}"
        );
        let state = if *limit == 0 { "exempt" } else { "active" };
        assert_eq!(row.text("state"), state, "{what}");
        let left = row.int("expires-in-ms");
        match limit {
            0 => assert_eq!(left, -1, "{what}"),
            limit => assert!((limit - MINUTE..=*limit).contains(&left), "{what}: {left}"),
        }
    }
}

on_servers!(
    FIVE,
    beside,
    a_rule_holds_for_the_type_that_it_names_whatever_types_says
);
fn a_rule_holds_for_the_type_that_it_names_whatever_types_says(on: &'static str) {
    let server = Setup::of(on)
        .module("rules mine: user=mine maxage=1h; subs: type=pubsub maxage=1h")
        .start();
    let mut admin = server.admin();
    users(&mut admin, &["mine"]);
    let mut ordinary = server.client();
    let mut exempt = server.client();
    exempt.ok("AUTH mine x");
    let mut subscriber = server.client();
    let ids = [ordinary.id(), exempt.id(), subscriber.id()];
    exempt.ok("SUBSCRIBE news");
    subscriber.ok("SUBSCRIBE news");
    let states = |admin: &mut Conn| ids.map(|id| row(admin, id).text("state"));
    // A rule that does not name the type leaves subscribers to `types`.
    assert_eq!(states(&mut admin), ["exempt", "exempt", "active"]);
    set_rules(
        &mut admin,
        "mine: user=mine maxage=200; subs: type=pubsub maxage=200",
    );
    subscriber.ends();
    assert_eq!(log(&mut admin)[0].text("reason"), "rule:subs");
    exempt.stays_for(ms(400));
    set(&mut admin, "types", "pubsub");
    exempt.ends();
    assert_eq!(log(&mut admin)[0].text("reason"), "rule:mine");
    ordinary.stays_for(ms(200));
    set_rules(&mut admin, "normal: type=normal maxage=200");
    ordinary.ends();
    assert_eq!(log(&mut admin)[0].text("reason"), "rule:normal");
}

/// Past the strict limit and exempt, then a change that ends that; from the change on.
#[track_caller]
fn goes_within(admin: &mut Conn, mut conn: Conn, line: &str, most: Duration) -> Duration {
    let (took, noise) = beside(|| {
        let changed = Instant::now();
        conn.ok(line);
        conn.ends().saturating_duration_since(changed)
    });
    assert!(
        took <= most + noise.max * 2,
        "{line}: it went after {took:?}, an idle thread {:?}",
        noise.max
    );
    assert_eq!(figure(admin, "healthy"), 1);
    took
}

on_servers!(FIVE, beside, after_auth_reset_or_setname_it_goes_within_a_second);
fn after_auth_reset_or_setname_it_goes_within_a_second(on: &'static str) {
    let server = Setup::of(on).module("").start();
    let mut admin = server.admin();
    users(&mut admin, &["app", "free"]);
    // 0.1 s are the machine's, to run the server and the test.
    let most = ms(1_000 + 100);
    for (rules, before, change, reason) in [
        ("app: user=app maxage=300", "PING", "AUTH app x", "rule:app"),
        (
            "anyone: user=default maxage=300",
            "AUTH free x",
            "RESET",
            "rule:anyone",
        ),
        (
            "slow: name=slow maxage=300",
            "PING",
            "CLIENT SETNAME slow",
            "rule:slow",
        ),
        (
            "free: user=free maxage=0; anyone: user=* maxage=300",
            "AUTH free x",
            "AUTH app x",
            "rule:anyone",
        ),
        (
            "mine: user=app name=slow maxage=300",
            "AUTH app x",
            "CLIENT SETNAME slow",
            "rule:mine",
        ),
    ] {
        let mut worst = Duration::ZERO;
        for _ in 0..3 {
            set_rules(&mut admin, "");
            let mut conn = server.client();
            conn.ok(before);
            set_rules(&mut admin, rules);
            conn.stays_until(conn.after + ms(500));
            worst = worst.max(goes_within(&mut admin, conn, change, most));
            assert_eq!(log(&mut admin)[0].text("reason"), reason, "{change}");
        }
        say(format!(
            "{on}: {change} into a stricter rule: gone after {worst:?} at most"
        ));
    }
}

on_servers!(
    FIVE,
    beside,
    after_a_change_of_type_or_library_it_goes_within_ten_seconds
);
fn after_a_change_of_type_or_library_it_goes_within_ten_seconds(on: &'static str) {
    let server = Setup::of(on).module("").start();
    let mut admin = server.admin();
    set(&mut admin, "types", "normal pubsub");
    set_rules(
        &mut admin,
        "old: lib=ancient* maxage=300; subs: type=pubsub maxage=300",
    );
    let mut changing = vec![(server.client(), "SUBSCRIBE news")];
    if admin.run("CLIENT SETINFO LIB-NAME x").is_error() {
        assert_eq!(on, "redis-7.0", "the only one that knows no libraries");
    } else {
        changing.push((server.client(), "CLIENT SETINFO LIB-NAME ancient-py"));
    }
    let mut other = server.client();
    other.stays_until(other.after + ms(500));
    let (took, noise) = beside(|| {
        let changed = Instant::now();
        for (conn, line) in &mut changing {
            conn.ok(line);
        }
        let ends = changing.iter_mut().map(|(conn, _)| conn.ends());
        ends.max().expect("one") - changed
    });
    say(format!("{on}: type or library changed: gone after {took:?}"));
    assert!(took <= ms(10_000 + 100) + noise.max * 2, "{took:?}");
    assert_eq!(other.run("PING").text(), "PONG");
    let reasons: Vec<String> = log(&mut admin).iter().map(|e| e.text("reason")).collect();
    assert!(reasons.contains(&"rule:subs".to_string()), "{reasons:?}");
    assert_eq!(reasons.len(), changing.len(), "{reasons:?}");
}

on_servers!(
    FIVE,
    beside,
    a_looser_rule_ends_the_draining_of_those_that_it_frees
);
fn a_looser_rule_ends_the_draining_of_those_that_it_frees(on: &'static str) {
    let server = Setup::of(on).module("grace 1h").start();
    let mut admin = server.admin();
    users(&mut admin, &["app"]);
    let mut busy = server.client();
    let id = busy.id();
    busy.ok("AUTH app x");
    busy.ok("MULTI");
    set(&mut admin, "maxage", "300");
    wait_until("it to drain", || row(&mut admin, id).text("state") == "draining");
    set_rules(&mut admin, "app: user=app maxage=1h");
    wait_for_figure(&mut admin, "draining_connections", 0);
    busy.ok("EXEC");
    busy.stays_for(ms(400));
    assert_eq!(row(&mut admin, id).int("limit-ms"), 60 * MINUTE);
    set_rules(&mut admin, "app: user=app maxage=0");
    assert_eq!(row(&mut admin, id).text("state"), "exempt");
    set_rules(&mut admin, "");
    busy.ends();
}

on_servers!(FIVE, beside, config_rewrite_and_a_restart_give_the_same_rules);
/// However they came: the server writes what loadmodule was given back without quotes.
fn config_rewrite_and_a_restart_give_the_same_rules(on: &'static str) {
    const GIVEN: &str = "ci: user=ci-* maxage=10m; net: addr=10.1.0.0/16 name=a\\*[^x-z]? maxage=2h grace=1m";
    const SAID: &str =
        "ci: user=ci-* maxage=600000; net: name=a\\*[^x-z]? addr=10.1.0.0/16 maxage=7200000 grace=60000";
    let setups = [
        Setup::of(on).module(&format!("maxage 1h rules {GIVEN}")),
        Setup::of(on)
            .module("maxage 1h")
            .line(&format!("connage.rules \"{}\"", GIVEN.replace('\\', "\\\\"))),
        Setup::of(on).module("maxage 1h"),
    ];
    for (way, setup) in setups.into_iter().enumerate() {
        let mut server = setup.start();
        if way == 2 {
            set_rules(&mut server.admin(), GIVEN);
        }
        for round in 0..2 {
            let mut admin = server.admin();
            assert_eq!(
                setting(&mut admin, "connage.rules"),
                SAID,
                "way {way}, round {round}"
            );
            assert_eq!(setting(&mut admin, "connage.maxage"), "3600000");
            admin.ok("CONFIG REWRITE");
            server = server.restart();
        }
        // Others, at run time, over those that loadmodule gave; and none.
        for rules in ["ops: user=admin maxage=0", ""] {
            let mut admin = server.admin();
            set_rules(&mut admin, rules);
            admin.ok("CONFIG REWRITE");
            server = server.restart();
            let now = setting(&mut server.admin(), "connage.rules");
            assert_eq!(now, rules, "way {way}: {}", server.file("conf"));
        }
    }
}

/// A list, and what the refusal has to say: which rule, which word.
const REFUSED: [(&str, &[&str]); 25] = [
    ("ci user=x maxage=1m", &["rule 1", "'ci'", "label"]),
    (": user=x", &["rule 1", "''", "label"]),
    ("a: user=x; b c: user=y", &["rule 2", "'b'"]),
    ("a b: user=x", &["rule 1", "'a'"]),
    ("sm\u{f6}r: user=x", &["rule 1", "'sm\u{f6}r'"]),
    ("a: user=x; a: user=y", &["'a'", "label"]),
    ("a: maxage=5x", &["rule 'a'", "maxage", "'5x'"]),
    ("a: maxage=-1", &["rule 'a'", "maxage", "'-1'"]),
    ("a: maxage=1.5s", &["rule 'a'", "maxage", "'1.5s'"]),
    ("a: maxage=", &["rule 'a'", "maxage"]),
    ("a: maxage", &["rule 'a'", "'maxage'"]),
    (
        "a: maxage=99999999999999999999",
        &["rule 'a'", "maxage", "too long"],
    ),
    (
        "ok: user=x maxage=1m; b: jitter=91",
        &["rule 'b'", "jitter", "'91'"],
    ),
    ("a: grace=x", &["rule 'a'", "grace", "'x'"]),
    ("a: rate=5", &["rule 'a'", "'rate=5'"]),
    ("a: foo=bar", &["rule 'a'", "'foo=bar'"]),
    ("a: user=x user=y", &["rule 'a'", "user", "twice"]),
    ("a: maxage=1m maxage=2m", &["rule 'a'", "maxage", "twice"]),
    ("a: user=", &["rule 'a'", "user", "empty"]),
    ("a: addr=10.1.0.0/33", &["rule 'a'", "addr", "'10.1.0.0/33'"]),
    ("a: addr=localhost", &["rule 'a'", "addr", "'localhost'"]),
    ("a: laddr=10.1", &["rule 'a'", "laddr", "'10.1'"]),
    ("a: type=replica", &["rule 'a'", "type", "'replica'"]),
    ("a: type=martian", &["rule 'a'", "type", "'martian'"]),
    ("a: name=it's", &["rule 'a'", "name", "'it's'"]),
];

on_servers!(
    FIVE,
    beside,
    a_bad_rule_refuses_the_list_names_the_word_and_changes_nothing
);
fn a_bad_rule_refuses_the_list_names_the_word_and_changes_nothing(on: &'static str) {
    let server = Setup::of(on)
        .module("maxage 1h rules keep: user=default maxage=30m")
        .start();
    let mut admin = server.admin();
    let mut conn = server.client();
    let id = conn.id();
    let held = setting(&mut admin, "connage.rules");
    assert_eq!(held, "keep: user=default maxage=1800000");
    for (rules, words) in REFUSED {
        for command in [
            ["CONNAGE.CONFIG", "SET", "rules"],
            ["CONFIG", "SET", "connage.rules"],
        ] {
            let reply = admin.call(&[&command[..], &[rules]].concat());
            let error = reply.error().to_string();
            for word in words {
                assert!(error.contains(word), "{rules}: {word} in: {error}");
            }
            assert_eq!(setting(&mut admin, "connage.rules"), held, "{rules}");
            assert_eq!(row(&mut admin, id).int("limit-ms"), 30 * MINUTE, "{rules}");
        }
    }
    // With a good setting beside it, neither is taken.
    let reply = admin.call(&["CONNAGE.CONFIG", "SET", "maxage", "2h", "rules", "a: b"]);
    assert!(reply.error().contains("rule 'a'"), "{reply:?}");
    assert_eq!(setting(&mut admin, "connage.maxage"), "3600000");
    // At load too: the log says why.
    let log = match Setup::of(on)
        .module("maxage 1h rules ci: user=x maxage=5x")
        .try_start()
    {
        Err(log) => log,
        Ok(_) => panic!("loaded with a bad rule"),
    };
    assert!(log.contains("rules: rule 'ci': maxage: '5x'"), "{log}");
}

/// The share of a core that it took meanwhile.
fn share(server: &Server, time: Duration) -> f64 {
    let (begin, before) = (Instant::now(), main_thread(server));
    std::thread::sleep(time);
    (main_thread(server) - before) as f64 / begin.elapsed().as_nanos() as f64
}

on_servers!(
    FIVE,
    alone,
    rechecks_of_ten_thousand_exempt_connections_take_a_hundredth_of_a_core
);
/// The main thread's time with rules that exempt them all, less its time without.
fn rechecks_of_ten_thousand_exempt_connections_take_a_hundredth_of_a_core(on: &'static str) {
    let server = roomy(on, "");
    let mut admin = server.admin();
    let streams = connect(&server, &mut admin);
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        set(&mut admin, "maxage", "0"); // first: without rules it would evict them
        set_rules(&mut admin, "");
        without.push(share(&server, ms(4_000)));
        set_rules(
            &mut admin,
            "all: user=default maxage=0; old: lib=ancient maxage=1s; app: user=app maxage=1s",
        );
        set(&mut admin, "maxage", "1s");
        // One and a half rounds of each kind, after all have been looked at once.
        wait_until("all to have been found exempt", || {
            figure(&mut admin, "backlog_connections") == 0 && figure(&mut admin, "next_expiry_in_ms") == -1
        });
        with.push(share(&server, ms(13_500)));
    }
    let median = |values: &mut Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let (with, without) = (median(&mut with), median(&mut without));
    let info = info(&mut admin, "connage");
    say(format!(
        "{on}: 10,000 exempt connections: {:.2}% of a core with rules, {:.2}% without; a round each {} ms",
        with * 100.0,
        without * 100.0,
        info["connage_recheck_period_ms"]
    ));
    assert_eq!(info["connage_evicted_connections"], 0);
    // A tenth of it is the measurement's.
    assert!(with - without <= 0.011, "{with} with rules, {without} without");
    drop(streams);
}
