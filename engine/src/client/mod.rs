//! What the server says of one connection, borrowed from its CLIENT LIST line.
//!
//! It must not parse that line (`info_line` does), nor decide what happens to a connection.

pub mod client_type;
pub mod flag;
pub mod identity;
pub mod info_line;
pub mod manner;
pub mod quiet;
pub mod reach;
pub mod silence;
pub mod watch;

use core::fmt;

use crate::client::flag::Closable;

pub use crate::client::client_type::ClientType;

/// The server's id of a connection: positive, and never used twice while the server runs.
/// Ids grow, so of two connections the one with the smaller id is the older.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One connection as CLIENT LIST prints it. Fields of text are empty, and numbers 0, where
/// the server says nothing, unless it is said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client<'a> {
    /// All of what the server printed.
    pub line: &'a [u8],
    pub id: ClientId,
    /// The client's end: `127.0.0.1:1234`, `[::1]:1234` or `/path/sock:0`.
    pub addr: &'a [u8],
    /// The server's end, written likewise.
    pub laddr: &'a [u8],
    /// The socket's descriptor in the server; -1 when unknown.
    pub fd: i32,
    /// What the client calls itself (CLIENT SETNAME).
    pub name: &'a [u8],
    /// Whole seconds of the wall clock since it connected.
    pub age_s: u64,
    /// Whole seconds since it last sent or was sent something.
    pub idle_s: u64,
    /// A letter for each state that it is in; see [`Client::has_flag`].
    pub flags: &'a [u8],
    /// What the client says it can do (CLIENT CAPA, Valkey 8 and later).
    pub capa: &'a [u8],
    pub db: Option<u32>,
    /// Subscriptions: to channels, to patterns, to shard channels.
    pub sub: u64,
    pub psub: u64,
    pub ssub: u64,
    /// Commands queued in MULTI; `None` outside of MULTI.
    pub multi: Option<u64>,
    /// Keys that it watches; `None` when the server does not say (before Redis 7.4).
    pub watch: Option<u64>,
    /// Bytes of input that are read but not yet parsed.
    pub qbuf: u64,
    /// Bytes free in the input buffer.
    pub qbuf_free: u64,
    /// Bytes of arguments of a command that has not yet arrived whole.
    pub argv_mem: u64,
    /// Bytes of the commands queued in MULTI.
    pub multi_mem: u64,
    /// Size of the fixed output buffer, in bytes.
    pub rbs: u64,
    /// Bytes waiting in the fixed output buffer.
    pub obl: u64,
    /// Blocks waiting in the list of replies.
    pub oll: u64,
    /// Bytes of memory that the list of replies takes.
    pub omem: u64,
    /// Bytes of memory that the connection takes in all.
    pub tot_mem: u64,
    /// `r` and `w`: what the server waits for on the socket.
    pub events: &'a [u8],
    /// The last command, in small letters, or `NULL`.
    pub cmd: &'a [u8],
    /// The ACL user, or `(superuser)`.
    pub user: &'a [u8],
    /// The protocol: 2 or 3; 0 when the server does not say.
    pub resp: u8,
    /// Bytes that the server has read from it; `None` when it does not say (before Redis 8 and Valkey 8).
    pub net_in: Option<u64>,
    /// What the client says its library is called (CLIENT SETINFO, Redis 7.2 and later).
    pub lib_name: &'a [u8],
    pub lib_ver: &'a [u8],
}

/// The commands that wait for data or for replicas, as `cmd` has them whatever they were renamed to.
const WAIT_FOR_DATA: [&[u8]; 12] = [
    b"blpop",
    b"brpop",
    b"brpoplpush",
    b"blmove",
    b"blmpop",
    b"bzpopmin",
    b"bzpopmax",
    b"bzmpop",
    b"xread",
    b"xreadgroup",
    b"wait",
    b"waitaof",
];

/// The commands by which another server asks for a link, and how `cmd` has them. While it waits (a replica's main
/// channel on Valkey, for the other channel's sync) its flags are those of any client.
const ASK_FOR_LINK: [&[u8]; 4] = [b"psync", b"sync", b"replconf", b"cluster|syncslots"];

impl Client<'_> {
    /// A connection of which nothing but the id is known.
    #[must_use]
    pub const fn unknown(id: ClientId) -> Client<'static> {
        Client {
            line: b"",
            id,
            addr: b"",
            laddr: b"",
            fd: -1,
            name: b"",
            age_s: 0,
            idle_s: 0,
            flags: b"",
            capa: b"",
            db: None,
            sub: 0,
            psub: 0,
            ssub: 0,
            multi: None,
            watch: None,
            qbuf: 0,
            qbuf_free: 0,
            argv_mem: 0,
            multi_mem: 0,
            rbs: 0,
            obl: 0,
            oll: 0,
            omem: 0,
            tot_mem: 0,
            events: b"",
            cmd: b"",
            user: b"",
            resp: 0,
            net_in: None,
            lib_name: b"",
            lib_ver: b"",
        }
    }

    /// The class that the server counts it in.
    #[must_use]
    pub fn client_type(&self) -> ClientType {
        ClientType::of_flags(self.flags)
    }

    /// Whether `flags` has this letter.
    #[must_use]
    pub fn has_flag(&self, letter: u8) -> bool {
        self.flags.contains(&letter)
    }

    /// Whether it runs MONITOR.
    #[must_use]
    pub fn is_monitor(&self) -> bool {
        self.has_flag(flag::MONITOR)
    }

    /// Whether it waits in a blocking command.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.has_flag(flag::BLOCKED)
    }

    /// Whether it is blocked in a command that waits for data, or for replicas, and has changed nothing yet
    /// (or, WAIT, nothing that is not answered). All else that blocks a client is under way: a command that
    /// runs in the background, another module's, one that CLIENT PAUSE holds back.
    #[must_use]
    pub fn waits_for_data(&self) -> bool {
        self.is_blocked() && WAIT_FOR_DATA.contains(&self.cmd)
    }

    /// Whether it was unblocked in this round of the server's loop, and what it sent behind is not done yet.
    #[must_use]
    pub fn is_unblocked(&self) -> bool {
        self.has_flag(flag::UNBLOCKED)
    }

    /// Whether it is between MULTI and EXEC.
    #[must_use]
    pub fn in_multi(&self) -> bool {
        // Valkey 8.1 goes on printing `multi=0` after EXEC.
        self.has_flag(flag::MULTI) || self.multi.is_some_and(|queued| queued > 0)
    }

    /// Whether its last command only says how the next one is to be taken, and means nothing without it.
    #[must_use]
    pub fn awaits_its_next(&self) -> bool {
        matches!(self.cmd, b"asking" | b"client|caching")
    }

    /// Whether the server is closing it already, before the next poll.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.has_flag(flag::CLOSING)
    }

    /// Whether the server closes it when its output has gone: after QUIT, or an error of protocol. Nothing that
    /// it sends is read any more; and if it does not read either, it stays.
    #[must_use]
    pub fn closes_after_reply(&self) -> bool {
        self.has_flag(flag::CLOSES_AFTER_REPLY)
    }

    /// Whether it is the link to the master.
    #[must_use]
    pub fn is_master(&self) -> bool {
        self.has_flag(flag::MASTER)
    }

    /// Whether it is a link of the server's own.
    #[must_use]
    pub fn is_server_link(&self) -> bool {
        let is_link = |letter: &u8| matches!(flag::closable(*letter), Closable::Replica | Closable::Never);
        self.flags.iter().any(is_link)
    }

    /// Whether the last command that it sent asks for such a link. Whoever was denied it has sent it as well:
    /// what it may is asked besides.
    #[must_use]
    pub fn asks_for_link(&self) -> bool {
        ASK_FOR_LINK.contains(&self.cmd)
    }

    /// Whether it came over a Unix socket.
    #[must_use]
    pub fn is_unix(&self) -> bool {
        self.has_flag(flag::UNIX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_flags(flags: &[u8]) -> Client<'_> {
        Client {
            flags,
            ..Client::unknown(ClientId(1))
        }
    }

    #[test]
    fn the_type_is_the_one_that_the_server_counts_it_in() {
        let cases: &[(&[u8], ClientType)] = &[
            (b"N", ClientType::Normal),
            (b"", ClientType::Normal),
            (b"xb", ClientType::Normal),
            (b"P", ClientType::Pubsub),
            (b"Pte", ClientType::Pubsub),
            (b"S", ClientType::Replica),
            (b"SP", ClientType::Replica),
            (b"M", ClientType::Master),
            (b"SM", ClientType::Master),
            (b"O", ClientType::Normal),
            (b"OP", ClientType::Pubsub),
            (b"i", ClientType::SlotImport),
            (b"E", ClientType::SlotExport),
        ];
        for (flags, want) in cases {
            assert_eq!(with_flags(flags).client_type(), *want, "{flags:?}");
        }
    }

    #[test]
    fn each_state_has_its_letters() {
        type Ask = fn(&Client<'_>) -> bool;
        let cases: &[(Ask, &str)] = &[
            (|c| c.is_monitor(), "O"),
            (|c| c.is_blocked(), "b"),
            (|c| c.is_unblocked(), "u"),
            (|c| c.in_multi(), "x"),
            (|c| c.is_closing(), "A"),
            (|c| c.closes_after_reply(), "c"),
            (|c| c.is_server_link(), "SMiEgo"),
            (|c| c.is_master(), "M"),
            (|c| c.is_unix(), "U"),
        ];
        for (ask, letters) in cases {
            for letter in 0..=u8::MAX {
                let flags = [b'N', letter];
                let want = letters.as_bytes().contains(&letter);
                assert_eq!(ask(&with_flags(&flags)), want, "{letter} for {letters}");
            }
        }
    }

    #[test]
    fn a_client_with_queued_commands_is_in_multi_whatever_its_flags() {
        let queued = Client {
            multi: Some(1),
            ..with_flags(b"N")
        };
        assert!(queued.in_multi());
    }
}
