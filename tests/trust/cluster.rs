//! Cluster: eviction on every node, while slots move and primaries change.

use crate::churn;
use crate::on_servers;
use crate::support::conn::{Address, Conn};
use crate::support::server::{figure, Server, Setup};
use crate::support::{ms, say, wait_until};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// redis-cli's own connections last as long as its work does: they get a rule.
const RULES: &str = "rules tools: user=tools maxage=0";

/// A node; its port on the cluster's bus is 10,000 above its own.
fn node(on: &'static str, words: &str) -> Server {
    Setup::of(on)
        .line("cluster-enabled yes")
        .line("cluster-node-timeout 5000")
        .line("repl-diskless-sync-delay 0")
        .line("user tools on nopass ~* &* +@all")
        .module(words)
        .start()
}

fn meet(admin: &mut Conn, other: &Server) {
    admin.ok(&format!("CLUSTER MEET 127.0.0.1 {}", other.port));
}

/// redis-cli with these words, as the user `tools`; what it says.
#[track_caller]
fn cli(on: &str, words: &[&str]) -> String {
    let cli = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(".servers")
        .join(on)
        .join("cli");
    let made = Command::new(cli)
        .args(["--user", "tools", "--pass", "x", "--no-auth-warning"])
        .args(words)
        .stdin(Stdio::null())
        .output()
        .expect("redis-cli");
    let said = String::from_utf8_lossy(&made.stdout).into_owned() + &String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{words:?}: {said}");
    said
}

fn stands(admin: &mut Conn, nodes: usize) -> bool {
    let info = admin.ok("CLUSTER INFO").text();
    info.contains("cluster_state:ok") && info.contains(&format!("cluster_known_nodes:{nodes}"))
}

fn all_stand(admins: &mut [Conn]) {
    let nodes = admins.len();
    for admin in admins.iter_mut() {
        wait_until("the cluster to stand", || stands(admin, nodes));
    }
}

/// Who a node thinks is what, and has which slots.
fn view(admin: &mut Conn) -> BTreeSet<String> {
    let text = admin.ok("CLUSTER NODES").text();
    let lines = text.lines().map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let role = words[2].trim_start_matches("myself,");
        format!("{} {role} {} {:?}", words[0], words[3], &words[8..])
    });
    lines.collect()
}

/// Gossip takes a second or two: before, a primary turns its replica's failover down, and redis-cli
/// refuses to move slots.
fn all_agree(admins: &mut [Conn]) {
    wait_until("all nodes to agree", || {
        let first = view(&mut admins[0]);
        let replicas = first.iter().filter(|line| line.contains(" slave ")).count();
        replicas == 3 && admins.iter_mut().all(|admin| view(admin) == first)
    });
}

fn id(admin: &mut Conn) -> String {
    admin.ok("CLUSTER MYID").text()
}

fn total(nodes: &[Server], keys: &[String]) -> i64 {
    let find = |key: &String| -> i64 {
        let mut port = nodes[0].port;
        loop {
            let mut conn = Conn::open(&Address::Tcp(port)).expect("connected");
            let reply = conn.call(&["GET", key]);
            if !reply.is_error() {
                return reply.int();
            }
            match churn::after(reply.error()) {
                churn::Next::Reconnect(to) => port = to,
                _ => panic!("GET: {reply:?}"),
            }
        }
    };
    keys.iter().map(find).sum()
}

on_servers!(
    FIVE,
    beside,
    six_nodes_evict_while_a_replica_takes_over_and_slots_move
);
fn six_nodes_evict_while_a_replica_takes_over_and_slots_move(on: &'static str) {
    let nodes: Vec<Server> = (0..6).map(|_| node(on, RULES)).collect();
    let mut admins: Vec<Conn> = nodes.iter().map(|n| n.admin()).collect();
    let at = |i: usize| format!("127.0.0.1:{}", nodes[i].port);
    for (i, range) in ["0 5460", "5461 10922", "10923 16383"].iter().enumerate() {
        admins[i].ok(&format!("CLUSTER ADDSLOTSRANGE {range}"));
    }
    for other in &nodes[1..] {
        meet(&mut admins[0], other);
    }
    all_stand(&mut admins);
    let primaries: Vec<String> = admins[..3].iter_mut().map(id).collect();
    for (admin, primary) in admins[3..].iter_mut().zip(&primaries) {
        wait_until("the replica to be one", || {
            !admin.run(&format!("CLUSTER REPLICATE {primary}")).is_error()
        });
    }
    for admin in &mut admins[3..] {
        wait_until("the replica to be in step", || {
            let text = admin.ok("INFO replication").text();
            text.contains("master_link_status:up")
        });
    }

    // As the manual says: one command for all nodes.
    let set = [
        "CONNAGE.CONFIG",
        "SET",
        "maxage",
        "500ms",
        "jitter",
        "40",
        "grace",
        "2s",
    ];
    let said = cli(on, &[&["--cluster", "call", &at(0)][..], &set].concat());
    assert_eq!(said.matches("OK").count(), 6, "{said}");
    for admin in &mut admins {
        assert_eq!(figure(admin, "maxage_ms"), 500);
    }

    let keys: Vec<String> = (0..12).map(|i| format!("key:{i}")).collect();
    let mut moved = 0;
    let seen = churn::during(
        keys.len(),
        |i| keys[i].clone(),
        |i| Some(nodes[i % 3].port),
        || {
            // The replicas have clients too.
            for replica in &nodes[3..] {
                let mut clients = replica.clients(10);
                clients.iter_mut().for_each(|conn| {
                    conn.ends();
                });
            }
            // Each node evicts before roles change, whatever time that takes.
            for admin in &mut admins {
                wait_until("each node to evict", || figure(admin, "evicted_connections") >= 5);
            }
            // A manual failover.
            all_agree(&mut admins);
            admins[3].ok("CLUSTER FAILOVER");
            wait_until("the replica to take over", || {
                admins[3].ok("ROLE").list()[0].text() == "master"
            });
            wait_until("the former primary to be in step", || {
                let text = admins[0].ok("INFO replication").text();
                text.contains("master_link_status:up")
            });
            // And a resharding, with keys in the slots.
            all_agree(&mut admins);
            let (from, to) = (primaries[1].clone(), id(&mut admins[3]));
            let many = 300;
            cli(
                on,
                &[
                    "--cluster",
                    "reshard",
                    &at(1),
                    "--cluster-from",
                    &from,
                    "--cluster-to",
                    &to,
                    "--cluster-slots",
                    &many.to_string(),
                    "--cluster-yes",
                ],
            );
            moved = many;
            let begun = Instant::now();
            wait_until("more lifetimes to pass", || begun.elapsed() > ms(1500));
        },
    );
    all_stand(&mut admins);
    let executed = total(&nodes, &keys);
    assert_eq!(executed, seen.answered, "no reply is lost: {seen:?}");
    assert_eq!(seen.broken, 0, "{seen:?}");
    let evicted: Vec<i64> = admins
        .iter_mut()
        .map(|a| figure(a, "evicted_connections"))
        .collect();
    assert!(
        evicted.iter().all(|n| *n >= 5),
        "evicted on each node: {evicted:?}"
    );
    say(format!(
        "{on}: {executed} writes, none lost; {moved} slots moved, one failover; evicted {evicted:?}"
    ));
}

on_servers!(
    VALKEY_9,
    beside,
    slots_migrate_under_load_with_a_limit_of_a_second
);
fn slots_migrate_under_load_with_a_limit_of_a_second(on: &'static str) {
    let nodes = [node(on, "maxage 1s grace 1s"), node(on, "maxage 1s grace 1s")];
    let mut admins = [nodes[0].admin(), nodes[1].admin()];
    admins[0].ok("CLUSTER ADDSLOTSRANGE 0 16383");
    meet(&mut admins[0], &nodes[1]);
    all_stand(&mut admins);
    let to = id(&mut admins[1]);
    admins[0].ok("DEBUG POPULATE 1000 filler");
    admins[0].ok("CONFIG SET rdb-key-save-delay 4000"); // 4 s in all
    let keys: Vec<String> = (0..8).map(|i| format!("key:{i}")).collect();
    let mut took = ms(0);
    let seen = churn::during(
        keys.len(),
        |i| keys[i].clone(),
        |_| Some(nodes[0].port),
        || {
            let begun = Instant::now();
            admins[0].ok(&format!("CLUSTER MIGRATESLOTS SLOTSRANGE 0 8000 NODE {to}"));
            wait_until("the slots to have moved", || {
                let told = format!("{:?}", admins[0].ok("CLUSTER GETSLOTMIGRATIONS"));
                assert!(!told.contains("failed"), "{told}");
                told.contains("success")
            });
            took = begun.elapsed();
        },
    );
    assert!(took > ms(2000), "longer than the limit: {took:?}");
    let executed = total(&nodes, &keys);
    assert_eq!(executed, seen.answered, "no reply is lost: {seen:?}");
    for (node, admin) in nodes.iter().zip(&mut admins) {
        node.client().ends();
        assert!(figure(admin, "evicted_connections") >= 1);
    }
    say(format!(
        "{on}: 8001 slots moved in {took:?} with a limit of 1 s; {executed} writes, none lost"
    ));
}
