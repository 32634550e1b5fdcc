//! Manner: how to close a connection so that what is on its way arrives.
//!
//! Knows sockets, and neither limits nor the server.

use super::quiet::Seen;

/// How the shell is to close a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Shut down its writing half, then let the server close it: an end of stream reaches the
    /// client at once, even while a forked child holds the socket open.
    ShutThenClose,
    /// Keep a duplicate that only reads until all has arrived, as nginx's `lingering_close`: a plain
    /// close throws away what the kernel has not delivered as soon as the client sends a byte more.
    Linger,
    /// Let the server close it and do nothing else.
    ServerAlone,
}

impl Manner {
    /// Whether what the kernel still holds may be lost.
    pub fn may_lose(self, seen: &Seen) -> bool {
        self != Manner::Linger && seen.unacked.unwrap_or(0) > 0
    }
}

/// What the shell knows of the server at this moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Surroundings {
    /// Wall clock, milliseconds since 1970, for CONNAGE.LOG.
    pub wall_ms: u64,
    /// Clients are paused (CLIENT PAUSE, FAILOVER): nobody is forced.
    pub paused: bool,
    /// While the server has a child it shuts down both halves of what it closes, a duplicate's too
    /// (Redis 7.2 and later, Valkey).
    pub shuts_both_halves: bool,
    /// How many more may linger.
    pub linger_room: usize,
}

/// A connection idle for so long has nothing on its way that would meet a closed socket.
const IDLE_S: u64 = 1;

/// How to close now what is quiet, or is closed all the same since `over`; `None`: not now.
pub fn manner(seen: &Seen, tls: bool, around: &Surroundings, over: bool) -> Option<Manner> {
    let delivered = seen.unacked == Some(0);
    // TLS says goodbye in its own words (close_notify), which the server writes when it closes.
    let plain = if tls {
        Manner::ServerAlone
    } else {
        Manner::ShutThenClose
    };
    // What was sent over a unix socket is in the peer's own queue already.
    if around.shuts_both_halves && !seen.client.is_unix() {
        return (delivered || over).then_some(plain);
    }
    if delivered && !tls && seen.client.idle_s >= IDLE_S {
        return Some(Manner::ShutThenClose);
    }
    if around.linger_room > 0 {
        return Some(Manner::Linger);
    }
    (delivered || over).then_some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::info_line;

    #[test]
    fn the_cheap_way_only_where_nothing_can_be_lost() {
        use Manner::*;
        let room = Surroundings {
            linger_room: 1,
            ..Surroundings::default()
        };
        let full = Surroundings::default();
        let child = Surroundings {
            shuts_both_halves: true,
            ..room
        };
        for (line, unacked, tls, around, over, expected) in [
            ("idle=5", Some(0), false, room, false, Some(ShutThenClose)),
            ("idle=0", Some(0), false, room, false, Some(Linger)),
            ("idle=5", Some(9), false, room, false, Some(Linger)),
            ("idle=5", None, false, room, false, Some(Linger)),
            ("idle=5", Some(0), true, room, false, Some(Linger)),
            ("idle=5", Some(0), true, full, false, Some(ServerAlone)),
            ("idle=0", Some(0), false, full, false, Some(ShutThenClose)),
            ("idle=5", Some(9), false, full, false, None),
            ("idle=5", Some(9), false, full, true, Some(ShutThenClose)),
            ("idle=5", Some(9), false, child, false, None),
            ("idle=5", Some(0), false, child, false, Some(ShutThenClose)),
            ("idle=5", Some(9), true, child, true, Some(ServerAlone)),
            ("idle=5 flags=U", Some(9), false, child, false, Some(Linger)),
        ] {
            let line = format!("id=1 {line}");
            let client = info_line::parse(line.as_bytes()).unwrap();
            let seen = Seen {
                client,
                unread: Some(0),
                unacked,
            };
            assert_eq!(
                manner(&seen, tls, &around, over),
                expected,
                "{line} {unacked:?} {around:?}"
            );
        }
    }
}
