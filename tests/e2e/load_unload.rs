//! The module comes and goes while the server is busy, and takes nothing from the server.

use crate::on_servers;
use crate::support::conn::Conn;
use crate::support::resp::Value;
use crate::support::server::{figure, info, wait_for_blocked, wait_for_figure, Server, Setup};
use crate::support::{ms, other, say, wait_until, Stop};
use std::collections::VecDeque;
use std::time::Instant;

/// About so many connections a second begin, and so many expire, until told to stop.
const RATE: u32 = 1000;

fn storm(server: &Server, stop: &Stop) {
    let mut open: VecDeque<Conn> = VecDeque::new();
    let start = Instant::now();
    let mut begun = 0;
    while !stop.asked() {
        let due = (start.elapsed().as_secs_f64() * f64::from(RATE)) as u32;
        // After a pause not all at once.
        begun = begun.max(due.saturating_sub(50));
        while begun < due {
            open.extend(Conn::open(&server.tcp()));
            begun += 1;
        }
        // The module closes them at 200 ms; while there is none, they go by themselves.
        while open.front().is_some_and(|c| c.after.elapsed() > ms(700)) {
            open.pop_front();
        }
        std::thread::sleep(ms(2));
    }
}

/// Clients that were answered much, and read nothing of it.
fn slow_readers(server: &Server) -> Vec<Conn> {
    let slow = |_| {
        let mut conn = Conn::open_with(&server.tcp(), Some(4096)).expect("connected");
        conn.start(&["INCR slow", "GET big"]);
        conn
    };
    (0..5).map(slow).collect()
}

on_servers!(ALL, alone, it_unloads_and_loads_again_under_load_twenty_times);
fn it_unloads_and_loads_again_under_load_twenty_times(on: &'static str) {
    const WORDS: &str = "maxage 200 rate 0";
    let server = Setup::of(on).module(WORDS).start();
    let mut admin = server.admin();
    admin.call(&["SET", "big", &"x".repeat(600_000)]);
    let cycle = |admin: &mut Conn| {
        let stop = Stop::default();
        std::thread::scope(|scope| {
            let _stop = stop.at_the_end();
            scope.spawn(|| storm(&server, &stop));
            let slow = slow_readers(&server);
            let mut busy = server.client();
            busy.ok("MULTI");
            wait_until("evictions, lingering and draining", || {
                let info = info(admin, "connage");
                info["connage_evicted_connections"] >= 30
                    && info["connage_lingering_connections"] >= 1
                    && info["connage_draining_connections"] >= 1
            });
            admin.ok("MODULE UNLOAD connage");
            drop(slow);
            busy.ok("EXEC");
            // Asked together, so that none is evicted between them.
            admin.start(&[&server.load_line(WORDS), "INFO connage"]);
            assert_eq!(admin.reply().expect("a reply"), Value::Text("OK".into()));
            let info = admin.reply().expect("a reply").text();
            assert!(
                info.contains("connage_evicted_connections:0\r"),
                "it starts anew: {info}"
            );
        });
    };
    let at_rest = |admin: &mut Conn| -> (usize, i64, i64) {
        // Loaded while many were connected, it takes some for younger than they are.
        wait_for_figure(admin, "tracked_connections", 1);
        wait_for_figure(admin, "lingering_connections", 0);
        assert_eq!(info(admin, "clients")["connected_clients"], 1);
        let used = info(admin, "memory")["used_memory"];
        (server.open_descriptors(), used, server.resident_kb())
    };
    for _ in 0..3 {
        cycle(&mut admin);
    }
    let before = at_rest(&mut admin);
    for _ in 0..20 {
        cycle(&mut admin);
    }
    let after = at_rest(&mut admin);
    say(format!(
        "{on}: 20 times unloaded: descriptors {} to {}, used_memory {} to {}, resident {} to {} KB",
        before.0, after.0, before.1, after.1, before.2, after.2
    ));
    assert_eq!(before.0, after.0, "descriptors");
    assert!(after.1 - before.1 < 1_000_000, "used_memory grew");
    assert!(after.2 - before.2 < 20_000, "the resident memory grew");
    assert_eq!(figure(&mut admin, "healthy"), 1);
}

on_servers!(ALL, beside, it_unloads_at_the_first_try_whatever_is_under_way);
fn it_unloads_at_the_first_try_whatever_is_under_way(on: &'static str) {
    type Begin = fn(&Server, &mut Conn) -> Vec<Conn>;
    let cases: [(&str, &str, Begin); 5] = [
        ("nothing", "", |_, _| Vec::new()),
        ("limits to come", "maxage 1h", |s, _| s.clients(5)),
        ("draining", "grace 1h", |s, admin| {
            let mut conn = s.client();
            conn.ok("MULTI");
            admin.ok("CONFIG SET connage.maxage 1");
            wait_for_figure(admin, "draining_connections", 1);
            vec![conn]
        }),
        ("blocked", "grace 1h", |s, admin| {
            let mut conn = s.client();
            conn.start(&["BLPOP nothing 0"]);
            wait_for_blocked(admin, 1);
            admin.ok("CONFIG SET connage.maxage 1");
            wait_for_figure(admin, "draining_connections", 1);
            vec![conn]
        }),
        ("a backlog", "maxage 100 rate 1", |s, admin| {
            let conns = s.clients(40);
            wait_until("a backlog", || figure(admin, "backlog_connections") > 5);
            conns
        }),
    ];
    let server = Setup::of(on).start();
    let mut admin = server.admin();
    for (title, words, begin) in cases {
        server.load(&mut admin, words);
        let mut conns = begin(&server, &mut admin);
        let reply = admin.run("MODULE UNLOAD connage");
        assert_eq!(reply, Value::Text("OK".into()), "{title}");
        assert!(admin.run("CONNAGE.CONFIG GET *").is_error(), "{title}");
        // Where the server looks ahead in pipelines, see `unload`.
        let ends = title == "blocked" && on == "valkey-9.1";
        if let Some(conn) = conns.last_mut().filter(|_| !ends) {
            conn.stays_for(ms(300));
        }
    }
}

on_servers!(FIVE, beside, what_lingers_when_it_unloads_still_gets_the_end);
fn what_lingers_when_it_unloads_still_gets_the_end(on: &'static str) {
    let server = Setup::of(on).module("").start();
    let mut admin = server.admin();
    admin.call(&["SET", "big", &"x".repeat(600_000)]);
    let descriptors = server.open_descriptors();
    let mut slow = slow_readers(&server);
    wait_until("all to be executed", || {
        admin.run("GET slow") == Value::Text("5".into())
    });
    admin.ok("CONFIG SET connage.maxage 1");
    wait_for_figure(&mut admin, "lingering_connections", 5);
    admin.ok("MODULE UNLOAD connage");
    wait_until("the descriptors to be closed", || {
        server.open_descriptors() < descriptors
    });
    for conn in &mut slow {
        // They have sent nothing since, so the kernel delivers what it has.
        assert!(conn.reply().is_ok(), "the first reply");
        assert!(conn.reply().is_ok_and(|v| v.text().len() == 600_000));
        conn.ends();
    }
}

on_servers!(FIVE, beside, swapdb_loading_is_allowed_with_it);
fn swapdb_loading_is_allowed_with_it(on: &'static str) {
    let master = Setup::of(on)
        .line("repl-diskless-sync-delay 0")
        .module("maxage 200 grace 0")
        .start();
    let replica = Setup::of(on)
        .module("maxage 200 grace 0")
        .line("repl-diskless-load swapdb")
        .start();
    let mut writer = master.admin();
    let mut reader = replica.admin();
    writer.ok("DEBUG POPULATE 1000");
    reader.ok(&format!("REPLICAOF 127.0.0.1 {}", master.port));
    wait_until("the replica to be in step", || {
        let text = reader.ok("INFO replication").text();
        text.contains("master_link_status:up")
    });
    assert_eq!(reader.ok("DBSIZE").int(), 1000);
    let log = replica.log();
    let refused = "not aware of async replication";
    assert!(!log.contains(refused), "{log}");
}

on_servers!(VALKEY_9, beside, slots_migrate_with_it);
/// However short the limit: the links of a migration are the server's own.
fn slots_migrate_with_it(on: &'static str) {
    let node = || {
        Setup::of(on)
            .line("cluster-enabled yes")
            .line("cluster-node-timeout 5000")
            .module("maxage 100 grace 0")
            .start()
    };
    let (from, to) = (node(), node());
    let (mut a, mut b) = (from.admin(), to.admin());
    a.ok("CLUSTER ADDSLOTSRANGE 0 16383");
    a.ok(&format!("CLUSTER MEET 127.0.0.1 {}", to.port));
    let id = b.ok("CLUSTER MYID").text();
    let knows = |conn: &mut Conn| {
        let info = conn.ok("CLUSTER INFO").text();
        info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:2")
    };
    wait_until("the cluster to stand", || knows(&mut a) && knows(&mut b));
    a.ok("DEBUG POPULATE 300");
    a.ok("CONFIG SET rdb-key-save-delay 3000"); // 0.5 s for half of them
    let keys = a.ok("DBSIZE").int();
    let started = Instant::now();
    // Half of them: a node without any becomes the other's replica.
    let line = format!("CLUSTER MIGRATESLOTS SLOTSRANGE 0 8191 NODE {id}");
    a.ok(&line);
    wait_until("the migration to succeed", || {
        let told = format!("{:?}", a.ok("CLUSTER GETSLOTMIGRATIONS"));
        assert!(!told.contains("failed") && !told.contains("cancel"), "{told}");
        told.contains("success")
    });
    assert!(started.elapsed() > ms(200), "it took longer than the limit");
    wait_until("the keys to have moved", || {
        let moved = b.ok("DBSIZE").int();
        moved > 0 && moved + a.ok("DBSIZE").int() == keys
    });
}

on_servers!(ALL, beside, a_load_that_fails_leaves_the_server_as_it_was);
fn a_load_that_fails_leaves_the_server_as_it_was(on: &'static str) {
    let taken = format!("loadmodule {} connage.log", other::module().display());
    // What is wrong with the server, with the words of MODULE LOAD or with those of LOADEX; and what the log says.
    let cases = [
        ("", "maxage 1x", "", "'1x'"),
        ("", "nosuch 1", "", "'nosuch'"),
        ("", "rules ci: maxage=1m nosuch=2", "", "'nosuch=2'"),
        ("", "", "CONFIG connage.maxage 1x", "'1x'"),
        ("", "", "CONFIG connage.nosuch 1", "not applied"),
        (taken.as_str(), "maxage 1h", "", "refused a command"),
        ("rename-command CLIENT \"\"", "maxage 1h", "", "rename-command"),
        ("rename-command CLIENT hidden", "maxage 1h", "", "rename-command"),
    ];
    for (line, words, loadex, reason) in cases {
        let server = Setup::of(on).line(line).start();
        let mut admin = Conn::open(&server.unix()).expect("connected");
        let mut before = server.client();
        for _ in 0..2 {
            let reply = if loadex.is_empty() {
                server.try_load(&mut admin, words)
            } else {
                server.try_loadex(&mut admin, loadex)
            };
            assert!(reply.is_error(), "{line} {words} {loadex}");
        }
        assert!(server.log().contains(reason), "{reason}: {}", server.log());
        // Connections begin and end as they did.
        for mut conn in server.clients(3) {
            conn.ok("PING");
        }
        before.ok("PING");
        assert!(admin.run("CONNAGE.LIST").is_error());
        if line.is_empty() {
            server.load(&mut admin, "maxage 100");
            before.ends();
        }
    }
}
