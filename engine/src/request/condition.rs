//! One filter of KILL and LIST: its name, its value, and whether a connection is as it says.
//!
//! Names, values and matching are those of CLIENT KILL in Valkey 9.1, but that durations
//! are durations, and that values are refused which could only match nothing, or everything:
//! a slip in `NOT-IP` should not close all there is. Other filters are not known here.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use crate::client::{Client, ClientId, ClientType};
use crate::text::address;
use crate::text::args::Args;
use crate::text::time::Millis;
use crate::text::word::{self, Refusal};

/// What a filter asks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Id,
    Type,
    User,
    Addr,
    Laddr,
    Ip,
    Name,
    Flags,
    LibName,
    LibVer,
    Db,
    Capa,
    Idle,
    Maxage,
}

impl Key {
    pub(super) const ALL: [Key; 14] = [
        Key::Id,
        Key::Type,
        Key::User,
        Key::Addr,
        Key::Laddr,
        Key::Ip,
        Key::Name,
        Key::Flags,
        Key::LibName,
        Key::LibVer,
        Key::Db,
        Key::Capa,
        Key::Idle,
        Key::Maxage,
    ];

    /// The filter's name, without `NOT-`.
    pub(super) const fn as_str(self) -> &'static str {
        self.row().0
    }

    /// What its value may be, as errors say it.
    const fn accepted(self) -> &'static str {
        self.row().1
    }

    const fn row(self) -> (&'static str, &'static str) {
        match self {
            Key::Id => ("ID", "one or more client ids, whole numbers above 0"),
            Key::Type => (
                "TYPE",
                "normal, pubsub, replica, master, slot-import or slot-export",
            ),
            Key::User => ("USER", "a user's name"),
            Key::Addr => ("ADDR", "ip:port, [ip]:port or, of a Unix socket, path:0"),
            Key::Laddr => ("LADDR", "ip:port, [ip]:port or, of a Unix socket, path:0"),
            Key::Ip => ("IP", "an IP address, without port and brackets"),
            Key::Name => ("NAME", "a connection's name"),
            Key::Flags => (
                "FLAGS",
                "one or more of the flags of CLIENT LIST, AbBcdeEgiIMNoOPrRStTuUx",
            ),
            Key::LibName => ("LIB-NAME", "a library's name"),
            Key::LibVer => ("LIB-VER", "a library's version"),
            Key::Db => ("DB", "the number of a database"),
            Key::Capa => ("CAPA", "r, the one capability that servers know"),
            Key::Idle => ("IDLE", "a duration above 0"),
            Key::Maxage => ("MAXAGE", "a duration above 0"),
        }
    }

    /// Whether there is a `NOT-` of it.
    pub(super) const fn has_not(self) -> bool {
        !matches!(self, Key::Idle | Key::Maxage)
    }

    /// The filter that a word names, in either case, and whether with `NOT-`.
    pub(super) fn find(word: &[u8]) -> Option<(Key, bool)> {
        let (not, name) = match word.split_at_checked(4) {
            Some((prefix, name)) if prefix.eq_ignore_ascii_case(b"NOT-") => (true, name),
            _ => (false, word),
        };
        Key::ALL
            .into_iter()
            .find(|key| name.eq_ignore_ascii_case(key.as_str().as_bytes()))
            .filter(|key| key.has_not() || !not)
            .map(|key| (key, not))
    }
}

/// What a connection is compared with.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// A set, since they may come by the ten thousand, each behind an `ID` of its own.
    Ids(BTreeSet<ClientId>),
    Type(ClientType),
    /// A v4 address as such, also where it was written within v6 (`::ffff:10.1.2.3`), as in rules.
    Ip(IpAddr),
    Db(u32),
    /// Above 0.
    Duration(Millis),
    /// Not empty.
    Text(Vec<u8>),
}

/// One filter with its value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Condition {
    pub(super) key: Key,
    /// `NOT-`: holds for the connections for which it would not hold without.
    pub(super) not: bool,
    pub(super) value: Value,
}

impl Condition {
    /// The filter's name, `NOT-` included.
    pub(super) fn name(key: Key, not: bool) -> String {
        format!("{}{}", if not { "NOT-" } else { "" }, key.as_str())
    }

    /// Takes the value that follows the filter's name; of ids as many as there are.
    pub(super) fn take(key: Key, not: bool, args: &mut Args<'_>) -> Result<Condition, Refusal> {
        let first = args.value_of(&Condition::name(key, not), key.accepted())?;
        let mut read = || {
            Some(match key {
                Key::Id => Value::Ids(ids(first, args)?),
                Key::Type => Value::Type(ClientType::parse(first)?),
                Key::Addr | Key::Laddr if !address::has_port(first) => return None,
                Key::Ip => Value::Ip(
                    core::str::from_utf8(first)
                        .ok()?
                        .parse::<IpAddr>()
                        .ok()?
                        .to_canonical(),
                ),
                Key::Db => Value::Db(u32::try_from(word::whole(first)?).ok()?),
                Key::Flags if !first.iter().all(|b| FLAGS.contains(b)) => return None,
                Key::Capa if first.iter().any(|b| *b != b'r') => return None,
                _ if first.is_empty() => return None,
                _ => Value::Text(first.to_vec()),
            })
        };
        let value = match key {
            Key::Idle | Key::Maxage => duration(first).map(Value::Duration),
            _ => read().ok_or_else(|| {
                Refusal::new(format!(
                    "{} is not accepted: give {}",
                    word::shown(first),
                    key.accepted()
                ))
            }),
        };
        let value = value.map_err(|e| e.of(&Condition::name(key, not)))?;
        Ok(Condition { key, not, value })
    }

    /// Whether it holds for the connection, which is `age` old.
    pub(super) fn holds(&self, client: &Client<'_>, age: Millis) -> bool {
        let is = match &self.value {
            Value::Ids(ids) => ids.contains(&client.id),
            Value::Type(kind) => client.client_type() == *kind,
            Value::Ip(ip) => {
                !client.is_unix() && address::ip(client.addr).map(|ip| ip.to_canonical()) == Some(*ip)
            }
            Value::Db(db) => client.db == Some(*db),
            Value::Duration(least) => *least <= self.time_of(client, age),
            Value::Text(text) => self.text_fits(client, text),
        };
        is != self.not
    }

    fn time_of(&self, client: &Client<'_>, age: Millis) -> Millis {
        match self.key {
            Key::Idle => Millis(client.idle_s.saturating_mul(1_000)),
            _ => age,
        }
    }

    fn text_fits(&self, client: &Client<'_>, text: &[u8]) -> bool {
        match self.key {
            Key::Addr => address::same(client.addr, text),
            Key::Laddr => address::same(client.laddr, text),
            Key::User => client.user == text,
            Key::Name => client.name == text,
            Key::LibName => client.lib_name == text,
            Key::LibVer => client.lib_ver == text,
            Key::Capa => text.iter().all(|capa| client.capa.contains(capa)),
            Key::Flags => text.iter().all(|flag| has_flag(client, *flag)),
            Key::Id | Key::Type | Key::Ip | Key::Db | Key::Idle | Key::Maxage => false,
        }
    }
}

/// The flags that some server shows.
const FLAGS: &[u8] = b"AbBcdeEgiIMNoOPrRStTuUx";

/// To the server's filter a monitor is a replica too (`S`), although it shows it with `O`
/// alone.
fn has_flag(client: &Client<'_>, flag: u8) -> bool {
    client.has_flag(flag) || (flag == b'S' && client.is_monitor())
}

/// Reads an id, and takes those that follow it.
fn ids(first: &[u8], args: &mut Args<'_>) -> Option<BTreeSet<ClientId>> {
    let mut ids = BTreeSet::from([id(first)?]);
    while let Some(next) = args.peek().and_then(id) {
        ids.insert(next);
        args.next_word();
    }
    Some(ids)
}

fn id(word: &[u8]) -> Option<ClientId> {
    let most = i64::MAX.unsigned_abs();
    word::whole(word).filter(|n| (1..=most).contains(n)).map(ClientId)
}

/// A duration that is not 0.
///
/// # Errors
/// Anything else.
pub(super) fn duration(word: &[u8]) -> Result<Millis, Refusal> {
    match Millis::parse(word)? {
        Millis(0) => Err(Refusal::new(format!(
            "{} is not accepted: give a duration above 0",
            word::shown(word)
        ))),
        above => Ok(above),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::info_line;

    /// Connections as Valkey 9.1 listed them, cut to what filters ask about.
    const LIST: &[u8] = b"\
        id=4 addr=127.0.0.1:384 laddr=127.0.0.1:7991 name=adm idle=0 flags=N capa= db=0 user=u\n\
        id=5 addr=127.0.0.1:385 laddr=127.0.0.1:7991 name=n1 idle=7 flags=N capa= db=0 user=u \
        lib-name=L lib-ver=1.2\n\
        id=6 addr=[::1]:351 laddr=[::1]:7991 name=n2 idle=0 flags=N capa=r db=3 user=v\n\
        id=7 addr=127.0.0.1:387 laddr=127.0.0.1:7991 name=ps flags=P capa= db=0 user=u\n\
        id=8 addr=127.0.0.1:388 laddr=127.0.0.1:7991 name=mon flags=O capa= db=0 user=u\n\
        id=9 addr=[/tmp/s:0]:0 laddr=[/tmp/s:0]:0 name= flags=Ux capa= db=0 user=u\n";

    fn condition(text: &str) -> Result<Condition, String> {
        let words: Vec<&[u8]> = text.split(' ').map(str::as_bytes).collect();
        let mut args = Args::new(&words);
        let (key, not) = Key::find(args.next_word().unwrap()).ok_or("not a filter")?;
        let condition = Condition::take(key, not, &mut args).map_err(|e| e.to_string())?;
        assert_eq!(args.peek(), None, "{text}");
        Ok(condition)
    }

    fn matching(text: &str) -> Vec<u64> {
        let condition = condition(text).unwrap();
        let clients = info_line::lines(LIST);
        let matching = clients.filter(|client| condition.holds(client, Millis(5_000)));
        matching.map(|client| client.id.0).collect()
    }

    #[test]
    fn each_filter_matches_what_it_matches_on_the_server() {
        let cases: &[(&str, &[u64])] = &[
            ("ID 5", &[5]),
            ("ID 5 99 4 5", &[4, 5]),
            ("TYPE normal", &[4, 5, 6, 8, 9]),
            ("TYPE PubSub", &[7]),
            ("TYPE master", &[]),
            ("USER u", &[4, 5, 7, 8, 9]),
            ("USER U", &[]),
            ("ADDR 127.0.0.1:385", &[5]),
            ("ADDR [::1]:351", &[6]),
            ("ADDR ::1:351", &[]),
            ("ADDR /tmp/s:0", &[9]),
            ("ADDR [/tmp/s:0]:0", &[9]),
            ("LADDR 127.0.0.1:7991", &[4, 5, 7, 8]),
            ("LADDR /tmp/s:0", &[9]),
            ("IP 127.0.0.1", &[4, 5, 7, 8]),
            ("IP ::1", &[6]),
            ("IP ::ffff:127.0.0.1", &[4, 5, 7, 8]),
            ("NAME n1", &[5]),
            ("NAME N1", &[]),
            ("NAME n", &[]),
            ("FLAGS N", &[4, 5, 6]),
            ("FLAGS P", &[7]),
            ("FLAGS xU", &[9]),
            ("FLAGS UU", &[9]),
            ("FLAGS UP", &[]),
            ("FLAGS NU", &[]),
            ("FLAGS O", &[8]),
            ("FLAGS S", &[8]),
            ("LIB-NAME L", &[5]),
            ("LIB-NAME l", &[]),
            ("LIB-VER 1.2", &[5]),
            ("DB 3", &[6]),
            ("DB 99", &[]),
            ("CAPA r", &[6]),
            ("CAPA rr", &[6]),
            ("IDLE 7s", &[5]),
            ("IDLE 7001", &[]),
            ("MAXAGE 5s", &[4, 5, 6, 7, 8, 9]),
            ("MAXAGE 5001", &[]),
        ];
        for (text, want) in cases {
            assert_eq!(matching(text), *want, "{text}");
            if text.starts_with("IDLE") || text.starts_with("MAXAGE") {
                continue;
            }
            let all = info_line::lines(LIST).map(|client| client.id.0);
            let others: Vec<u64> = all.filter(|id| !want.contains(id)).collect();
            assert_eq!(matching(&format!("not-{text}")), others, "NOT-{text}");
        }
    }

    #[test]
    fn a_v4_address_within_v6_is_the_v4_address() {
        for addr in ["10.1.2.3:9", "[::ffff:10.1.2.3]:9"] {
            let client = Client {
                addr: addr.as_bytes(),
                ..Client::unknown(ClientId(1))
            };
            for (text, want) in [
                ("IP 10.1.2.3", true),
                ("IP ::ffff:10.1.2.3", true),
                ("IP ::ffff:a01:203", true),
                ("IP ::a01:203", false),
                ("NOT-IP 10.1.2.3", false),
            ] {
                let holds = condition(text).unwrap().holds(&client, Millis(0));
                assert_eq!(holds, want, "{text} and {addr}");
            }
        }
    }

    #[test]
    fn a_database_that_is_not_known_is_no_database() {
        let client = Client::unknown(ClientId(1));
        assert!(!condition("DB 0").unwrap().holds(&client, Millis(0)));
        assert!(condition("NOT-DB 0").unwrap().holds(&client, Millis(0)));
    }

    #[test]
    fn ids_end_where_the_next_word_is_none() {
        let words: [&[u8]; 5] = [b"2", b"1", b"2", b"0", b"3"];
        let mut args = Args::new(&words);
        let taken = Condition::take(Key::Id, false, &mut args).unwrap();
        assert_eq!(
            taken.value,
            Value::Ids(BTreeSet::from([ClientId(1), ClientId(2)]))
        );
        assert_eq!(args.peek(), Some(&b"0"[..]));
    }

    #[test]
    fn a_value_that_is_not_accepted_is_named() {
        let ids = "give one or more client ids, whole numbers above 0";
        let address = "give ip:port, [ip]:port or, of a Unix socket, path:0";
        let flags = "give one or more of the flags of CLIENT LIST, AbBcdeEgiIMNoOPrRStTuUx";
        let cases = [
            ("ID 0", format!("ID: '0' is not accepted: {ids}")),
            ("ID x", format!("ID: 'x' is not accepted: {ids}")),
            ("ID -5", format!("ID: '-5' is not accepted: {ids}")),
            ("id 05", format!("ID: '05' is not accepted: {ids}")),
            (
                "not-id 9223372036854775808",
                format!("NOT-ID: '9223372036854775808' is not accepted: {ids}"),
            ),
            (
                "TYPE x",
                "TYPE: 'x' is not accepted: give normal, pubsub, replica, master, slot-import or \
                 slot-export"
                    .to_string(),
            ),
            (
                "ADDR 127.0.0.1",
                format!("ADDR: '127.0.0.1' is not accepted: {address}"),
            ),
            (
                "NOT-LADDR x",
                format!("NOT-LADDR: 'x' is not accepted: {address}"),
            ),
            (
                "NOT-IP 127.0.0",
                "NOT-IP: '127.0.0' is not accepted: give an IP address, without port and brackets"
                    .to_string(),
            ),
            (
                "IP [::1]",
                "IP: '[::1]' is not accepted: give an IP address, without port and brackets".to_string(),
            ),
            (
                "NAME ",
                "NAME: '' is not accepted: give a connection's name".to_string(),
            ),
            (
                "USER ",
                "USER: '' is not accepted: give a user's name".to_string(),
            ),
            ("FLAGS ", format!("FLAGS: '' is not accepted: {flags}")),
            ("FLAGS Nz", format!("FLAGS: 'Nz' is not accepted: {flags}")),
            (
                "CAPA redirect",
                "CAPA: 'redirect' is not accepted: give r, the one capability that servers know".to_string(),
            ),
            (
                "CAPA ",
                "CAPA: '' is not accepted: give r, the one capability that servers know".to_string(),
            ),
            (
                "DB -1",
                "DB: '-1' is not accepted: give the number of a database".to_string(),
            ),
            (
                "IDLE 0",
                "IDLE: '0' is not accepted: give a duration above 0".to_string(),
            ),
            (
                "MAXAGE 0d",
                "MAXAGE: '0d' is not accepted: give a duration above 0".to_string(),
            ),
            (
                "MAXAGE x",
                "MAXAGE: 'x' is not a duration: give whole milliseconds, or a whole number with \
                 ms, s, m, h or d (300000 = 300s = 5m)"
                    .to_string(),
            ),
            (
                "NOT-NAME",
                "NOT-NAME needs a value: a connection's name".to_string(),
            ),
        ];
        for (text, want) in cases {
            assert_eq!(condition(text), Err(want), "{text}");
        }
    }

    #[test]
    fn only_the_servers_filters_are_filters() {
        for key in Key::ALL {
            let name = key.as_str().to_ascii_lowercase();
            assert_eq!(Key::find(name.as_bytes()), Some((key, false)));
            let not = Key::find(format!("nOt-{name}").as_bytes());
            assert_eq!(not, key.has_not().then_some((key, true)));
        }
        for word in [
            "",
            "NOT",
            "NOT-",
            "NOT-NOT-ID",
            "NOT-MAXAGE",
            "NOT-IDLE",
            "SKIPME",
            "LIB",
        ] {
            assert_eq!(Key::find(word.as_bytes()), None, "{word}");
        }
    }
}
