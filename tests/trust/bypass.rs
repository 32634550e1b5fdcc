//! Clients that mean to outlive their limit, each in its own way, and may do all but administer: none does. Each is
//! gone when its grace is over, by the server's own log.

use crate::on_servers;
use crate::support::conn::{Conn, Gone, PATIENCE};
use crate::support::noise::beside;
use crate::support::resp::{encode, Value};
use crate::support::server::{Server, Setup};
use crate::support::{ms, say, Stop};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const LIMIT: i64 = 1500;
const GRACE: i64 = 1500;

/// What it does over and over, once it has said its first lines.
#[derive(Clone, Copy)]
enum Then {
    Nothing,
    /// Asks, and reads each answer.
    Asks(&'static [&'static str], Duration),
    /// Sends commands, and reads nothing.
    Sends(&'static [&'static str], Duration),
    /// Sends bytes that are no whole command.
    Trickles(&'static [u8], Duration),
    /// A pipeline of so many, and then its answers.
    Pipelines(&'static str, usize),
    /// Reads a reply now and then, and asks for much more than that.
    ReadsSlowly(&'static str),
}
use Then::{Asks, Nothing, Pipelines, ReadsSlowly, Sends, Trickles};

struct Way {
    title: &'static str,
    first: &'static [&'static str],
    then: Then,
}

const fn way(title: &'static str, first: &'static [&'static str], then: Then) -> Way {
    Way { title, first, then }
}

const NO_PAUSE: Duration = Duration::ZERO;
/// Shorter than the silence that makes a connection quiet.
const SHORT: Duration = ms(20);
const LONG: Duration = ms(100);

const WAYS: [Way; 51] = [
    way("says nothing", &[], Nothing),
    way("never pauses", &[], Asks(&["PING"], NO_PAUSE)),
    way("pauses too shortly", &[], Asks(&["PING"], SHORT)),
    way("asks now and then", &[], Asks(&["INCR n"], LONG)),
    way("sends huge pipelines", &[], Pipelines("PING", 20_000)),
    way("sends small pipelines", &[], Pipelines("INCR n", 8)),
    way(
        "subscribes and unsubscribes",
        &[],
        Asks(&["SUBSCRIBE a", "UNSUBSCRIBE a"], NO_PAUSE),
    ),
    way(
        "subscribes to patterns in turn",
        &[],
        Asks(&["PSUBSCRIBE a*", "PUNSUBSCRIBE a*"], SHORT),
    ),
    way("stays subscribed", &["SUBSCRIBE a"], Nothing),
    way(
        "stays subscribed to a shard",
        &["SSUBSCRIBE a"],
        Asks(&["PING"], SHORT),
    ),
    way(
        "is a subscriber that goes on",
        &["HELLO 3", "SUBSCRIBE a"],
        Asks(&["INCR n"], SHORT),
    ),
    way("leaves MULTI open", &["MULTI"], Nothing),
    way("queues for ever", &["MULTI"], Asks(&["INCR n"], SHORT)),
    way(
        "has one transaction after the other",
        &[],
        Asks(&["MULTI", "INCR n", "EXEC"], NO_PAUSE),
    ),
    way("gives up transactions", &[], Asks(&["MULTI", "DISCARD"], SHORT)),
    way("leaves WATCH open", &["WATCH k"], Nothing),
    way("watches and goes on", &["WATCH k"], Asks(&["GET k"], SHORT)),
    way("watches in turn", &[], Asks(&["WATCH k", "UNWATCH"], SHORT)),
    way(
        "waits for data for ever",
        &[],
        Sends(&["BLPOP nothing 0"], Duration::from_secs(60)),
    ),
    way(
        "waits shortly, again and again",
        &[],
        Asks(&["BLPOP nothing 0.03"], NO_PAUSE),
    ),
    way(
        "waits in one way after the other",
        &[],
        Asks(
            &[
                "BLPOP nothing 0.05",
                "BZPOPMIN nothing 0.05",
                "XREAD BLOCK 50 STREAMS s $",
                "WAIT 1 50",
            ],
            NO_PAUSE,
        ),
    ),
    way(
        "waits for a replica for ever",
        &[],
        Sends(&["WAIT 1 0"], Duration::from_secs(60)),
    ),
    way(
        "waits in a queue of its own",
        &[],
        Sends(&["BLPOP nothing 0", "PING"], SHORT),
    ),
    way(
        "wants no replies",
        &["CLIENT REPLY OFF"],
        Sends(&["INCR n"], NO_PAUSE),
    ),
    way(
        "wants no replies, slowly",
        &["CLIENT REPLY OFF"],
        Sends(&["INCR n"], SHORT),
    ),
    way(
        "skips replies",
        &[],
        Sends(&["CLIENT REPLY SKIP", "INCR n"], SHORT),
    ),
    way(
        "has begun a command",
        &[],
        Trickles(b"*2\r\n$4\r\nECHO\r\n$3\r\n", Duration::from_secs(60)),
    ),
    way(
        "begins commands and no more",
        &["ECHO x"],
        Trickles(b"\r\n", SHORT),
    ),
    way("sends a line without an end", &[], Trickles(b"A", SHORT)),
    way("sends a line without an end, slowly", &[], Trickles(b"A", LONG)),
    way(
        "reads nothing of what it asks for",
        &[],
        Sends(&["GET big"], SHORT),
    ),
    way("reads slowly", &[], ReadsSlowly("GET big")),
    way(
        "is not to touch keys",
        &["CLIENT NO-TOUCH on"],
        Asks(&["GET k"], SHORT),
    ),
    way("resets itself", &[], Asks(&["RESET", "AUTH eve x"], SHORT)),
    way("logs in anew", &[], Asks(&["AUTH eve x"], SHORT)),
    way(
        "logs in as another",
        &[],
        Asks(&["AUTH mallory x", "AUTH eve x"], SHORT),
    ),
    way(
        "fails to log in",
        &[],
        Asks(&["AUTH eve wrong password", "AUTH nobody x"], SHORT),
    ),
    way("changes its protocol", &[], Asks(&["HELLO 3", "HELLO 2"], SHORT)),
    way(
        "changes its database",
        &[],
        Asks(&["SELECT 1", "SELECT 0"], SHORT),
    ),
    way(
        "takes the name that a rule exempts",
        &["CLIENT SETNAME vip"],
        Asks(&["PING"], SHORT),
    ),
    way(
        "changes its name",
        &[],
        Asks(&["CLIENT SETNAME a", "CLIENT SETNAME vip"], SHORT),
    ),
    way(
        "takes the library that a rule exempts",
        &["CLIENT SETINFO lib-name vip"],
        Asks(&["PING"], SHORT),
    ),
    way(
        "tracks keys",
        &["HELLO 3", "CLIENT TRACKING on"],
        Asks(&["GET k", "SET k 1"], SHORT),
    ),
    way(
        "tracks in turn",
        &["HELLO 3"],
        Asks(&["CLIENT TRACKING on bcast", "CLIENT TRACKING off"], SHORT),
    ),
    way(
        "announces a read for ever",
        &["HELLO 3", "CLIENT TRACKING on optin"],
        Asks(&["CLIENT CACHING yes"], SHORT),
    ),
    way(
        "gives itself a longer limit",
        &["CONNAGE.SELF MAXAGE 1h"],
        Asks(&["PING"], SHORT),
    ),
    way(
        "gives itself limits in turn",
        &[],
        Asks(&["CONNAGE.SELF MAXAGE 1h", "CONNAGE.SELF MAXAGE 0"], SHORT),
    ),
    way(
        "runs scripts",
        &[],
        Asks(&["EVAL return{redis.call('incr','n')} 0"], NO_PAUSE),
    ),
    way(
        "runs long scripts",
        &[],
        Asks(&["EVAL local%20n=0;for%20i=1,2e6%20do%20n=n+i%20end 0"], NO_PAUSE),
    ),
    way(
        "asks for a replica's link",
        &[],
        Asks(&["REPLCONF capa eof", "PSYNC ? -1", "SYNC"], SHORT),
    ),
    way(
        "makes mistakes",
        &[],
        Asks(&["GET", "NOSUCH", "CONNAGE.SELF x"], SHORT),
    ),
];

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(|word| word.replace("%20", " ")).collect()
}

/// Does what it does until its connection ends.
fn live(way: &Way, conn: &mut Conn, stop: &Stop) -> Result<(), Gone> {
    for line in way.first {
        conn.send(&words(line))?;
        if *line != "CLIENT REPLY OFF" {
            conn.reply()?;
        }
    }
    let pause = |time: Duration| {
        // In parts, so that a failure is not waited for.
        for _ in 0..time.as_millis().div_ceil(20) {
            if !stop.asked() {
                std::thread::sleep(time.min(ms(20)));
            }
        }
    };
    while !stop.asked() {
        match way.then {
            Nothing => drop(conn.reply()?),
            Asks(lines, time) => {
                for line in lines {
                    conn.ask(&words(line))?;
                }
                pause(time);
            }
            Sends(lines, time) => {
                for line in lines {
                    conn.send(&words(line))?;
                }
                pause(time);
            }
            Trickles(bytes, time) => {
                conn.send_bytes(bytes)?;
                pause(time);
            }
            Pipelines(line, many) => {
                conn.send_bytes(&encode(&words(line)).repeat(many))?;
                for _ in 0..many {
                    conn.reply()?;
                }
            }
            ReadsSlowly(line) => {
                conn.send_bytes(&encode(&words(line)).repeat(4))?;
                conn.reply()?;
                pause(LONG);
            }
        }
    }
    Ok(())
}

/// Over TCP with little room for what it does not read.
fn begin(server: &Server) -> (i64, Conn) {
    let mut conn = Conn::open_with(&server.tcp(), Some(16 * 1024)).expect("connected");
    let id = conn.id();
    conn.ok("AUTH eve x");
    (id, conn)
}

on_servers!(FIVE, alone, nobody_outlives_its_limit_and_grace_whatever_it_does);
fn nobody_outlives_its_limit_and_grace_whatever_it_does(on: &'static str) {
    let server = Setup::of(on).module("rate 0 log-max-len 1000").start();
    let mut admin = server.admin();
    admin.call(&["SET", "big", &"x".repeat(300_000)]);
    for user in ["eve", "mallory"] {
        admin.ok(&format!(
            "ACL SETUSER {user} on >x ~* &* +@all -@admin -@dangerous"
        ));
    }
    // Names are the clients' own to choose: such rules can only tighten.
    let rules = "vip: name=vip maxage=0; lib: lib=vip maxage=0";
    for (name, value) in [("rules", rules), ("types", "normal pubsub")] {
        let reply = admin.call(&["CONNAGE.CONFIG", "SET", name, value]);
        assert!(!reply.is_error(), "{reply:?}");
    }
    let mut ids = BTreeMap::new();
    let stop = Stop::default();
    let ((gone, set), noise) = beside(|| {
        std::thread::scope(|scope| {
            let _stop = stop.at_the_end();
            let begun = Instant::now();
            for way in &WAYS {
                let (id, mut conn) = begin(&server);
                ids.insert(id, way.title);
                let stop = &stop;
                scope.spawn(move || live(way, &mut conn, stop));
            }
            admin.ok(&format!("CONNAGE.CONFIG SET maxage {LIMIT} grace {GRACE}"));
            let set = begun.elapsed().as_millis() as i64;
            let deadline = Instant::now() + PATIENCE;
            loop {
                let log = admin.ok("CONNAGE.LOG GET -1");
                let entries = log.list().iter();
                let gone: BTreeMap<i64, Value> = entries
                    .map(|entry| (entry.field("id").int(), entry.clone()))
                    .collect();
                let left: Vec<_> = ids.iter().filter(|(id, _)| !gone.contains_key(id)).collect();
                if left.is_empty() {
                    break (gone, set);
                }
                assert!(Instant::now() < deadline, "still there: {left:?}");
                std::thread::sleep(ms(50));
            }
        })
    });
    // Grace begins with the limit, which may be set when the first are past it. Then the machine's part, and what the
    // log's milliseconds round.
    let most = LIMIT.max(set) + GRACE + 500 + 2 * noise.max.as_millis() as i64;
    let mut latest = 0;
    for (id, title) in &ids {
        let age = gone[id].field("age-ms").int();
        let how = gone[id].field("how").text();
        assert!(
            (LIMIT..=most).contains(&age),
            "who {title} was {age} ms old, and went {how}; at most {most}"
        );
        latest = latest.max(age);
    }
    say(format!(
        "{on}: {} ways to outlive a limit of {LIMIT} ms and a grace of {GRACE} ms: the last was gone at {latest} ms",
        ids.len()
    ));
}
