//! Clients that mean no good, or are broken: each is evicted in the end, refused or settled,
//! and none keeps another from being evicted or a new one from getting in.

use crate::on_servers;
use crate::support::conn::{Address, Conn, Gone};
use crate::support::noise::beside;
use crate::support::server::{figure, Server, Setup};
use crate::support::{ms, say, wait_until};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const EACH: usize = 20;
const LIMIT: Duration = ms(500);
const GRACE: Duration = ms(1500);

/// `INFO` of all sections, where the server's own count is.
fn counts(admin: &mut Conn) -> (i64, i64) {
    let text = admin.ok("INFO everything").text();
    let of = |name: &str| -> i64 {
        let line = text.lines().find_map(|l| l.trim().strip_prefix(name));
        line.and_then(|n| n.parse().ok()).unwrap_or(-1)
    };
    (of("connage_tracked_connections:"), of("connected_clients:"))
}

on_servers!(
    FIVE,
    alone,
    hostile_clients_go_in_the_end_and_keep_nobody_from_going_or_coming
);
fn hostile_clients_go_in_the_end_and_keep_nobody_from_going_or_coming(on: &'static str) {
    let words = format!("maxage {} grace {} rate 0", LIMIT.as_millis(), GRACE.as_millis());
    let server = Setup::of(on).module(&words).start();
    let mut admin = server.admin();
    admin.call(&["SET", "big", &"x".repeat(500_000)]);
    let begun = Instant::now();
    let mut hostile: Vec<(&str, Conn)> = Vec::new();
    let mut dripping = Vec::new();
    for _ in 0..EACH {
        // Asks for far more than the kernel takes, and reads nothing.
        let mut conn = Conn::open_with(&server.tcp(), Some(4096)).expect("connected");
        conn.start(&["GET big"; 40]);
        hostile.push(("never reading", conn));
        let mut conn = server.client();
        conn.start(&["MULTI", "INCR m"]);
        hostile.push(("MULTI for ever", conn));
        let mut conn = server.client();
        conn.start(&["BLPOP nothing 0"]);
        hostile.push(("waiting for ever", conn));
        let mut conn = server.client();
        conn.ok("SET watched 1");
        conn.ok("WATCH watched");
        hostile.push(("WATCH for ever", conn));
        let mut conn = server.client();
        conn.send_bytes(b"*2\r\n$3\r\n").expect("sent");
        dripping.push(conn);
    }
    let ((late, slowest), noise) = beside(|| {
        std::thread::scope(|scope| {
            // A byte a time, a command that never ends.
            scope.spawn(|| {
                let mut open: Vec<Conn> = dripping;
                wait_until("the drippers to see their ends", || {
                    open.retain_mut(|conn| conn.send_bytes(b"\r").is_ok());
                    std::thread::sleep(ms(200));
                    open.is_empty()
                });
            });
            // Meanwhile the others come, and go when it is time.
            let (mut late, mut slowest) = (Duration::ZERO, Duration::ZERO);
            while begun.elapsed() < LIMIT + GRACE + ms(1000) {
                let asked = Instant::now();
                let mut ordinary = server.clients(5);
                slowest = slowest.max(asked.elapsed());
                for conn in &mut ordinary {
                    let age = conn.ends() - conn.after;
                    late = late.max(age.saturating_sub(LIMIT));
                }
            }
            wait_until("only the admin and the byte drippers' sockets to be left", || {
                counts(&mut admin).1 == 1
            });
            (late, slowest)
        })
    });
    for (kind, conn) in &mut hostile {
        // What was answered before may still be read; then it ends.
        let gone = loop {
            match conn.reply() {
                Ok(_) => {}
                Err(gone) => break gone,
            }
        };
        assert_ne!(gone, Gone::Silent, "{kind}");
    }
    let most = ms(500) + noise.max * 4;
    assert!(late < most, "an ordinary client was {late:?} late");
    assert!(slowest < most, "five clients took {slowest:?} to get in");
    let (tracked, connected) = counts(&mut admin);
    assert_eq!(tracked, connected);
    assert_eq!(figure(&mut admin, "draining_connections"), 0);
    let forced = figure(&mut admin, "evicted_forced");
    say(format!(
        "{on}: {} hostile clients gone ({forced} forced); the others at most {late:?} late, \
         and 5 connected within {slowest:?}",
        EACH * 5
    ));
    assert!(forced >= EACH as i64);
}

on_servers!(
    FIVE,
    beside,
    thousands_that_come_and_go_at_once_leave_nothing_behind
);
fn thousands_that_come_and_go_at_once_leave_nothing_behind(on: &'static str) {
    let server = Setup::of(on).module("maxage 300 rate 0").start();
    let mut admin = server.admin();
    let open = |server: &Server| TcpStream::connect(("127.0.0.1", server.port)).expect("connected");
    for _ in 0..5_000 {
        drop(open(&server));
    }
    for _ in 0..10 {
        let together: Vec<TcpStream> = (0..400).map(|_| open(&server)).collect();
        drop(together);
    }
    wait_until("nobody but the admin", || counts(&mut admin) == (1, 1));
    let before = server.open_descriptors();
    server.client().ends();
    wait_until("the descriptors as before", || {
        server.open_descriptors() <= before
    });
}

on_servers!(FIVE, beside, connections_that_maxclients_refuses_are_not_tracked);
fn connections_that_maxclients_refuses_are_not_tracked(on: &'static str) {
    let server = Setup::of(on)
        .line("maxclients 20")
        .module("maxage 700 rate 0")
        .start();
    let mut admin = server.admin();
    let full: Vec<Conn> = (0..19).map(|_| server.client()).collect();
    for _ in 0..500 {
        assert!(Conn::open(&server.tcp()).is_err() || full[0].before.elapsed() > ms(700));
    }
    let (tracked, connected) = counts(&mut admin);
    assert_eq!(tracked, connected);
    assert!(tracked <= 20);
    // They are evicted, and those that were refused get in.
    wait_until("the others to be gone", || counts(&mut admin) == (1, 1));
    drop(full);
    admin.ok("CONFIG SET connage.maxage 1h");
    let again = server.clients(19);
    assert_eq!(counts(&mut admin), (20, 20));
    drop(again);
}

on_servers!(TLS, beside, tls_handshakes_that_never_end_are_found_and_evicted);
/// The server tells of a connection once its handshake is over: until then the module
/// finds it by counting, which it does every ten seconds.
fn tls_handshakes_that_never_end_are_found_and_evicted(on: &'static str) {
    const MANY: usize = 50;
    let server = Setup::of(on).tls().module("maxage 500 grace 500 rate 0").start();
    let mut admin = server.admin();
    let Address::Tls(port, _) = server.tls() else {
        unreachable!("it is TLS");
    };
    let begun = Instant::now();
    let half: Vec<TcpStream> = (0..MANY)
        .map(|_| TcpStream::connect(("127.0.0.1", port)).expect("connected"))
        .collect();
    wait_until("the server to know of them", || {
        counts(&mut admin).1 > MANY as i64
    });
    // Others are taken in and evicted meanwhile.
    while begun.elapsed() < ms(3000) {
        Conn::open(&server.tls()).expect("connected").ends();
    }
    wait_until("them to be evicted", || counts(&mut admin) == (1, 1));
    say(format!(
        "{on}: {MANY} endless handshakes were gone after {:?}",
        begun.elapsed()
    ));
    drop(half);
}
