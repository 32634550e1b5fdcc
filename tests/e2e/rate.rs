//! However many are due, `rate` bounds the closings, and others feel nothing of them.

use crate::on_servers;
use crate::support::conn::{all_ends, Conn, Gone};
use crate::support::noise::beside;
use crate::support::server::{figure, figures, Setup};
use crate::support::{ms, say, Stop};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The most that ended within any second.
fn most_in_a_second(ends: &[Instant]) -> usize {
    let mut ends = ends.to_vec();
    ends.sort();
    let within = |i: usize| {
        let later = ends[i..].iter();
        later.take_while(|&&t| t < ends[i] + ms(1000)).count()
    };
    (0..ends.len()).map(within).max().unwrap_or(0)
}

on_servers!(
    FIVE,
    alone,
    rate_100_closes_at_most_100_a_second_by_age_and_kill_together
);
fn rate_100_closes_at_most_100_a_second_by_age_and_kill_together(on: &'static str) {
    let server = Setup::of(on).module("maxage 700 rate 100").start();
    let mut admin = server.admin();
    let mut conns = server.clients(130);
    let later = conns[129].after + ms(300);
    conns[0].stays_until(later);
    conns.extend(server.clients(70));
    let ids: Vec<String> = conns[130..].iter_mut().map(|c| c.id().to_string()).collect();
    // When the first are past their limit the others are named: 200 in all.
    let later = conns[0].after + ms(690);
    conns[129].stays_until(later);
    let line = format!("CONNAGE.KILL ID {}", ids.join(" "));
    assert_eq!(admin.ok(&line).int(), 70);
    let started = Instant::now();
    let backlog = AtomicBool::new(false);
    let (ends, noise) = beside(|| {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut admin = server.admin();
                while started.elapsed() < ms(1000) {
                    let waiting = figure(&mut admin, "backlog_connections");
                    backlog.fetch_or(waiting >= 50, Ordering::Relaxed);
                    std::thread::sleep(ms(50));
                }
            });
            all_ends(&mut conns, started + ms(6000))
        })
    });
    assert!(ends.iter().all(|(gone, _)| *gone == Gone::End));
    let at: Vec<Instant> = ends.iter().map(|(_, at)| *at).collect();
    let most = most_in_a_second(&at);
    let took = *at.iter().max().expect("200") - *at.iter().min().expect("200");
    say(format!(
        "{on}: rate 100: at most {most} in a second, 200 took {took:?}"
    ));
    // The clients see the ends a little later or earlier than the server did them: one comes each 10 ms.
    let allowed = 103 + (noise.max.as_millis() / 10) as usize;
    assert!(
        most <= allowed,
        "{most} in a second, an idle thread {:?}",
        noise.max
    );
    assert!(took < ms(2600), "it is used up: {took:?}");
    assert!(backlog.into_inner(), "a backlog was told");
    let [all, command] = figures(&mut admin, ["evicted_connections", "evicted_by_command"]);
    assert_eq!((all, command), (200, 70));
}

on_servers!(FIVE, alone, a_storm_of_expiries_is_not_felt_by_others);
fn a_storm_of_expiries_is_not_felt_by_others(on: &'static str) {
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
            let ends = all_ends(&mut conns, started + ms(15_000));
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
    assert!(most < ms(50) + noise.max, "another client waited {most:?}");
    assert_eq!(figure(&mut admin, "evicted_forced"), 0);
}
