//! Settings: four ways to give them, one store behind; what is bad changes nothing.

use crate::on_servers;
use crate::support::conn::Conn;
use crate::support::server::{figure, setting, Setup};

const DEFAULTS: [(&str, &str); 8] = [
    ("enabled", "yes"),
    ("maxage", "0"),
    ("jitter", "0"),
    ("grace", "5000"),
    ("rate", "1000"),
    ("types", "normal"),
    ("dry-run", "no"),
    ("log-max-len", "128"),
];

/// What each way of asking says; they must agree.
#[track_caller]
fn get(conn: &mut Conn, name: &str) -> String {
    let mine = conn.call(&["CONNAGE.CONFIG", "GET", name]);
    let theirs = setting(conn, &format!("connage.{name}"));
    match mine.list() {
        [n, value] => {
            assert_eq!(n.text(), name);
            assert_eq!(value.text(), theirs, "{name}");
        }
        other => panic!("CONNAGE.CONFIG GET {name}: {other:?}"),
    }
    theirs
}

fn all(conn: &mut Conn) -> Vec<String> {
    DEFAULTS.iter().map(|(name, _)| get(conn, name)).collect()
}

on_servers!(ALL, beside, the_defaults_are_those_of_the_manual);
fn the_defaults_are_those_of_the_manual(on: &'static str) {
    let server = Setup::of(on).module("").start();
    let mut admin = server.admin();
    for (name, default) in DEFAULTS {
        assert_eq!(get(&mut admin, name), default, "{name}");
    }
    assert_eq!(figure(&mut admin, "enabled"), 1);
    assert_eq!(figure(&mut admin, "grace_ms"), 5000);
}

/// A setting's name, what is given, and what is then said.
const GIVEN: [(&str, &str, &str); 16] = [
    ("enabled", "no", "no"),
    ("maxage", "90000", "90000"),
    ("maxage", "300000ms", "300000"),
    ("maxage", "300s", "300000"),
    ("maxage", "5m", "300000"),
    ("maxage", "2h", "7200000"),
    ("maxage", "1d", "86400000"),
    ("maxage", "0", "0"),
    ("jitter", "90", "90"),
    ("jitter", "0", "0"),
    ("grace", "0", "0"),
    ("grace", "1m", "60000"),
    ("rate", "0", "0"),
    ("rate", "20000", "20000"),
    ("dry-run", "yes", "yes"),
    ("log-max-len", "7", "7"),
];

const REFUSED: [(&str, &str); 17] = [
    ("enabled", "maybe"),
    ("maxage", "-1"),
    ("maxage", "1.5s"),
    ("maxage", "5x"),
    ("maxage", "s"),
    ("maxage", "99999999999999999999"),
    ("maxage", "999999999999999d"),
    ("jitter", "91"),
    ("jitter", "-1"),
    ("jitter", "x"),
    ("grace", "-5s"),
    ("rate", "-1"),
    ("rate", "fast"),
    ("types", "replica"),
    ("types", "master"),
    ("dry-run", "2"),
    ("log-max-len", "-1"),
];

on_servers!(FIVE, beside, every_way_takes_every_value_and_says_it_alike);
fn every_way_takes_every_value_and_says_it_alike(on: &'static str) {
    let server = Setup::of(on).module("").start();
    let mut admin = server.admin();
    for (name, given, said) in GIVEN {
        for way in ["CONFIG SET connage.", "CONNAGE.CONFIG SET "] {
            admin.ok("CONNAGE.CONFIG SET enabled yes maxage 1h jitter 3 grace 3s rate 3");
            admin.ok("CONNAGE.CONFIG SET dry-run no log-max-len 3");
            admin.ok(&format!("{way}{name} {given}"));
            assert_eq!(get(&mut admin, name), said, "{way}{name} {given}");
        }
    }
    for words in ["normal", "pubsub"] {
        admin.ok(&format!("CONFIG SET connage.types {words}"));
        assert_eq!(get(&mut admin, "types"), words);
    }
    for way in ["CONFIG", "CONNAGE.CONFIG"] {
        let name = if way == "CONFIG" { "connage.types" } else { "types" };
        let reply = admin.call(&[way, "SET", name, "pubsub normal"]);
        assert!(!reply.is_error(), "{way}: {reply:?}");
        let both = get(&mut admin, "types");
        assert!(both.contains("normal") && both.contains("pubsub"), "{both}");
        // What is said can be given again.
        assert!(!admin.call(&[way, "SET", name, &both]).is_error());
        admin.ok("CONNAGE.CONFIG SET types normal");
    }
}

on_servers!(FIVE, beside, what_is_bad_is_refused_and_changes_nothing);
fn what_is_bad_is_refused_and_changes_nothing(on: &'static str) {
    let server = Setup::of(on).module("maxage 1h jitter 5 rate 77").start();
    let mut admin = server.admin();
    let before = all(&mut admin);
    for (name, value) in REFUSED {
        let setting = format!("connage.{name}");
        let reply = admin.call(&["CONFIG", "SET", &setting, value]);
        assert!(reply.is_error(), "CONFIG SET {name} {value}: {reply:?}");
        let reply = admin.call(&["CONNAGE.CONFIG", "SET", name, value]);
        assert!(reply.is_error(), "CONNAGE.CONFIG SET {name} {value}: {reply:?}");
        assert!(reply.error().contains(name), "names the word: {reply:?}");
        assert_eq!(all(&mut admin), before, "{name} {value}");
    }
    for line in [
        "CONNAGE.CONFIG",
        "CONNAGE.CONFIG GET",
        "CONNAGE.CONFIG SET",
        "CONNAGE.CONFIG SET maxage",
        "CONNAGE.CONFIG SET maxage 1 jitter",
        "CONNAGE.CONFIG SET unknown 1",
        "CONNAGE.CONFIG SET maxage 1 maxage 2",
        "CONNAGE.CONFIG RESETSTAT now",
        "CONNAGE.CONFIG NONSENSE",
        "CONFIG SET connage.unknown 1",
    ] {
        let reply = admin.run(line);
        assert!(reply.is_error(), "{line}: {reply:?}");
        assert_eq!(all(&mut admin), before, "{line}");
    }
}

on_servers!(FIVE, beside, several_names_are_set_all_or_none);
/// Whichever stands first, whichever is bad, the server's own settings too.
fn several_names_are_set_all_or_none(on: &'static str) {
    let server = Setup::of(on).module("maxage 1h").start();
    let mut admin = server.admin();
    let mine = all(&mut admin);
    let theirs = setting(&mut admin, "maxmemory-samples");
    for line in [
        "CONNAGE.CONFIG SET maxage 2h jitter 91",
        "CONNAGE.CONFIG SET jitter 91 maxage 2h",
        "CONNAGE.CONFIG SET maxage 2h grace 7s unknown 1",
        "CONFIG SET connage.maxage 2h connage.jitter 91",
        "CONFIG SET connage.jitter 91 connage.maxage 2h",
        "CONFIG SET connage.maxage 2h connage.grace 7s connage.rate x",
        "CONFIG SET connage.maxage 2h maxmemory-samples 0",
        "CONFIG SET maxmemory-samples 0 connage.maxage 2h",
        "CONFIG SET maxmemory-samples 9 connage.maxage 2x",
        "CONFIG SET connage.maxage 2x maxmemory-samples 9",
        "CONFIG SET connage.enabled no connage.dry-run yes maxmemory-samples x",
    ] {
        let reply = admin.run(line);
        assert!(reply.is_error(), "{line}: {reply:?}");
        assert_eq!(all(&mut admin), mine, "{line}");
        assert_eq!(setting(&mut admin, "maxmemory-samples"), theirs, "{line}");
        assert_eq!(figure(&mut admin, "maxage_ms"), 3_600_000, "{line}");
        assert_eq!(figure(&mut admin, "enabled"), 1, "{line}");
    }
    admin.ok("CONFIG SET connage.maxage 2h maxmemory-samples 9 connage.jitter 10");
    assert_eq!(get(&mut admin, "maxage"), "7200000");
    assert_eq!(get(&mut admin, "jitter"), "10");
    assert_eq!(setting(&mut admin, "maxmemory-samples"), "9");
    admin.ok("CONNAGE.CONFIG SET maxage 3h jitter 11");
    assert_eq!(get(&mut admin, "maxage"), "10800000");
    assert_eq!(get(&mut admin, "jitter"), "11");
}

on_servers!(FIVE, beside, a_refused_change_does_not_come_with_the_next_one);
fn a_refused_change_does_not_come_with_the_next_one(on: &'static str) {
    let server = Setup::of(on).module("maxage 1h").start();
    let mut admin = server.admin();
    assert!(admin
        .run("CONFIG SET connage.maxage 1 maxmemory-samples 0")
        .is_error());
    admin.ok("CONFIG SET connage.log-max-len 5");
    assert_eq!(get(&mut admin, "maxage"), "3600000");
    assert_eq!(figure(&mut admin, "maxage_ms"), 3_600_000);
}

on_servers!(FIVE, beside, a_later_way_overrides_an_earlier_one);
fn a_later_way_overrides_an_earlier_one(on: &'static str) {
    let server = Setup::of(on)
        .module("maxage 1h jitter 5 grace 9s")
        .line("connage.jitter 6")
        .line("connage.grace 10s")
        .start();
    let mut admin = server.admin();
    assert_eq!(get(&mut admin, "maxage"), "3600000", "loadmodule");
    assert_eq!(get(&mut admin, "jitter"), "6", "connage.jitter after loadmodule");
    admin.ok("CONFIG SET connage.grace 11s");
    assert_eq!(get(&mut admin, "grace"), "11000", "CONFIG SET after all");
    admin.ok("CONNAGE.CONFIG SET maxage 2h");
    assert_eq!(
        get(&mut admin, "maxage"),
        "7200000",
        "CONNAGE.CONFIG SET after all"
    );
}

on_servers!(FIVE, beside, config_rewrite_and_a_restart_give_the_same_again);
fn config_rewrite_and_a_restart_give_the_same_again(on: &'static str) {
    let mut server = Setup::of(on)
        .module("maxage 1h jitter 5 rate 50 log-max-len 9")
        .line("connage.grace 10s")
        .start();
    for round in 0..3 {
        let mut admin = server.admin();
        match round {
            0 => {}
            1 => {
                // Back to the module's own default, which loadmodule said otherwise.
                admin.ok("CONFIG SET connage.jitter 0 connage.enabled no connage.grace 5s");
                admin.ok("CONNAGE.CONFIG SET maxage 90m dry-run yes rate 1000");
            }
            _ => {
                let reply = admin.call(&["CONFIG", "SET", "connage.types", "normal pubsub"]);
                assert!(!reply.is_error(), "{reply:?}");
                admin.ok("CONFIG SET connage.enabled yes connage.maxage 0");
            }
        }
        let before = all(&mut admin);
        admin.ok("CONFIG REWRITE");
        server = server.restart();
        let mut admin = server.admin();
        assert_eq!(all(&mut admin), before, "round {round}: {}", server.file("conf"));
    }
}

on_servers!(
    FIVE,
    beside,
    what_is_bad_in_loadmodule_stops_the_load_and_the_log_says_why
);
fn what_is_bad_in_loadmodule_stops_the_load_and_the_log_says_why(on: &'static str) {
    let server = Setup::of(on).start();
    let mut admin = server.admin();
    for (words, blamed) in [
        ("maxaeg 5m", "maxaeg"),
        ("maxage 5x", "maxage"),
        ("maxage -1", "maxage"),
        ("jitter 91", "jitter"),
        ("maxage 1h types replica", "types"),
        ("maxage", "maxage"),
        ("maxage 1h grace", "grace"),
        ("enabled perhaps", "enabled"),
    ] {
        let log = match Setup::of(on).module(words).try_start() {
            Err(log) => log,
            Ok(_) => panic!("loaded with {words}"),
        };
        let told = |log: &str| {
            let mut lines = log.lines().filter(|l| l.contains("<connage>"));
            lines.any(|l| l.contains(blamed))
        };
        assert!(told(&log), "{words}: {log}");
        // At run time too, and the server serves on.
        assert!(
            server.try_load(&mut admin, words).is_error(),
            "MODULE LOAD … {words}"
        );
        assert!(told(&server.log()), "{words}: {}", server.log());
    }
    let loaded = format!("{:?}", admin.ok("MODULE LIST"));
    assert!(!loaded.contains("connage"), "{loaded}");
    server.load(&mut admin, "maxage 1h");
    assert_eq!(get(&mut admin, "maxage"), "3600000");
}

on_servers!(FIVE, beside, a_bad_line_of_configuration_stops_the_start);
fn a_bad_line_of_configuration_stops_the_start(on: &'static str) {
    for line in ["connage.maxage 5x", "connage.jitter 91", "connage.unknown 1"] {
        let started = Setup::of(on).module("maxage 1h").line(line).try_start();
        assert!(started.is_err(), "started with {line}");
    }
}

on_servers!(FIVE, beside, connage_config_get_takes_patterns);
fn connage_config_get_takes_patterns(on: &'static str) {
    let server = Setup::of(on).module("").start();
    let mut admin = server.admin();
    let mut names = |line: &str| -> Vec<String> {
        let reply = admin.ok(line);
        let names = reply.list().chunks(2).map(|pair| pair[0].text());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    };
    let every = names("CONNAGE.CONFIG GET *");
    for (name, _) in DEFAULTS {
        assert!(every.iter().any(|n| n == name), "{name} in {every:?}");
    }
    assert_eq!(names("CONNAGE.CONFIG GET max*"), ["maxage"]);
    assert_eq!(names("CONNAGE.CONFIG GET MAXAGE"), ["maxage"]);
    assert_eq!(names("CONNAGE.CONFIG GET *r* rate"), {
        let with_r = every.iter().filter(|n| n.contains('r'));
        with_r.cloned().collect::<Vec<_>>()
    });
    assert_eq!(names("CONNAGE.CONFIG GET [gj]*"), ["grace", "jitter"]);
    assert_eq!(names("CONNAGE.CONFIG GET nothing"), [""; 0]);
    let help = admin.ok("CONNAGE.CONFIG HELP");
    let help = format!("{help:?}");
    for word in ["GET", "SET", "RESETSTAT", "HELP"] {
        assert!(help.contains(word), "{word} in {help}");
    }
}

on_servers!(
    FIVE,
    beside,
    the_log_advises_jitter_once_where_many_have_a_limit_without
);
fn the_log_advises_jitter_once_where_many_have_a_limit_without(on: &'static str) {
    let server = Setup::of(on).module("").start();
    let mut admin = server.admin();
    let advice = || server.log().matches("maxage is set without jitter").count();
    let mut conns = server.clients(20);
    admin.ok("CONNAGE.CONFIG SET maxage 1h");
    assert_eq!(advice(), 0, "few");
    admin.ok("CONNAGE.CONFIG SET maxage 0");
    conns.extend(server.clients(100));
    admin.ok("CONNAGE.CONFIG SET maxage 2h jitter 20");
    assert_eq!(advice(), 0, "spread");
    for limit in ["3h", "4h"] {
        admin.ok(&format!("CONNAGE.CONFIG SET maxage {limit} jitter 0"));
        assert_eq!(advice(), 1, "once");
    }
}
