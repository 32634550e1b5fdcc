//! A load that sees every lost reply: each connection counts up a key of its own, as fast
//! as it can, and comes back whenever it was evicted.

use super::conn::{Address, Conn, Gone};
use super::resp::{encode, Value};
use super::server::{figures, Server};
use super::{ms, say, wait_until};
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
pub const SETTINGS: &str = "maxage 900 jitter 66";

#[derive(Default, Debug, Clone, Copy)]
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

fn one(address: &Address, key: &str, kind: Kind, until: Instant) -> Seen {
    let mut seen = Seen::default();
    let batch = kind.batch(key);
    while Instant::now() < until {
        let Ok(mut conn) = Conn::open(address) else {
            seen.refused += 1;
            std::thread::sleep(ms(5));
            continue;
        };
        if let Err(gone) = session(&mut conn, &batch, kind, until, &mut seen) {
            seen.count(gone);
        }
    }
    seen
}

/// Until it is evicted, or the time is over and all has been read.
fn session(conn: &mut Conn, batch: &[u8], kind: Kind, until: Instant, seen: &mut Seen) -> Result<(), Gone> {
    let bulky = matches!(kind, Kind::Bulky);
    if bulky {
        conn.send_bytes(batch)?;
    }
    while Instant::now() < until {
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

/// Runs the load, and compares what the clients saw with what the server counted.
pub fn drive(server: &Server, address: &Address, time: Duration) -> Seen {
    let until = Instant::now() + time;
    let mut admin = server.admin();
    admin.call(&["SET", BULK, &"x".repeat(BULK_SIZE)]);
    let kinds = Kind::all().enumerate();
    let clients: Vec<(String, Kind)> = kinds.map(|(i, k)| (format!("load:{i}"), k)).collect();
    for (key, _) in &clients {
        admin.ok(&format!("DEL {key}"));
    }
    let mut seen = Seen::default();
    std::thread::scope(|scope| {
        let runs: Vec<_> = clients
            .iter()
            .map(|(key, kind)| scope.spawn(move || one(address, key, *kind, until)))
            .collect();
        for run in runs {
            seen += run.join().expect("a client");
        }
    });
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
    seen
}

/// The same, and says what it saw and how the module evicted.
pub fn run(server: &Server, address: &Address, title: &str, time: Duration) -> Seen {
    let mut admin = server.admin();
    admin.ok("CONNAGE.CONFIG RESETSTAT");
    let seen = drive(server, address, time);
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
