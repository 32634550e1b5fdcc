//! Whatever clients do, what the module keeps stays in proportion to the connections there are.

use crate::on_servers;
use crate::support::resp::encode;
use crate::support::server::{figure, Setup};

on_servers!(
    FIVE,
    beside,
    limits_that_a_client_gives_itself_again_and_again_take_no_memory
);
fn limits_that_a_client_gives_itself_again_and_again_take_no_memory(on: &'static str) {
    const TIMES: usize = 20_000;
    let server = Setup::of(on).module("maxage 1d").start();
    let mut admin = server.admin();
    let mut client = server.client();
    client.ok("CONNAGE.SELF MAXAGE 10h");
    let before = figure(&mut admin, "memory_bytes");
    let lines: Vec<u8> = (0..TIMES)
        .flat_map(|n| encode(&["CONNAGE.SELF", "MAXAGE", &format!("{}", 36_000_000 + n)]))
        .collect();
    for lines in lines.chunks(lines.len().div_ceil(20)) {
        client.send_bytes(lines).expect("sent");
    }
    for _ in 0..TIMES {
        client.reply().expect("a row");
    }
    assert_eq!(figure(&mut admin, "memory_bytes"), before);
    client.ok("CONNAGE.SELF MAXAGE 0");
    assert!(figure(&mut admin, "memory_bytes") < before);
}
