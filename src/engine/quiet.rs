//! Quiet: is anything under way on a connection?
//!
//! Only judges what the shell saw; must not know limits or grace.

use super::client::{flag, Client};
use super::time::Micros;

/// What the shell saw of one connection: the server's own line, and its socket.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    pub client: Client<'a>,
    /// Bytes that the kernel holds unread (FIONREAD); `None` where it can't say.
    pub unread: Option<u64>,
    /// Bytes sent that the peer's kernel has not acknowledged, or over a unix socket that the peer
    /// has not read (SIOCOUTQ); `None` where the kernel can't say.
    pub unacked: Option<u64>,
    /// `None` where the kernel can't say (it can over TCP only), or was not asked.
    pub received: Option<Received>,
    /// It has asked to become a replica's link, or one that moves slots, as its user may, and its flags do not
    /// show it yet.
    pub awaits_link: bool,
}

/// What a client has sent so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    pub bytes: u64,
    /// When the last of it came, within some milliseconds.
    pub last: Micros,
    /// The least that a round trip to it has taken of late.
    pub round_trip_us: u64,
}

/// What is under way on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// Nothing: no executed command can lose its reply.
    Quiet,
    /// It waits for data, or for replicas, in a blocking command that has answered nothing yet.
    Blocked,
    /// It is blocked in a command that is being executed, or will be.
    Executing,
    /// It holds MULTI or WATCH, or has sent what belongs to its next command.
    Transaction,
    /// A reply or a command is under way.
    Busy,
}

impl Activity {
    pub fn of(seen: &Seen, watching: bool) -> Activity {
        let client = &seen.client;
        let has_output = client.obl > 0 || client.oll > 0;
        if client.closes_after_reply() && !client.is_blocked() {
            // What it has sent will never be read.
            return if has_output {
                Activity::Busy
            } else {
                Activity::Quiet
            };
        }
        if client.in_multi() || watching || client.awaits_its_next() {
            return Activity::Transaction;
        }
        // Who was unblocked just now has commands that are executed before the next poll.
        if has_output || client.is_unblocked() {
            return Activity::Busy;
        }
        if client.waits_for_data() {
            return Activity::Blocked;
        }
        if client.is_blocked() {
            return Activity::Executing;
        }
        // Neither FIONREAD nor the server's fields know what an RDMA device holds; there the
        // server's fields decide.
        if client.qbuf > 0 || client.argv_mem > 0 || seen.unread.unwrap_or(0) > 0 {
            return Activity::Busy;
        }
        Activity::Quiet
    }
}

/// Tells who holds a WATCH on servers whose CLIENT LIST has no `watch` field (Redis 7.0, and Redict 7.3).
///
/// Their `tot-mem` counts 80 bytes for each watched key (`multiStateMemOverhead` in multi.c). All
/// other parts of it are fields of their own, but for the client itself, which is the same for
/// all, and a header of at most 10 bytes. So whoever lies well above the least remainder seen is
/// watching.
#[derive(Debug, Default)]
pub struct WatchGauge {
    least: Option<u64>,
}

/// Above any header, below one watched key.
const MARGIN: u64 = 40;

impl WatchGauge {
    /// What `tot-mem` leaves unexplained; `None` where other parts of it are not listed.
    fn remainder(client: &Client) -> Option<u64> {
        if client.in_multi()
            || client.argv_mem > 0
            || client.has_flag(flag::TRACKING)
            || client.sub + client.psub + client.ssub > 0
        {
            return None;
        }
        let listed = [
            client.omem,
            client.qbuf,
            client.qbuf_free,
            client.rbs,
            client.multi_mem,
        ];
        listed
            .iter()
            .try_fold(client.tot_mem, |left, part| left.checked_sub(*part))
    }

    pub fn is_watching(&mut self, client: &Client) -> bool {
        if let Some(keys) = client.watch {
            return keys > 0;
        }
        if client.cmd.eq_ignore_ascii_case(b"watch") {
            return true;
        }
        let Some(remainder) = Self::remainder(client) else {
            return false;
        };
        let least = self.least.map_or(remainder, |least| least.min(remainder));
        self.least = Some(least);
        remainder > least + MARGIN
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::info_line;

    #[test]
    fn only_a_connection_with_nothing_under_way_is_quiet() {
        use Activity::*;
        let idle = "id=1 flags=N multi=-1 watch=0 qbuf=0 argv-mem=0 obl=0 oll=0";
        for (line, unread, expected) in [
            (idle, Some(0), Quiet),
            (idle, None, Quiet),
            (idle, Some(1), Busy),
            ("id=1 flags=N qbuf=1", Some(0), Busy),
            ("id=1 flags=N argv-mem=10", Some(0), Busy),
            ("id=1 flags=N obl=5", Some(0), Busy),
            ("id=1 flags=N oll=1", Some(0), Busy),
            ("id=1 flags=x multi=0", Some(0), Transaction),
            ("id=1 flags=x", Some(0), Transaction),
            ("id=1 flags=N multi=0", Some(0), Quiet),
            ("id=1 flags=N cmd=asking", Some(0), Transaction),
            ("id=1 flags=t cmd=client|caching", Some(0), Transaction),
            ("id=1 flags=b cmd=blpop", Some(0), Blocked),
            ("id=1 flags=b cmd=xreadgroup qbuf=30", Some(9), Blocked),
            ("id=1 flags=b cmd=waitaof", Some(0), Blocked),
            ("id=1 flags=b cmd=blpop obl=3", Some(0), Busy),
            ("id=1 flags=N cmd=blpop", Some(0), Quiet),
            ("id=1 flags=u cmd=blpop", Some(0), Busy),
            ("id=1 flags=b cmd=flushall", Some(0), Executing),
            ("id=1 flags=b cmd=ft.search", Some(9), Executing),
            ("id=1 flags=b", Some(0), Executing),
            ("id=1 flags=P sub=1", Some(0), Quiet),
            ("id=1 flags=c oll=2", Some(0), Busy),
            ("id=1 flags=c obl=2 qbuf=9", Some(0), Busy),
            ("id=1 flags=c qbuf=9", Some(7), Quiet),
        ] {
            let client = info_line::parse(line.as_bytes()).unwrap();
            let seen = Seen {
                client,
                unread,
                unacked: Some(0),
                received: None,
                awaits_link: false,
            };
            assert_eq!(Activity::of(&seen, false), expected, "{line} unread {unread:?}");
            if !client.closes_after_reply() {
                assert_eq!(Activity::of(&seen, true), Transaction, "watching: {line}");
            }
        }
    }

    #[test]
    fn watching_is_told_by_the_field_where_there_is_one_and_by_memory_where_not() {
        let mut gauge = WatchGauge::default();
        for (line, expected) in [
            ("id=1 watch=0 tot-mem=9999", false),
            ("id=1 watch=2 tot-mem=10", true),
            // Redis 7.0.15: 20,512 of query buffer and 1,024 of reply buffer, 800 for the rest.
            ("id=1 cmd=watch qbuf-free=20474 rbs=1024 tot-mem=22378", true),
            ("id=1 cmd=get qbuf-free=20474 rbs=1024 tot-mem=22298", false),
            ("id=1 cmd=get qbuf-free=20474 rbs=1024 tot-mem=22378", true),
            ("id=1 cmd=get qbuf-free=0 rbs=1024 tot-mem=1818", false),
            ("id=1 cmd=get qbuf-free=0 rbs=1024 tot-mem=1978", true),
            (
                "id=1 cmd=subscribe sub=1 qbuf-free=0 rbs=1024 tot-mem=2978",
                false,
            ),
            ("id=1 cmd=get tot-mem=5 rbs=1024", false),
        ] {
            let client = info_line::parse(line.as_bytes()).unwrap();
            assert_eq!(gauge.is_watching(&client), expected, "{line}");
        }
    }
}
