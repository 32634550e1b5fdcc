//! Whom age and KILL leave alone.

use crate::on_servers;
use crate::support::conn::{Conn, PATIENCE};
use crate::support::resp::Value;
use crate::support::server::{client_line, figure, info, wait_for_figure, Server, Setup};
use crate::support::{ms, wait_until};
use std::time::Instant;

const LIMIT: &str = "maxage 300 grace 0";

on_servers!(ALL, beside, monitors_no_evict_clients_and_subscribers_are_left);
fn monitors_no_evict_clients_and_subscribers_are_left(on: &'static str) {
    let server = Setup::of(on).module("grace 0").start();
    let mut admin = server.admin();
    let begin = |line: &str| -> Conn {
        let mut conn = server.client();
        conn.ok(line);
        conn
    };
    let mut no_evict = begin("CLIENT NO-EVICT on");
    let mut subscriber = begin("SUBSCRIBE news");
    let mut pattern = begin("PSUBSCRIBE n*");
    let mut sharded = begin("SSUBSCRIBE shard");
    let monitor = begin("MONITOR");
    let monitor_id = {
        let list = admin.ok("CLIENT LIST").text();
        let line = list.lines().find(|l| l.contains(" flags=O "));
        id_in(line.expect("a monitor"))
    };
    let mut ordinary = server.client();
    admin.ok("CONFIG SET connage.maxage 300");
    ordinary.ends();
    subscriber.stays_for(ms(500));
    pattern.stays_for(ms(50));
    sharded.stays_for(ms(50));
    assert_eq!(no_evict.run("PING").text(), "PONG");
    assert!(client_line(&mut admin, monitor_id).is_some(), "the monitor");
    assert_eq!(figure(&mut admin, "evicted_connections"), 1, "the ordinary one");

    admin.ok("PUBLISH news hello");
    assert_eq!(subscriber.reply().expect("news").list()[2].text(), "hello");
    assert_eq!(pattern.reply().expect("news").list()[3].text(), "hello");

    // Subscribers go with `types pubsub`, the others not even then.
    admin.call(&["CONFIG", "SET", "connage.types", "normal pubsub"]);
    for conn in [&mut subscriber, &mut pattern, &mut sharded] {
        conn.ends();
    }
    let (_, id) = (no_evict.run("PING"), no_evict.id());
    assert!(client_line(&mut admin, id).is_some());

    // KILL without a filter takes none of them either, nor its caller.
    assert_eq!(admin.ok("CONNAGE.KILL").int(), 0);
    assert_eq!(admin.ok("CONNAGE.KILL MAXAGE 1ms").int(), 0);
    assert!(client_line(&mut admin, id).is_some());
    assert!(client_line(&mut admin, monitor_id).is_some());

    // NO-EVICT is taken back, and the monitor named.
    no_evict.ok("CLIENT NO-EVICT off");
    no_evict.ends();
    assert_eq!(admin.ok(&format!("CONNAGE.KILL ID {monitor_id}")).int(), 1);
    wait_until("the monitor to be gone", || {
        client_line(&mut admin, monitor_id).is_none()
    });
    drop(monitor);
}

fn id_in(line: &str) -> i64 {
    let field = line.split(' ').find_map(|f| f.strip_prefix("id="));
    field.and_then(|id| id.parse().ok()).expect("an id")
}

on_servers!(FIVE, beside, only_pubsub_takes_subscribers_and_no_others);
fn only_pubsub_takes_subscribers_and_no_others(on: &'static str) {
    let server = Setup::of(on).module("types pubsub").start();
    let mut admin = server.admin();
    let mut normal = server.client();
    let mut subscriber = server.client();
    subscriber.ok("SUBSCRIBE news");
    admin.ok("CONFIG SET connage.maxage 1");
    subscriber.ends();
    normal.stays_for(ms(300));
    // A subscriber no more, or not yet: it is what it is now.
    normal.ok("SUBSCRIBE news");
    normal.ends();
    assert_eq!(figure(&mut admin, "evicted_connections"), 2);
}

/// A master and a replica of it, in step.
fn pair(on: &'static str, replica: Setup) -> (Server, Server) {
    let master = Setup::of(on)
        .module(LIMIT)
        .line("repl-diskless-sync-delay 0")
        .start();
    let line = format!("replicaof 127.0.0.1 {}", master.port);
    (master, replica.line(&line).start())
}

fn in_step(admin: &mut Conn) -> bool {
    let text = admin.ok("INFO replication").text();
    text.contains("master_link_status:up")
}

on_servers!(ALL, beside, a_replica_and_the_master_link_are_left);
/// The replica's default user may do next to nothing: what makes the master link that
/// user's would stop the writes, and leave the link up.
fn a_replica_and_the_master_link_are_left(on: &'static str) {
    let replica = Setup::of(on)
        .module(LIMIT)
        .line("user default on nopass -@all +ping")
        .line("user admin on nopass ~* &* +@all");
    let (master, replica) = pair(on, replica);
    let mut writer = master.admin();
    let mut reader = Conn::open(&replica.unix()).expect("connected");
    reader.ok("AUTH admin x");
    reader.ok("CLIENT NO-EVICT on");
    wait_until("the replica to be in step", || in_step(&mut reader));
    let link = {
        let list = reader.ok("CLIENT LIST TYPE master").text();
        id_in(list.trim())
    };

    // KILL may not name the link, and says who may.
    for line in [
        format!("CONNAGE.KILL ID {link}"),
        format!("CONNAGE.KILL ID {link} SKIPME no GRACE 0"),
        "CONNAGE.KILL TYPE master".into(),
    ] {
        let reply = reader.run(&line);
        assert!(reply.error().contains("CLIENT KILL"), "{line}: {reply:?}");
    }
    // And takes it along with nobody.
    for line in [
        "CONNAGE.KILL",
        "CONNAGE.KILL MAXAGE 1ms GRACE 0",
        "CONNAGE.KILL TYPE normal",
        "CONNAGE.KILL USER default",
    ] {
        let reply = reader.run(line);
        assert!(!reply.is_error(), "{line}: {reply:?}");
    }
    assert_eq!(writer.ok("CONNAGE.KILL MAXAGE 1ms GRACE 0").int(), 0);

    let start = Instant::now();
    let mut n = 0;
    while start.elapsed() < ms(2500) {
        n = writer.ok("INCR n").int();
        assert!(in_step(&mut reader), "the link is up throughout");
        std::thread::sleep(ms(20));
    }
    wait_until("the last write to arrive", || {
        reader.run("GET n") == Value::Text(n.to_string().into())
    });
    let stats = info(&mut writer, "stats");
    assert_eq!(stats["sync_full"], 1, "the replica never had to come back");
    assert_eq!(stats["sync_partial_ok"] + stats["sync_partial_err"], 0);
    let list = reader.ok("CLIENT LIST TYPE master").text();
    assert_eq!(id_in(list.trim()), link, "the same link");
    let mut ordinary = master.client();
    ordinary.ends();

    // The replica's own connection to the master goes when it is named.
    let list = writer.ok("CLIENT LIST TYPE replica").text();
    let id = id_in(list.trim());
    assert_eq!(writer.ok(&format!("CONNAGE.KILL ID {id}")).int(), 1);
    wait_until("it to be gone", || client_line(&mut writer, id).is_none());
    wait_until("it to come back", || in_step(&mut reader));
    let n = writer.ok("INCR n").int();
    wait_until("the write to arrive", || {
        reader.run("GET n") == Value::Text(n.to_string().into())
    });
}

on_servers!(
    FIVE,
    beside,
    a_former_master_link_and_a_former_replica_are_clients_like_others
);
/// Which of them a connection is shows only when it is looked at.
fn a_former_master_link_and_a_former_replica_are_clients_like_others(on: &'static str) {
    let (master, replica) = pair(on, Setup::of(on).module(LIMIT));
    let (mut writer, mut reader) = (master.admin(), replica.admin());
    wait_until("the replica to be in step", || in_step(&mut reader));
    reader.ok("REPLICAOF NO ONE");
    for (server, admin) in [(&master, &mut writer), (&replica, &mut reader)] {
        server.client().ends();
        let evicted = figure(admin, "evicted_connections");
        assert!(evicted >= 1);
        wait_until("the registry to agree", || {
            let connected = info(admin, "clients")["connected_clients"];
            figure(admin, "tracked_connections") == connected
        });
    }
}

on_servers!(FIVE, beside, no_command_runs_from_a_script);
fn no_command_runs_from_a_script(on: &'static str) {
    let server = Setup::of(on).module("").start();
    let mut admin = server.admin();
    let mut other = server.client();
    let id = other.id().to_string();
    let calls: [&[&str]; 5] = [
        &["CONNAGE.KILL", "MAXAGE", "1ms"],
        &["CONNAGE.KILL", "ID", &id],
        &["CONNAGE.CONFIG", "GET", "*"],
        &["CONNAGE.CONFIG", "SET", "maxage", "1"],
        &["CONNAGE.CONFIG", "RESETSTAT"],
    ];
    for words in calls {
        let mut eval = vec!["EVAL", "return redis.call(unpack(ARGV))", "0"];
        eval.extend(words);
        assert!(admin.call(&eval).is_error(), "{words:?}");
    }
    assert_eq!(figure(&mut admin, "maxage_ms"), 0);
    assert_eq!(other.run("PING").text(), "PONG");
}

on_servers!(
    FIVE,
    beside,
    kill_from_its_own_transaction_closes_after_the_replies
);
fn kill_from_its_own_transaction_closes_after_the_replies(on: &'static str) {
    let server = Setup::of(on).module("").start();
    let mut admin = server.admin();
    admin.ok("ACL SETUSER some on nopass ~* +@all -get");
    for grace in ["", " GRACE 0"] {
        let mut conn = server.client();
        conn.ok("AUTH some x");
        let id = conn.id();
        for line in [
            "MULTI".to_string(),
            "INCR before".into(),
            format!("CONNAGE.KILL ID {id} SKIPME no{grace}"),
            "INCR after".into(),
            "ACL WHOAMI".into(),
        ] {
            conn.ok(&line);
        }
        let replies = conn.run("EXEC");
        let replies = replies.list();
        assert_eq!(replies.len(), 4, "{replies:?}");
        assert_eq!(replies[1], Value::Int(1), "one is closed, itself");
        assert_eq!(replies[3].text(), "some", "it stays who it is");
        conn.ends();
    }
    assert_eq!(admin.run("GET before").int(), 2);
    assert_eq!(admin.run("GET after").int(), 2);
}

on_servers!(FIVE, beside, the_caller_is_spared_unless_skipme_is_no);
fn the_caller_is_spared_unless_skipme_is_no(on: &'static str) {
    let server = Setup::of(on).module("").start();
    for (words, closed) in [
        ("MAXAGE 1ms", 0),
        ("MAXAGE 1ms SKIPME yes", 0),
        ("MAXAGE 1ms SKIPME no", 1),
        ("TYPE normal SKIPME no", 1),
        ("USER default SKIPME no GRACE 0", 1),
    ] {
        let mut conn = server.client();
        conn.stays_for(ms(30));
        let reply = conn.ok(&format!("CONNAGE.KILL {words}"));
        assert_eq!(reply.int(), closed, "{words}");
        match closed {
            0 => assert_eq!(conn.run("PING").text(), "PONG", "{words}"),
            _ => assert!(conn.ends() < Instant::now() + PATIENCE),
        }
    }
    let mut admin = server.admin();
    wait_for_figure(&mut admin, "tracked_connections", 1);
}

on_servers!(
    ALL,
    beside,
    who_asks_for_a_replicas_link_is_spared_like_a_replica_if_it_may_ask
);
/// Its flags are those of any client until it has the link. Whoever asks in vain gains nothing by it.
fn who_asks_for_a_replicas_link_is_spared_like_a_replica_if_it_may_ask(on: &'static str) {
    let server = Setup::of(on).module("grace 0").start();
    let mut admin = server.admin();
    admin.ok("ACL SETUSER mallory on nopass ~* +@all -psync -sync -replconf");
    let mut replica = server.client();
    let id = replica.id();
    replica.ok("REPLCONF capa eof");
    let mut denied = Vec::new();
    for line in ["PSYNC ? -1", "SYNC", "REPLCONF capa eof"] {
        let mut conn = server.client();
        conn.ok("AUTH mallory x");
        assert!(conn.run(line).is_error(), "{line}");
        denied.push(conn);
    }
    admin.ok("CONFIG SET connage.maxage 1");
    for conn in &mut denied {
        conn.ends();
    }
    replica.stays_for(ms(400));
    assert_eq!(admin.ok("CONNAGE.KILL TYPE normal SKIPME yes GRACE 0").int(), 0);
    assert_eq!(admin.ok("CONNAGE.KILL USER default GRACE 0").int(), 0);
    replica.stays_for(ms(200));
    // What it sends next is what it is.
    assert_eq!(admin.ok(&format!("CONNAGE.KILL ID {id} GRACE 0")).int(), 1);
    replica.ends();
}
