//! Dry run: who would have gone, and why; each once, and nobody goes.

use crate::on_servers;
use crate::rows::{log, set_rules};
use crate::support::conn::Conn;
use crate::support::ms;
use crate::support::server::{figure, figures, wait_for_figure, Setup};
use std::collections::BTreeMap;

on_servers!(FIVE, beside, it_tells_who_would_have_gone_and_why_each_once);
fn it_tells_who_would_have_gone_and_why_each_once(on: &'static str) {
    let server = Setup::of(on).module("dry-run yes").start();
    let mut admin = server.admin();
    admin.ok("ACL SETUSER ci-1 on nopass ~* &* +@all");
    set_rules(
        &mut admin,
        "ci: user=ci-* maxage=300; ops: name=x addr=127.0.0.0/8 maxage=0",
    );
    let mut conns = server.clients(5);
    let ids: Vec<i64> = conns.iter_mut().map(Conn::id).collect();
    conns[1].ok("AUTH ci-1 x");
    conns[3].ok("CLIENT SETNAME x");
    conns[4].ok("MULTI");
    conns[2].ok("CONNAGE.SELF MAXAGE 400");
    set_rules(
        &mut admin,
        "ci: user=ci-* maxage=300; ops: name=x addr=127.0.0.0/8 maxage=0",
    );
    admin.ok("CONNAGE.CONFIG SET maxage 500");
    wait_for_figure(&mut admin, "would_evict", 4);
    conns[0].stays_for(ms(1_500));
    let told: BTreeMap<i64, (String, i64)> = log(&mut admin)
        .iter()
        .inspect(|entry| assert_eq!(entry.text("how"), "dry-run"))
        .map(|entry| (entry.int("id"), (entry.text("reason"), entry.int("limit-ms"))))
        .collect();
    let wanted = [
        (0, "maxage", 500),
        (1, "rule:ci", 300),
        (2, "self", 400),
        (4, "maxage", 500),
    ];
    let wanted = wanted.map(|(place, why, limit): (usize, &str, i64)| (ids[place], (why.to_string(), limit)));
    assert_eq!(told, BTreeMap::from(wanted));
    assert_eq!(admin.ok("CONNAGE.LOG LEN").int(), 4, "each once");
    let [would, evicted, draining] = figures(
        &mut admin,
        ["would_evict", "evicted_connections", "draining_connections"],
    );
    assert_eq!([would, evicted, draining], [4, 0, 0]);
    let verbose = server.log();
    assert!(
        verbose.contains("dry run: would have evicted "),
        "the notice: {verbose}"
    );
    for conn in &mut conns {
        assert!(!conn.run("PING").is_error());
    }
    // KILL is not affected.
    let killed = ids[3];
    assert_eq!(admin.ok(&format!("CONNAGE.KILL ID {killed}")).int(), 1);
    conns[3].ends();
    // In earnest: those that it named go.
    conns[4].ok("EXEC");
    admin.ok("CONNAGE.CONFIG SET dry-run no");
    for place in [0, 1, 2, 4] {
        conns[place].ends();
    }
    assert_eq!(figure(&mut admin, "evicted_connections"), 5);
    assert_eq!(figure(&mut admin, "would_evict"), 4);
}
