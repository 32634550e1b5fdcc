//! The load held: as many connections as the machine allows come, work and go at random,
//! with eviction on, by two limits. No reply is lost, memory stays flat, the module's count is the server's,
//! lag stays within what was promised, and latency is that of the same crowd without the module.
//!
//! Short here; `CONNAGE_SOAK_SECONDS` (`make soak`) makes it long, and large.

use crate::on_servers;
use crate::support::conn::{Conn, PATIENCE};
use crate::support::noise::{beside, Noise};
use crate::support::server::{info, Server, Setup};
use crate::support::{ms, say, wait_until, Stop};
use rustix::event::{epoll, Timespec};
use rustix::process::{getrlimit, Resource};
use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::ops::AddAssign;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Each to an address of the server's own, of which the second has a rule.
const THREADS: u8 = 2;

struct Size {
    time: Duration,
    connections: usize,
    /// So much is done a second: a connection made, a batch sent, a connection given up.
    actions: f64,
    limit: &'static str,
    /// What the rule says for its half of them.
    rule: &'static str,
}

fn size() -> Size {
    let asked = std::env::var("CONNAGE_SOAK_SECONDS").ok();
    let seconds: u64 = asked.map_or(0, |n| n.parse().expect("CONNAGE_SOAK_SECONDS is a number"));
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(20_000) as usize;
    match seconds {
        0 => Size {
            time: ms(6000),
            connections: 1_500.min(allowed - 200),
            actions: 4_000.0,
            limit: "maxage 3s jitter 60 rate 0",
            rule: "maxage=2s jitter=60",
        },
        _ => Size {
            time: Duration::from_secs(seconds),
            connections: 19_900.min(allowed - 100),
            actions: 8_000.0,
            limit: if seconds < 120 {
                "maxage 20s jitter 70"
            } else {
                "maxage 40s jitter 50"
            },
            rule: "maxage=15s jitter=70",
        },
    }
}

#[derive(Default, Debug, Clone, Copy)]
struct Seen {
    opened: u64,
    left: u64,
    ended: u64,
    reset: u64,
    received: i64,
    refused: u64,
}

impl AddAssign for Seen {
    fn add_assign(&mut self, other: Seen) {
        self.opened += other.opened;
        self.left += other.left;
        self.ended += other.ended;
        self.reset += other.reset;
        self.received += other.received;
        self.refused += other.refused;
    }
}

#[derive(Default)]
struct Slot {
    stream: Option<TcpStream>,
    owed: i64,
}

/// A share of the connections, in one thread.
struct Crowd {
    at: SocketAddrV4,
    key: String,
    slots: Vec<Slot>,
    epoll: rustix::fd::OwnedFd,
    chance: u64,
    seen: Seen,
}

impl Crowd {
    fn new(port: u16, number: u8, many: usize) -> Crowd {
        Crowd {
            at: SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 1 + number), port),
            key: format!("soak:{number}"),
            slots: (0..many).map(|_| Slot::default()).collect(),
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll"),
            chance: 0x9e37_79b9 + u64::from(number),
            seen: Seen::default(),
        }
    }

    fn below(&mut self, n: usize) -> usize {
        self.chance ^= self.chance >> 12;
        self.chance ^= self.chance << 25;
        self.chance ^= self.chance >> 27;
        ((u128::from(self.chance.wrapping_mul(0x2545_f491_4f6c_dd1d)) * n as u128) >> 64) as usize
    }

    fn open(&mut self, i: usize) {
        let Ok(stream) = TcpStream::connect(self.at) else {
            self.seen.refused += 1;
            return;
        };
        stream.set_nonblocking(true).expect("not blocking");
        stream.set_nodelay(true).expect("no delay");
        let data = epoll::EventData::new_u64(i as u64);
        epoll::add(&self.epoll, &stream, data, epoll::EventFlags::IN).expect("watched");
        self.seen.opened += 1;
        self.slots[i] = Slot {
            stream: Some(stream),
            owed: 0,
        };
    }

    fn act(&mut self) {
        let i = self.below(self.slots.len());
        let leaves = self.below(100) < 10;
        match &self.slots[i] {
            Slot { stream: None, .. } => self.open(i),
            Slot { owed: 0, .. } if leaves => {
                // Whatever has come meanwhile is taken first: it may be the end.
                self.read(i);
                if self.slots[i].stream.take().is_some() {
                    self.seen.left += 1;
                }
            }
            Slot { owed: 0, .. } => {
                let depth = 1 + self.below(4);
                self.send(i, depth);
            }
            _ => {}
        }
    }

    fn send(&mut self, i: usize, depth: usize) {
        let batch = format!("INCR {}\r\n", self.key).repeat(depth);
        let slot = &mut self.slots[i];
        let Some(stream) = &mut slot.stream else { return };
        match stream.write(batch.as_bytes()) {
            Ok(written) => {
                assert_eq!(written, batch.len());
                slot.owed += depth as i64;
            }
            // Closed just now.
            Err(why) if matches!(why.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                self.read(i)
            }
            Err(why) => panic!("a write failed: {why}"),
        }
    }

    fn read(&mut self, i: usize) {
        let mut bytes = [0; 4096];
        let slot = &mut self.slots[i];
        while let Some(stream) = &mut slot.stream {
            match stream.read(&mut bytes) {
                Ok(0) => {
                    self.seen.ended += 1;
                    slot.stream = None;
                }
                Ok(n) => {
                    let said = &bytes[..n];
                    let plain = said.iter().all(|b| b":\r\n0123456789".contains(b));
                    assert!(plain, "{}", String::from_utf8_lossy(said));
                    let replies = said.iter().filter(|b| **b == b'\n').count() as i64;
                    slot.owed -= replies;
                    self.seen.received += replies;
                }
                Err(why) if why.kind() == ErrorKind::WouldBlock => return,
                Err(why) if why.kind() == ErrorKind::ConnectionReset => {
                    self.seen.reset += 1;
                    slot.stream = None;
                }
                Err(why) => panic!("a read failed: {why}"),
            }
        }
    }

    fn poll(&mut self) {
        let mut events = Vec::with_capacity(1024);
        let wait = Timespec {
            tv_sec: 0,
            tv_nsec: 1_000_000,
        };
        if epoll::wait(
            &self.epoll,
            rustix::buffer::spare_capacity(&mut events),
            Some(&wait),
        )
        .is_ok()
        {
            let ready: Vec<usize> = events.iter().map(|e| e.data.u64() as usize).collect();
            ready.into_iter().for_each(|i| self.read(i));
        }
    }

    fn live(mut self, rate: f64, full: &AtomicBool, stop: &Stop) -> Seen {
        for i in 0..self.slots.len() {
            self.open(i);
            if i % 50 == 0 {
                self.poll();
            }
        }
        full.store(true, Ordering::Relaxed);
        let begun = Instant::now();
        let mut done = 0.0;
        while !stop.asked() {
            self.poll();
            let due = begun.elapsed().as_secs_f64() * rate;
            // After a pause not all at once.
            done = f64::max(done, due - 500.0);
            while done < due {
                self.act();
                done += 1.0;
            }
        }
        let deadline = Instant::now() + PATIENCE;
        while self.slots.iter().any(|s| s.owed > 0 && s.stream.is_some()) {
            assert!(Instant::now() < deadline, "replies that never came");
            self.poll();
        }
        self.seen
    }
}

/// What was seen from beside, while the load went on.
#[derive(Default)]
struct Watch {
    pings: Vec<Duration>,
    memory: Vec<(i64, i64)>,
    counts: Vec<(i64, i64)>,
    last: std::collections::BTreeMap<String, i64>,
}

impl Watch {
    fn over(&mut self, server: &Server, admin: &mut Conn, time: Duration) {
        let begun = Instant::now();
        let mut seconds = 0;
        while begun.elapsed() < time {
            let asked = Instant::now();
            admin.ok("PING");
            self.pings.push(asked.elapsed());
            if begun.elapsed().as_secs() > seconds {
                seconds = begun.elapsed().as_secs();
                self.last = info(admin, "everything");
                self.memory.push((self.last["used_memory"], server.resident_kb()));
                if let Some(tracked) = self.last.get("connage_tracked_connections") {
                    self.counts.push((*tracked, self.last["connected_clients"]));
                }
            }
            std::thread::sleep(ms(5));
        }
        self.pings.sort();
    }

    fn ping(&self, share: f64) -> Duration {
        self.pings[((self.pings.len() - 1) as f64 * share) as usize]
    }

    /// How much the second half's most exceeds the first half's.
    fn growth(&self, of: impl Fn(&(i64, i64)) -> i64) -> i64 {
        let (first, second) = self.memory.split_at(self.memory.len() / 2);
        second.iter().map(&of).max().unwrap_or(0) - first.iter().map(&of).max().unwrap_or(0)
    }
}

/// A crowd that has come, worked and gone, and what was seen of it.
struct Held {
    admin: Conn,
    watch: Watch,
    seen: Seen,
    executed: i64,
    noise: Noise,
    _server: Server,
}

/// Without the module where there are no words for it.
fn hold(on: &'static str, words: Option<&str>, size: &Size, time: Duration) -> Held {
    let setup = Setup::of(on)
        .line("bind 127.0.0.1 127.0.0.2")
        .line(&format!("maxclients {}", size.connections + 20))
        .line("loglevel notice")
        .line("tcp-backlog 511");
    let server = match words {
        Some(words) => setup.module(words).start(),
        None => setup.start(),
    };
    let mut admin = server.admin();
    let (stop, mut watch, mut seen) = (Stop::default(), Watch::default(), Seen::default());
    let full: [AtomicBool; THREADS as usize] = Default::default();
    let noise = std::thread::scope(|scope| {
        let at_the_end = stop.at_the_end();
        let crowds: Vec<_> = (0..THREADS)
            .zip(&full)
            .map(|(n, full)| {
                let crowd = Crowd::new(server.port, n, size.connections / usize::from(THREADS));
                let (rate, stop) = (size.actions / f64::from(THREADS), &stop);
                scope.spawn(move || crowd.live(rate, full, stop))
            })
            .collect();
        wait_until("all to be connected", || {
            full.iter().all(|f| f.load(Ordering::Relaxed))
        });
        let ((), noise) = beside(|| watch.over(&server, &mut admin, time));
        drop(at_the_end);
        for crowd in crowds {
            seen += crowd.join().expect("a crowd");
        }
        noise
    });
    wait_until("the crowd to be gone", || {
        info(&mut admin, "clients")["connected_clients"] == 1
    });
    let keys = (0..THREADS).map(|n| admin.run(&format!("GET soak:{n}")).int());
    Held {
        executed: keys.sum(),
        admin,
        watch,
        seen,
        noise,
        _server: server,
    }
}

on_servers!(
    FIVE,
    alone,
    a_crowd_that_comes_works_and_goes_loses_nothing_and_costs_no_memory
);
fn a_crowd_that_comes_works_and_goes_loses_nothing_and_costs_no_memory(on: &'static str) {
    let size = size();
    let without = hold(on, None, &size, (size.time / 10).max(ms(3000)));
    let words = format!(
        "{} rules near: laddr=127.0.0.2 {}; ci: user=ci-* maxage=1s",
        size.limit, size.rule
    );
    let mut held = hold(on, Some(&words), &size, size.time);
    let reasons: BTreeSet<String> = {
        let log = held.admin.ok("CONNAGE.LOG GET -1");
        log.list().iter().map(|e| e.field("reason").text()).collect()
    };
    let evicted = info(&mut held.admin, "connage")["connage_evicted_connections"];
    let (watch, seen, executed) = (&held.watch, held.seen, held.executed);
    let last = &watch.last;
    let connage = |name: &str| last[&format!("connage_{name}")];
    let different = watch
        .counts
        .iter()
        .filter(|(tracked, counted)| tracked != counted)
        .count();
    say(format!(
        "{on}: {} connections for {:?}: {} made, {} left, {} ended, {} reset, {} refused; {executed} commands, {} \
         replies lost; evicted {} (forced {}), lag p50 {} p99 {} max {} µs; PING p50 {:?} p99 {:?} max {:?}, without \
         the module p50 {:?} p99 {:?} max {:?}; an idle thread p99 {:?}, without {:?}; used_memory {:+} KB, resident {:+} KB in the second half; {different} of {} counts differ; at most {} connected",
        size.connections,
        size.time,
        seen.opened,
        seen.left,
        seen.ended,
        seen.reset,
        seen.refused,
        executed - seen.received,
        connage("evicted_connections"),
        connage("evicted_forced"),
        connage("lag_usec_p50"),
        connage("lag_usec_p99"),
        connage("lag_usec_max"),
        watch.ping(0.5),
        watch.ping(0.99),
        watch.ping(1.0),
        without.watch.ping(0.5),
        without.watch.ping(0.99),
        without.watch.ping(1.0),
        held.noise.p99,
        without.noise.p99,
        watch.growth(|m| m.0) / 1024,
        watch.growth(|m| m.1),
        watch.counts.len(),
        watch.counts.iter().map(|c| c.1).max().unwrap_or(0),
    ));
    assert_eq!(executed, seen.received, "no reply is lost");
    assert_eq!(connage("evicted_forced"), 0);
    // Who is idle is closed at once: what it sends in that very moment is never executed, and a reset may answer it.
    assert!(seen.reset * 100 <= seen.ended, "{} resets", seen.reset);
    assert!(
        seen.ended > 100 && evicted >= seen.ended as i64,
        "{evicted} evicted"
    );
    // By both limits.
    assert!(reasons.iter().eq(["maxage", "rule:near"]), "{reasons:?}");
    assert_eq!(different, 0, "{:?}", watch.counts);
    assert!(
        watch.growth(|m| m.0) < 2_000_000 + 4_000 * size.connections as i64,
        "used_memory grows: {:?}",
        watch.memory
    );
    assert!(
        watch.growth(|m| m.1) < 20_000,
        "the resident memory grows: {:?}",
        watch.memory
    );
    // Who measures here shares the processors with all these clients, and with whoever else. Half of them tell what
    // is the server's own doing; the rest only where it went on for long, on a machine of its own.
    let ping = |of: &Held, share: f64| of.watch.ping(share);
    let judge = |what: &str, took: Duration, most: Duration| {
        assert!(took <= most, "{what}: {took:?}, at most {most:?}");
    };
    let lag = |name: &str| Duration::from_micros(u64::try_from(connage(name)).expect("a time"));
    let noise = held.noise.p99.max(without.noise.p99) * 3;
    judge("lag p50", lag("lag_usec_p50"), ms(25) + noise);
    judge(
        "PING p50",
        ping(&held, 0.5),
        ms(1) + ping(&without, 0.5) * 3 + noise,
    );
    if size.time >= Duration::from_secs(120) {
        judge("lag p99", lag("lag_usec_p99"), ms(25).max(ping(&held, 0.99) * 2));
        judge(
            "PING p99",
            ping(&held, 0.99),
            ms(20) + ping(&without, 0.99) * 3 + noise,
        );
        judge("PING", ping(&held, 1.0), ms(2000) + held.noise.max * 2);
    }
}
