//! A primary and its replicas, each evicting its own clients: the links between them stay.

use crate::churn;
use crate::on_servers;
use crate::support::conn::{Conn, PATIENCE};
use crate::support::resp::Value;
use crate::support::server::{figure, info, Server, Setup};
use crate::support::{ms, say, wait_until};
use std::time::Instant;

const LIMIT: &str = "maxage 400 jitter 50 grace 2s";

fn in_step(admin: &mut Conn) -> bool {
    let text = admin.ok("INFO replication").text();
    text.contains("master_link_status:up")
}

fn link_of(admin: &mut Conn) -> String {
    let list = admin.ok("CLIENT LIST TYPE master").text();
    list.split(' ').next().unwrap_or("").to_string()
}

fn primary_of(on: &'static str) -> Server {
    let setup = Setup::of(on).module(LIMIT).line("repl-diskless-sync-delay 0");
    setup
        .line("repl-backlog-size 16384")
        .line("rdbcompression no")
        .start()
}

fn replica_of(primary: &Server, words: &str) -> Server {
    let line = format!("replicaof 127.0.0.1 {}", primary.port);
    let setup = Setup::of(primary.setup.name).module(words).line(&line);
    // Clients are served every so many bytes of what it loads.
    let setup = setup.line("loading-process-events-interval-bytes 1024");
    setup.line("repl-diskless-load swapdb").start()
}

on_servers!(
    FIVE,
    beside,
    two_replicas_stay_linked_while_all_three_evict_their_clients
);
fn two_replicas_stay_linked_while_all_three_evict_their_clients(on: &'static str) {
    let primary = primary_of(on);
    let replicas = [replica_of(&primary, LIMIT), replica_of(&primary, LIMIT)];
    let mut writer = primary.admin();
    let mut readers = [replicas[0].admin(), replicas[1].admin()];
    for reader in &mut readers {
        wait_until("the replica to be in step", || in_step(reader));
    }
    let links = [link_of(&mut readers[0]), link_of(&mut readers[1])];
    let key = |i| format!("n{i}");
    let seen = churn::during(
        6,
        key,
        |_| Some(primary.port),
        || {
            let start = Instant::now();
            let mut looker = primary.admin();
            let mut rounds = 0;
            // Whoever never pauses lives for more than half of its grace: each of the six goes at least once.
            while rounds < 4 || figure(&mut looker, "evicted_connections") < 6 {
                assert!(start.elapsed() < PATIENCE * 3, "too few evictions");
                rounds += 1;
                // The replicas' own clients: each comes, reads and is closed.
                for (replica, reader) in replicas.iter().zip(&mut readers) {
                    let mut clients = replica.clients(5);
                    for client in &mut clients {
                        let reply = client.ask(&["GET", "n0"]);
                        assert!(reply.is_ok_and(|v| !v.is_error()) || client.before.elapsed() > ms(200));
                    }
                    for client in &mut clients {
                        while client.reply().is_ok() {}
                    }
                    assert!(in_step(reader), "the link is up throughout");
                }
            }
        },
    );
    assert_eq!(seen.broken, 0, "{seen:?}");
    let mut executed = 0;
    for i in 0..6 {
        let total = writer.run(&format!("GET n{i}"));
        executed += total.int();
        for reader in &mut readers {
            wait_until("the last write to arrive", || {
                reader.run(&format!("GET n{i}")) == total
            });
        }
    }
    assert_eq!(executed, seen.answered, "no reply is lost: {seen:?}");
    for (reader, link) in readers.iter_mut().zip(&links) {
        assert_eq!(&link_of(reader), link, "the same link");
        assert!(figure(reader, "evicted_connections") >= 20);
    }
    let evicted = figure(&mut writer, "evicted_connections");
    let stats = info(&mut writer, "stats");
    assert_eq!(stats["sync_full"], 2, "no replica ever had to come back");
    assert_eq!(stats["sync_partial_ok"] + stats["sync_partial_err"], 0);
    say(format!(
        "{on}: {executed} writes, {evicted} evicted on the primary; both links as at the start"
    ));
}

on_servers!(FIVE, beside, a_full_sync_by_swapdb_serves_clients_and_evicts_them);
/// The replica keeps its old data and answers from it while the new comes: what the server
/// does only where every module says that it bears it.
fn a_full_sync_by_swapdb_serves_clients_and_evicts_them(on: &'static str) {
    let primary = primary_of(on);
    let replica = replica_of(&primary, LIMIT);
    let (mut writer, mut reader) = (primary.admin(), replica.admin());
    writer.ok("DEBUG POPULATE 3000 key 1000");
    writer.ok("SET old 1");
    wait_until("the replica to have it", || {
        reader.run("GET old") == Value::Text("1".into())
    });
    // 3 s of syncing, forced by a backlog that is too short.
    writer.ok("CONFIG SET rdb-key-save-delay 1000");
    let big = "x".repeat(1_000_000);
    writer.ok("MULTI");
    writer.ok("CLIENT KILL TYPE replica");
    for n in 0..3 {
        writer.call(&["SET", &format!("big{n}"), &big]);
    }
    writer.ok("EXEC");
    let loading = |reader: &mut Conn| info(reader, "persistence")["async_loading"] == 1;
    wait_until("loading beside the old data", || loading(&mut reader));
    let mut served = Vec::new();
    while loading(&mut reader) {
        let mut client = replica.client();
        match client.ask(&["GET", "old"]) {
            Ok(reply) => assert_eq!(reply, Value::Text("1".into())),
            Err(_) => assert!(client.before.elapsed() > ms(200), "evicted early"),
        }
        served.push(client);
    }
    let meanwhile = served.len();
    assert!(meanwhile >= 1, "nobody was served");
    for client in &mut served {
        while client.reply().is_ok() {}
    }
    wait_until("the replica to be in step", || in_step(&mut reader));
    assert_eq!(reader.ok("DBSIZE").int(), writer.ok("DBSIZE").int());
    assert_eq!(info(&mut writer, "stats")["sync_full"], 2);
    say(format!(
        "{on}: {meanwhile} clients served while swapdb loaded, and evicted"
    ));
}

on_servers!(
    VALKEY,
    beside,
    a_replica_of_two_channels_comes_in_step_whatever_is_closed_meanwhile
);
/// Its main channel waits for the other one's sync, and looks like an ordinary client as long.
fn a_replica_of_two_channels_comes_in_step_whatever_is_closed_meanwhile(on: &'static str) {
    for words in ["maxage 400 grace 0", ""] {
        let two_channels = "dual-channel-replication-enabled yes";
        let primary = Setup::of(on)
            .module(words)
            .line("repl-diskless-sync yes")
            .line("repl-diskless-sync-delay 2")
            .line(two_channels)
            .start();
        let mut admin = primary.admin();
        let replica = Setup::of(on)
            .line(&format!("replicaof 127.0.0.1 {}", primary.port))
            .line(two_channels)
            .start();
        wait_until("its main channel to wait", || {
            let list = admin.ok("CLIENT LIST TYPE normal").text();
            list.lines()
                .any(|line| line.contains(" flags=N ") && line.contains(" cmd=psync "))
        });
        if words.is_empty() {
            admin.ok("CONNAGE.KILL TYPE normal GRACE 0");
        }
        let mut reader = replica.admin();
        wait_until("the replica to be in step", || in_step(&mut reader));
        assert_eq!(
            info(&mut admin, "stats")["sync_full"],
            1,
            "{words}: at the first try"
        );
    }
}
