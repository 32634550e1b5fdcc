//! The server under valgrind, with the module coming, working and going: no report that
//! involves the module, and nothing lost that it took.
//!
//! On those whose allocator valgrind can take the place of, for it is linked dynamically: in
//! most others it would see nothing of the heap, and valkey-8.0's does not bear it. What is
//! lost is what nothing points to any more; to the rest the servers keep pointers beside
//! its start, which valgrind calls possibly lost.

use crate::support::conn::Conn;
use crate::support::matrix::run;
use crate::support::server::{figure, info, Setup};
use crate::support::{say, wait_until};
use std::process::Command;

const VALGRIND: &str = "valgrind --quiet --trace-children=yes --leak-check=full \
     --show-leak-kinds=definite --num-callers=30 --keep-debuginfo=yes \
     --soname-synonyms=somalloc=*jemalloc* --child-silent-after-fork=yes";

fn has_valgrind() -> bool {
    let there = Command::new("valgrind").arg("--version").output().is_ok();
    assert!(
        there || std::env::var_os("CI").is_none(),
        "valgrind is missing here"
    );
    there
}

/// Reports have an empty line between them; those that name the module.
fn of_the_module(reports: &str) -> Vec<String> {
    let blank = |line: &str| line.trim_end().ends_with("==");
    let lines: Vec<&str> = reports.lines().collect();
    let reports = lines.split(|line| blank(line)).map(|part| part.join("\n"));
    reports.filter(|r| r.contains("connage")).collect()
}

/// All that the module does, each a few times.
fn scenario(server: &crate::support::server::Server, admin: &mut Conn) {
    admin.call(&["SET", "big", &"x".repeat(300_000)]);
    for line in [
        "CONNAGE.CONFIG SET maxage 300 jitter 50 grace 200 rate 0",
        "CONNAGE.CONFIG SET maxage nonsense",
        "CONNAGE.CONFIG GET *",
        "CONNAGE.LIST LIMIT 5",
        "CONNAGE.LIST FOO",
        "CONNAGE.SELF MAXAGE 1h",
        "CONNAGE.LOG GET",
        "INFO connage",
        "COMMAND DOCS connage.kill",
        "CONFIG REWRITE",
    ] {
        admin.run(line);
    }
    let rules = "a: user=default name=w* maxage=200; b: addr=127.0.0.0/8 maxage=400 grace=100";
    admin.call(&["CONNAGE.CONFIG", "SET", "rules", rules]);
    let mut conns = server.clients(12);
    for (n, conn) in conns.iter_mut().enumerate() {
        match n % 6 {
            0 => conn.start(&["CLIENT SETNAME worker"]),
            1 => conn.start(&["MULTI", "INCR n"]),
            2 => conn.start(&["BLPOP nothing 0"]),
            3 => conn.start(&["GET big"]),
            4 => conn.start(&["SUBSCRIBE news"]),
            _ => {}
        }
    }
    admin.run("CONNAGE.KILL TYPE pubsub OVER 200ms");
    admin.run("CONNAGE.KILL CANCEL");
    admin.run("CONNAGE.KILL TYPE pubsub GRACE 0");
    wait_until("all to be evicted", || {
        info(admin, "clients")["connected_clients"] == 1
    });
    assert!(figure(admin, "evicted_connections") >= 12);
    admin.run("CONNAGE.LOG GET");
    admin.run("CONNAGE.LOG RESET");
}

fn valgrind_reports_nothing_of_the_module(on: &'static str) {
    if !has_valgrind() {
        return;
    }
    let reports = tempfile::tempdir().expect("a folder");
    let at = reports.path().join("report");
    let at = at.to_str().expect("a path");
    let mut server = Setup::of(on)
        .under(&format!("{VALGRIND} --log-file={at}.%p"))
        .start();
    let mut admin = server.admin();
    for _ in 0..3 {
        server.load(&mut admin, "");
        scenario(&server, &mut admin);
        // Once with some still there, and some that drain.
        let mut busy = server.clients(3);
        busy[0].ok("MULTI");
        admin.ok("CONNAGE.CONFIG SET grace 1h");
        admin.ok("CONNAGE.KILL MAXAGE 1ms");
        admin.ok("MODULE UNLOAD connage");
    }
    // Loaded when it ends, too.
    server.load(&mut admin, "maxage 1h");
    let file = format!("{at}.{}", server.pid());
    server.stop();
    let text = std::fs::read_to_string(&file).expect("valgrind's report");
    let ours = of_the_module(&text);
    say(format!(
        "{on}: valgrind: {} lines of reports, {} reports that involve the module",
        text.lines().count(),
        ours.len()
    ));
    assert!(ours.is_empty(), "{}", ours.join("\n\n"));
}

#[test]
fn valgrind_reports_nothing_of_the_module_on_redis_7_0() {
    run("redis-7.0", false, valgrind_reports_nothing_of_the_module);
}

#[test]
fn valgrind_reports_nothing_of_the_module_on_redict_7_3() {
    run("redict-7.3", false, valgrind_reports_nothing_of_the_module);
}
