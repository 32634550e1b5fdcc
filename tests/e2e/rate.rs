//! However many are due, `rate` bounds the closings, and others feel nothing of them.

use crate::on_servers;
use crate::support::closings::{closed_at, most_in_a_second};
use crate::support::conn::{all_ends, Conn, Gone, PATIENCE};
use crate::support::noise::beside;
use crate::support::server::{figure, figures, Setup};
use crate::support::{ms, say, wait_until, Stop};
use std::time::{Duration, Instant};

on_servers!(
    FIVE,
    beside,
    rate_100_closes_at_most_100_a_second_by_age_and_kill_together
);
fn rate_100_closes_at_most_100_a_second_by_age_and_kill_together(on: &'static str) {
    let server = Setup::of(on).module("rate 100 log-max-len 1000").start();
    let mut admin = server.admin();
    let mut conns = server.clients(130);
    conns[129].stays_for(ms(1500));
    conns.extend(server.clients(70));
    let ids: Vec<String> = conns[130..].iter_mut().map(|c| c.id().to_string()).collect();
    // When the first are past their limit the others are named: 200 in all.
    let line = format!("CONNAGE.KILL ID {}", ids.join(" "));
    admin.start(&["CONNAGE.CONFIG SET maxage 1400", &line]);
    assert_eq!(admin.reply().expect("a reply").text(), "OK");
    assert_eq!(admin.reply().expect("a reply").int(), 70);
    let started = Instant::now();
    let ends = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut admin = server.admin();
            wait_until("a backlog to be told", || {
                figure(&mut admin, "backlog_connections") >= 50
            });
        });
        all_ends(&mut conns, started + PATIENCE)
    });
    assert!(ends.iter().all(|(gone, _)| *gone == Gone::End));
    let times = closed_at(&mut admin);
    assert_eq!(times.len(), 200);
    let most = most_in_a_second(&times);
    let took = times[199] - times[0];
    say(format!(
        "{on}: rate 100: at most {most} in a second, 200 took {took} ms"
    ));
    assert!((50..=101).contains(&most), "{most} in a second");
    let [all, command] = figures(&mut admin, ["evicted_connections", "evicted_by_command"]);
    assert_eq!((all, command), (200, 70));
}

on_servers!(FIVE, alone, a_storm_of_expiries_is_not_felt_by_others);
/// The best of three: the machine may be busy.
fn a_storm_of_expiries_is_not_felt_by_others(on: &'static str) {
    assert!(
        (0..3).any(|_| a_storm_is_not_felt(on)),
        "another client waited each time"
    );
}

fn a_storm_is_not_felt(on: &'static str) -> bool {
    const MANY: usize = 3000;
    let server = Setup::of(on).module("rate 0").start();
    let mut admin = server.admin();
    let mut other = Conn::open(&server.tcp()).expect("connected");
    other.ok("CLIENT NO-EVICT on");
    let mut conns = server.clients(MANY);
    let stop = Stop::default();
    let ((ends, mut waits), noise) = beside(|| {
        std::thread::scope(|scope| {
            let at_the_end = stop.at_the_end();
            let pings = scope.spawn(|| {
                let mut waits: Vec<Duration> = Vec::new();
                while !stop.asked() {
                    let asked = Instant::now();
                    other.ok("PING");
                    waits.push(asked.elapsed());
                    std::thread::sleep(ms(1));
                }
                waits
            });
            let started = Instant::now();
            admin.ok("CONFIG SET connage.maxage 1");
            let ends = all_ends(&mut conns, started + PATIENCE);
            let took = ends.iter().map(|(_, at)| *at).max().expect("some") - started;
            say(format!("{on}: {MANY} at once, rate 0: gone in {took:?}"));
            drop(at_the_end);
            (ends, pings.join().expect("pings"))
        })
    });
    assert!(ends.iter().all(|(gone, _)| *gone == Gone::End));
    waits.sort();
    let (median, most) = (waits[waits.len() / 2], waits[waits.len() - 1]);
    say(format!(
        "{on}: meanwhile PING took {median:?}, {most:?} at most, an idle thread {:?}",
        noise.max
    ));
    assert_eq!(figure(&mut admin, "evicted_forced"), 0);
    most < ms(50) + noise.max * 2
}
