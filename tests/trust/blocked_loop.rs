//! The server's loop stands still, for whatever reason: afterwards all limits hold again
//! within a second, and no burst goes beyond what `rate` allows.

use crate::on_servers;
use crate::support::closings::{closed_at, most_in_a_second};
use crate::support::conn::{all_ends, Conn, Gone, PATIENCE};
use crate::support::noise::beside;
use crate::support::server::{figure, info, Server, Setup};
use crate::support::{ms, say, wait_until};
use rustix::process::{kill_process, Pid, Signal};
use std::io::Read;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// So long nothing else is done, and the limits of all pass meanwhile.
const BLOCK: Duration = ms(1500);
const MANY: usize = 200;
const LIMIT: Duration = ms(700);

type Block = fn(&Server, &mut Conn);

/// What can hold up a server. Each returns when the server goes on.
const BLOCKS: [(&str, Block); 5] = [
    ("DEBUG SLEEP", |_, admin| {
        admin.ok("DEBUG SLEEP 1.5");
    }),
    ("a long script", |_, admin| {
        admin.ok("CONFIG SET busy-reply-threshold 100"); // events are handled within it
        let script = "local t = redis.call('TIME'); local till = t[1] * 1000000 + t[2] + 1500000 \
             repeat t = redis.call('TIME') until t[1] * 1000000 + t[2] >= till return 1";
        admin.call(&["EVAL", script, "0"]);
    }),
    ("CLIENT PAUSE", |_, admin| {
        let begun = Instant::now();
        admin.ok("CLIENT PAUSE 1500 ALL");
        wait_until("the pause to be over", || begun.elapsed() >= BLOCK);
    }),
    ("a server that is stopped", |server, _| {
        let pid = Pid::from_raw(server.pid() as i32).expect("a pid");
        kill_process(pid, Signal::STOP).expect("stopped");
        let begun = Instant::now();
        wait_until("the time to pass", || begun.elapsed() >= BLOCK);
        kill_process(pid, Signal::CONT).expect("continued");
    }),
    ("DEBUG RELOAD", |_, admin| {
        // Loads for about as long, and handles events meanwhile.
        admin.ok("CONFIG SET loading-process-events-interval-bytes 1024");
        admin.ok("DEBUG POPULATE 3000");
        admin.ok("CONFIG SET key-load-delay 500");
        admin.ok("DEBUG RELOAD");
        admin.ok("CONFIG SET key-load-delay 0");
        admin.ok("FLUSHALL");
    }),
];

/// How long after the block, or after its limit, the last one went.
fn caught_up(server: &Server, title: &str, block: Block) -> Duration {
    let mut admin = server.admin();
    let mut conns = server.clients(MANY);
    block(server, &mut admin);
    let on_again = Instant::now();
    let ends = all_ends(&mut conns, Instant::now() + PATIENCE);
    let mut last = Duration::ZERO;
    for ((gone, at), conn) in ends.iter().zip(&conns) {
        assert_eq!(*gone, Gone::End, "{title}");
        assert!(
            *at - conn.before >= LIMIT,
            "{title}: early: {:?}",
            *at - conn.before
        );
        let due = (conn.after + LIMIT).max(on_again);
        last = last.max(at.saturating_duration_since(due));
    }
    last
}

on_servers!(
    FIVE,
    alone,
    after_the_loop_was_blocked_all_limits_hold_within_a_second
);
fn after_the_loop_was_blocked_all_limits_hold_within_a_second(on: &'static str) {
    let words = format!("maxage {} rate 0", LIMIT.as_millis());
    let server = Setup::of(on).module(&words).start();
    for (title, block) in BLOCKS {
        let (last, noise) = beside(|| caught_up(&server, title, block));
        say(format!(
            "{on}: {title}: the last of {MANY} went {last:?} after it, an idle thread {:?}",
            noise.max
        ));
        assert!(last < ms(1000) + noise.max * 2, "{title}: {last:?}");
    }
    assert_eq!(figure(&mut server.admin(), "evicted_forced"), 0);
}

on_servers!(FIVE, beside, after_the_loop_was_blocked_no_burst_exceeds_the_rate);
fn after_the_loop_was_blocked_no_burst_exceeds_the_rate(on: &'static str) {
    const RATE: usize = 100;
    let words = format!("maxage {} rate {RATE} log-max-len 1000", LIMIT.as_millis());
    let server = Setup::of(on).module(&words).start();
    for (title, block) in &BLOCKS[..4] {
        let mut admin = server.admin();
        let mut conns = server.clients(MANY);
        block(&server, &mut admin);
        for (gone, _) in all_ends(&mut conns, Instant::now() + PATIENCE) {
            assert_eq!(gone, Gone::End, "{title}");
        }
        let times = closed_at(&mut admin);
        assert_eq!(times.len(), MANY, "{title}");
        let most = most_in_a_second(&times);
        say(format!(
            "{on}: {title}: at most {most} of {MANY} went within a second"
        ));
        assert!(most <= RATE + 1, "{title}: {most} in a second");
    }
}

on_servers!(FIVE, beside, a_forked_child_delays_no_eviction);
fn a_forked_child_delays_no_eviction(on: &'static str) {
    let words = format!("maxage {} rate 0", LIMIT.as_millis());
    let server = Setup::of(on).module(&words).start();
    let mut admin = server.admin();
    admin.ok("DEBUG POPULATE 1000");
    admin.ok("CONFIG SET rdb-key-save-delay 60000"); // a minute; it ends with the server
    let mut conns = server.clients(MANY);
    admin.ok("BGSAVE");
    let (ends, noise) = beside(|| all_ends(&mut conns, Instant::now() + PATIENCE));
    let saving = info(&mut admin, "persistence")["rdb_bgsave_in_progress"] == 1;
    assert!(saving, "a child all the time");
    let mut late = Duration::ZERO;
    for ((gone, at), conn) in ends.iter().zip(&conns) {
        assert_eq!(*gone, Gone::End);
        late = late.max(at.saturating_duration_since(conn.after + LIMIT));
    }
    say(format!(
        "{on}: during BGSAVE the last of {MANY} was {late:?} late"
    ));
    assert!(late < ms(1000) + noise.max * 2, "{late:?}");
}

/// Connects over and over while the server loads: not before the one that stops is gone, whose kernel
/// resets what it had not accepted.
fn connect_while_loading(port: u16, up: &AtomicBool) -> Vec<TcpStream> {
    let mut open = Vec::new();
    let mut old_is_gone = false;
    let deadline = Instant::now() + PATIENCE;
    while !up.load(Ordering::Relaxed) && Instant::now() < deadline {
        let stream = TcpStream::connect(("127.0.0.1", port));
        old_is_gone |= stream.is_err();
        if old_is_gone {
            open.extend(stream);
        }
        std::thread::sleep(ms(if old_is_gone { 20 } else { 1 }));
    }
    open
}

on_servers!(
    FIVE,
    beside,
    connections_made_while_it_loads_have_their_limits_afterwards
);
/// From a snapshot and from an append-only file, with connections waiting for it.
fn connections_made_while_it_loads_have_their_limits_afterwards(on: &'static str) {
    for (file, lines) in [
        ("a snapshot", &["save 3600 1"][..]),
        (
            "an append-only file",
            &["appendonly yes", "aof-use-rdb-preamble no"],
        ),
    ] {
        let mut setup = Setup::of(on)
            .module("maxage 500 grace 500 rate 0")
            .line("loading-process-events-interval-bytes 1024")
            .line("key-load-delay 1000");
        for line in lines {
            setup = setup.line(line);
        }
        let server = setup.start();
        let mut admin = server.admin();
        for n in 0..1_000 {
            admin.ok(&format!("SET key:{n} value"));
        }
        drop(admin);
        let port = server.port;
        let up = AtomicBool::new(false);
        let (server, waiting) = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| connect_while_loading(port, &up));
            // In this thread, with which the server ends.
            let server = server.restart();
            up.store(true, Ordering::Relaxed);
            (server, waiting.join().expect("connections"))
        });
        let mut admin = server.admin();
        assert!(admin.ok("DBSIZE").int() >= 1_000, "{file}");
        assert!(!waiting.is_empty(), "{file}: none connected meanwhile");
        let (took, noise) = beside(|| {
            let begun = Instant::now();
            for mut stream in &waiting {
                stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
                let ended = stream.read(&mut [0; 64]);
                assert!(matches!(ended, Ok(0)), "{file}: {ended:?}");
            }
            begun.elapsed()
        });
        say(format!(
            "{on}: {} connections made while it loaded {file} went within {took:?}, an idle thread {:?}",
            waiting.len(),
            noise.max
        ));
        assert!(took < ms(500 + 1000) + noise.max * 2, "{file}: {took:?}");
        server.client().ends();
    }
}
