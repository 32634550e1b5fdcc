//! Quiet: is anything under way on a connection?
//!
//! Only judges what the shell saw; must not know limits or grace.

use crate::client::Client;
use crate::text::time::Micros;

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

impl<'a> Seen<'a> {
    /// With a socket on which nothing is on its way, and of which the kernel tells no more than that.
    #[must_use]
    pub fn with_idle_socket(client: Client<'a>) -> Self {
        Seen {
            client,
            unread: Some(0),
            unacked: Some(0),
            received: None,
            awaits_link: false,
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::info_line;

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
                unread,
                ..Seen::with_idle_socket(client)
            };
            assert_eq!(Activity::of(&seen, false), expected, "{line} unread {unread:?}");
            if !client.closes_after_reply() {
                assert_eq!(Activity::of(&seen, true), Transaction, "watching: {line}");
            }
        }
    }
}
