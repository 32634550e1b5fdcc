//! Descriptors are the server's: what the module keeps of them never keeps a client out.

use crate::on_servers;
use crate::support::conn::{Conn, PATIENCE};
use crate::support::noise::beside;
use crate::support::server::{figure, Setup};
use crate::support::{ms, say};
use std::time::Instant;

on_servers!(FIVE, beside, new_clients_get_in_when_descriptors_are_few);
/// All that the server takes are slow readers, evicted with much still in the kernel.
fn new_clients_get_in_when_descriptors_are_few(on: &'static str) {
    const CLIENTS: usize = 150;
    for descriptors in [190, 280] {
        let server = Setup::of(on)
            .line(&format!("maxclients {CLIENTS}"))
            .descriptors(descriptors)
            .module("maxage 500 grace 1s")
            .start();
        let mut admin = server.admin();
        admin.call(&["SET", "big", &"x".repeat(600_000)]);
        let mut slow: Vec<Conn> = Vec::new();
        for _ in 0..2 {
            while let Ok(mut conn) = Conn::open_with(&server.tcp(), Some(4096)) {
                conn.start(&["GET big"]);
                slow.push(conn);
                if slow.len() >= 2 * CLIENTS {
                    break;
                }
            }
        }
        assert!(
            slow.len() >= CLIENTS - 10,
            "maxclients is reached: {}",
            slow.len()
        );
        let start = Instant::now();
        let ((most, longest), noise) = beside(|| {
            let (mut new, mut most, mut longest) = (Vec::new(), 0, ms(0));
            while new.len() < 100 {
                // Refused is an answer: the server is full. No answer would be EMFILE.
                let asked = Instant::now();
                match Conn::open(&server.tcp()) {
                    Ok(conn) => new.push(conn),
                    Err(_) => std::thread::sleep(ms(20)),
                }
                longest = longest.max(asked.elapsed());
                assert!(start.elapsed() < PATIENCE * 3, "{} got in", new.len());
                most = most.max(figure(&mut admin, "lingering_connections"));
            }
            (most, longest)
        });
        let bound = ms(1500) + noise.max * 2;
        assert!(longest < bound, "no answer for {longest:?}");
        say(format!(
            "{on}: {descriptors} descriptors, {} slow readers, {most} lingering at most: \
             100 new clients got in within {:?}",
            slow.len(),
            start.elapsed()
        ));
        let log = server.log();
        assert!(!log.contains("Too many open files"), "{log}");
    }
}

on_servers!(FIVE, beside, their_table_has_grown_before_the_first_eviction);
/// The kernel lets a process with threads wait for some 10 ms when its table grows.
fn their_table_has_grown_before_the_first_eviction(on: &'static str) {
    let server = Setup::of(on).line("maxclients 2000").module("").start();
    let places = server.table_of_descriptors();
    assert!(places > 2_000 + 128, "{places} places");
}
