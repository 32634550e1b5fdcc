//! The reaper in a made-up world: time stands still unless moved, and connections are what the test says.

use super::*;
use crate::client::info_line;
use crate::client::manner::{CloseError, Environment, Manner};
use crate::client::quiet::{Received, Seen};
use crate::client::reach::Reach;
use crate::policy::jitter;
use crate::policy::settings::Name;
use crate::reaper::pace::{BATCH, BATCH_WHEN_EXPENSIVE};
use crate::record::journal::{How, Reason};
use alloc::collections::{BTreeMap, BTreeSet};
use proptest::prelude::*;

/// The rest of a connection's line in CLIENT LIST.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Is {
    Quiet,
    Busy,
    Multi,
    Blocked,
    Subscriber,
    Monitor,
    Replica,
}

impl Is {
    fn line(self) -> &'static str {
        match self {
            Is::Quiet => "flags=N",
            Is::Busy => "flags=N obl=5",
            Is::Multi => "flags=x multi=1",
            Is::Blocked => "flags=b cmd=blpop",
            Is::Subscriber => "flags=P sub=1",
            Is::Monitor => "flags=O",
            Is::Replica => "flags=S",
        }
    }
}

#[derive(Clone, Debug)]
struct Peer {
    born: u64,
    is: Is,
    user: &'static str,
    own: u64,
    /// When `is` or `user` last changed.
    changed: u64,
    /// Bytes that it has sent: nothing about it changes without.
    sent: u64,
}

#[derive(Clone, Debug, PartialEq)]
struct Gone {
    id: u64,
    at: u64,
    how: How,
    reason: String,
}

const SEED: u64 = 42;
/// Everything begins here, in ms, so that births may lie before.
const START: u64 = 1_000_000;

const AT_ONCE: Order = Order {
    grace: Millis(0),
    over: None,
    reach: Reach::AGE,
};

/// A server, as far as the reaper can tell. Times in ms.
struct World {
    reaper: Reaper,
    now: u64,
    peers: BTreeMap<u64, Peer>,
    gone: Vec<Gone>,
    paused: bool,
    nested: bool,
    /// What any duplicate meets, and how often one was asked for.
    refusal: Option<CloseError>,
    refused: usize,
    /// The peers' kernels have not acknowledged all.
    unacked: u64,
    next_id: u64,
    /// How many of those gone were closed by a line that was kept.
    cached: usize,
    /// How often the server was asked, and what it takes each time.
    looks: usize,
    look_us: u64,
    /// The most that were closed in one round.
    most_at_once: usize,
    /// What a look takes for each whose user is "long", and whose name is.
    long_ms: u64,
    /// The most of them that were asked for in one round.
    most_long: usize,
    /// Who was taken off its keys, and when; and what becomes of them.
    off_keys: Vec<(u64, u64)>,
    then: Is,
}

fn name_of(user: &str) -> String {
    if user == "long" {
        "n".repeat(100_000)
    } else {
        String::new()
    }
}

/// What a round took to ask.
fn took(asked_us: u64) -> Outcome {
    Outcome {
        asked_us,
        ..Outcome::default()
    }
}

fn us(ms: u64) -> Micros {
    Micros(ms * 1_000)
}

impl World {
    fn new(settings: &[(Name, &str)]) -> World {
        let mut all = Settings {
            rate: 0,
            ..Settings::default()
        };
        for (name, value) in settings {
            all.set(*name, value.as_bytes()).unwrap();
        }
        World {
            reaper: Reaper::new(us(START), SEED, all),
            now: START,
            peers: BTreeMap::new(),
            gone: Vec::new(),
            paused: false,
            nested: false,
            refusal: None,
            refused: 0,
            unacked: 0,
            next_id: 1,
            cached: 0,
            looks: 0,
            look_us: 0,
            most_at_once: 0,
            long_ms: 0,
            most_long: 0,
            off_keys: Vec::new(),
            then: Is::Quiet,
        }
    }

    fn connect(&mut self, is: Is, user: &'static str) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let peer = Peer {
            born: self.now,
            is,
            user,
            own: 0,
            changed: self.now,
            sent: 0,
        };
        self.peers.insert(id, peer);
        self.reaper.connected(us(self.now), ClientId(id), false);
        id
    }

    fn connect_quiet(&mut self, count: usize) -> Vec<ClientId> {
        (0..count)
            .map(|_| ClientId(self.connect(Is::Quiet, "u")))
            .collect()
    }

    fn set(&mut self, name: Name, value: &str) {
        let mut settings = self.reaper.settings().clone();
        settings.set(name, value.as_bytes()).unwrap();
        self.reaper.reconfigure(us(self.now), settings);
    }

    fn become_(&mut self, id: u64, is: Is) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.is = is;
            peer.changed = self.now;
            peer.sent += 1;
        }
    }

    /// As the shell does.
    fn run_round(&mut self) {
        let now = us(self.now);
        let before = self.gone.len();
        let mut round = self.reaper.tick(now);
        let mut all = 0;
        let names: Vec<usize> = self
            .reaper
            .to_measure(&round)
            .map(|id| self.peers.get(&id.0).map_or(0, |peer| name_of(peer.user).len()))
            .take_while(|bytes| {
                let before = all;
                all += bytes;
                before <= LONG_ROUND
            })
            .collect();
        self.reaper.let_the_quiet_pass(now, &mut round, |id| {
            let peer = self.peers.get(&id.0);
            peer.is_some_and(|peer| matches!(peer.is, Is::Multi | Is::Blocked))
        });
        self.reaper.leave_out_the_long(now, &mut round, &names);
        let mut long = 0;
        for id in &round.identify {
            if let Some(peer) = self.peers.get(&id.0) {
                let user = peer.user;
                long += usize::from(user == "long");
                if !self
                    .reaper
                    .identified(now, *id, user.as_bytes(), name_of(user).as_bytes())
                {
                    break;
                }
            }
        }
        let identified = long;
        for line in &round.cached {
            let known = info_line::parse(&line.text).unwrap();
            let Some(peer) = self.peers.get(&known.id.0).cloned() else {
                continue;
            };
            let seen = self.seen(&peer, known);
            let closing = self.reaper.judge_cached(now, line, &seen, &self.env());
            self.cached += usize::from(closing.is_some());
            self.close(known, closing);
        }
        self.looks += usize::from(!round.look.is_empty());
        for id in round.look.iter().chain(&round.prefetch) {
            let Some(peer) = self.peers.get(&id.0).cloned() else {
                continue;
            };
            let line = format!(
                "id={id} addr=1.2.3.4:5 fd=8 idle=9 user={} {} name={}",
                peer.user,
                peer.is.line(),
                name_of(peer.user),
            );
            long += usize::from(peer.user == "long");
            let client = info_line::parse(line.as_bytes()).unwrap();
            let seen = self.seen(&peer, client);
            let closing = self.reaper.judge(now, &seen, &self.env());
            self.close(client, closing);
        }
        self.most_at_once = self.most_at_once.max(self.gone.len() - before);
        self.most_long = self.most_long.max(long - identified);
        let asked_us = if round.look.is_empty() { 0 } else { self.look_us };
        let asked_us = asked_us + long as u64 * self.long_ms * 1_000;
        self.reaper.end_round(now, round, took(asked_us));
    }

    /// Its line says what it was when it was asked for, its socket what it is.
    fn seen<'a>(&self, peer: &Peer, client: Client<'a>) -> Seen<'a> {
        Seen {
            client,
            unread: Some(0),
            unacked: Some(self.unacked),
            received: Some(Received {
                bytes: peer.sent,
                last: us(peer.changed),
                round_trip_us: 0,
            }),
            awaits_link: false,
        }
    }

    fn env(&self) -> Environment {
        Environment {
            paused: self.paused,
            nested: self.nested,
            linger_room: match self.refusal {
                Some(CloseError::NoNumber) if self.refused > 0 => 0,
                _ => 9,
            },
            ..Environment::default()
        }
    }

    fn close(&mut self, client: Client, closing: Option<Closing>) {
        let Some(closing) = closing else {
            return;
        };
        if closing.manner == Manner::OnlyOffKeys {
            self.reaper.taken_off_keys(us(self.now), &closing);
            self.off_keys.push((client.id.0, self.now));
            let then = self.then;
            self.become_(client.id.0, then);
            return;
        }
        if let Some(refusal) = self.refusal.filter(|_| closing.manner == Manner::Linger) {
            self.refused += 1;
            self.reaper.not_closed(us(self.now), &closing, refusal);
            return;
        }
        self.reaper.closed(us(self.now), &client, &closing, 0);
        self.gone.push(Gone {
            id: client.id.0,
            at: self.now,
            how: closing.how,
            reason: closing.reason.to_string(),
        });
        self.peers.remove(&client.id.0);
        self.reaper.disconnected(client.id);
    }

    /// Moves time on by `ms`, waking the reaper when it asks for it.
    fn pass(&mut self, ms: u64) {
        let end = self.now + ms;
        let mut turns = 0;
        loop {
            let at = self
                .reaper
                .next_wake(us(self.now))
                .map_or(u64::MAX, |at| at.0.div_ceil(1_000));
            if at > end {
                break;
            }
            turns = if at > self.now { 0 } else { turns + 1 };
            assert!(turns < 2_000, "it asks to be woken without end");
            self.now = self.now.max(at);
            self.run_round();
        }
        self.now = end;
        self.check_sizes();
    }

    /// Whatever has happened, nothing that is kept outgrows the connections there are.
    fn check_sizes(&self) {
        let reaper = &self.reaper;
        reaper.registry.check();
        let connections = reaper.registry.len();
        let asked_for = 2 * BATCH_WHEN_EXPENSIVE;
        for (what, len, most) in [
            ("connections", connections, self.peers.len()),
            ("schedule", reaper.registry.schedule().count(), connections),
            ("drains", reaper.drains.len(), connections),
            ("own", reaper.own.len(), connections),
            ("grace spent", reaper.drains.resting(), connections),
            ("long", reaper.long.len(), connections),
            ("prefetch", reaper.prefetch.len(), connections.min(asked_for)),
            (
                "journal",
                reaper.journal.len(),
                reaper.settings.log_max_len as usize,
            ),
        ] {
            assert!(len <= most, "{what}: {len} of at most {most}");
        }
    }

    fn ids_gone(&self) -> Vec<u64> {
        self.gone.iter().map(|gone| gone.id).collect()
    }
}

#[test]
fn a_quiet_connection_goes_at_its_limit_and_not_before() {
    let mut world = World::new(&[(Name::Maxage, "1s")]);
    let id = world.connect(Is::Quiet, "u");
    world.pass(999);
    assert_eq!(world.ids_gone(), []);
    world.pass(1);
    let expected = Gone {
        id,
        at: START + 1_000,
        how: How::Quiet,
        reason: "maxage".into(),
    };
    assert_eq!(world.gone, [expected]);
    assert_eq!(world.reaper.tally.lag.max(), 0);
}

#[test]
fn who_cannot_linger_is_closed_once_all_is_delivered_and_at_the_end_of_grace_at_the_latest() {
    for refusal in [CloseError::NoNumber, CloseError::ThisSocket] {
        for (delivered_at, how) in [(1_300, How::Quiet), (9_000, How::Forced)] {
            let mut world = World::new(&[(Name::Maxage, "1s"), (Name::Grace, "2s")]);
            world.refusal = Some(refusal);
            world.unacked = 9;
            let id = world.connect(Is::Quiet, "u");
            world.pass(delivered_at.min(2_999));
            assert_eq!(world.ids_gone(), [], "{refusal:?}");
            world.unacked = if how == How::Quiet { 0 } else { 9 };
            world.pass(10);
            let gone: Vec<(u64, How)> = world.gone.iter().map(|gone| (gone.id, gone.how)).collect();
            assert_eq!(gone, [(id, how)], "{refusal:?}");
            // Asked once: neither one socket nor the lack of numbers is tried over and over.
            assert_eq!(world.refused, 1, "{refusal:?}");
        }
    }
}

#[test]
fn grace_ends_as_what_was_under_way() {
    for (is, how) in [
        (Is::Multi, How::Forced),
        (Is::Busy, How::Forced),
        (Is::Blocked, How::Blocked),
    ] {
        let mut world = World::new(&[(Name::Maxage, "1s"), (Name::Grace, "500")]);
        world.connect(is, "u");
        world.pass(1_499);
        assert_eq!(
            (world.ids_gone(), world.reaper.report(us(world.now)).draining),
            (vec![], 1),
            "{is:?}"
        );
        world.pass(1);
        assert_eq!(world.gone.first().map(|gone| gone.how), Some(how), "{is:?}");
    }
}

#[test]
fn who_waits_for_data_is_taken_off_its_keys_at_the_end_of_grace_and_closed_when_it_has_its_answer() {
    for (then, how, at_most) in [
        (Is::Quiet, How::Blocked, 0),
        // It blocks again at once.
        (Is::Blocked, How::Blocked, 0),
        // It takes no answer, or has begun something.
        (Is::Busy, How::Forced, 1_010),
        (Is::Multi, How::Forced, 1_600),
    ] {
        let mut world = World::new(&[(Name::Maxage, "1s"), (Name::Grace, "500"), (Name::Rate, "200")]);
        world.then = then;
        let id = world.connect(Is::Blocked, "u");
        world.pass(1_500 + at_most);
        assert_eq!(world.off_keys, [(id, START + 1_500)], "{then:?}: once");
        assert_eq!(world.gone.first().map(|gone| gone.how), Some(how), "{then:?}");
        if at_most == 0 {
            let spent = 4 - world.reaper.purses.rate.allowance(us(world.now));
            assert_eq!(spent, 1, "{then:?}: of `rate`");
        }
    }
}

#[test]
fn who_was_unblocked_in_this_round_of_the_loop_is_not_forced_in_it() {
    let mut world = World::new(&[(Name::Maxage, "1s"), (Name::Grace, "0")]);
    let id = world.connect(Is::Quiet, "u");
    let mut judged = |flags: &str| {
        world.now = (world.now + 1).max(START + 1_000);
        let now = us(world.now);
        let round = world.reaper.tick(now);
        assert_eq!(round.look, [ClientId(id)], "{flags}");
        let line = format!("id={id} flags={flags} argv-mem=9");
        let seen = Seen::with_idle_socket(info_line::parse(line.as_bytes()).unwrap());
        let closing = world.reaper.judge(now, &seen, &world.env());
        world.reaper.end_round(now, round, took(0));
        closing.map(|closing| closing.how)
    };
    assert_eq!(judged("u"), None);
    assert_eq!(judged("N"), Some(How::Forced));
}

#[test]
fn nobody_who_waits_for_data_is_closed_with_its_keys() {
    for line in [
        "flags=b cmd=blpop",
        "flags=xb cmd=blpop multi=1",
        "flags=b cmd=blpop oll=3",
    ] {
        let mut world = World::new(&[(Name::Maxage, "1s"), (Name::Grace, "500")]);
        let id = world.connect(Is::Quiet, "u");
        let line = format!("id={id} {line}");
        let client = info_line::parse(line.as_bytes()).unwrap();
        let mut closings: Vec<Closing> = Vec::new();
        while closings
            .last()
            .is_none_or(|last| last.manner == Manner::OnlyOffKeys)
        {
            let now = world.reaper.next_wake(us(world.now)).unwrap().max(us(world.now));
            world.now = now.0.div_ceil(1_000);
            let now = us(world.now);
            let round = world.reaper.tick(now);
            if !round.look.is_empty() {
                let seen = Seen::with_idle_socket(client);
                closings.extend(world.reaper.judge(now, &seen, &world.env()));
            }
            world.reaper.end_round(now, round, took(0));
        }
        assert!(closings.iter().all(|closing| closing.off_keys), "{line}");
    }
}

#[test]
fn what_gets_quiet_within_its_grace_goes_quietly_soon_after() {
    for is in [Is::Multi, Is::Busy, Is::Blocked] {
        let mut world = World::new(&[(Name::Maxage, "1s"), (Name::Grace, "1m")]);
        let id = world.connect(is, "u");
        world.pass(3_000);
        world.become_(id, Is::Quiet);
        world.pass(500);
        assert_eq!(
            world.gone.first().map(|gone| gone.how),
            Some(How::Quiet),
            "{is:?}"
        );
    }
}

#[test]
fn one_that_never_pauses_gets_a_gate_but_not_with_half_of_something_long_on_its_way() {
    for (line, gates) in [
        ("flags=N fd=7 qbuf=40 obl=5", 4),
        ("flags=N fd=7 qbuf=40000", 0),
        ("flags=N fd=7 oll=3", 0),
        ("flags=U fd=7 qbuf=40", 0),
        ("flags=x fd=7 multi=2", 0),
        ("flags=b cmd=blpop fd=7", 0),
        ("flags=N fd=-1 qbuf=40", 0),
    ] {
        let mut world = World::new(&[(Name::Maxage, "1s"), (Name::Grace, "3s")]);
        let id = ClientId(world.connect(Is::Quiet, "u"));
        let line = format!("id={id} {line}");
        let client = info_line::parse(line.as_bytes()).unwrap();
        let seen = Seen {
            client,
            unread: Some(9),
            unacked: Some(9),
            received: None,
            awaits_link: false,
        };
        let (mut shut, mut gone) = (Vec::new(), None);
        while gone.is_none() {
            let now = world.reaper.next_wake(us(world.now)).unwrap().max(us(world.now));
            world.now = now.0.div_ceil(1_000);
            let now = us(world.now);
            let mut round = world.reaper.tick(now);
            let busy: Vec<ClientId> = world.reaper.perhaps_busy(now, &round).map(|(id, _)| id).collect();
            let gates = world.reaper.put_off_the_busy(now, &mut round, &busy);
            shut.extend(gates.iter().map(|gate| (gate.0, world.now - START)));
            if !round.look.is_empty() {
                gone = world.reaper.judge(now, &seen, &Environment::default());
            }
            world.reaper.end_round(now, round, took(0));
        }
        assert_eq!(shut.len(), gates, "{line}: {shut:?}");
        assert!(shut.iter().all(|(_, at)| *at >= 2_500), "{line}: {shut:?}");
        assert_eq!(world.now - START, 4_000, "{line}: grace is kept");
    }
}

/// A client of a made-up world that sends something now and then; what the shell sees of it.
fn sending(id: ClientId, tcp: bool, sent: u64, at: u64) -> (String, Option<Received>) {
    let line = format!(
        "id={id} flags={} fd=7 tot-net-in={sent}",
        if tcp { "N" } else { "U" }
    );
    let received = Received {
        bytes: sent,
        last: us(at),
        round_trip_us: 500,
    };
    (line, tcp.then_some(received))
}

#[test]
fn who_has_just_sent_something_is_given_a_moment_for_more() {
    // It sends so often, until then; it goes at this moment after its limit, of a grace of 4 s.
    for (tcp, every, until, expected) in [
        (true, 1, 990, 31..=33),
        (true, 1, 950, 0..=0),
        (true, 6, 1_700, 735..=745),
        // A gate from the half of its grace on.
        (true, 6, u64::MAX, 2_000..=2_100),
        // Two looks tell of nothing sent in between.
        (false, 6, 990, 40..=42),
        (false, 6, 1_700, 735..=790),
        (false, 6, u64::MAX, 1_700..=2_000),
        // Rests in between are long enough.
        (true, 60, u64::MAX, 0..=60),
        (false, 60, u64::MAX, 0..=130),
    ] {
        let mut world = World::new(&[(Name::Maxage, "1s"), (Name::Grace, "4s")]);
        let id = ClientId(world.connect(Is::Quiet, "u"));
        let (mut gate, mut gone) = (0, None);
        let title = format!("tcp {tcp}, every {every} until {until}");
        while gone.is_none() {
            let now = world.reaper.next_wake(us(world.now)).unwrap().max(us(world.now));
            world.now = now.0.div_ceil(1_000);
            let now = us(world.now);
            let mut round = world.reaper.tick(now);
            if !world.reaper.put_off_the_busy(now, &mut round, &[]).is_empty() {
                gate = world.now + GATE.0;
            }
            let heard = if world.now < gate {
                gate - GATE.0
            } else {
                world.now
            };
            let at = START + (heard - START).min(until) / every * every;
            let (line, received) = sending(id, tcp, at, at);
            let seen = Seen {
                received,
                ..Seen::with_idle_socket(info_line::parse(line.as_bytes()).unwrap())
            };
            if !round.look.is_empty() {
                gone = world.reaper.judge(now, &seen, &world.env());
            }
            world.reaper.end_round(now, round, took(0));
            assert!(world.now < START + 5_000, "{title}");
        }
        assert_eq!(gone.map(|gone| gone.how), Some(How::Quiet), "{title}");
        let late = world.now - START - 1_000;
        assert!(expected.contains(&late), "{title}: {late} ms after its limit");
    }
}

#[test]
fn lag_counts_from_the_end_of_the_moment_that_it_was_given() {
    for (sent, again, expected) in [(900, 900, Some(0)), (990, 990, Some(0)), (990, 1_010, Some(0))] {
        let mut world = World::new(&[(Name::Maxage, "1s")]);
        let id = ClientId(world.connect(Is::Quiet, "u"));
        let mut lags = Vec::new();
        while lags.is_empty() {
            let now = world.reaper.next_wake(us(world.now)).unwrap().max(us(world.now));
            world.now = now.0.div_ceil(1_000);
            let now = us(world.now);
            let round = world.reaper.tick(now);
            let at = if world.now < START + again { sent } else { again };
            let (line, received) = sending(id, true, at, START + at);
            let seen = Seen {
                received,
                ..Seen::with_idle_socket(info_line::parse(line.as_bytes()).unwrap())
            };
            if !round.look.is_empty() {
                let closing = world.reaper.judge(now, &seen, &world.env());
                lags.extend(closing.map(|closing| closing.lag_us.map(|us| us / 1_000)));
            }
            world.reaper.end_round(now, round, took(0));
        }
        assert_eq!(lags, [expected], "{sent} {again}");
    }
}

#[test]
fn those_that_are_due_soon_are_asked_for_together_and_go_at_their_own_limits() {
    let mut world = World::new(&[(Name::Maxage, "1s")]);
    for n in 0..32 {
        world.connect(if n == 20 { Is::Subscriber } else { Is::Quiet }, "u");
        world.pass(5);
    }
    world.pass(1_000);
    let at: Vec<u64> = world.gone.iter().map(|gone| gone.at - START).collect();
    let limits: Vec<u64> = (0..32).filter(|n| *n != 20).map(|n| 1_000 + n * 5).collect();
    assert_eq!(at, limits);
    // The first, and the one for which no line can be kept.
    assert_eq!((world.cached, world.looks), (30, 2));
}

#[test]
fn one_that_sends_something_after_it_was_asked_for_is_asked_for_again() {
    for (is, gone) in [
        (Is::Quiet, true),
        (Is::Multi, false),
        (Is::Busy, false),
        (Is::Subscriber, false),
    ] {
        let mut world = World::new(&[(Name::Maxage, "1s"), (Name::Grace, "1h")]);
        world.connect(Is::Quiet, "u");
        world.pass(100);
        let id = world.connect(Is::Quiet, "u");
        world.pass(950);
        assert_eq!((world.ids_gone(), world.looks), (vec![1], 1));
        world.become_(id, is);
        world.pass(100);
        assert_eq!(world.ids_gone().contains(&id), gone, "{is:?}");
        assert_eq!((world.cached, world.looks > 1), (0, true), "{is:?}");
    }
}

#[test]
fn who_takes_a_limit_of_its_own_back_is_not_kept_among_those_asked_for() {
    for line in [Is::Quiet, Is::Subscriber] {
        let mut world = World::new(&[(Name::Types, "normal pubsub")]);
        let first = world.connect(Is::Quiet, "u");
        world.pass(100);
        let others: Vec<u64> = (0..20).map(|_| world.connect(line, "u")).collect();
        for id in others.iter().chain([&first]) {
            world
                .reaper
                .set_own_limit(us(world.now), ClientId(*id), Millis(1_000));
        }
        world.pass(950);
        assert_eq!((world.ids_gone(), world.reaper.prefetch.len()), (vec![first], 20));
        for id in &others {
            world
                .reaper
                .set_own_limit(us(world.now), ClientId(*id), Millis(0));
        }
        assert_eq!(world.reaper.prefetch.len(), 0, "{line:?}");
        world.pass(5_000);
        assert_eq!(world.ids_gone(), [first]);
    }
}

#[test]
fn where_a_look_walks_all_clients_it_is_for_many_and_closings_are_few_at_a_time() {
    for rate in ["0", "1000"] {
        let mut world = World::new(&[(Name::Maxage, "0"), (Name::Rate, rate)]);
        for _ in 0..3_000 {
            world.connect(Is::Quiet, "u");
        }
        world.pass(1_000);
        world.look_us = 420;
        world.set(Name::Maxage, "1s");
        world.pass(4_000);
        assert_eq!(world.gone.len(), 3_000, "rate {rate}");
        // A third less at least than with few at a time, though the last 600 are few enough for that.
        let few_at_a_time = 3_000 / BATCH;
        let looks = world.looks;
        assert!(looks <= few_at_a_time * 2 / 3, "rate {rate}: {looks} looks");
        assert!(
            world.most_at_once <= BATCH,
            "rate {rate}: {} at once",
            world.most_at_once
        );
    }
}

#[test]
fn nobody_but_the_quiet_is_closed_while_the_loop_runs_inside_a_command() {
    let mut world = World::new(&[(Name::Maxage, "1s"), (Name::Grace, "1s")]);
    for is in [Is::Busy, Is::Multi, Is::Blocked, Is::Quiet] {
        world.connect(is, "u");
    }
    world.nested = true;
    world.pass(10_000);
    assert_eq!(world.ids_gone(), [4]);
    world.nested = false;
    world.pass(1_000);
    assert_eq!(world.gone.len(), 4);
}

#[test]
fn however_many_are_waited_for_the_quiet_go_at_their_limits_and_info_tells() {
    // A server that walks all its clients, and one that waits for an I/O thread for each.
    for (rate, look_us) in [("0", 700), ("1000", 700), ("0", 3_000), ("1000", 3_000)] {
        let mut world = World::new(&[(Name::Maxage, "3s"), (Name::Grace, "60s"), (Name::Rate, rate)]);
        let busy: Vec<u64> = (0..4_000).map(|_| world.connect(Is::Multi, "u")).collect();
        world.pass(6_000);
        world.look_us = look_us;
        for _ in 0..100 {
            world.connect(Is::Quiet, "u");
            world.pass(50);
        }
        world.pass(3_000);
        assert_eq!(world.gone.len(), 100, "rate {rate}");
        for gone in &world.gone {
            let late = gone.at - START - 6_000 - (gone.id - 4_001) * 50 - 3_000;
            assert!(late <= 2, "rate {rate}: {gone:?} is {late} ms late");
        }
        assert_eq!(world.reaper.tally.lag.count(), 100, "rate {rate}");
        assert!(world.reaper.tally.lag.max() <= 2_000, "rate {rate}");
        // They are looked at all the same.
        world.look_us = 700;
        busy.iter().for_each(|id| world.become_(*id, Is::Quiet));
        world.pass(20_000);
        assert_eq!(world.gone.len(), 4_100, "rate {rate}");
    }
}

#[test]
fn whoever_is_quiet_waits_for_no_first_look_at_those_in_multi() {
    for look_us in [700, 3_000] {
        let mut world = World::new(&[(Name::Maxage, "3s"), (Name::Grace, "10s")]);
        world.look_us = look_us;
        let warmed_up = world.connect(Is::Quiet, "u");
        world.pass(4_000);
        assert_eq!(world.ids_gone(), [warmed_up]);
        for _ in 0..4_000 {
            world.connect(Is::Multi, "u");
        }
        world.pass(2_900);
        let quiet: Vec<(u64, u64)> = (0..40)
            .map(|_| {
                world.pass(50);
                (world.connect(Is::Quiet, "u"), world.now)
            })
            .collect();
        world.pass(4_000);
        for (id, born) in quiet {
            let gone = world.gone.iter().find(|gone| gone.id == id).map(|gone| gone.at);
            let late = gone.expect("it has gone") - born - 3_000;
            // A look or two of so long have to be paid off, and not thousands.
            assert!(late <= 100, "looks of {look_us} µs: {late} ms late");
        }
        // They are looked at all the same, and their grace ends.
        world.look_us = 20;
        world.pass(15_000);
        assert_eq!(world.gone.len(), 4_041);
    }
}

#[test]
fn those_with_long_names_are_looked_at_one_at_a_time_and_nobody_waits_for_what_they_cost() {
    let mut world = World::new(&[
        (Name::Maxage, "1h"),
        (
            Name::Rules,
            "ci: user=ci maxage=1s; pub: type=pubsub maxage=1s; etl: name=*etl*x maxage=500",
        ),
    ]);
    world.long_ms = 3;
    let ids: Vec<u64> = (0..60)
        .map(|n| world.connect(Is::Quiet, if n % 3 == 0 { "long" } else { "app" }))
        .collect();
    world.pass(120_000);
    assert_eq!(world.most_long, 1, "in one look");
    assert_eq!(world.ids_gone(), []);
    let period = world.reaper.report(us(world.now)).recheck_period_ms;
    assert!(period <= 1_000, "{period} ms");
    world.peers.get_mut(&ids[50]).unwrap().user = "ci";
    world.pass(1_500);
    assert_eq!(world.ids_gone(), [ids[50]]);
    // The long ones have their turns as well.
    world.become_(ids[57], Is::Subscriber);
    world.pass(120_000);
    assert_eq!(world.ids_gone(), [ids[50], ids[57]]);
}

#[test]
fn limits_of_their_own_take_nothing_of_rate_nor_of_the_log_and_never_lengthen_a_life() {
    let mut world = World::new(&[(Name::Maxage, "2s"), (Name::Rate, "100")]);
    let (mut others, mut churn) = (BTreeSet::new(), Vec::new());
    for tenth in 0..80 {
        others.insert(world.connect(Is::Quiet, "u"));
        for _ in 0..50 {
            let id = world.connect(Is::Quiet, "u");
            world.reaper.set_own_limit(us(world.now), ClientId(id), Millis(1));
            churn.push(id);
        }
        world.pass(100);
        if tenth >= 10 {
            for id in churn.drain(..50) {
                world.peers.remove(&id);
                world.reaper.disconnected(ClientId(id));
            }
        }
    }
    let own = world.gone.iter().filter(|gone| gone.reason == "self").count();
    assert!((700..=800).contains(&own), "as many as the others may: {own}");
    for gone in world.gone.iter().filter(|gone| others.contains(&gone.id)) {
        let late = gone.at - START - (gone.id - 1) / 51 * 100 - 2_000;
        assert!(late <= 2, "{gone:?} is {late} ms late");
    }
    let logged = world
        .reaper
        .journal
        .newest()
        .filter(|entry| entry.reason == Reason::MAXAGE);
    assert_eq!(logged.count(), world.gone.len() - own);
    assert_eq!(world.reaper.tally.lag.count() as usize, world.gone.len());
    assert!(
        world.reaper.tally.lag.max() <= 30_000,
        "{}",
        world.reaper.tally.lag.max()
    );
    // Those that are left wait for their share, and no longer than the operator's limit says.
    world.pass(2_000 + 600 * 10);
    assert_eq!(world.peers.len(), 0);
}

#[test]
fn a_limit_that_an_old_connection_gives_itself_counts_from_then_in_the_log() {
    let mut world = World::new(&[]);
    let id = ClientId(world.connect(Is::Quiet, "u"));
    world.pass(3_600_000);
    world.reaper.set_own_limit(us(world.now), id, Millis(1));
    world.pass(10);
    let entry = world.reaper.journal.newest().next().unwrap();
    assert_eq!((entry.waited, &entry.reason), (Millis(0), &Reason::OWN));
    assert!(world.reaper.tally.lag.max() <= 1_000);
}

#[test]
fn lag_leaves_out_for_how_long_rate_held_people_up_and_nothing_else() {
    let mut world = World::new(&[(Name::Maxage, "1s"), (Name::Rate, "100")]);
    for _ in 0..200 {
        world.connect(Is::Quiet, "u");
    }
    world.pass(4_000);
    assert_eq!((world.gone.len(), world.reaper.tally.lag.count()), (200, 200));
    assert!(
        world.reaper.tally.lag.max() <= 1_000,
        "{:?}",
        world.reaper.tally.lag.max()
    );
    // The loop stands still: that is lag.
    world.connect(Is::Quiet, "u");
    world.now += 1_500;
    world.run_round();
    world.pass(10);
    assert_eq!(world.gone.len(), 201);
    assert!(world.reaper.tally.lag.max() >= 500_000);
}

#[test]
fn nobody_is_forced_while_clients_are_paused() {
    let mut world = World::new(&[(Name::Maxage, "1s"), (Name::Grace, "0")]);
    world.connect(Is::Multi, "u");
    world.connect(Is::Blocked, "u");
    world.paused = true;
    world.pass(60_000);
    assert_eq!(world.ids_gone(), []);
    world.paused = false;
    world.pass(1_000);
    assert_eq!(world.gone.len(), 2);
}

#[test]
fn age_spares_what_is_not_a_normal_client_and_takes_it_when_it_becomes_one() {
    for is in [Is::Subscriber, Is::Monitor, Is::Replica] {
        let mut world = World::new(&[(Name::Maxage, "1s")]);
        let id = world.connect(is, "u");
        world.pass(30_000);
        assert_eq!(world.ids_gone(), [], "{is:?}");
        world.become_(id, Is::Quiet);
        world.pass(10_000);
        assert_eq!(world.ids_gone(), [id], "{is:?}");
    }
}

#[test]
fn a_change_of_user_into_a_stricter_rule_is_noticed_within_a_second() {
    let mut world = World::new(&[
        (Name::Maxage, "1h"),
        (Name::Rules, "ci: user=ci maxage=1s; no: user=ops maxage=0"),
    ]);
    let id = world.connect(Is::Quiet, "ops");
    world.pass(20_000);
    assert_eq!(world.ids_gone(), []);
    world.peers.get_mut(&id).unwrap().user = "ci";
    world.pass(1_000);
    assert_eq!(
        world.gone.first().map(|gone| gone.reason.as_str()),
        Some("rule:ci")
    );
}

#[test]
fn who_changes_its_user_before_its_turn_by_over_comes_goes_as_soon_as_anybody() {
    let mut world = World::new(&[
        (Name::Maxage, "1h"),
        (Name::Rules, "ci: user=ci maxage=1s; pub: type=pubsub maxage=3s"),
    ]);
    let ids: Vec<u64> = (0..4).map(|_| world.connect(Is::Quiet, "app")).collect();
    world.pass(5_000);
    let named: Vec<ClientId> = ids.iter().copied().map(ClientId).collect();
    let order = Order {
        over: Some(Millis(86_400_000)),
        ..AT_ONCE
    };
    world.reaper.kill(us(world.now), &named, &order);
    world.pass(1_000);
    assert_eq!(world.ids_gone(), ids[..1]);
    world.peers.get_mut(&ids[2]).unwrap().user = "ci";
    world.pass(1_000);
    assert_eq!(world.ids_gone(), [ids[0], ids[2]]);
    // By what only the server's line tells.
    world.become_(ids[3], Is::Subscriber);
    world.pass(10_000);
    assert_eq!(world.ids_gone(), [ids[0], ids[2], ids[3]]);
    assert_eq!(world.reaper.report(us(world.now)).draining, 1);
}

#[test]
fn a_round_whose_look_failed_is_paid_for_and_everybody_keeps_its_place() {
    let mut world = World::new(&[(Name::Maxage, "1s"), (Name::Rules, "no: user=ops maxage=0")]);
    let exempt = world.connect(Is::Quiet, "ops");
    world.pass(5);
    let id = world.connect(Is::Quiet, "u");
    world.now = START + 1_005;
    let now = us(world.now);
    let round = world.reaper.tick(now);
    assert_eq!(round.look, [exempt, id].map(ClientId));
    let outcome = Outcome {
        was_refused: true,
        other_us: 1_000_000,
        ..Outcome::default()
    };
    world.reaper.end_round(now, round, outcome);
    // Twice as long as it took, and then at once: nobody has lost its turn.
    world.pass(1_999);
    assert_eq!(world.ids_gone(), []);
    world.pass(2_000);
    assert_eq!(world.ids_gone(), [id]);
    assert_eq!(world.reaper.registry.state(ClientId(exempt)), Some(State::Parked));
}

#[test]
fn a_raised_limit_ends_the_draining_of_those_that_it_frees() {
    let mut world = World::new(&[(Name::Maxage, "1s"), (Name::Grace, "1h")]);
    world.connect(Is::Multi, "u");
    world.pass(2_000);
    assert_eq!(world.reaper.report(us(world.now)).draining, 1);
    world.set(Name::Maxage, "1m");
    assert_eq!(world.reaper.report(us(world.now)).draining, 0);
    world.pass(58_001);
    assert_eq!(world.reaper.report(us(world.now)).draining, 1);
    world.set(Name::Maxage, "0");
    assert_eq!(world.reaper.report(us(world.now)).draining, 0);
}

#[test]
fn the_same_limit_holds_before_and_after_an_unrelated_change_of_settings() {
    let mut world = World::new(&[(Name::Maxage, "10s"), (Name::Jitter, "50")]);
    let ids: Vec<u64> = (0..200).map(|_| world.connect(Is::Quiet, "u")).collect();
    world.pass(4_000);
    world.set(Name::LogMaxLen, "5");
    world.set(Name::Grace, "7");
    world.pass(6_000);
    for id in ids {
        let limit = jitter::limit(SEED, ClientId(id), Millis(10_000), Percent(50)).0;
        let gone = world.gone.iter().find(|gone| gone.id == id).unwrap();
        assert_eq!(gone.at, START + limit);
    }
}

#[test]
fn rate_bounds_evictions_by_age_and_by_command_and_what_waits_is_the_backlog() {
    for by_command in [false, true] {
        let mut world = World::new(&[
            (Name::Maxage, if by_command { "0" } else { "1s" }),
            (Name::Rate, "100"),
        ]);
        let ids = world.connect_quiet(1_000);
        world.pass(1_000);
        if by_command {
            assert_eq!(world.reaper.kill(us(world.now), &ids, &AT_ONCE), 1_000);
        }
        world.pass(999);
        assert!((90..=100).contains(&world.gone.len()), "{}", world.gone.len());
        let waiting = world.reaper.report(us(world.now)).backlog;
        assert!(waiting > 400, "{waiting}");
        world.pass(10_000);
        assert_eq!(world.gone.len(), 1_000);
        let mut order = world.ids_gone();
        order.sort_unstable();
        assert_eq!(order, world.ids_gone(), "oldest first");
        assert_eq!(world.reaper.tally.by_command, if by_command { 1_000 } else { 0 });
    }
}

#[test]
fn over_spreads_evenly_beside_the_rate_and_a_second_command_does_not_double() {
    let mut world = World::new(&[(Name::Rate, "1")]);
    let ids = world.connect_quiet(100);
    let order = Order {
        over: Some(Millis(10_000)),
        ..AT_ONCE
    };
    world.reaper.kill(us(world.now), &ids, &order);
    world.reaper.kill(us(world.now), &ids, &order);
    for tenth in 1..=10 {
        world.pass(1_000);
        assert!(
            (tenth * 10..=tenth * 10 + 1).contains(&world.gone.len()),
            "{tenth}: {}",
            world.gone.len()
        );
    }
    assert_eq!(world.reaper.tally.by_command, 100);
}

#[test]
fn turns_by_over_that_were_missed_go_as_rate_lets_them() {
    let mut world = World::new(&[(Name::Rate, "100")]);
    let ids = world.connect_quiet(2_000);
    let order = Order {
        over: Some(Millis(20_000)),
        ..AT_ONCE
    };
    world.reaper.kill(us(world.now), &ids, &order);
    world.pass(1_000);
    assert!((100..=101).contains(&world.gone.len()), "{}", world.gone.len());
    // The process stands still for ten seconds.
    world.now += 10_000;
    world.pass(1_000);
    // Those whose turn is now, those who missed it by a second at most, and as many as rate lets go.
    let gone = world.gone.len();
    assert!((300..=410).contains(&gone), "{gone}");
    world.pass(19_000);
    assert_eq!(world.gone.len(), 2_000);
}

#[test]
fn who_is_exempt_for_a_moment_goes_on_with_the_grace_it_had() {
    let mut world = World::new(&[(Name::Maxage, "1s"), (Name::Grace, "60s")]);
    let id = world.connect(Is::Multi, "u");
    for _ in 0..5 {
        world.pass(11_000);
        world.become_(id, Is::Subscriber);
        world.pass(1_000);
        assert_eq!(world.reaper.report(us(world.now)).draining, 0);
        world.become_(id, Is::Multi);
        // Until it is noticed.
        while world.reaper.report(us(world.now)).draining == 0 {
            world.pass(100);
        }
    }
    world.pass(16_000);
    assert_eq!(world.gone.first().map(|gone| gone.how), Some(How::Forced));
}

#[test]
fn cancel_calls_off_commands_and_leaves_age_alone() {
    let mut world = World::new(&[(Name::Maxage, "5s"), (Name::Grace, "1h")]);
    let old = world.connect(Is::Multi, "u");
    world.pass(5_500);
    let young = world.connect(Is::Multi, "u");
    let order = Order {
        grace: Millis(1_000),
        ..AT_ONCE
    };
    world
        .reaper
        .kill(us(world.now), &[ClientId(old), ClientId(young)], &order);
    world.pass(500);
    assert_eq!(world.reaper.report(us(world.now)).draining, 2);
    assert_eq!(world.reaper.cancel(), 2);
    assert_eq!(world.reaper.report(us(world.now)).draining, 1);
    assert_eq!(world.reaper.cancel(), 0);
    world.pass(3_000);
    assert_eq!(world.ids_gone(), []);
    world.become_(old, Is::Quiet);
    world.become_(young, Is::Quiet);
    world.pass(1_000);
    assert_eq!(
        world
            .gone
            .iter()
            .map(|gone| (gone.id, gone.reason.as_str()))
            .collect::<Vec<_>>(),
        [(old, "maxage")]
    );
}

#[test]
fn dry_run_tells_of_each_once_and_closes_nothing_but_what_is_killed() {
    let mut world = World::new(&[(Name::Maxage, "1s"), (Name::DryRun, "yes")]);
    let ids: Vec<u64> = (0..3).map(|_| world.connect(Is::Quiet, "u")).collect();
    world.pass(60_000);
    assert_eq!(
        (world.reaper.tally.would_evict, world.reaper.journal.len()),
        (3, 3)
    );
    assert_eq!(world.ids_gone(), []);
    world.reaper.kill(us(world.now), &[ClientId(ids[1])], &AT_ONCE);
    world.pass(10);
    assert_eq!(
        world
            .gone
            .iter()
            .map(|gone| (gone.id, gone.reason.as_str()))
            .collect::<Vec<_>>(),
        [(ids[1], "command")]
    );
    world.set(Name::DryRun, "no");
    world.pass(10);
    assert_eq!(world.gone.len(), 3);
}

#[test]
fn enabled_no_stops_everything_and_forgets_nothing() {
    let mut world = World::new(&[(Name::Maxage, "1s"), (Name::Grace, "1s")]);
    world.connect(Is::Multi, "u");
    world.connect(Is::Quiet, "u");
    world.pass(900);
    world.set(Name::Enabled, "no");
    assert_eq!(world.reaper.next_wake(us(world.now)), None);
    world.pass(60_000);
    assert_eq!(world.ids_gone(), []);
    world.set(Name::Enabled, "yes");
    world.pass(1_100);
    assert_eq!(world.gone.len(), 2);
}

#[test]
fn a_connection_found_at_load_is_taken_for_as_young_as_it_can_be() {
    let mut world = World::new(&[(Name::Maxage, "10s")]);
    for (id, age_s, goes_after) in [(3, 9, 2_000), (4, 0, 10_000), (5, 30, 10_000)] {
        let line = format!("id={id} age={age_s}");
        world.reaper.found(
            us(world.now),
            &info_line::parse(line.as_bytes()).unwrap(),
            false,
            us(0),
        );
        world.peers.insert(
            id,
            Peer {
                born: 0,
                is: Is::Quiet,
                user: "u",
                own: 0,
                changed: 0,
                sent: 0,
            },
        );
        world.pass(0);
        let entry_age = world.reaper.age(us(world.now), ClientId(id)).unwrap().0;
        assert_eq!(
            10_000 - entry_age,
            goes_after,
            "id {id}: ids ascend, so 5 is younger than 4"
        );
    }
}

#[test]
fn nobody_that_is_found_is_older_than_can_be() {
    let client = info_line::parse(b"id=1 age=3600").unwrap();
    for (there_since, age) in [(10_000, 10_000), (0, 0), (7_200_000, 3_599_000)] {
        let mut world = World::new(&[(Name::Maxage, "1d")]);
        world.pass(8_000_000);
        let now = us(world.now);
        let earliest = now.minus(Millis(there_since));
        world.reaper.found(now, &client, false, earliest);
        let got = world.reaper.age(now, ClientId(1));
        assert_eq!(got, Some(Millis(age)), "there for {there_since}");
    }
}

#[test]
fn extremes_of_age_and_limit_neither_overflow_nor_evict() {
    for maxage in [
        "1",
        "9223372036854775807",
        "9223372036854775807ms",
        "106751991167d",
    ] {
        let mut world = World::new(&[
            (Name::Maxage, maxage),
            (Name::Jitter, "90"),
            (Name::Grace, "9223372036854775807"),
        ]);
        let ancient = format!("id=1 age={}", i64::MAX);
        world.reaper.found(
            us(world.now),
            &info_line::parse(ancient.as_bytes()).unwrap(),
            false,
            us(0),
        );
        world.peers.insert(
            1,
            Peer {
                born: 0,
                is: Is::Quiet,
                user: "u",
                own: 0,
                changed: 0,
                sent: 0,
            },
        );
        world.next_id = 2;
        world.connect(Is::Multi, "u");
        world.pass(1_000);
        assert_eq!(
            world.ids_gone(),
            if maxage == "1" { vec![1] } else { vec![] },
            "{maxage}"
        );
        world.reaper.report(Micros::NEVER);
    }
}

#[test]
fn ten_thousand_rechecks_and_limits_given_over_and_over_make_nothing_grow() {
    let mut world = World::new(&[
        (Name::Maxage, "1d"),
        (Name::Grace, "1d"),
        (Name::Rules, "ci: user=ci-* maxage=2s"),
    ]);
    for _ in 0..40 {
        world.connect(Is::Quiet, "web");
    }
    let drains = world.connect(Is::Multi, "ci-1");
    world.pass(10_000);
    let before = world.reaper.report(us(world.now)).memory;
    // An identity round takes 900 ms at least.
    for round in 0..10_000_u64 {
        let id = ClientId(1 + round % 40);
        let limit = [Millis(36_000_000), Millis(0)][round as usize % 7 / 6];
        world.reaper.set_own_limit(us(world.now), id, limit);
        world.pass(1_000);
        assert_eq!(world.reaper.registry.schedule().count(), 41, "round {round}");
    }
    assert_eq!((world.ids_gone(), world.reaper.drains.len()), (vec![], 1));
    assert!(world.reaper.drains.get(ClientId(drains)).is_some());
    // Forty limits of connections' own; the rest is what it was.
    let after = world.reaper.report(us(world.now)).memory;
    assert!(after <= before + 40 * 64, "{before} to {after} bytes");
}

#[test]
fn one_that_gives_itself_a_limit_again_and_again_has_one_planned_moment() {
    let mut world = World::new(&[]);
    let id = ClientId(world.connect(Is::Quiet, "u"));
    for round in 0..10_000 {
        world
            .reaper
            .set_own_limit(us(world.now), id, Millis(36_000_000 + round % 3));
        assert_eq!(world.reaper.registry.schedule().count(), 1);
    }
    world.reaper.set_own_limit(us(world.now), id, Millis(0));
    assert_eq!(world.reaper.registry.schedule().count(), 0);
}

// ---- against a naive model ------------------------------------------------------------------------

#[derive(Clone, Debug)]
enum Step {
    Connect(Is, &'static str),
    Disconnect(usize),
    Become(usize, Is),
    Login(usize, &'static str),
    Own(usize, u64),
    Kill(usize, u64, u64),
    Cancel,
    Set(Name, &'static str),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let is = prop::sample::select(vec![
        Is::Quiet,
        Is::Quiet,
        Is::Quiet,
        Is::Busy,
        Is::Multi,
        Is::Blocked,
        Is::Subscriber,
    ]);
    let user = prop::sample::select(vec!["app", "ci", "ops"]);
    let set = prop::sample::select(vec![
        (Name::Maxage, "0"),
        (Name::Maxage, "700"),
        (Name::Maxage, "3s"),
        (Name::Jitter, "0"),
        (Name::Jitter, "60"),
        (Name::Grace, "0"),
        (Name::Grace, "900"),
        (Name::Rules, ""),
        (Name::Rules, "a: user=ci maxage=300; b: user=ops maxage=0"),
        (
            Name::Rules,
            "a: user=ci maxage=300; b: user=ops maxage=0; c: type=pubsub maxage=400",
        ),
        (Name::Types, "normal"),
        (Name::Types, "normal pubsub"),
        (Name::Enabled, "no"),
        (Name::Enabled, "yes"),
    ]);
    prop_oneof![
        4 => (is.clone(), user.clone()).prop_map(|(is, user)| Step::Connect(is, user)),
        1 => any::<usize>().prop_map(Step::Disconnect),
        3 => (any::<usize>(), is).prop_map(|(which, is)| Step::Become(which, is)),
        1 => (any::<usize>(), user).prop_map(|(which, user)| Step::Login(which, user)),
        1 => (any::<usize>(), 0_u64..2_000).prop_map(|(which, limit)| Step::Own(which, limit)),
        1 => (any::<usize>(), 0_u64..2_000, 0_u64..2_000).prop_map(|(which, grace, over)| Step::Kill(which, grace, over)),
        1 => Just(Step::Cancel),
        2 => set.prop_map(|(name, value)| Step::Set(name, value)),
        6 => (1_u64..1_500).prop_map(Step::Pass),
    ]
}

/// The limit of a connection, worked out from nothing but the documentation.
fn naive_limit(settings: &Settings, id: u64, peer: &Peer) -> Option<u64> {
    let pubsub = peer.is == Is::Subscriber;
    let ruled = !settings.rules.is_empty();
    let by_type = settings.rules.len() > 2;
    let covered = if pubsub {
        settings.types.pubsub
    } else {
        settings.types.normal
    };
    let (maxage, holds) = match peer.user {
        "ci" if ruled => (300, covered),
        "ops" if ruled => (0, covered),
        _ if by_type && pubsub => (400, true),
        _ => (settings.maxage.0, covered),
    };
    if !holds {
        return None;
    }
    let drawn = jitter::limit(SEED, ClientId(id), Millis(maxage), settings.jitter).0;
    [drawn, peer.own].into_iter().filter(|limit| *limit > 0).min()
}

/// Everything is noticed within this, even what a recheck has to find.
const NOTICED_MS: u64 = 10_000;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_happens_none_goes_early_none_stays_late_and_none_is_counted_twice(
        steps in prop::collection::vec(step(), 1..80)
    ) {
        let mut world = World::new(&[(Name::Maxage, "2s"), (Name::Grace, "900")]);
        let mut killed: BTreeSet<u64> = BTreeSet::new();
        let mut settled = START;
        for step in steps {
            let ids: Vec<u64> = world.peers.keys().copied().collect();
            let pick = |which: usize| ids.get(which % ids.len().max(1)).copied();
            let before = world.peers.clone();
            let from = world.gone.len();
            match step {
                Step::Connect(is, user) => { world.connect(is, user); }
                Step::Disconnect(which) => if let Some(id) = pick(which) {
                    world.peers.remove(&id);
                    world.reaper.disconnected(ClientId(id));
                },
                Step::Become(which, is) => if let Some(id) = pick(which) { world.become_(id, is) },
                Step::Login(which, user) => if let Some(id) = pick(which) {
                    let now = world.now;
                    let peer = world.peers.get_mut(&id).unwrap();
                    peer.user = user;
                    peer.changed = now;
                    peer.sent += 1;
                },
                Step::Own(which, limit) => if let Some(id) = pick(which) {
                    world.peers.get_mut(&id).unwrap().own = limit;
                    world.reaper.set_own_limit(us(world.now), ClientId(id), Millis(limit));
                },
                Step::Kill(which, grace, over) => if let Some(id) = pick(which) {
                    let over = (over > 0).then_some(Millis(over));
                    let order = Order { grace: Millis(grace), over, ..AT_ONCE };
                    world.reaper.kill(us(world.now), &[ClientId(id)], &order);
                    killed.insert(id);
                },
                Step::Cancel => { world.reaper.cancel(); killed.clear(); }
                Step::Set(name, value) => { world.set(name, value); settled = world.now; }
                Step::Pass(ms) => world.pass(ms),
            }
            let settings = world.reaper.settings().clone();
            for gone in &world.gone[from..] {
                let peer = &before[&gone.id];
                if gone.reason == "command" {
                    prop_assert!(killed.contains(&gone.id), "{gone:?} was not asked for");
                } else {
                    let limit = naive_limit(&settings, gone.id, peer);
                    prop_assert!(limit.is_some_and(|limit| gone.at >= peer.born + limit), "early: {gone:?} {peer:?}");
                }
                let quiet = matches!(peer.is, Is::Quiet | Is::Subscriber);
                prop_assert_eq!(gone.how == How::Quiet, quiet, "{:?} {:?}", gone, peer);
            }
            world.check_sizes();
            prop_assert_eq!(world.reaper.tracked(), world.peers.len());
            prop_assert_eq!(world.reaper.tally.evicted() as usize, world.gone.len());
        }
        // In the end everybody who is past a limit is gone, given time to be noticed.
        world.set(Name::Enabled, "yes");
        world.pass(NOTICED_MS);
        let settings = world.reaper.settings().clone();
        for (id, peer) in &world.peers {
            let due = naive_limit(&settings, *id, peer).map(|limit| (peer.born + limit).max(settled).max(peer.changed));
            let end = due.map(|due| due + settings.grace.0);
            prop_assert!(end.is_none_or(|end| end + NOTICED_MS > world.now), "late: {id} {peer:?} at {}", world.now);
        }
        let mut ids = world.ids_gone();
        ids.sort_unstable();
        ids.dedup();
        prop_assert_eq!(ids.len(), world.gone.len());
    }
}

#[test]
fn jitter_is_wanted_where_many_have_a_limit_that_is_not_spread() {
    type Case = (&'static [(Name, &'static str)], usize, bool);
    let cases: [Case; 6] = [
        (&[(Name::Maxage, "1h")], 100, true),
        (&[(Name::Maxage, "1h")], 99, false),
        (&[(Name::Maxage, "1h"), (Name::Jitter, "1")], 100, false),
        (&[(Name::Maxage, "0")], 100, false),
        (&[(Name::Rules, "ci: user=u maxage=1h")], 100, false),
        (&[(Name::Maxage, "1h"), (Name::Enabled, "no")], 100, false),
    ];
    for (settings, connections, wanted) in cases {
        let mut world = World::new(settings);
        for _ in 0..connections {
            world.connect(Is::Quiet, "u");
        }
        assert_eq!(world.reaper.wants_jitter(), wanted, "{settings:?} {connections}");
    }
}
