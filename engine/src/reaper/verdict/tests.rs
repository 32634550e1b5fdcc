//! A table of cases: what is different from a connection past its limit that has long been quiet, and what becomes
//! of it.

use super::*;
use crate::client::info_line;
use crate::client::quiet::Received;
use crate::client::reach::Reach;
use crate::reaper::drains::Command;

const NOW: Micros = Micros(10_000_000);

/// `ms` ago, or ahead where it is negative.
fn ago(ms: i64) -> Micros {
    Micros(NOW.0.saturating_add_signed(-ms * 1_000))
}

/// What may be different.
#[derive(Clone, Copy)]
struct Case {
    /// Of its line.
    is: &'static str,
    /// How long ago it was due, in ms, if ever: by the settings, by a limit of its own, and by a command.
    by_settings: Option<i64>,
    by_itself: Option<i64>,
    by_command: Option<i64>,
    spread: bool,
    /// How it is waited for: for how long, in ms, age and a command have had it wait.
    waits: bool,
    waits_by_age: Option<i64>,
    waits_by_command: Option<i64>,
    off_keys: Option<i64>,
    refused: bool,
    /// When it last sent something.
    sent: i64,
    unread: u64,
    unacked: u64,
    dry_run: bool,
    rechecked: bool,
    left: (u32, u32),
    can_wait: bool,
    paused: bool,
    room: usize,
}

/// Past its limit for a second, never looked at, and silent for long; may be waited for five seconds.
const PLAIN: Case = Case {
    is: "flags=N",
    by_settings: Some(1_000),
    by_itself: None,
    by_command: None,
    spread: false,
    waits: false,
    waits_by_age: None,
    waits_by_command: None,
    off_keys: None,
    refused: false,
    sent: 900,
    unread: 0,
    unacked: 0,
    dry_run: false,
    rechecked: false,
    left: (9, 9),
    can_wait: false,
    paused: false,
    room: 9,
};
const GRACE: Millis = Millis(5_000);

impl Case {
    fn dues(&self) -> Dues {
        let due = |at: i64, reason, share| Due {
            at: ago(at),
            since: Micros(0),
            grace: GRACE,
            limit: Millis(700),
            reason,
            share,
        };
        let by_settings = self.by_settings.map(|at| due(at, Reason::Rule(3), Share::Rate));
        let by_itself = self.by_itself.map(|at| due(at, Reason::OWN, Share::Own));
        let share = if self.spread { Share::Paid } else { Share::Rate };
        Dues {
            command: self.by_command.map(|at| due(at, Reason::COMMAND, share)),
            policy: by_settings.into_iter().chain(by_itself).min_by_key(|due| due.at),
            by_rate: by_settings.map_or(Micros::NEVER, |due| due.at),
        }
    }

    fn drain(&self) -> Option<Drain> {
        let command = self.by_command.map(|at| Command {
            start: ago(at),
            grace: GRACE,
            spread: self.spread,
            reach: Reach::default(),
        });
        let first = self.waits_by_age.max(self.waits_by_command);
        let drain = Drain {
            command,
            age_since: self.waits_by_age.map(ago),
            command_since: self.waits_by_command.map(ago),
            due_since: first.map(ago),
            off_keys: self.off_keys.map(ago),
            refused: self.refused,
            ..Drain::default()
        };
        (self.waits || command.is_some() || first.is_some()).then_some(drain)
    }

    fn verdict(&self) -> Verdict {
        let line = format!("id=7 fd=8 {}", self.is);
        let seen = Seen {
            client: info_line::parse(line.as_bytes()).unwrap(),
            unread: Some(self.unread),
            unacked: Some(self.unacked),
            received: Some(Received {
                bytes: 5,
                last: ago(self.sent),
                round_trip_us: 0,
            }),
            awaits_link: false,
        };
        let env = Environment {
            paused: self.paused,
            linger_room: self.room,
            ..Environment::default()
        };
        let dues = self.dues();
        verdict(&Facts {
            now: NOW,
            seen: &seen,
            env: &env,
            activity: Activity::of(&seen, false),
            tls: false,
            dry_run: self.dry_run,
            rechecked: self.rechecked,
            dues,
            drain: self.drain(),
            spent_us: 0,
            planned_at: dues.policy_at(),
            earliest_by_rate: dues.by_rate,
            purses: &Purses::with_left(self.left.0, self.left.1),
            can_wait: self.can_wait,
        })
    }
}

fn told(verdict: &Verdict) -> String {
    let ms = |at: Micros| at.0.abs_diff(NOW.0) / 1_000;
    let rest = |rest: &Rest| match (&rest.drain, rest.at) {
        (None, Micros::NEVER) => "for good".into(),
        (None, at) => format!("for {} ms", ms(at)),
        (Some(_), at) => format!("and wait for {} ms", ms(at)),
    };
    match verdict {
        Verdict::Leave(to) => format!("leave {}", rest(to)),
        Verdict::WouldEvict(_, to) => format!("would evict, leave {}", rest(to)),
        Verdict::Queue => "queue".into(),
        Verdict::KeepPlace { state, .. } => format!("keep place: {state:?}"),
        Verdict::LookAgain(_, at) => format!("look again in {} ms", ms(*at)),
        Verdict::Close(s) => {
            let reason = match s.reason {
                Reason::Rule(place) => format!("rule {place}"),
                Reason::Cause(name) => name.into(),
            };
            format!("{:?} {:?} {reason} {:?}", s.how, s.manner, s.share)
        }
    }
}

#[test]
fn what_becomes_of_a_connection_follows_from_the_facts() {
    #[rustfmt::skip] // A line each.
    let cases: &[(Case, &str)] = &[
        (PLAIN, "Quiet Linger rule 3 Rate"),
        (Case { is: "flags=A", ..PLAIN }, "leave for good"),
        // Not due.
        (Case { by_settings: Some(-50), ..PLAIN }, "leave for 50 ms"),
        (Case { by_settings: None, ..PLAIN }, "leave for good"),
        (Case { by_settings: None, by_command: Some(-70), ..PLAIN }, "leave and wait for 70 ms"),
        (Case { by_settings: Some(-50), by_command: Some(-70), ..PLAIN }, "leave and wait for 50 ms"),
        // Looked at for another reason.
        (Case { rechecked: true, ..PLAIN }, "queue"),
        (Case { rechecked: true, by_settings: None, ..PLAIN }, "leave for good"),
        // Tried only; whom a command names goes all the same.
        (Case { dry_run: true, ..PLAIN }, "would evict, leave for good"),
        (Case { dry_run: true, by_command: Some(-70), ..PLAIN }, "would evict, leave and wait for 70 ms"),
        (Case { dry_run: true, by_command: Some(0), ..PLAIN }, "Quiet Linger command Rate"),
        (Case { dry_run: true, is: "flags=N obl=5", ..PLAIN }, "would evict, leave for good"),
        // Why: of a command and all else what began earlier, the command where both begin now; of all else what
        // was due first.
        (Case { by_command: Some(0), ..PLAIN }, "Quiet Linger command Rate"),
        (Case { by_command: Some(0), waits_by_age: Some(1), ..PLAIN }, "Quiet Linger rule 3 Rate"),
        (Case { by_command: Some(9), waits_by_age: Some(1), waits_by_command: Some(2), ..PLAIN }, "Quiet Linger command Rate"),
        (Case { by_itself: Some(2_000), ..PLAIN }, "Quiet Linger self Rate"),
        (Case { by_itself: Some(500), ..PLAIN }, "Quiet Linger rule 3 Rate"),
        // Of which share, and what it does where nothing is left of it.
        (Case { by_itself: Some(500), by_settings: Some(-900), ..PLAIN }, "Quiet Linger self Own"),
        (Case { by_command: Some(0), spread: true, ..PLAIN }, "Quiet Linger command Paid"),
        (Case { by_command: Some(1_001), spread: true, ..PLAIN }, "Quiet Linger command Rate"),
        (Case { by_command: Some(2_000), spread: true, waits_by_command: Some(1_500), ..PLAIN }, "Quiet Linger command Paid"),
        (Case { left: (0, 9), ..PLAIN }, "keep place: Ready"),
        (Case { left: (0, 9), by_itself: Some(500), by_settings: Some(-900), ..PLAIN }, "Quiet Linger self Own"),
        (Case { left: (9, 0), by_itself: Some(500), by_settings: Some(-900), ..PLAIN }, "keep place: Own"),
        (Case { left: (0, 0), by_command: Some(0), spread: true, ..PLAIN }, "Quiet Linger command Paid"),
        (Case { can_wait: true, ..PLAIN }, "keep place: Ready"),
        (Case { can_wait: true, is: "flags=N obl=5", waits_by_age: Some(5_000), ..PLAIN }, "Forced Linger rule 3 Rate"),
        // Something is under way: looked at again, ever less often, until grace ends.
        (Case { is: "flags=N obl=5", ..PLAIN }, "look again in 2 ms"),
        (Case { unread: 3, ..PLAIN }, "look again in 2 ms"),
        (Case { is: "flags=x multi=1", ..PLAIN }, "look again in 125 ms"),
        (Case { is: "flags=x multi=1", waits_by_age: Some(4_990), ..PLAIN }, "look again in 10 ms"),
        (Case { is: "flags=x multi=1", waits_by_age: Some(5_000), ..PLAIN }, "Forced Linger rule 3 Rate"),
        (Case { is: "flags=N obl=5", waits_by_age: Some(5_000), ..PLAIN }, "Forced Linger rule 3 Rate"),
        (Case { is: "flags=N obl=5", by_command: Some(9_000), waits_by_age: Some(1), waits_by_command: Some(5_000), ..PLAIN }, "Forced Linger command Rate"),
        // It has just sent something: a moment for more, until its grace runs down.
        (Case { sent: 15, ..PLAIN }, "look again in 25 ms"),
        (Case { sent: 15, waits_by_age: Some(4_000), ..PLAIN }, "Quiet Linger rule 3 Rate"),
        // Nobody is forced while clients are paused, nor who has just been unblocked.
        (Case { paused: true, ..PLAIN }, "Quiet Linger rule 3 Rate"),
        (Case { paused: true, is: "flags=x multi=1", waits_by_age: Some(5_000), ..PLAIN }, "look again in 312 ms"),
        (Case { is: "flags=u", waits_by_age: Some(5_000), ..PLAIN }, "look again in 2 ms"),
        // Who waits for data is taken off its keys first, and that spends its share.
        (Case { is: "flags=b cmd=blpop", ..PLAIN }, "look again in 125 ms"),
        (Case { is: "flags=b cmd=blpop", waits_by_age: Some(5_000), ..PLAIN }, "Blocked OnlyOffKeys rule 3 Rate"),
        (Case { off_keys: Some(1), waits_by_age: Some(5_001), ..PLAIN }, "Blocked Linger rule 3 Paid"),
        (Case { off_keys: Some(1), waits_by_age: Some(5_001), left: (0, 0), ..PLAIN }, "Blocked Linger rule 3 Paid"),
        (Case { off_keys: Some(1), waits_by_age: Some(5_001), is: "flags=b cmd=blpop", ..PLAIN }, "Blocked Linger rule 3 Paid"),
        (Case { off_keys: Some(1), waits_by_age: Some(5_001), unread: 3, ..PLAIN }, "Blocked Linger rule 3 Paid"),
        (Case { off_keys: Some(1), waits_by_age: Some(5_001), is: "flags=N obl=5", ..PLAIN }, "look again in 2 ms"),
        (Case { off_keys: Some(1_000), waits_by_age: Some(6_000), is: "flags=N obl=5", ..PLAIN }, "Forced Linger rule 3 Paid"),
        // Closed so that what is on its way arrives, and without that only once grace has ended.
        (Case { is: "flags=N idle=9", ..PLAIN }, "Quiet ShutThenClose rule 3 Rate"),
        (Case { unacked: 9, ..PLAIN }, "Quiet Linger rule 3 Rate"),
        (Case { unacked: 9, room: 0, ..PLAIN }, "look again in 2 ms"),
        (Case { unacked: 9, refused: true, waits: true, ..PLAIN }, "look again in 2 ms"),
        (Case { unacked: 9, room: 0, waits_by_age: Some(5_000), ..PLAIN }, "Forced ShutThenClose rule 3 Rate"),
    ];
    for (number, (case, want)) in cases.iter().enumerate() {
        assert_eq!(&told(&case.verdict()), want, "case {number}");
    }
}

#[test]
fn lag_counts_for_those_who_were_quiet_at_their_planned_moment() {
    let lag = |case: Case| match case.verdict() {
        Verdict::Close(sentence) => sentence.lag_us,
        _ => None,
    };
    assert_eq!(lag(PLAIN), Some(1_000_000));
    // By a command, or after it was busy: what it waited for says nothing of the module.
    for case in [
        Case {
            by_command: Some(0),
            ..PLAIN
        },
        Case {
            waits_by_age: Some(1_000),
            ..PLAIN
        },
    ] {
        assert_eq!(lag(case), None);
    }
}

#[test]
fn who_is_exempt_again_keeps_what_it_has_had_of_its_grace() {
    let case = Case {
        by_settings: None,
        waits_by_age: Some(300),
        ..PLAIN
    };
    let Verdict::Leave(rest) = case.verdict() else {
        panic!("it is not due");
    };
    assert_eq!(rest.spent_us, Some(300_000));
}
