//! Clients that come, work and come back: they follow redirections, count what they were
//! answered, and so tell a lost reply from one that never was.

use crate::support::conn::{Address, Conn, Gone};
use crate::support::resp::Value;
use crate::support::{ms, say};
use std::ops::AddAssign;
use std::sync::atomic::{AtomicBool, Ordering};

#[derive(Default, Debug, Clone, Copy)]
pub struct Seen {
    /// INCRs that were answered.
    pub answered: i64,
    /// Sent, and then the connection ended without an answer.
    pub unanswered: i64,
    pub ended: i64,
    pub broken: i64,
    /// Not taken: no connection, or MOVED and its like.
    pub refused: i64,
}

impl AddAssign for Seen {
    fn add_assign(&mut self, other: Seen) {
        self.answered += other.answered;
        self.unanswered += other.unanswered;
        self.ended += other.ended;
        self.broken += other.broken;
        self.refused += other.refused;
    }
}

/// Where a client goes next.
pub enum Next {
    Stay,
    Reconnect(u16),
    /// Once, after ASKING.
    Ask(u16),
    Again,
}

fn port_in(error: &str) -> Option<u16> {
    error.rsplit(':').next()?.trim().parse().ok()
}

pub fn after(error: &str) -> Next {
    match (error.split(' ').next().unwrap_or(""), port_in(error)) {
        ("MOVED", Some(port)) => Next::Reconnect(port),
        ("ASK", Some(port)) => Next::Ask(port),
        ("TRYAGAIN" | "CLUSTERDOWN" | "LOADING" | "READONLY" | "MASTERDOWN" | "UNBLOCKED", _) => Next::Again,
        _ => panic!("INCR: {error}"),
    }
}

/// Counts up `key` until told to stop, starting from what `find` says whenever it must
/// connect anew.
pub fn count(key: &str, stop: &AtomicBool, mut find: impl FnMut() -> Option<u16>) -> Seen {
    let mut seen = Seen::default();
    let mut hint = None;
    while !stop.load(Ordering::Relaxed) {
        let port = hint.take().or_else(&mut find);
        let Some(Ok(mut conn)) = port.map(|port| Conn::open(&Address::Tcp(port))) else {
            seen.refused += 1;
            std::thread::sleep(ms(10));
            continue;
        };
        while !stop.load(Ordering::Relaxed) {
            match incr(&mut conn, key, &mut seen) {
                Ok(Next::Stay) => {}
                Ok(Next::Reconnect(port)) => {
                    hint = Some(port);
                    break;
                }
                Ok(Next::Ask(port)) => ask(port, key, &mut seen),
                Ok(Next::Again) => {
                    std::thread::sleep(ms(10));
                    break;
                }
                Err(Gone::End) => {
                    seen.ended += 1;
                    break;
                }
                Err(_) => {
                    seen.broken += 1;
                    break;
                }
            }
            std::thread::sleep(ms(1));
        }
    }
    seen
}

fn incr(conn: &mut Conn, key: &str, seen: &mut Seen) -> Result<Next, Gone> {
    conn.send(&["INCR", key])?;
    match conn.reply() {
        Ok(Value::Int(_)) => {
            seen.answered += 1;
            Ok(Next::Stay)
        }
        Ok(Value::Error(error)) => {
            seen.refused += 1;
            Ok(after(&error))
        }
        Ok(other) => panic!("INCR: {other:?}"),
        Err(gone) => {
            seen.unanswered += 1;
            Err(gone)
        }
    }
}

fn ask(port: u16, key: &str, seen: &mut Seen) {
    let Ok(mut conn) = Conn::open(&Address::Tcp(port)) else {
        return;
    };
    if conn.ask(&["ASKING"]).is_ok() {
        let _ = incr(&mut conn, key, seen);
    }
}

/// Runs so many of them while `work` goes on, each with a key of its own.
pub fn during(
    many: usize,
    key: impl Fn(usize) -> String + Sync,
    find: impl Fn(usize) -> Option<u16> + Sync,
    work: impl FnOnce(),
) -> Seen {
    /// Also where `work` fails.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let stop = AtomicBool::new(false);
    let (key, find) = (&key, &find);
    let mut seen = Seen::default();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..many)
            .map(|i| {
                let stop = &stop;
                scope.spawn(move || count(&key(i), stop, || find(i)))
            })
            .collect();
        let told = Stop(&stop);
        work();
        drop(told);
        for client in clients {
            seen += client.join().expect("a client");
        }
    });
    say(format!("{seen:?}"));
    seen
}
