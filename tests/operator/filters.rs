//! The filters of CONNAGE.LIST against the server's own CLIENT LIST, and against a naive
//! reading of its fields, over connections of every kind.
//!
//! Connections and filters are drawn from a seed, which a failure names.

use crate::on_servers;
use crate::rows::listed;
use crate::support::conn::{Address, Conn};
use crate::support::resp::Value;
use crate::support::server::{Server, Setup};
use crate::support::{ms, say, wait_until};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};

const CONNECTIONS: usize = 240;
const COMBINATIONS: usize = 250;

/// xorshift64*: the same from the same seed, everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n
    }

    fn of<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

const USERS: [&str; 4] = ["default", "app", "etl", "Ops"];
const NAMES: [&str; 4] = ["", "worker", "worker-2", "batch"];
const LIBRARIES: [&str; 4] = ["", "redis-py", "jedis", "lettuce"];
const VERSIONS: [&str; 3] = ["", "5.0.1", "6.1"];
const HOSTS: [&str; 3] = ["127.0.0.1", "127.0.0.2", "127.0.0.9"];

/// What a connection does in the end; `{}` is a key of its own. What a server does not know
/// it refuses, and the connection stays ordinary there.
const DOINGS: [&[&str]; 16] = [
    &[],
    &[],
    &[],
    &["SUBSCRIBE news"],
    &["PSUBSCRIBE n*"],
    &["SSUBSCRIBE shard"],
    &["MULTI", "GET {}"],
    &["WATCH dirty", "MULTI"],
    &["CLIENT NO-EVICT on"],
    &["CLIENT NO-TOUCH on"],
    &["CLIENT TRACKING on"],
    &["CLIENT TRACKING on BCAST"],
    &["CLIENT CAPA redirect"],
    &["READONLY"],
    &["BLPOP {} 0"],
    &["MONITOR"],
];

fn one(server: &Server, dice: &mut Dice, number: usize) -> Conn {
    let address = if dice.below(5) == 0 {
        server.unix()
    } else {
        let ip = |host: &str| host.parse::<Ipv4Addr>().expect("an address");
        let to = SocketAddrV4::new(ip(dice.of(&HOSTS[..2])), server.port);
        Address::Between(ip(dice.of(&HOSTS)), to)
    };
    let mut conn = Conn::open(&address).expect("connected");
    conn.run(&format!("AUTH {} x", dice.of(&USERS)));
    conn.call(&["CLIENT", "SETNAME", dice.of(&NAMES)]);
    conn.call(&["CLIENT", "SETINFO", "LIB-NAME", dice.of(&LIBRARIES)]);
    conn.call(&["CLIENT", "SETINFO", "LIB-VER", dice.of(&VERSIONS)]);
    conn.ok(&format!("SELECT {}", dice.below(4)));
    for line in DOINGS[dice.below(DOINGS.len())] {
        let line = line.replace("{}", &format!("key:{number}"));
        if line.starts_with("BLPOP") {
            conn.start(&[&line]);
        } else {
            conn.run(&line);
        }
    }
    conn
}

/// A replica that takes what comes and says nothing.
fn replica(server: &Server) -> Conn {
    let mut conn = server.client();
    conn.start(&["PSYNC ? -1"]);
    conn
}

type Line<'a> = Vec<(&'a str, &'a str)>;

fn fields(line: &str) -> Line<'_> {
    line.split(' ')
        .filter_map(|field| field.split_once('='))
        .collect()
}

fn field<'a>(line: &Line<'a>, name: &str) -> &'a str {
    line.iter()
        .find(|(n, _)| *n == name)
        .map_or("", |(_, value)| value)
}

/// A few filters with values that some connections have, or none.
fn draw(dice: &mut Dice, keys: &[&'static str], lines: &[Line]) -> Vec<(&'static str, String)> {
    let mut filter: Vec<(&str, String)> = Vec::new();
    for _ in 0..1 + dice.below(3) {
        let key = keys[dice.below(keys.len())];
        if filter.iter().any(|(known, _)| *known == key) {
            continue;
        }
        let someone = &lines[dice.below(lines.len())];
        let id = |dice: &mut Dice| field(&lines[dice.below(lines.len())], "id").to_string();
        let value = match key.trim_start_matches("NOT-") {
            "ID" => (0..1 + dice.below(40))
                .map(|_| id(dice))
                .collect::<Vec<_>>()
                .join(" "),
            "TYPE" => dice
                .of(&["normal", "PUBSUB", "replica", "slave", "master"])
                .into(),
            "USER" => dice.of(&USERS).into(),
            "ADDR" => field(someone, "addr").into(),
            "LADDR" => field(someone, "laddr").into(),
            "IP" => dice
                .of(&["127.0.0.1", "127.0.0.2", "127.0.0.9", "10.0.0.1"])
                .into(),
            "NAME" => dice.of(&["worker", "worker-2", "batch", "Batch"]).into(),
            "FLAGS" => dice
                .of(&["N", "P", "x", "U", "b", "e", "t", "O", "S", "xd", "UN", "tB"])
                .into(),
            "LIB-NAME" => dice.of(&["redis-py", "jedis", "nobody"]).into(),
            "LIB-VER" => dice.of(&["5.0.1", "6.1", "7"]).into(),
            "DB" => dice.of(&["0", "1", "3", "9"]).into(),
            "CAPA" => "r".into(),
            "IDLE" | "MAXAGE" => dice.of(&["1", "2", "100"]).into(),
            other => panic!("no values for {other}"),
        };
        filter.push((key, value));
    }
    filter
}

/// A reading of its own, of the fields that CLIENT LIST prints.
fn holds(key: &str, value: &str, line: &Line) -> bool {
    if let Some(key) = key.strip_prefix("NOT-") {
        return !holds(key, value, line);
    }
    let flags = field(line, "flags");
    match key {
        "ID" => value.split(' ').any(|id| id == field(line, "id")),
        "TYPE" => {
            let is = |flag| flags.contains(flag);
            let kind = match (is('M'), is('S'), is('P')) {
                (true, _, _) => "master",
                (_, true, _) => "replica",
                (_, _, true) => "pubsub",
                _ => "normal",
            };
            value.to_lowercase().replace("slave", "replica") == kind
        }
        "IP" => field(line, "addr")
            .rsplit_once(':')
            .is_some_and(|(ip, _)| ip == value),
        // To the server's own filter a monitor is a replica too.
        "FLAGS" => value
            .chars()
            .all(|f| flags.contains(f) || (f == 'S' && flags.contains('O'))),
        "DB" | "USER" | "ADDR" | "LADDR" | "NAME" | "LIB-NAME" | "LIB-VER" => {
            value == field(line, &key.to_lowercase())
        }
        "CAPA" => field(line, "capa").contains(value),
        "IDLE" => field(line, "idle").parse::<u64>().expect("seconds") >= value.parse().expect("seconds"),
        other => panic!("no reading of {other}"),
    }
}

fn ids_of(text: &str) -> BTreeSet<i64> {
    let id = |line| field(&fields(line), "id").parse().expect("an id");
    text.lines().filter(|line| !line.is_empty()).map(id).collect()
}

/// What the server's own CLIENT LIST can filter by.
fn common(on: &str) -> Vec<&'static str> {
    match on {
        "valkey-9.1" => every(),
        "valkey-8.1" => vec!["ID", "TYPE", "USER", "ADDR", "LADDR"],
        _ => Vec::new(), // ID and TYPE, but not both at once: asked for below
    }
}

fn every() -> Vec<&'static str> {
    let mut keys = vec!["IDLE"];
    keys.extend([
        "ID", "TYPE", "USER", "ADDR", "LADDR", "IP", "NAME", "FLAGS", "LIB-NAME",
    ]);
    keys.extend([
        "LIB-VER", "DB", "CAPA", "NOT-ID", "NOT-TYPE", "NOT-USER", "NOT-ADDR",
    ]);
    keys.extend(["NOT-LADDR", "NOT-IP", "NOT-NAME", "NOT-FLAGS", "NOT-LIB-NAME"]);
    keys.extend(["NOT-LIB-VER", "NOT-DB", "NOT-CAPA"]);
    keys
}

struct Crowd {
    _primary: Server,
    server: Server,
    admin: Conn,
    conns: Vec<Conn>,
}

fn crowd(on: &'static str, dice: &mut Dice) -> Crowd {
    let primary = Setup::of(on).start();
    let server = Setup::of(on)
        .module("")
        .line("bind 127.0.0.1 127.0.0.2")
        .line("protected-mode no")
        .line(&format!("replicaof 127.0.0.1 {}", primary.port))
        .line("replica-read-only no")
        .line("repl-diskless-sync-delay 0")
        .start();
    let mut admin = server.admin();
    wait_until("the link to the master", || {
        let info = admin.ok("INFO replication").text();
        info.contains("master_link_status:up")
    });
    for user in &USERS[1..] {
        admin.ok(&format!("ACL SETUSER {user} on nopass ~* &* +@all"));
    }
    let mut conns: Vec<Conn> = (0..CONNECTIONS).map(|n| one(&server, dice, n)).collect();
    conns.extend((0..2).map(|_| replica(&server)));
    // Some are idle for a while, some are not; some have been spoiled what they watch.
    wait_until("the replicas and some idleness", || {
        let text = admin.ok("CLIENT LIST").text();
        let idle = text
            .lines()
            .filter(|l| fields(l).contains(&("idle", "2")))
            .count();
        text.contains(" flags=S") && idle > 0
    });
    admin.ok("SET dirty 1");
    for conn in conns.iter_mut().step_by(7) {
        conn.start(&["PING"]);
    }
    Crowd {
        _primary: primary,
        server,
        admin,
        conns,
    }
}

/// The server's picks and ours, of the same moment: between two commands of one EXEC
/// nothing changes.
fn both(admin: &mut Conn, theirs: &str, ours: &str) -> (BTreeSet<i64>, Vec<i64>, String) {
    admin.ok("MULTI");
    admin.ok("CLIENT LIST");
    admin.ok(theirs);
    admin.ok(ours);
    let replies = admin.ok("EXEC");
    let [all, theirs, ours] = replies.list() else {
        panic!("{replies:?}");
    };
    assert!(!ours.is_error() && !theirs.is_error(), "{theirs:?} {ours:?}");
    let id = |row: &Value| crate::rows::Row::of(row).int("id");
    (
        ids_of(&theirs.text()),
        ours.list().iter().map(id).collect(),
        all.text(),
    )
}

on_servers!(FIVE, beside, list_picks_whom_the_servers_own_filters_pick);
fn list_picks_whom_the_servers_own_filters_pick(on: &'static str) {
    let seed = std::env::var("SEED").ok().and_then(|s| s.parse().ok());
    let seed = seed.unwrap_or(0x5eed_0001);
    let mut dice = Dice(seed);
    let mut crowd = crowd(on, &mut dice);
    let admin = &mut crowd.admin;
    let all = admin.ok("CLIENT LIST").text();
    let lines: Vec<Line> = all.lines().map(fields).collect();
    let (own, every) = (common(on), every());
    let (mut picked, mut empty, mut compared) = (0, 0, 0);
    for _ in 0..COMBINATIONS {
        let comparable = !own.is_empty() && dice.below(4) > 0;
        let keys = if comparable { &own } else { &every };
        let filter = draw(&mut dice, keys, &lines);
        let words: Vec<String> = filter
            .iter()
            .map(|(key, value)| format!("{key} {value}"))
            .collect();
        let words = words.join(" ");
        let in_seconds = filter.iter().map(|(key, value)| match *key {
            "IDLE" => format!("IDLE {value}s"),
            _ => format!("{key} {value}"),
        });
        let ours = in_seconds.collect::<Vec<_>>().join(" ");
        let asked = if comparable { words.as_str() } else { "" };
        let (theirs, ours, all) = both(
            admin,
            &format!("CLIENT LIST {asked}"),
            &format!("CONNAGE.LIST {ours}"),
        );
        assert!(
            ours.windows(2).all(|pair| pair[0] < pair[1]),
            "oldest first: {ours:?}"
        );
        let ours: BTreeSet<i64> = ours.into_iter().collect();
        let naive: BTreeSet<i64> = all
            .lines()
            .map(fields)
            .filter(|line| filter.iter().all(|(key, value)| holds(key, value, line)))
            .map(|line| field(&line, "id").parse().expect("an id"))
            .collect();
        assert_eq!(ours, naive, "{words}: ours and a naive reading, seed {seed}");
        if comparable {
            assert_eq!(ours, theirs, "{words}: ours and the server's, seed {seed}");
            compared += 1;
        }
        picked += ours.len();
        empty += usize::from(ours.is_empty());
    }
    // A generator that only draws filters which pick nobody would prove nothing.
    assert!(
        empty < COMBINATIONS / 2,
        "{empty} of {COMBINATIONS} picked nobody"
    );
    say(format!(
        "{on}: {COMBINATIONS} combinations over {} connections picked {picked} rows ({empty} none); \
         {compared} compared with the server's own",
        lines.len()
    ));
    drop(crowd.conns);
    drop(crowd.server);
}

on_servers!(FIVE, beside, each_filter_that_every_server_has_picks_the_same);
fn each_filter_that_every_server_has_picks_the_same(on: &'static str) {
    let mut dice = Dice(0x5eed_0002);
    let mut crowd = crowd(on, &mut dice);
    let admin = &mut crowd.admin;
    for filter in [
        "TYPE normal",
        "TYPE pubsub",
        "TYPE replica",
        "TYPE slave",
        "TYPE master",
        "",
    ] {
        let (theirs, ours, _) = both(
            admin,
            &format!("CLIENT LIST {filter}"),
            &format!("CONNAGE.LIST {filter}"),
        );
        assert!(!theirs.is_empty(), "{filter} picks nobody");
        assert_eq!(ours, theirs.into_iter().collect::<Vec<_>>(), "{filter}");
    }
    let every = listed(admin, "");
    for step in [2, 3, 50] {
        let ids: Vec<String> = every.iter().step_by(step).map(i64::to_string).collect();
        let filter = format!("ID {} 999999", ids.join(" "));
        let (theirs, ours, _) = both(
            admin,
            &format!("CLIENT LIST {filter}"),
            &format!("CONNAGE.LIST {filter}"),
        );
        assert_eq!(ours, theirs.into_iter().collect::<Vec<_>>(), "{filter}");
        assert_eq!(ours.len(), ids.len());
    }
}

on_servers!(FIVE, beside, maxage_and_idle_are_durations);
/// Ages to the millisecond, where the server's own filters know whole seconds.
fn maxage_and_idle_are_durations(on: &'static str) {
    let server = Setup::of(on).module("").start();
    let mut admin = server.admin();
    let mut old = server.client();
    let id = old.id();
    old.stays_until(old.after + ms(2000));
    let mut young = server.client();
    let young_id = young.id();
    for (filter, wanted) in [
        ("MAXAGE 2000", vec![id]),
        ("MAXAGE 2000ms", vec![id]),
        ("maxage 1900MS", vec![id]),
        ("MAXAGE 1h", vec![]),
        ("MAXAGE 1d", vec![]),
        ("IDLE 1m", vec![]),
    ] {
        let filter = format!("{filter} ID {id} {young_id}");
        assert_eq!(listed(&mut admin, &filter), wanted, "{filter}");
    }
    let later = young.after + ms(2000);
    young.stays_until(later);
    assert_eq!(
        listed(&mut admin, &format!("MAXAGE 2000 ID {id} {young_id}")),
        [id, young_id]
    );
    wait_until("a second of idleness", || {
        listed(&mut admin, "IDLE 1000").contains(&id)
    });
    assert_eq!(crate::rows::row(&mut admin, id).int("idle-ms") % 1000, 0);
}
