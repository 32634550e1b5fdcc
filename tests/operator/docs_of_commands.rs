//! COMMAND DOCS and COMMAND INFO: every command, subcommand and argument, so that redis-cli
//! completes and hints them.

use crate::on_servers;
use crate::support::conn::Conn;
use crate::support::resp::Value;
use crate::support::server::{Server, Setup};
use crate::support::{ms, wait_until};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

type Map = BTreeMap<String, Value>;

#[track_caller]
fn map(value: &Value) -> Map {
    let pairs = value.list().chunks(2);
    pairs.map(|pair| (pair[0].text(), pair[1].clone())).collect()
}

#[track_caller]
fn docs(conn: &mut Conn, name: &str) -> Map {
    let reply = conn.ok(&format!("COMMAND DOCS {name}"));
    map(&reply.list()[1])
}

/// As usage lines are written: tokens large, values in angles, what is optional in brackets.
fn usage(arguments: &Value) -> String {
    let each = arguments.list().iter().map(map).map(|argument| {
        let text = |name: &str| argument.get(name).map(Value::text);
        let of = |separator: &str| {
            let inner: Vec<String> = argument["arguments"]
                .list()
                .iter()
                .map(|one| usage(&Value::List(vec![one.clone()])))
                .collect();
            inner.join(separator)
        };
        let value = match text("type").expect("a type").as_str() {
            "pure-token" => String::new(),
            "oneof" => format!("<{}>", of("|")),
            "block" => of(" "),
            "string" => format!("<{}>", text("name").expect("a name")),
            other => format!("<{}:{other}>", text("name").expect("a name")),
        };
        let flags = argument
            .get("flags")
            .map(|flags| format!("{flags:?}"))
            .unwrap_or_default();
        let more = if flags.contains("multiple") {
            format!(" [{value} …]")
        } else {
            String::new()
        };
        let whole = [text("token").unwrap_or_default(), value]
            .join(" ")
            .trim()
            .to_string()
            + &more;
        if flags.contains("optional") {
            format!("[{whole}]")
        } else {
            whole
        }
    });
    each.collect::<Vec<_>>().join(" ")
}

const TYPES: &str = "<NORMAL|MASTER|PRIMARY|SLAVE|REPLICA|PUBSUB|SLOT-IMPORT|SLOT-EXPORT>";

fn filters() -> String {
    let both =
        |token: &str, value: &str| format!("[{token} {value}] [NOT-{token} {}]", value.replace('<', "<not-"));
    let parts = [
        "[ID <client-id:integer> [<client-id:integer> …]] [NOT-ID <not-client-id:integer> [<not-client-id:integer> …]]".into(),
        format!("[TYPE {TYPES}] [NOT-TYPE {TYPES}]"),
        both("USER", "<username>"),
        both("ADDR", "<addr>"),
        both("LADDR", "<laddr>"),
        both("IP", "<ip>"),
        both("NAME", "<name>"),
        "[IDLE <idle>] [MAXAGE <maxage>]".into(),
        both("FLAGS", "<flags>"),
        both("LIB-NAME", "<lib-name>"),
        both("LIB-VER", "<lib-ver>"),
        both("DB", "<db:integer>"),
        both("CAPA", "<capa>"),
    ];
    parts.join(" ")
}

on_servers!(FIVE, beside, command_docs_describes_every_command_and_argument);
fn command_docs_describes_every_command_and_argument(on: &'static str) {
    let server = Setup::of(on).module("").start();
    let mut conn = server.client();
    let kill = format!(
        "[<CANCEL|{} [SKIPME <YES|NO>] [GRACE <grace>] [OVER <over>] [LIMIT <limit:integer>] [DRYRUN]>]",
        filters()
    );
    for (name, wanted) in [
        ("connage.kill", kill),
        ("connage.list", format!("{} [LIMIT <limit:integer>]", filters())),
        ("connage.self", "[MAXAGE <maxage>]".into()),
        ("connage.config|get", "<pattern> [<pattern> …]".into()),
        (
            "connage.config|set",
            "<setting> <value> [<setting> <value> …]".into(),
        ),
        ("connage.config|resetstat", String::new()),
        ("connage.config|help", String::new()),
        ("connage.log|get", "[<count:integer>]".into()),
        ("connage.log|len", String::new()),
        ("connage.log|reset", String::new()),
        ("connage.log|help", String::new()),
    ] {
        let docs = docs(&mut conn, name);
        let said = docs.get("arguments").map(usage).unwrap_or_default();
        assert_eq!(said, wanted, "{name}");
        let summary = docs["summary"].text();
        assert!(summary.ends_with('.') && summary.len() > 15, "{name}: {summary}");
        assert!(docs["complexity"].text().starts_with("O("), "{name}");
        assert_eq!(docs["group"].text(), "module", "{name}");
        assert_eq!(docs["module"].text(), "connage", "{name}");
    }
    for (name, wanted) in [
        ("connage.config", ["get", "help", "resetstat", "set"]),
        ("connage.log", ["get", "help", "len", "reset"]),
    ] {
        let docs = docs(&mut conn, name);
        let mut subs: Vec<String> = map(&docs["subcommands"]).into_keys().collect();
        subs.sort();
        assert_eq!(subs, wanted.map(|sub| format!("{name}|{sub}")), "{name}");
    }
    // And no command of ours is left out.
    let ours = conn.ok("COMMAND LIST FILTERBY MODULE connage");
    let mut ours: Vec<String> = ours.list().iter().map(Value::text).collect();
    ours.retain(|name| !name.contains('|'));
    ours.sort();
    assert_eq!(
        ours,
        [
            "connage.config",
            "connage.kill",
            "connage.list",
            "connage.log",
            "connage.self"
        ]
    );
}

on_servers!(FIVE, beside, command_info_says_arity_flags_and_categories);
fn command_info_says_arity_flags_and_categories(on: &'static str) {
    let server = Setup::of(on).module("").start();
    let mut conn = server.client();
    let strict = ["admin", "loading", "noscript", "stale"];
    let open = ["fast", "loading", "noscript", "stale"];
    for (name, arity, flags, categories) in [
        ("connage.kill", -1, strict, "@admin @connection @dangerous"),
        ("connage.list", -1, strict, "@admin @connection @dangerous"),
        ("connage.self", -1, open, "@connection @fast"),
        ("connage.config", -2, strict, "@admin @dangerous"),
        ("connage.config|get", -3, strict, "@admin @dangerous"),
        ("connage.config|set", -4, strict, "@admin @dangerous"),
        ("connage.config|resetstat", 2, strict, "@admin @dangerous"),
        ("connage.config|help", 2, strict, "@admin @dangerous"),
        ("connage.log", -2, strict, "@admin @dangerous"),
        ("connage.log|get", -2, strict, "@admin @dangerous"),
        ("connage.log|len", 2, strict, "@admin @dangerous"),
        ("connage.log|reset", 2, strict, "@admin @dangerous"),
        ("connage.log|help", 2, strict, "@admin @dangerous"),
    ] {
        let reply = conn.ok(&format!("COMMAND INFO {name}"));
        let info = reply.list()[0].list();
        let words = |at: usize| {
            let mut words: Vec<String> = info[at].list().iter().map(Value::text).collect();
            words.sort();
            words
        };
        assert_eq!(info[0].text(), name);
        assert_eq!(info[1].int(), arity, "{name}");
        let said: Vec<String> = words(2).into_iter().filter(|flag| flag != "module").collect();
        assert_eq!(said, flags, "{name}");
        let said: Vec<String> = words(6).into_iter().filter(|c| c != "@slow").collect();
        // Redis 7.0 can't give a module's commands categories.
        let wanted = if on == "redis-7.0" { "" } else { categories };
        assert_eq!(said.join(" "), wanted, "{name}");
    }
}

/// What redis-cli shows on a terminal after these keys.
fn typed(server: &Server, keys: &str, wanted: &str) -> String {
    let cli = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(".servers")
        .join(server.setup.name)
        .join("cli");
    let line = format!(
        "stty rows 40 cols 240 && exec {} -p {}",
        cli.display(),
        server.port
    );
    let mut child = Command::new("script")
        .args(["-qefc", &line, "/dev/null"])
        .env("TERM", "xterm")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script, of util-linux");
    let shown = Arc::new(Mutex::new(String::new()));
    let mut output = child.stdout.take().expect("piped");
    let reader = std::thread::spawn({
        let shown = shown.clone();
        move || {
            let mut chunk = [0; 4096];
            while let Ok(got @ 1..) = output.read(&mut chunk) {
                let text = String::from_utf8_lossy(&chunk[..got]).into_owned();
                shown.lock().expect("not poisoned").push_str(&text);
            }
        }
    });
    let has = |word: &str| shown.lock().expect("not poisoned").contains(word);
    wait_until("redis-cli's prompt", || has("> "));
    let mut input = child.stdin.take().expect("piped");
    for key in keys.chars() {
        let mut bytes = [0; 4];
        input
            .write_all(key.encode_utf8(&mut bytes).as_bytes())
            .expect("typed");
        input.flush().expect("typed");
        std::thread::sleep(ms(5)); // as typed: a terminal reads what comes at once as pasted
    }
    let deadline = std::time::Instant::now() + ms(10_000);
    while !has(wanted) && std::time::Instant::now() < deadline {
        std::thread::sleep(ms(20));
    }
    let _ = input.write_all(b"\x03\x04");
    drop(input);
    let _ = child.kill();
    let _ = child.wait();
    let _ = reader.join();
    let shown = shown.lock().expect("not poisoned");
    shown.clone()
}

on_servers!(FIVE, beside, redis_cli_completes_and_hints);
fn redis_cli_completes_and_hints(on: &'static str) {
    let server = Setup::of(on).module("").start();
    for (keys, wanted) in [
        ("connage.k\t", "CONNAGE.KILL"),
        ("connage.config r\t", "CONNAGE.CONFIG RESETSTAT"),
        ("CONNAGE.SELF ", "[MAXAGE maxage]"),
        ("CONNAGE.CONFIG SET ", "setting value [setting value ...]"),
    ] {
        let shown = typed(&server, keys, wanted);
        assert!(shown.contains(wanted), "{keys:?}: {wanted} in {shown:?}");
    }
}
