//! Pinger: a client that PINGs a thousand times a second all along, whatever the answers do
//! (open loop): each wait counts from the moment at which its PING was due.

use crate::clock::{self, MS};
use crate::cores;
use crate::crowd::Address;
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;

const EVERY: u64 = MS;
const PING: &[u8] = b"PING\r\n";
const PONG: &[u8] = b"+PONG\r\n";

#[derive(Clone, Copy, Debug)]
pub struct Sample {
    pub due: u64,
    pub wait: u64,
}

#[derive(Debug)]
pub struct Pinger {
    thread: JoinHandle<Vec<Sample>>,
    stop: Arc<AtomicBool>,
}

impl Pinger {
    pub fn start(address: &Address) -> Pinger {
        let fd = address.connect();
        spare(&fd);
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = std::thread::spawn(move || run(&fd, &seen));
        Pinger { thread, stop }
    }

    pub fn finish(self) -> Vec<Sample> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the pinger's samples")
    }
}

/// Age leaves this client alone.
fn spare(fd: &OwnedFd) {
    rustix::io::write(fd, b"CLIENT NO-EVICT on\r\n").expect("sent");
    let mut buffer = [0; 64];
    let got = loop {
        match rustix::io::read(fd, &mut buffer) {
            Ok(got) => break got,
            Err(rustix::io::Errno::AGAIN) => clock::sleep_ms(1),
            Err(error) => panic!("the pinger: {error}"),
        }
    };
    assert_eq!(&buffer[..got], b"+OK\r\n");
}

fn run(fd: &OwnedFd, stop: &AtomicBool) -> Vec<Sample> {
    cores::hurry();
    let mut samples = Vec::with_capacity(30_000);
    let mut buffer = vec![0; 64 * 1024];
    let (mut answered, mut bytes) = (0, 0);
    let first = clock::now() + EVERY;
    let mut sent = 0_u64;
    while !(stop.load(Ordering::Relaxed) && answered == sent) {
        let now = clock::now();
        while !stop.load(Ordering::Relaxed) && first + sent * EVERY <= now {
            match rustix::io::write(fd, PING) {
                Ok(_) => sent += 1,
                // The socket is full: it leaves later, and its wait counts all the same.
                Err(rustix::io::Errno::AGAIN) => break,
                Err(error) => panic!("the pinger: {error}"),
            }
        }
        let wait = (first + sent * EVERY).saturating_sub(now).min(EVERY);
        let timeout = Timespec {
            tv_sec: 0,
            tv_nsec: wait as _,
        };
        let ready = poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&timeout)).expect("poll");
        if ready == 0 {
            continue;
        }
        let got = match rustix::io::read(fd, &mut buffer) {
            Ok(0) => panic!("the pinger was closed"),
            Ok(got) => got,
            Err(rustix::io::Errno::AGAIN) => 0,
            Err(error) => panic!("the pinger: {error}"),
        };
        let now = clock::now();
        bytes += got;
        while bytes >= PONG.len() {
            bytes -= PONG.len();
            let due = first + answered * EVERY;
            samples.push(Sample { due, wait: now - due });
            answered += 1;
        }
    }
    samples
}

/// The longest wait of those due from `from` to `to`, in ms.
pub fn longest_ms(samples: &[Sample], from: u64, to: u64) -> f64 {
    longest(samples.iter().filter(|s| (from..to).contains(&s.due)))
}

/// The same of those that were over by `to`: one due just before a storm waits for the storm.
pub fn longest_over_ms(samples: &[Sample], from: u64, to: u64) -> f64 {
    longest(samples.iter().filter(|s| s.due >= from && s.due + s.wait < to))
}

fn longest<'a>(samples: impl Iterator<Item = &'a Sample>) -> f64 {
    samples.map(|s| s.wait).max().unwrap_or(0) as f64 / MS as f64
}
