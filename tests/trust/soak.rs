//! The load held: as many connections as the machine allows come, work and go at random,
//! with eviction on. No reply is lost, memory stays flat, the module's count is the server's,
//! and lag and latency stay within what was promised.
//!
//! Short here; `CONNAGE_SOAK_SECONDS` (`make soak`) makes it long, and large.

use crate::on_servers;
use crate::support::conn::Conn;
use crate::support::server::{info, Server, Setup};
use crate::support::{ms, say, wait_until};
use rustix::event::{epoll, Timespec};
use rustix::process::{getrlimit, Resource};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::ops::AddAssign;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const THREADS: usize = 2;

struct Size {
    time: Duration,
    connections: usize,
    /// So much is done a second: a connection made, a batch sent, a connection given up.
    actions: f64,
    limit: &'static str,
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
    port: u16,
    key: String,
    slots: Vec<Slot>,
    epoll: rustix::fd::OwnedFd,
    chance: u64,
    seen: Seen,
}

impl Crowd {
    fn new(port: u16, number: usize, many: usize) -> Crowd {
        Crowd {
            port,
            key: format!("soak:{number}"),
            slots: (0..many).map(|_| Slot::default()).collect(),
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll"),
            chance: 0x9e37_79b9 + number as u64,
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
        let Ok(stream) = TcpStream::connect(("127.0.0.1", self.port)) else {
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

    fn live(mut self, rate: f64, full: &AtomicBool, stop: &AtomicBool) -> Seen {
        for i in 0..self.slots.len() {
            self.open(i);
            if i % 50 == 0 {
                self.poll();
            }
        }
        full.store(true, Ordering::Relaxed);
        let begun = Instant::now();
        let mut done = 0.0;
        while !stop.load(Ordering::Relaxed) {
            self.poll();
            let due = begun.elapsed().as_secs_f64() * rate;
            // After a pause not all at once.
            done = f64::max(done, due - 500.0);
            while done < due {
                self.act();
                done += 1.0;
            }
        }
        let deadline = Instant::now() + ms(10_000);
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
                self.counts.push((
                    self.last["connage_tracked_connections"],
                    self.last["connected_clients"],
                ));
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

on_servers!(
    FIVE,
    alone,
    a_crowd_that_comes_works_and_goes_loses_nothing_and_costs_no_memory
);
fn a_crowd_that_comes_works_and_goes_loses_nothing_and_costs_no_memory(on: &'static str) {
    let size = size();
    let most = size.connections + 20;
    let server = Setup::of(on)
        .line(&format!("maxclients {most}"))
        .line("loglevel notice")
        .line("tcp-backlog 511")
        .module(size.limit)
        .start();
    let mut admin = server.admin();
    let (stop, mut watch, mut seen) = (AtomicBool::new(false), Watch::default(), Seen::default());
    let full: [AtomicBool; THREADS] = Default::default();
    std::thread::scope(|scope| {
        struct Stop<'a>(&'a AtomicBool);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let crowds: Vec<_> = (0..THREADS)
            .map(|n| {
                let crowd = Crowd::new(server.port, n, size.connections / THREADS);
                let (full, stop) = (&full[n], &stop);
                let rate = size.actions / THREADS as f64;
                scope.spawn(move || crowd.live(rate, full, stop))
            })
            .collect();
        let told = Stop(&stop);
        wait_until("all to be connected", || {
            full.iter().all(|f| f.load(Ordering::Relaxed))
        });
        watch.over(&server, &mut admin, size.time);
        drop(told);
        for crowd in crowds {
            seen += crowd.join().expect("a crowd");
        }
    });
    let last = &watch.last;
    let connage = |name: &str| last[&format!("connage_{name}")];
    wait_until("the crowd to be gone", || {
        info(&mut admin, "clients")["connected_clients"] == 1
    });
    let executed: i64 = (0..THREADS)
        .map(|n| admin.run(&format!("GET soak:{n}")).int())
        .sum();
    let different = watch
        .counts
        .iter()
        .filter(|(tracked, counted)| tracked != counted)
        .count();
    say(format!(
        "{on}: {} connections for {:?}: {} made, {} left, {} ended, {} reset, {} refused; {executed} commands, {} \
         replies lost; evicted {} (forced {}), lag p50 {} p99 {} max {} µs; PING p50 {:?} p99 {:?} max {:?}; \
         used_memory {:+} KB, resident {:+} KB in the second half; {different} of {} counts differ; at most {} connected",
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
        watch.growth(|m| m.0) / 1024,
        watch.growth(|m| m.1),
        watch.counts.len(),
        watch.counts.iter().map(|c| c.1).max().unwrap_or(0),
    ));
    assert_eq!(executed, seen.received, "no reply is lost");
    assert_eq!(connage("evicted_forced"), 0);
    // Who is idle is closed at once: what it sends in that very moment is never executed, and a reset may answer it.
    assert!(seen.reset * 100 <= seen.ended, "{} resets", seen.reset);
    let evicted = info(&mut admin, "connage")["connage_evicted_connections"];
    assert!(
        seen.ended > 100 && evicted >= seen.ended as i64,
        "{evicted} evicted"
    );
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
    // Where the machine itself makes everybody wait, it can't be less than that.
    let waits = i64::try_from(watch.ping(0.99).as_micros()).unwrap_or(i64::MAX);
    assert!(connage("lag_usec_p99") <= waits.saturating_mul(2).max(25_000));
    // Who measures here shares the processors with all these clients: only a stall is told.
    assert!(watch.ping(1.0) < ms(2000), "PING: {:?}", watch.ping(1.0));
}
