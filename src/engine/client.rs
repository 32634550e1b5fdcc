//! What the server says of one connection, borrowed from its CLIENT LIST line.
//!
//! It must not parse that line (`info_line` does), nor decide what happens to a connection.

use std::fmt;

/// The server's id of a connection: positive, and never used twice while the server runs.
/// Ids grow, so of two connections the one with the smaller id is the older.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The server's classes of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientType {
    Normal,
    Pubsub,
    Replica,
    /// This server's link to its master.
    Master,
    /// A link that brings slots in (Valkey 9).
    SlotImport,
    /// A link that sends slots away (Valkey 9).
    SlotExport,
}

impl ClientType {
    /// The name as replies print it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ClientType::Normal => "normal",
            ClientType::Pubsub => "pubsub",
            ClientType::Replica => "replica",
            ClientType::Master => "master",
            ClientType::SlotImport => "slot-import",
            ClientType::SlotExport => "slot-export",
        }
    }

    /// The type that one of the server's names for it stands for, in either case.
    #[must_use]
    pub fn parse(name: &[u8]) -> Option<ClientType> {
        const NAMES: [(&[u8], ClientType); 8] = [
            (b"normal", ClientType::Normal),
            (b"pubsub", ClientType::Pubsub),
            (b"replica", ClientType::Replica),
            (b"slave", ClientType::Replica),
            (b"master", ClientType::Master),
            (b"primary", ClientType::Master),
            (b"slot-import", ClientType::SlotImport),
            (b"slot-export", ClientType::SlotExport),
        ];
        NAMES
            .iter()
            .find(|(known, _)| name.eq_ignore_ascii_case(known))
            .map(|(_, kind)| *kind)
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
            lib_name: b"",
            lib_ver: b"",
        }
    }

    /// The class that the server counts it in.
    #[must_use]
    pub fn client_type(&self) -> ClientType {
        // In the server's own order. A monitor has the letter O in place of S, so it comes
        // out as normal (or pubsub), as the server has it.
        const LETTERS: [(u8, ClientType); 5] = [
            (b'M', ClientType::Master),
            (b'S', ClientType::Replica),
            (b'i', ClientType::SlotImport),
            (b'E', ClientType::SlotExport),
            (b'P', ClientType::Pubsub),
        ];
        LETTERS
            .iter()
            .find(|(letter, _)| self.has_flag(*letter))
            .map_or(ClientType::Normal, |(_, kind)| *kind)
    }

    /// Whether `flags` has this letter.
    #[must_use]
    pub fn has_flag(&self, letter: u8) -> bool {
        self.flags.contains(&letter)
    }

    /// Whether it runs MONITOR.
    #[must_use]
    pub fn is_monitor(&self) -> bool {
        self.has_flag(b'O')
    }

    /// Whether it asked for CLIENT NO-EVICT.
    #[must_use]
    pub fn is_no_evict(&self) -> bool {
        self.has_flag(b'e')
    }

    /// Whether it waits in a blocking command.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.has_flag(b'b')
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
        self.has_flag(b'u')
    }

    /// Whether it is between MULTI and EXEC.
    #[must_use]
    pub fn in_multi(&self) -> bool {
        // Valkey 8.1 goes on printing `multi=0` after EXEC.
        self.has_flag(b'x') || self.multi.is_some_and(|queued| queued > 0)
    }

    /// Whether the server is closing it already, before the next poll.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.has_flag(b'A')
    }

    /// Whether the server closes it when its output has gone: after QUIT, or an error of protocol. Nothing that
    /// it sends is read any more; and if it does not read either, it stays.
    #[must_use]
    pub fn closes_after_reply(&self) -> bool {
        self.has_flag(b'c')
    }

    /// Whether it is a link of the server's own: to a replica, to the master, or one that
    /// moves slots (`i` and `E` on Valkey 9, `g` and `o` on Redis 8.4).
    #[must_use]
    pub fn is_server_link(&self) -> bool {
        b"SMiEgo".iter().any(|letter| self.has_flag(*letter))
    }

    /// Whether it came over a Unix socket.
    #[must_use]
    pub fn is_unix(&self) -> bool {
        self.has_flag(b'U')
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
            (|c| c.is_no_evict(), "e"),
            (|c| c.is_blocked(), "b"),
            (|c| c.is_unblocked(), "u"),
            (|c| c.in_multi(), "x"),
            (|c| c.is_closing(), "A"),
            (|c| c.closes_after_reply(), "c"),
            (|c| c.is_server_link(), "SMiEgo"),
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

    #[test]
    fn every_name_that_the_server_takes_for_a_type_is_known() {
        let cases: &[(&[u8], Option<ClientType>)] = &[
            (b"normal", Some(ClientType::Normal)),
            (b"NORMAL", Some(ClientType::Normal)),
            (b"PubSub", Some(ClientType::Pubsub)),
            (b"replica", Some(ClientType::Replica)),
            (b"slave", Some(ClientType::Replica)),
            (b"master", Some(ClientType::Master)),
            (b"primary", Some(ClientType::Master)),
            (b"slot-import", Some(ClientType::SlotImport)),
            (b"slot-export", Some(ClientType::SlotExport)),
            (b"", None),
            (b"norma", None),
            (b"normal ", None),
        ];
        for (name, want) in cases {
            assert_eq!(ClientType::parse(name), *want, "{name:?}");
        }
    }

    #[test]
    fn a_printed_type_reads_back() {
        for kind in [
            ClientType::Normal,
            ClientType::Pubsub,
            ClientType::Replica,
            ClientType::Master,
            ClientType::SlotImport,
            ClientType::SlotExport,
        ] {
            assert_eq!(ClientType::parse(kind.name().as_bytes()), Some(kind));
        }
    }
}
