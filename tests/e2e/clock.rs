//! The wall clock steps, and no limit moves. Only the wall clock: the monotonic one, which
//! limits go by, stays as it is.

use crate::on_servers;
use crate::support::conn::{all_ends, Conn, Gone, PATIENCE};
use crate::support::noise::beside;
use crate::support::resp::Value;
use crate::support::server::{client_line, figure, Server, Setup};
use crate::support::{ms, say, wait_until};
use std::path::PathBuf;
use std::time::Instant;

const LIMIT: u64 = 2500;
/// One cron period at the servers' own 10 a second, and what the clients need to see it.
const PERIOD: u64 = 100 + 50;

struct Clock {
    file: tempfile::NamedTempFile,
}

impl Clock {
    fn new() -> Clock {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "+0").expect("written");
        Clock { file }
    }

    /// A server whose wall clock it is.
    fn server(&self, setup: Setup) -> Server {
        let on = setup.name;
        let lib = |name: &str| -> PathBuf {
            [env!("CARGO_MANIFEST_DIR"), ".servers/lib", name]
                .iter()
                .collect()
        };
        let mut preload = lib("libfaketimeMT.so.1").display().to_string();
        if on == "redis-7.0" {
            // Its allocator and libfaketime lock each other up, unless libc comes first.
            preload += ":libc.so.6";
        }
        setup
            .env("LD_PRELOAD", &preload)
            .env("FAKETIME_TIMESTAMP_FILE", &self.file.path().display().to_string())
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("DONT_FAKE_MONOTONIC", "1")
            .start()
    }

    /// Steps, and waits until the server sees it: its hour is compared with this one's.
    fn step(&self, admin: &mut Conn, hours: i64) {
        // In place of the old one at once: never half written.
        let new = self.file.path().with_extension("new");
        std::fs::write(&new, format!("{:+}", hours * 3600)).expect("written");
        std::fs::rename(&new, self.file.path()).expect("renamed");
        wait_until("the clock to step", || {
            let now = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("now");
            let server = match admin.ok("TIME") {
                Value::List(parts) => parts[0].int(),
                other => panic!("TIME: {other:?}"),
            };
            (server - now.as_secs() as i64 - hours * 3600).abs() < 60
        });
    }
}

on_servers!(FIVE, beside, steps_of_the_wall_clock_move_no_limit);
fn steps_of_the_wall_clock_move_no_limit(on: &'static str) {
    let clock = Clock::new();
    let server = clock.server(Setup::of(on).module(&format!("maxage {LIMIT}")));
    let mut admin = server.admin();
    let steps: [(&str, &[i64]); 3] = [
        ("an hour back", &[-1]),
        ("an hour forward", &[1]),
        ("back, then forward", &[-1, 1]),
    ];
    for (title, hours) in steps {
        // Never early in any of them; in time where the machine lets it.
        let mut tries = (0..5).map(|_| in_time_despite(&clock, &server, &mut admin, title, hours));
        assert!(tries.any(|in_time| in_time), "{on}: {title}: late each time");
    }
}

fn in_time_despite(clock: &Clock, server: &Server, admin: &mut Conn, title: &str, hours: &[i64]) -> bool {
    clock.step(admin, 0);
    let ((stepped, late), noise) = beside(|| {
        let mut conns = Vec::new();
        for _ in 0..20 {
            conns.push(server.client());
            std::thread::sleep(ms(10));
        }
        for &hour in hours {
            std::thread::sleep(ms(400));
            clock.step(admin, hour);
        }
        let stepped = conns[0].before.elapsed();
        let ends = all_ends(&mut conns, Instant::now() + PATIENCE);
        let mut latest = ms(0);
        for (conn, (gone, at)) in conns.iter().zip(&ends) {
            assert_eq!(*gone, Gone::End, "{title}");
            let (most, least) = (*at - conn.before, *at - conn.after);
            assert!(most >= ms(LIMIT), "{title}: early: {most:?}");
            latest = latest.max(least.saturating_sub(ms(LIMIT)));
        }
        (stepped, latest)
    });
    say(format!(
        "{}: {title}, after {stepped:?}: {late:?} late at most, an idle thread {:?}",
        server.setup.name, noise.max
    ));
    stepped < ms(LIMIT) && late <= ms(PERIOD) + noise.max * 2
}

on_servers!(FIVE, beside, a_step_before_it_is_loaded_makes_nobody_older);
fn a_step_before_it_is_loaded_makes_nobody_older(on: &'static str) {
    let clock = Clock::new();
    let server = clock.server(Setup::of(on));
    let began = Instant::now();
    let mut admin = server.admin();
    let mut conn = server.client();
    let id = conn.id();
    clock.step(&mut admin, 1);
    // The server takes it for an hour old.
    let age = |line: String| line.split_once(" age=").map(|(_, rest)| rest.starts_with("3"));
    wait_until("the server to see it", || {
        client_line(&mut admin, id).and_then(age) == Some(true)
    });
    server.load(&mut admin, "maxage 30m");
    let oldest = figure(&mut admin, "oldest_connection_age_ms");
    // The process began before it was waited for.
    let most = began.elapsed() + ms(20_000);
    assert!(u128::from(oldest as u64) < most.as_millis(), "{oldest} ms old");
    assert_eq!(figure(&mut admin, "evicted_connections"), 0);
    conn.ok("PING");
}
