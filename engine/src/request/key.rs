//! What filters there are: one table of their names, what each takes, and how it compares.
//!
//! Names, values and matching are those of CLIENT KILL in Valkey 9.1, but that durations
//! are durations, and that values are refused which could only match nothing, or everything:
//! a slip in `NOT-IP` should not close all there is. Other filters are not known here.

use crate::client::{flag, Client};
use crate::text::address;
use crate::text::time::Millis;

/// What kind of value a filter takes.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Ids,
    Type,
    Ip,
    Db,
    /// Above 0, and at most the time that a connection has been so, by its line and its age.
    Duration(fn(&Client<'_>, Millis) -> Millis),
    /// Not empty; which texts are accepted, and which connections each fits.
    Text(fn(&[u8]) -> bool, fn(&Client<'_>, &[u8]) -> bool),
}

/// One row of the table.
#[derive(Clone, Copy)]
pub(super) struct Row {
    /// Without and with `NOT-`.
    names: [&'static str; 2],
    /// What COMMAND DOCS calls its value, likewise.
    value_names: [&'static str; 2],
    pub(super) kind: Kind,
    /// What its value may be, as errors say it.
    pub(super) accepted: &'static str,
    has_not: bool,
    singles_out: bool,
}

/// Whether a filter has a `NOT-`.
const NOT: bool = true;
const NO_NOT: bool = false;
/// Whether, without `NOT-`, it singles connections out.
const NAMES: bool = true;
const PICKS: bool = false;

/// Makes of a row for each filter the keys, and the table.
macro_rules! table {
    ($($name:literal $key:ident $value:literal, $kind:expr, $accepted:expr, $not:ident, $singles_out:ident;)+) => {
        /// What a filter asks about.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Key {
            $($key,)+
        }

        impl Key {
            /// In the order of COMMAND DOCS.
            pub(super) const ALL: [Key; [$($name),+].len()] = [$(Key::$key),+];

            pub(super) const fn row(self) -> Row {
                match self {
                    $(Key::$key => Row {
                        names: [$name, concat!("NOT-", $name)],
                        value_names: [$value, concat!("not-", $value)],
                        kind: $kind,
                        accepted: $accepted,
                        has_not: $not,
                        singles_out: $singles_out,
                    },)+
                }
            }
        }
    };
}

const PORT: &str = "ip:port, [ip]:port or, of a Unix socket, path:0";
const TYPES: &str = "normal, pubsub, replica, master, slot-import or slot-export";
const LETTERS: &str = "one or more of the flags of CLIENT LIST, AbBcdeEgiIMNoOPrRStTuUx";

table! {
    "ID" Id "client-id", Kind::Ids, "one or more client ids, whole numbers above 0", NOT, NAMES;
    "TYPE" Type "client-type", Kind::Type, TYPES, NOT, PICKS;
    "USER" User "username", Kind::Text(any, |c, text| c.user == text), "a user's name", NOT, NAMES;
    "ADDR" Addr "addr", Kind::Text(address::has_port, |c, text| address::same(c.addr, text)), PORT, NOT, NAMES;
    "LADDR" Laddr "laddr", Kind::Text(address::has_port, |c, text| address::same(c.laddr, text)), PORT, NOT, NAMES;
    "IP" Ip "ip", Kind::Ip, "an IP address, without port and brackets", NOT, NAMES;
    "NAME" Name "name", Kind::Text(any, |c, text| c.name == text), "a connection's name", NOT, NAMES;
    "IDLE" Idle "idle", Kind::Duration(|c, _| Millis(c.idle_s.saturating_mul(1_000))), "a duration above 0", NO_NOT, PICKS;
    "MAXAGE" Maxage "maxage", Kind::Duration(|_, age| age), "a duration above 0", NO_NOT, PICKS;
    "FLAGS" Flags "flags", Kind::Text(are_flags, has_flags), LETTERS, NOT, NAMES;
    "LIB-NAME" LibName "lib-name", Kind::Text(any, |c, text| c.lib_name == text), "a library's name", NOT, PICKS;
    "LIB-VER" LibVer "lib-ver", Kind::Text(any, |c, text| c.lib_ver == text), "a library's version", NOT, PICKS;
    "DB" Db "db", Kind::Db, "the number of a database", NOT, PICKS;
    "CAPA" Capa "capa", Kind::Text(are_capas, has_capas), "r, the one capability that servers know", NOT, PICKS;
}

impl Key {
    /// The filter's name, with `NOT-` or without.
    pub(super) const fn name(self, not: bool) -> &'static str {
        let [plain, negated] = self.row().names;
        if not {
            negated
        } else {
            plain
        }
    }

    /// Whether there is a `NOT-` of it.
    pub(super) const fn has_not(self) -> bool {
        self.row().has_not
    }

    /// Whether it singles connections out, and so reaches those that are spared else.
    pub(super) const fn singles_out(self) -> bool {
        self.row().singles_out
    }

    /// How COMMAND DOCS describes it.
    pub(super) const fn described(self, not: bool) -> Described {
        let row = self.row();
        let [plain, negated] = row.value_names;
        Described {
            token: self.name(not),
            value: if not { negated } else { plain },
            takes: match row.kind {
                Kind::Ids => Takes::Integers,
                Kind::Type => Takes::ClientType,
                Kind::Db => Takes::Integer,
                Kind::Ip | Kind::Duration(_) | Kind::Text(..) => Takes::Text,
            },
        }
    }

    /// The filter that a word names, in either case, and whether with `NOT-`.
    pub(super) fn find(word: &[u8]) -> Option<(Key, bool)> {
        let is = |key: Key, not: bool| word.eq_ignore_ascii_case(key.name(not).as_bytes());
        let find = |not: bool| Key::ALL.into_iter().find(|key| is(*key, not));
        match find(false) {
            Some(key) => Some((key, false)),
            None => find(true).filter(|key| key.has_not()).map(|key| (key, true)),
        }
    }
}

/// A filter as COMMAND DOCS tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Described {
    /// The word that it begins with.
    pub token: &'static str,
    /// What its value is called.
    pub value: &'static str,
    pub takes: Takes,
}

/// What follows a filter's name, as COMMAND DOCS has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    Integer,
    /// One or more.
    Integers,
    ClientType,
    Text,
}

fn any(_text: &[u8]) -> bool {
    true
}

/// Whoever gives letters must not choose how long each connection is held against them: without repetition there are
/// no more of them than there are flags.
fn are_letters_of(text: &[u8], known: &[u8]) -> bool {
    text.len() <= flag::ALL.len() && text.iter().all(|letter| known.contains(letter))
}

fn are_flags(text: &[u8]) -> bool {
    are_letters_of(text, &flag::ALL)
}

/// To the server's filter a monitor is a replica too (`S`), although it shows it with `O`
/// alone.
fn has_flags(client: &Client<'_>, letters: &[u8]) -> bool {
    let has = |letter: &u8| client.has_flag(*letter) || (*letter == flag::REPLICA && client.is_monitor());
    letters.iter().all(has)
}

fn are_capas(text: &[u8]) -> bool {
    are_letters_of(text, b"r")
}

fn has_capas(client: &Client<'_>, letters: &[u8]) -> bool {
    letters.iter().all(|letter| client.capa.contains(letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_list_the_flags_that_are_known() {
        let (_, letters) = LETTERS.rsplit_once(' ').unwrap();
        let mut known = flag::ALL;
        known.sort_by_key(|letter| (letter.to_ascii_lowercase(), letter.is_ascii_uppercase()));
        assert_eq!(letters.as_bytes(), known);
    }
}
