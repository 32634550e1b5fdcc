//! The server's classes of connections, and their names.
//!
//! Which of them age evicts is not known here.

use core::fmt;

use crate::client::flag;

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

    /// What the server calls each of them, as COMMAND DOCS has it: in small letters and as a token.
    pub const NAMES: [(&'static str, &'static str, ClientType); 8] = [
        ("normal", "NORMAL", ClientType::Normal),
        ("master", "MASTER", ClientType::Master),
        ("primary", "PRIMARY", ClientType::Master),
        ("slave", "SLAVE", ClientType::Replica),
        ("replica", "REPLICA", ClientType::Replica),
        ("pubsub", "PUBSUB", ClientType::Pubsub),
        ("slot-import", "SLOT-IMPORT", ClientType::SlotImport),
        ("slot-export", "SLOT-EXPORT", ClientType::SlotExport),
    ];

    /// The type that one of the server's names for it stands for, in either case.
    #[must_use]
    pub fn parse(name: &[u8]) -> Option<ClientType> {
        ClientType::NAMES
            .iter()
            .find(|(known, ..)| name.eq_ignore_ascii_case(known.as_bytes()))
            .map(|(.., kind)| *kind)
    }

    /// The class of a connection with these flags.
    #[must_use]
    pub(super) fn of_flags(flags: &[u8]) -> ClientType {
        // In the server's own order. A monitor has the letter O in place of S, so it comes
        // out as normal (or pubsub), as the server has it.
        const LETTERS: [(u8, ClientType); 5] = [
            (flag::MASTER, ClientType::Master),
            (flag::REPLICA, ClientType::Replica),
            (flag::SLOT_IMPORT, ClientType::SlotImport),
            (flag::SLOT_EXPORT, ClientType::SlotExport),
            (flag::PUBSUB, ClientType::Pubsub),
        ];
        LETTERS
            .iter()
            .find(|(letter, _)| flags.contains(letter))
            .map_or(ClientType::Normal, |(_, kind)| *kind)
    }
}

impl fmt::Display for ClientType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
