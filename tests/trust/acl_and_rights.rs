//! Who may do what, and what the module takes of the machine: one timerfd, and for a while
//! duplicates of clients' sockets. No file, no socket, no thread.

use crate::on_servers;
use crate::support::conn::Conn;
use crate::support::server::{figure, wait_for_figure, Server, Setup};
use crate::support::wait_until;
use std::collections::BTreeMap;

/// What is open, by kind: sockets and pipes have numbers that say nothing.
fn open(server: &Server) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for entry in std::fs::read_dir(format!("/proc/{}/fd", server.pid())).expect("descriptors") {
        let Ok(target) = std::fs::read_link(entry.expect("an entry").path()) else {
            continue; // closed meanwhile
        };
        let target = target.to_string_lossy().into_owned();
        let kind = match target.split_once(":[") {
            Some((kind @ ("socket" | "pipe"), _)) => kind.to_string(),
            _ => target,
        };
        *kinds.entry(kind).or_default() += 1;
    }
    kinds
}

/// But for the allocator's own, which begins when it has something to do, and has its name a moment later.
fn threads(server: &Server) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", server.pid())).expect("its threads");
    let names = tasks.map(|task| std::fs::read_to_string(task.expect("a thread").path().join("comm")));
    names
        .filter(|name| name.as_ref().is_ok_and(|name| !name.starts_with("jemalloc")))
        .count()
}

on_servers!(
    ALL,
    beside,
    it_opens_one_timer_and_no_file_no_socket_and_no_thread
);
fn it_opens_one_timer_and_no_file_no_socket_and_no_thread(on: &'static str) {
    let server = Setup::of(on).start();
    let mut admin = server.admin();
    let (before, tasks) = (open(&server), threads(&server));
    server.load(&mut admin, "maxage 200 rate 0");
    let mut with_timer = before.clone();
    *with_timer.entry("anon_inode:[timerfd]".into()).or_default() += 1;
    let with_timer = with_timer;
    assert_eq!(open(&server), with_timer, "after loading");

    // At work: slow readers leave it duplicates of their sockets, of which each is one.
    admin.call(&["SET", "big", &"x".repeat(600_000)]);
    let mut slow: Vec<Conn> = (0..20)
        .map(|_| {
            let mut conn = Conn::open_with(&server.tcp(), Some(4096)).expect("connected");
            conn.start(&["GET big"]);
            conn
        })
        .collect();
    wait_for_figure(&mut admin, "lingering_connections", 20);
    let mut lingering = with_timer.clone();
    *lingering.entry("socket".into()).or_default() += 20;
    wait_until("nothing but the duplicates", || open(&server) == lingering);
    wait_until("no thread of its own", || threads(&server) <= tasks);

    for conn in &mut slow {
        assert!(conn.reply().is_ok());
        conn.ends();
    }
    drop(slow);
    wait_for_figure(&mut admin, "lingering_connections", 0);
    wait_until("nothing but the timer", || open(&server) == with_timer);
    assert!(figure(&mut admin, "evicted_connections") >= 20);
    admin.ok("MODULE UNLOAD connage");
    assert_eq!(open(&server), before, "after unloading");
    wait_until("no thread of its own", || threads(&server) <= tasks);
}

/// The commands, and the rights of the server's own that stand behind each.
const COMMANDS: [(&str, &str); 8] = [
    ("CONNAGE.KILL MAXAGE 1h", "client|kill"),
    ("CONNAGE.KILL CANCEL", "client|kill"),
    ("CONNAGE.LIST", "client|list"),
    ("CONNAGE.LOG GET", "client|list"),
    ("CONNAGE.LOG RESET", "config|resetstat"),
    ("CONNAGE.CONFIG GET *", "config|get"),
    ("CONNAGE.CONFIG SET maxage 1h", "config|set"),
    ("CONNAGE.CONFIG RESETSTAT", "config|resetstat"),
];

#[track_caller]
fn as_user(server: &Server, admin: &mut Conn, rights: &str) -> Conn {
    admin.ok(&format!("ACL SETUSER some reset on nopass {rights}"));
    let mut conn = server.client();
    conn.ok("AUTH some x");
    conn
}

on_servers!(FIVE, beside, who_may_not_administer_may_run_none_but_self);
fn who_may_not_administer_may_run_none_but_self(on: &'static str) {
    let server = Setup::of(on).module("").start();
    let mut admin = server.admin();
    for rights in [
        "+@all -@admin -@dangerous",
        "+@all -@dangerous",
        "+ping +connage.self",
    ] {
        let mut conn = as_user(&server, &mut admin, rights);
        for (line, _) in COMMANDS {
            let reply = conn.run(line);
            assert!(reply.is_error(), "{rights}: {line}: {reply:?}");
            assert!(reply.error().starts_with("NOPERM"), "{rights}: {line}: {reply:?}");
        }
        conn.ok("CONNAGE.SELF");
    }
    assert_eq!(figure(&mut admin, "maxage_ms"), 0, "nothing was set");
    // Whoever has not even that.
    let mut conn = as_user(&server, &mut admin, "+ping");
    assert!(conn.run("CONNAGE.SELF").error().starts_with("NOPERM"));
}

on_servers!(FIVE, beside, each_command_is_for_those_who_were_given_it);
fn each_command_is_for_those_who_were_given_it(on: &'static str) {
    let server = Setup::of(on).module("").start();
    let mut admin = server.admin();
    for (line, right) in COMMANDS {
        let command = line.split(' ').next().expect("a name").to_lowercase();
        let mut conn = as_user(&server, &mut admin, &format!("+ping +{command} +{right}"));
        conn.ok(line);
        let mut conn = as_user(&server, &mut admin, "+@all");
        conn.ok(line);
    }
}

on_servers!(FIVE, beside, to_close_a_connection_gives_nobody_another_right);
/// The server makes a connection that is closing the default user's, at once.
fn to_close_a_connection_gives_nobody_another_right(on: &'static str) {
    let server = Setup::of(on).module("maxage 300 grace 0").start();
    let mut admin = server.admin();
    admin.ok("SET secret 1");
    admin.ok("ACL SETUSER weak on nopass +ping +eval +multi +exec +connage.self");
    for _ in 0..20 {
        let mut conn = server.client();
        conn.ok("AUTH weak x");
        // As much as goes into the pipe about when it is closed.
        let until = conn.after + std::time::Duration::from_millis(600);
        let mut answers = 0;
        while std::time::Instant::now() < until {
            match conn.ask(&["GET", "secret"]) {
                Ok(reply) => assert!(reply.error().starts_with("NOPERM"), "{reply:?}"),
                Err(_) => break,
            }
            answers += 1;
        }
        assert!(answers > 0);
    }
    assert!(figure(&mut admin, "evicted_connections") >= 20);
}
