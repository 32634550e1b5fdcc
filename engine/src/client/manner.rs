//! Manner: how to close a connection so that what is on its way arrives.
//!
//! Knows sockets, and neither limits nor the server.

use crate::client::quiet::Seen;

/// How the shell is to close a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Shut it down, then let the server close it: for a server that would leave the client without an end of
    /// stream while a forked child holds the socket open; and so that the end is on its way before the reset
    /// that answers what the client sends just then.
    ShutThenClose,
    /// Keep a duplicate that only reads until all has arrived, as nginx's `lingering_close`: a plain
    /// close throws away what the kernel has not delivered as soon as the client sends a byte more.
    Linger,
    /// Linger, and have the kernel drop what the client sends from now on. For a server that shuts down the
    /// duplicate's reading half as well: a byte that comes then would be answered with a reset.
    LingerDroppingInput,
    /// Have the kernel drop what the client sends from now on, and let the server close it. For TCP where no
    /// duplicate can be had: a closed socket without one goes on delivering what it holds, and the byte that
    /// would be answered with a reset does not reach it.
    DropInputThenClose,
    /// Let the server close it and do nothing else.
    ServerAlone,
    /// Do not close it yet: it waits for data, and is only taken off its keys, with the answer of a timeout.
    OnlyOffKeys,
}

/// Why a connection could not be closed as judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseError {
    /// No number is free for a duplicate of any socket.
    NoNumber,
    /// The kernel drops nothing for anybody: a sandbox forbids it.
    Forbidden,
    /// This socket alone: of multipath TCP the kernel drops nothing.
    ThisSocket,
}

impl Manner {
    /// Whether what the kernel still holds may be lost.
    pub fn may_lose(self, seen: &Seen) -> bool {
        !self.lingers() && self != Manner::DropInputThenClose && seen.unacked.unwrap_or(0) > 0
    }

    pub fn lingers(self) -> bool {
        matches!(self, Manner::Linger | Manner::LingerDroppingInput)
    }
}

/// What the shell knows of the server at this moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Environment {
    /// Wall clock, milliseconds since 1970, for CONNAGE.LOG.
    pub wall_ms: u64,
    /// What the server closes ends for its client though a child still holds the socket (Redis 7.2 and
    /// later, Valkey): a shutdown of ours would only be one more system call.
    pub ends_despite_child: bool,
    /// Clients are paused (CLIENT PAUSE, FAILOVER), or were before they were looked at: nobody is forced.
    pub paused: bool,
    /// The server's loop runs inside a command (a long script, a module's command that yields) or inside loading:
    /// nobody is forced. Whose command is on the stack is busy; closed, it would become the default user while
    /// its command goes on.
    pub nested: bool,
    /// While the server has a child it shuts down both halves of what it closes, a duplicate's too
    /// (Redis 7.2 and later, Valkey).
    pub shuts_both_halves: bool,
    /// The server's allocations are rounded as jemalloc does.
    pub jemalloc: bool,
    /// Whether the kernel can be told to drop what a client sends.
    pub can_drop_input: bool,
    /// How many more may linger.
    pub linger_room: usize,
}

impl Environment {
    /// As they are for a connection that has refused to linger.
    pub fn without_lingering(self) -> Self {
        Environment {
            can_drop_input: false,
            linger_room: 0,
            ..self
        }
    }
}

/// A connection idle for so long has nothing on its way that would meet a closed socket. The server tells
/// whole seconds of a clock that it reads now and then: 2 is more than 1 for certain.
const IDLE_S: u64 = 2;

/// How to close now what is quiet, or is closed all the same where `grace_ended`; `None`: not now.
pub fn manner(seen: &Seen, tls: bool, env: &Environment, grace_ended: bool) -> Option<Manner> {
    let (client, delivered) = (&seen.client, seen.unacked == Some(0));
    if client.fd < 0 {
        // Not a socket (RDMA): only the server knows how to close it.
        return Some(Manner::ServerAlone);
    }
    // TLS says goodbye in its own words (close_notify), which the server writes when it closes.
    let shut = if tls {
        Manner::ServerAlone
    } else {
        Manner::ShutThenClose
    };
    if delivered && !tls && client.idle_s >= IDLE_S {
        return Some(if env.ends_despite_child {
            Manner::ServerAlone
        } else {
            shut
        });
    }
    if env.shuts_both_halves && client.is_unix() && !delivered && !grace_ended {
        // Its client could not send any more, and many would not read on after that.
        return None;
    }
    let can_drop_input = env.can_drop_input && !client.is_unix();
    let must_drop_input = env.shuts_both_halves && !client.is_unix();
    if env.linger_room > 0 && (!must_drop_input || can_drop_input) {
        return Some(if must_drop_input {
            Manner::LingerDroppingInput
        } else {
            Manner::Linger
        });
    }
    if can_drop_input {
        return Some(Manner::DropInputThenClose);
    }
    // Its end has to be on its way before a byte comes that the server has not read.
    (delivered || grace_ended).then_some(shut)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::info_line;

    #[test]
    fn the_cheap_way_only_where_nothing_can_be_lost() {
        use Manner::*;
        let room = Environment {
            linger_room: 1,
            can_drop_input: true,
            ..Environment::default()
        };
        let full = Environment {
            linger_room: 0,
            ..room
        };
        let ends = Environment {
            ends_despite_child: true,
            ..room
        };
        let ends_full = Environment {
            ends_despite_child: true,
            ..full
        };
        let child = Environment {
            shuts_both_halves: true,
            ..ends
        };
        let cannot = Environment {
            can_drop_input: false,
            ..child
        };
        let refused = child.without_lingering();
        for (line, unacked, tls, env, grace_ended, expected) in [
            ("idle=5", Some(0), false, room, false, Some(ShutThenClose)),
            ("idle=0", Some(0), false, room, false, Some(Linger)),
            ("idle=5", Some(9), false, room, false, Some(Linger)),
            ("idle=5", None, false, room, false, Some(Linger)),
            ("idle=5", Some(0), true, room, false, Some(Linger)),
            ("idle=1", Some(0), false, room, false, Some(Linger)),
            ("idle=5", Some(0), true, full, false, Some(DropInputThenClose)),
            ("idle=0", Some(0), false, full, false, Some(DropInputThenClose)),
            ("idle=5", Some(9), false, full, false, Some(DropInputThenClose)),
            ("idle=5", Some(9), false, full, true, Some(DropInputThenClose)),
            ("idle=5 flags=U", Some(9), false, full, false, None),
            ("idle=5 flags=U", Some(9), false, full, true, Some(ShutThenClose)),
            ("idle=0 flags=U", Some(0), false, full, false, Some(ShutThenClose)),
            ("idle=0", Some(9), false, child, false, Some(LingerDroppingInput)),
            ("idle=0", Some(0), true, child, false, Some(LingerDroppingInput)),
            ("idle=5", Some(0), false, ends, false, Some(ServerAlone)),
            ("idle=0", Some(0), false, ends, false, Some(Linger)),
            (
                "idle=0",
                Some(0),
                false,
                ends_full,
                false,
                Some(DropInputThenClose),
            ),
            (
                "idle=5",
                Some(9),
                false,
                ends_full,
                false,
                Some(DropInputThenClose),
            ),
            ("idle=5", Some(0), false, child, false, Some(ServerAlone)),
            ("idle=5", Some(9), false, cannot, false, None),
            ("idle=0", Some(0), false, cannot, false, Some(ShutThenClose)),
            ("idle=0", Some(0), true, cannot, false, Some(ServerAlone)),
            ("idle=5", Some(9), true, cannot, true, Some(ServerAlone)),
            ("idle=0 flags=U", Some(9), false, child, false, None),
            ("idle=0 flags=U", Some(0), false, child, false, Some(Linger)),
            ("idle=0 flags=U", Some(9), false, child, true, Some(Linger)),
            ("idle=0", Some(9), false, refused, false, None),
            ("idle=0", Some(0), false, refused, false, Some(ShutThenClose)),
            ("idle=0", Some(9), false, refused, true, Some(ShutThenClose)),
            ("idle=0", Some(9), true, refused, true, Some(ServerAlone)),
            ("idle=0 fd=-1", None, false, room, false, Some(ServerAlone)),
        ] {
            let line = format!("id=1 {line} fd=8");
            let client = info_line::parse(line.as_bytes()).unwrap();
            let seen = Seen {
                unacked,
                ..Seen::with_idle_socket(client)
            };
            assert_eq!(
                manner(&seen, tls, &env, grace_ended),
                expected,
                "{line} {unacked:?} {env:?}"
            );
        }
    }

    #[test]
    fn only_a_plain_close_may_lose_what_is_on_its_way() {
        let client = info_line::parse(b"id=1 fd=8").unwrap();
        for (manner, unacked, expected) in [
            (Manner::ServerAlone, Some(9), true),
            (Manner::ShutThenClose, Some(9), true),
            (Manner::ShutThenClose, Some(0), false),
            (Manner::Linger, Some(9), false),
            (Manner::LingerDroppingInput, Some(9), false),
            (Manner::DropInputThenClose, Some(9), false),
        ] {
            let seen = Seen {
                unacked,
                ..Seen::with_idle_socket(client)
            };
            assert_eq!(manner.may_lose(&seen), expected, "{manner:?} {unacked:?}");
        }
    }
}
