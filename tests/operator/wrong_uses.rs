//! Each command's wrong uses: the table of the messages that users meet. Nothing changes.

use crate::on_servers;
use crate::rows::listed;
use crate::support::conn::Conn;
use crate::support::resp::Value;
use crate::support::server::{figures, Setup};

const DURATION: &str = "is not a duration: give whole milliseconds, or a whole number with ms, s, m, h or d (300000 = 300s = 5m)";
const FILTERS: &str = "ID, TYPE, USER, ADDR, LADDR, IP, NAME, FLAGS, LIB-NAME, LIB-VER, DB, CAPA (these also with NOT- before), IDLE, MAXAGE";
const TYPES: &str = "give normal, pubsub, replica, master, slot-import or slot-export";
const NAMES: &str = "give enabled, maxage, jitter, grace, rate, types, rules, dry-run or log-max-len";

/// What is said, with `{D}`, `{F}`, `{T}` and `{N}` for the above. `{A}`: the server's own
/// words on the number of arguments; `{S}`: on a subcommand that is unknown.
const TABLE: [(&str, &str); 100] = [
    // KILL: words and their values
    ("CONNAGE.KILL FOO", "ERR 'FOO' is not an option here: give CANCEL, or any of {F}, SKIPME, GRACE, OVER, LIMIT and DRYRUN"),
    ("CONNAGE.KILL 127.0.0.1:4000", "ERR '127.0.0.1:4000' is not an option here: give CANCEL, or any of {F}, SKIPME, GRACE, OVER, LIMIT and DRYRUN"),
    ("CONNAGE.KILL ID 5 FOO", "ERR 'FOO' is not an option here: give CANCEL, or any of {F}, SKIPME, GRACE, OVER, LIMIT and DRYRUN"),
    ("CONNAGE.KILL NOT-IDLE 5", "ERR 'NOT-IDLE' is not an option here: give CANCEL, or any of {F}, SKIPME, GRACE, OVER, LIMIT and DRYRUN"),
    ("CONNAGE.KILL ID", "ERR ID needs a value: one or more client ids, whole numbers above 0"),
    ("CONNAGE.KILL ID x", "ERR ID: 'x' is not accepted: give one or more client ids, whole numbers above 0"),
    ("CONNAGE.KILL ID 0", "ERR ID: '0' is not accepted: give one or more client ids, whole numbers above 0"),
    ("CONNAGE.KILL ID -5", "ERR ID: '-5' is not accepted: give one or more client ids, whole numbers above 0"),
    ("CONNAGE.KILL ID 05", "ERR ID: '05' is not accepted: give one or more client ids, whole numbers above 0"),
    ("CONNAGE.KILL ID 99999999999999999999", "ERR ID: '99999999999999999999' is not accepted: give one or more client ids, whole numbers above 0"),
    ("CONNAGE.KILL ID {id} x", "ERR 'x' is not an option here: give CANCEL, or any of {F}, SKIPME, GRACE, OVER, LIMIT and DRYRUN"),
    ("CONNAGE.KILL NOT-ID x", "ERR NOT-ID: 'x' is not accepted: give one or more client ids, whole numbers above 0"),
    ("CONNAGE.KILL TYPE", "ERR TYPE needs a value: normal, pubsub, replica, master, slot-import or slot-export"),
    ("CONNAGE.KILL TYPE martian", "ERR TYPE: 'martian' is not accepted: {T}"),
    ("CONNAGE.KILL NOT-TYPE martian", "ERR NOT-TYPE: 'martian' is not accepted: {T}"),
    ("CONNAGE.KILL TYPE sentinel", "ERR TYPE: 'sentinel' is not accepted: {T}"),
    ("CONNAGE.KILL TYPE master", "ERR TYPE master names the link to the master, which CONNAGE.KILL never closes: use CLIENT KILL"),
    ("CONNAGE.KILL TYPE PRIMARY", "ERR TYPE master names the link to the master, which CONNAGE.KILL never closes: use CLIENT KILL"),
    ("CONNAGE.KILL FLAGS M", "ERR FLAGS M names the link to the master, which CONNAGE.KILL never closes: use CLIENT KILL"),
    ("CONNAGE.KILL TYPE slot-import", "ERR TYPE slot-import names a link that moves slots, which CONNAGE.KILL never closes: use CLIENT KILL"),
    ("CONNAGE.KILL USER", "ERR USER needs a value: a user's name"),
    ("CONNAGE.KILL USER nobody", "ERR USER: there is no user 'nobody': ACL LIST names them"),
    ("CONNAGE.KILL USER Default", "ERR USER: there is no user 'Default': ACL LIST names them"),
    ("CONNAGE.KILL NOT-USER nobody", "ERR USER: there is no user 'nobody': ACL LIST names them"),
    ("CONNAGE.KILL ADDR 127.0.0.1", "ERR ADDR: '127.0.0.1' is not accepted: give ip:port, [ip]:port or, of a Unix socket, path:0"),
    ("CONNAGE.KILL NOT-ADDR 127.0.0.1:x", "ERR NOT-ADDR: '127.0.0.1:x' is not accepted: give ip:port, [ip]:port or, of a Unix socket, path:0"),
    ("CONNAGE.KILL LADDR 127.0.0.1:99999", "ERR LADDR: '127.0.0.1:99999' is not accepted: give ip:port, [ip]:port or, of a Unix socket, path:0"),
    ("CONNAGE.KILL IP localhost", "ERR IP: 'localhost' is not accepted: give an IP address, without port and brackets"),
    ("CONNAGE.KILL NOT-IP 127.0.0.1:80", "ERR NOT-IP: '127.0.0.1:80' is not accepted: give an IP address, without port and brackets"),
    ("CONNAGE.KILL IP [::1]", "ERR IP: '[::1]' is not accepted: give an IP address, without port and brackets"),
    ("CONNAGE.KILL NAME", "ERR NAME needs a value: a connection's name"),
    ("CONNAGE.KILL FLAGS ?", "ERR FLAGS: '?' is not accepted: give one or more of the flags of CLIENT LIST, AbBcdeEgiIMNoOPrRStTuUx"),
    ("CONNAGE.KILL NOT-FLAGS NZ", "ERR NOT-FLAGS: 'NZ' is not accepted: give one or more of the flags of CLIENT LIST, AbBcdeEgiIMNoOPrRStTuUx"),
    ("CONNAGE.KILL LIB-NAME", "ERR LIB-NAME needs a value: a library's name"),
    ("CONNAGE.KILL LIB-VER", "ERR LIB-VER needs a value: a library's version"),
    ("CONNAGE.KILL DB x", "ERR DB: 'x' is not accepted: give the number of a database"),
    ("CONNAGE.KILL DB -1", "ERR DB: '-1' is not accepted: give the number of a database"),
    ("CONNAGE.KILL CAPA q", "ERR CAPA: 'q' is not accepted: give r, the one capability that servers know"),
    ("CONNAGE.KILL IDLE 0", "ERR IDLE: '0' is not accepted: give a duration above 0"),
    ("CONNAGE.KILL IDLE 5x", "ERR IDLE: '5x' {D}"),
    ("CONNAGE.KILL MAXAGE", "ERR MAXAGE needs a value: a duration above 0"),
    ("CONNAGE.KILL MAXAGE 0", "ERR MAXAGE: '0' is not accepted: give a duration above 0"),
    ("CONNAGE.KILL MAXAGE 0s", "ERR MAXAGE: '0s' is not accepted: give a duration above 0"),
    ("CONNAGE.KILL MAXAGE -1", "ERR MAXAGE: '-1' {D}"),
    ("CONNAGE.KILL MAXAGE 1.5s", "ERR MAXAGE: '1.5s' {D}"),
    ("CONNAGE.KILL MAXAGE 5x", "ERR MAXAGE: '5x' {D}"),
    ("CONNAGE.KILL MAXAGE 99999999999999999999", "ERR MAXAGE: '99999999999999999999' is too long a duration: give at most 9223372036854775807 milliseconds"),
    ("CONNAGE.KILL MAXAGE 999999999999999d", "ERR MAXAGE: '999999999999999d' is too long a duration: give at most 9223372036854775807 milliseconds"),
    // KILL: its options
    ("CONNAGE.KILL ID {id} SKIPME", "ERR SKIPME needs a value: yes or no"),
    ("CONNAGE.KILL ID {id} SKIPME perhaps", "ERR SKIPME: 'perhaps' is neither yes nor no"),
    ("CONNAGE.KILL ID {id} GRACE", "ERR GRACE needs a value: a duration, 0 for at once"),
    ("CONNAGE.KILL ID {id} GRACE x", "ERR GRACE: 'x' {D}"),
    ("CONNAGE.KILL ID {id} OVER", "ERR OVER needs a value: a duration above 0"),
    ("CONNAGE.KILL ID {id} OVER 0", "ERR OVER: '0' is not accepted: give a duration above 0"),
    ("CONNAGE.KILL ID {id} OVER soon", "ERR OVER: 'soon' {D}"),
    ("CONNAGE.KILL ID {id} LIMIT", "ERR LIMIT needs a value: a whole number above 0"),
    ("CONNAGE.KILL ID {id} LIMIT 0", "ERR LIMIT: '0' is not accepted: give a whole number above 0"),
    ("CONNAGE.KILL ID {id} LIMIT -1", "ERR LIMIT: '-1' is not accepted: give a whole number above 0"),
    ("CONNAGE.KILL ID {id} DRYRUN yes", "ERR 'yes' is not an option here: give CANCEL, or any of {F}, SKIPME, GRACE, OVER, LIMIT and DRYRUN"),
    // KILL: twice, and against each other
    ("CONNAGE.KILL USER default USER default", "ERR USER: given twice: once is accepted"),
    ("CONNAGE.KILL NOT-IP 1.1.1.1 NOT-IP 1.1.1.2", "ERR NOT-IP: given twice: once is accepted"),
    ("CONNAGE.KILL MAXAGE 1h MAXAGE 2h", "ERR MAXAGE: given twice: once is accepted"),
    ("CONNAGE.KILL ID {id} SKIPME yes SKIPME no", "ERR SKIPME: given twice: once is accepted"),
    ("CONNAGE.KILL ID {id} GRACE 1 GRACE 1", "ERR GRACE: given twice: once is accepted"),
    ("CONNAGE.KILL ID {id} OVER 1s OVER 2s", "ERR OVER: given twice: once is accepted"),
    ("CONNAGE.KILL ID {id} LIMIT 1 LIMIT 1", "ERR LIMIT: given twice: once is accepted"),
    ("CONNAGE.KILL ID {id} DRYRUN DRYRUN", "ERR DRYRUN: given twice: once is accepted"),
    ("CONNAGE.KILL CANCEL ID {id}", "ERR 'ID' is not accepted with CANCEL: give CANCEL alone"),
    ("CONNAGE.KILL ID {id} CANCEL", "ERR CANCEL is not accepted with other words: give CANCEL alone"),
    ("CONNAGE.KILL CANCEL CANCEL", "ERR 'CANCEL' is not accepted with CANCEL: give CANCEL alone"),
    // LIST
    ("CONNAGE.LIST FOO", "ERR 'FOO' is not an option here: give any of {F} and LIMIT"),
    ("CONNAGE.LIST SKIPME yes", "ERR 'SKIPME' is not an option here: give any of {F} and LIMIT"),
    ("CONNAGE.LIST TYPE martian", "ERR TYPE: 'martian' is not accepted: {T}"),
    ("CONNAGE.LIST MAXAGE 0", "ERR MAXAGE: '0' is not accepted: give a duration above 0"),
    ("CONNAGE.LIST LIMIT 0", "ERR LIMIT: '0' is not accepted: give a whole number above 0"),
    ("CONNAGE.LIST LIMIT x", "ERR LIMIT: 'x' is not accepted: give a whole number above 0"),
    ("CONNAGE.LIST LIMIT 1 LIMIT 1", "ERR LIMIT: given twice: once is accepted"),
    ("CONNAGE.LIST USER nobody", "ERR USER: there is no user 'nobody': ACL LIST names them"),
    // SELF
    ("CONNAGE.SELF FOO", "ERR 'FOO' is not accepted: only MAXAGE is"),
    ("CONNAGE.SELF FOO 5", "ERR 'FOO' is not accepted: only MAXAGE is"),
    ("CONNAGE.SELF MAXAGE", "ERR MAXAGE needs a value: a duration, or 0 to take it back"),
    ("CONNAGE.SELF MAXAGE x", "ERR MAXAGE: 'x' {D}"),
    ("CONNAGE.SELF MAXAGE 1m MAXAGE 2m", "ERR 'MAXAGE' is too much: MAXAGE and its value are all that is accepted"),
    // LOG
    ("CONNAGE.LOG", "{A}"),
    ("CONNAGE.LOG FOO", "{S}"),
    ("CONNAGE.LOG GET x", "ERR 'x' is not a count: give a whole number, or -1 for all"),
    ("CONNAGE.LOG GET -2", "ERR '-2' is not a count: give a whole number, or -1 for all"),
    ("CONNAGE.LOG GET 1 2", "{A}"),
    ("CONNAGE.LOG LEN x", "{A}"),
    ("CONNAGE.LOG RESET x", "{A}"),
    // CONFIG
    ("CONNAGE.CONFIG", "{A}"),
    ("CONNAGE.CONFIG FOO", "{S}"),
    ("CONNAGE.CONFIG GET", "{A}"),
    ("CONNAGE.CONFIG SET", "{A}"),
    ("CONNAGE.CONFIG SET maxage", "{A}"),
    ("CONNAGE.CONFIG SET maxage 1h jitter", "{A}"),
    ("CONNAGE.CONFIG SET maxaeg 1h", "ERR 'maxaeg' is not a setting: {N}"),
    ("CONNAGE.CONFIG SET maxage 1h foo 1", "ERR 'foo' is not a setting: {N}"),
    ("CONNAGE.CONFIG RESETSTAT x", "{A}"),
    ("CONNAGE.LOG HELP x", "{A}"),
];

/// Settings whose refusal is the server's, with our reason at its end.
const SETTINGS: [(&str, &str, &str); 12] = [
    ("enabled", "maybe", "enabled: 'maybe' is neither yes nor no"),
    ("maxage", "5x", "maxage: '5x' {D}"),
    ("maxage", "-1", "maxage: '-1' {D}"),
    ("grace", "1.5", "grace: '1.5' {D}"),
    (
        "jitter",
        "91",
        "jitter: '91' is not a share: give a whole number of percent, 0 to 90",
    ),
    (
        "jitter",
        "ten",
        "jitter: 'ten' is not a share: give a whole number of percent, 0 to 90",
    ),
    (
        "rate",
        "-1",
        "rate: '-1' is not accepted: give a whole number from 0 to 1000000",
    ),
    (
        "rate",
        "fast",
        "rate: 'fast' is not accepted: give a whole number from 0 to 1000000",
    ),
    (
        "log-max-len",
        "x",
        "log-max-len: 'x' is not accepted: give a whole number from 0 to 1000000",
    ),
    ("dry-run", "2", "dry-run: '2' is neither yes nor no"),
    (
        "types",
        "replica",
        "types: 'replica' is not a type that age evicts: give normal, pubsub or both",
    ),
    (
        "types",
        "",
        "types: '' is not a type that age evicts: give normal, pubsub or both",
    ),
];

fn filled(text: &str) -> String {
    let text = text.replace("{D}", DURATION).replace("{F}", FILTERS);
    text.replace("{T}", TYPES).replace("{N}", NAMES)
}

/// All that a command could have changed.
fn state(admin: &mut Conn) -> (Value, Vec<i64>, Value, [i64; 4]) {
    let counts = [
        "draining_connections",
        "evicted_connections",
        "would_evict",
        "backlog_connections",
    ];
    (
        admin.ok("CONNAGE.CONFIG GET *"),
        listed(admin, ""),
        admin.ok("CONNAGE.LOG GET -1"),
        figures(admin, counts),
    )
}

on_servers!(
    FIVE,
    beside,
    every_wrong_use_gets_its_own_message_and_changes_nothing
);
fn every_wrong_use_gets_its_own_message_and_changes_nothing(on: &'static str) {
    let server = Setup::of(on).module("maxage 1h jitter 5").start();
    let mut admin = server.admin();
    let mut gone = server.client();
    let killed = gone.id();
    admin.ok(&format!("CONNAGE.KILL ID {killed}"));
    gone.ends();
    let mut conn = server.client();
    let id = conn.id().to_string();
    let before = state(&mut admin);
    let mut wrong: Vec<String> = Vec::new();
    for (line, wanted) in TABLE {
        let line = line.replace("{id}", &id);
        let reply = admin.run(&line);
        let said = match &reply {
            Value::Error(error) => error.trim_end().to_string(),
            other => format!("no error: {other:?}"),
        };
        let fits = match wanted {
            "{A}" => said
                .to_lowercase()
                .starts_with("err wrong number of arguments for 'connage."),
            "{S}" => said.to_lowercase().contains("unknown subcommand 'foo'") && said.contains("HELP"),
            wanted => said == filled(wanted),
        };
        if !fits {
            wrong.push(format!("{line}\n  said:   {said}\n  wanted: {}", filled(wanted)));
        }
        assert_eq!(state(&mut admin), before, "{line}");
    }
    for (name, value, wanted) in SETTINGS {
        for words in [
            ["CONNAGE.CONFIG", "SET", name, value],
            ["CONFIG", "SET", &format!("connage.{name}"), value],
        ] {
            let reply = admin.call(&words);
            if !reply.is_error() || !reply.error().trim_end().ends_with(&filled(wanted)) {
                wrong.push(format!(
                    "{words:?}\n  said:   {reply:?}\n  wanted: … {}",
                    filled(wanted)
                ));
            }
            assert_eq!(state(&mut admin), before, "{words:?}");
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of the messages are others:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert_eq!(conn.run("PING").text(), "PONG");
}

on_servers!(FIVE, beside, a_message_stays_one_short_line_whatever_the_word);
fn a_message_stays_one_short_line_whatever_the_word(on: &'static str) {
    let server = Setup::of(on).module("").start();
    let mut admin = server.admin();
    let long = "x".repeat(100_000);
    for word in ["%n%s%n", "a\r\nb", "\0", "\u{1b}[31m", "", long.as_str()] {
        for words in [
            vec!["CONNAGE.KILL", word],
            vec!["CONNAGE.LIST", "TYPE", word],
            vec!["CONNAGE.SELF", word],
            vec!["CONNAGE.LOG", "GET", word],
            vec!["CONNAGE.CONFIG", "SET", word, "1"],
            vec!["CONNAGE.CONFIG", "SET", "rules", &format!("a: {word}=x")],
        ] {
            let reply = admin.call(&words);
            let said = reply.error();
            assert!(said.len() < 800, "{} bytes", said.len());
            assert!(!said.contains(['\r', '\n', '\0', '\u{1b}']), "{said:?}");
        }
    }
    assert_eq!(admin.ok("PING").text(), "PONG");
}
