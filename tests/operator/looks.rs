//! How often commands have the server list clients, which on some servers walks all of them, by the
//! server's own count of its commands.

use crate::on_servers;
use crate::rows::{listed, Row};
use crate::support::conn::Conn;
use crate::support::server::Setup;

/// How often CLIENT LIST has run so far.
#[track_caller]
fn looks(conn: &mut Conn) -> u64 {
    let stats = conn.ok("INFO commandstats").text();
    let calls = stats
        .lines()
        .filter_map(|line| line.strip_prefix("cmdstat_client|list:calls="))
        .filter_map(|rest| rest.split(',').next()?.parse::<u64>().ok());
    calls.sum()
}

/// How often `line` has the server list clients.
#[track_caller]
fn looks_of(conn: &mut Conn, line: &str) -> u64 {
    let before = looks(conn);
    conn.ok(line);
    looks(conn) - before
}

on_servers!(FIVE, beside, an_id_that_is_not_there_costs_no_look);
fn an_id_that_is_not_there_costs_no_look(on: &'static str) {
    let server = Setup::of(on).module("").start();
    let mut admin = server.admin();
    let mut client = server.client();
    let id = client.id();
    // Redis 7.0 asks by this command whether its caller may, as often for these as for those.
    let made_up = "ID 900000000001 ID 900000000002 900000000003";
    for command in ["CONNAGE.LIST", "CONNAGE.KILL DRYRUN"] {
        let none = looks_of(&mut admin, &format!("{command} {made_up}"));
        let one = looks_of(&mut admin, &format!("{command} {made_up} ID {id}"));
        assert_eq!(one, none + 1, "{command}");
    }
    assert_eq!(listed(&mut admin, &format!("{made_up} ID {id}")), [id]);
    let row = Row::of(&admin.ok(&format!("CONNAGE.LIST ID {id} {made_up}")).list()[0]);
    assert_eq!(row.int("id"), id);
    drop(client);
}

on_servers!(FIVE, beside, a_limit_that_nobody_fills_is_looked_for_in_few_looks);
fn a_limit_that_nobody_fills_is_looked_for_in_few_looks(on: &'static str) {
    let server = Setup::of(on).module("").start();
    let mut admin = server.admin();
    let mut clients = server.clients(60);
    let ids: Vec<String> = clients.iter_mut().map(|c| c.id().to_string()).collect();
    let ids = ids.join(" ");
    let line = format!("CONNAGE.LIST ID {ids} NAME nobody LIMIT 1");
    // 1, 2, 4, 8, 16 and the rest.
    let asked = looks_of(&mut admin, &line);
    assert!(asked <= 7, "{asked} looks at 60 connections");
}

on_servers!(FIVE, beside, asking_for_its_own_row_over_and_over_costs_few_looks);
fn asking_for_its_own_row_over_and_over_costs_few_looks(on: &'static str) {
    const TIMES: usize = 20_000;
    let server = Setup::of(on).module("").start();
    let mut admin = server.admin();
    let mut conn = server.client();
    let before = looks(&mut admin);
    for _ in 0..TIMES / 100 {
        conn.start(&["CONNAGE.SELF"; 100]);
        for _ in 0..100 {
            assert_eq!(conn.reply().expect("its row").list().len(), 28);
        }
    }
    let asked = looks(&mut admin) - before;
    // A hundredth of the time: a few hundred of them, also on a machine that is slow.
    assert!(
        (1..TIMES as u64 / 2).contains(&asked),
        "{asked} looks for {TIMES}"
    );
}
