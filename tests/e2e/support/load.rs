//! A load that sees every lost reply: each connection counts up a key of its own, as fast
//! as it can, and comes back whenever it was evicted.

use super::conn::{Address, Conn, Gone, PATIENCE};
use super::resp::{encode, Value};
use super::server::{figure, figures, Server};
use super::{ms, say, wait_until, Stop};
use std::ops::AddAssign;
use std::time::{Duration, Instant};

/// Of each depth of pipeline so many connections.
pub const CONNECTIONS: usize = 50;
pub const DEPTHS: [usize; 2] = [1, 8];
/// And so many that have much to read.
const BULKY: usize = 5;
const BULK: &str = "load:bulk";
/// More than the kernel takes for a unix socket.
const BULK_SIZE: usize = 400_000;
/// With the longest life below a second, from a third of it on; those that never pause live half a grace longer.
pub const SETTINGS: &str = "maxage 900 jitter 66 log-max-len 10000";

#[derive(Default, Debug)]
pub struct Seen {
    /// What the servers' counters say in the end.
    pub executed: i64,
    /// Replies that came.
    pub received: i64,
    /// Connections that ended cleanly, by a reset, over TLS without close_notify, or
    /// only by the client's running out of patience.
    pub ended: i64,
    pub reset: i64,
    pub torn: i64,
    pub silent: i64,
    /// Connections that the server did not take.
    pub refused: i64,
    /// The ids of those that did not get each reply.
    pub losers: Vec<i64>,
}

impl AddAssign for Seen {
    fn add_assign(&mut self, other: Seen) {
        self.executed += other.executed;
        self.received += other.received;
        self.ended += other.ended;
        self.reset += other.reset;
        self.torn += other.torn;
        self.silent += other.silent;
        self.refused += other.refused;
        self.losers.extend(other.losers);
    }
}

impl Seen {
    pub fn lost(&self) -> i64 {
        self.executed - self.received
    }

    fn count(&mut self, gone: Gone) {
        match gone {
            Gone::End => self.ended += 1,
            Gone::Reset => self.reset += 1,
            Gone::Torn => self.torn += 1,
            Gone::Silent => self.silent += 1,
        }
    }
}

/// What one client does all the time.
#[derive(Clone, Copy)]
enum Kind {
    /// Sends so many INCR at once, reads their replies, and again.
    Counter { depth: usize },
    /// Asks for much, and for more before it has read that: there is nearly always something
    /// of it in the server's buffers or the kernel's.
    Bulky,
}

impl Kind {
    fn all() -> impl Iterator<Item = Kind> {
        let counters = DEPTHS.map(|depth| [Kind::Counter { depth }; CONNECTIONS]);
        let bulky = [Kind::Bulky; BULKY];
        counters.into_iter().flatten().chain(bulky)
    }

    fn batch(self, key: &str) -> Vec<u8> {
        match self {
            Kind::Counter { depth } => encode(&["INCR", key]).repeat(depth),
            Kind::Bulky => [encode(&["GET", BULK]), encode(&["INCR", key])].concat(),
        }
    }

    /// How many INCR's replies are read at a time.
    fn depth(self) -> usize {
        match self {
            Kind::Counter { depth } => depth,
            Kind::Bulky => 1,
        }
    }
}

fn one(address: &Address, key: &str, kind: Kind, stop: &Stop) -> Seen {
    let mut seen = Seen::default();
    let batch = kind.batch(key);
    // The one before, and how many replies have been lost so far.
    let (mut last, mut lost) = (None, 0);
    loop {
        let Ok((mut conn, id, executed)) = begin(address, key) else {
            seen.refused += 1;
            std::thread::sleep(ms(5));
            continue;
        };
        if executed > seen.received + lost {
            lost = executed - seen.received;
            seen.losers.extend(last);
        }
        last = Some(id);
        if stop.asked() {
            break;
        }
        if let Err(gone) = session(&mut conn, &batch, kind, stop, &mut seen) {
            seen.count(gone);
        }
    }
    seen
}

/// A connection, its id, and how often its key was counted up so far.
fn begin(address: &Address, key: &str) -> Result<(Conn, i64, i64), Gone> {
    let mut conn = Conn::open(address)?;
    let id = conn.ask(&["CLIENT", "ID"])?.int();
    let executed = match conn.ask(&["GET", key])? {
        Value::Nil => 0,
        value => value.int(),
    };
    Ok((conn, id, executed))
}

/// Until it is evicted, or told to stop and all has been read.
fn session(conn: &mut Conn, batch: &[u8], kind: Kind, stop: &Stop, seen: &mut Seen) -> Result<(), Gone> {
    let bulky = matches!(kind, Kind::Bulky);
    if bulky {
        conn.send_bytes(batch)?;
    }
    while !stop.asked() {
        conn.send_bytes(batch)?;
        if bulky {
            std::thread::sleep(ms(10));
        }
        replies(conn, kind, seen)?;
    }
    if bulky {
        replies(conn, kind, seen)?;
    }
    Ok(())
}

fn replies(conn: &mut Conn, kind: Kind, seen: &mut Seen) -> Result<(), Gone> {
    let mut left = kind.depth();
    while left > 0 {
        match conn.reply()? {
            Value::Int(_) => {
                seen.received += 1;
                left -= 1;
            }
            Value::Text(_) => {}
            other => panic!("{other:?}"),
        }
    }
    Ok(())
}

/// When a load has gone on for long enough.
#[derive(Clone, Copy)]
pub enum Until {
    Over(Duration),
    /// So many evictions, however long that takes; it fails where they never come.
    Evicted(i64),
}

impl Until {
    /// Returns when it is reached; a failure is told by the caller, once the load is over.
    fn wait(self, admin: &mut Conn) -> bool {
        match self {
            Until::Over(time) => {
                std::thread::sleep(time);
                true
            }
            Until::Evicted(many) => {
                let deadline = Instant::now() + PATIENCE * 6;
                while figure(admin, "evicted_connections") < many {
                    if Instant::now() > deadline {
                        return false;
                    }
                    std::thread::sleep(ms(50));
                }
                true
            }
        }
    }
}

/// Runs the load, and compares what the clients saw with what the server counted.
pub fn drive(server: &Server, address: &Address, until: Until) -> Seen {
    let mut admin = server.admin();
    admin.call(&["SET", BULK, &"x".repeat(BULK_SIZE)]);
    let kinds = Kind::all().enumerate();
    let clients: Vec<(String, Kind)> = kinds.map(|(i, k)| (format!("load:{i}"), k)).collect();
    for (key, _) in &clients {
        admin.ok(&format!("DEL {key}"));
    }
    let (mut seen, stop) = (Seen::default(), Stop::default());
    let reached = std::thread::scope(|scope| {
        let at_the_end = stop.at_the_end();
        let stop = &stop;
        let runs: Vec<_> = clients
            .iter()
            .map(|(key, kind)| scope.spawn(move || one(address, key, *kind, stop)))
            .collect();
        let reached = until.wait(&mut admin);
        drop(at_the_end);
        for run in runs {
            seen += run.join().expect("a client");
        }
        reached
    });
    assert!(reached, "too few evictions in all that time: {seen:?}");
    // What was sent last is executed, or never will be.
    wait_until("the load's connections to be gone", || {
        let clients = admin.ok("CLIENT LIST TYPE normal").text();
        !clients.contains(" cmd=incr ")
    });
    for (key, _) in &clients {
        if let Value::Text(n) = admin.call(&["GET", key]) {
            seen.executed += Value::Text(n).int();
        }
    }
    assert_eq!(
        seen.lost() > 0,
        !seen.losers.is_empty(),
        "each loss has its loser: {seen:?}"
    );
    seen
}

/// The same, and says what it saw and how the module evicted.
pub fn run(server: &Server, address: &Address, title: &str, until: Until) -> Seen {
    let mut admin = server.admin();
    admin.ok("CONNAGE.CONFIG RESETSTAT");
    let seen = drive(server, address, until);
    let [all, quiet, blocked, forced] = figures(
        &mut admin,
        [
            "evicted_connections",
            "evicted_quiet",
            "evicted_blocked",
            "evicted_forced",
        ],
    );
    say(format!(
        "{} {title}: {} executed, {} replies lost; evicted {all} \
         (quiet {quiet}, blocked {blocked}, forced {forced}); clients saw {} ends, \
         {} resets, {} torn, {} silent, {} refused",
        server.setup.name,
        seen.executed,
        seen.lost(),
        seen.ended,
        seen.reset,
        seen.torn,
        seen.silent,
        seen.refused
    ));
    seen
}
