//! One filter of KILL and LIST with its value, and whether a connection is as it says.
//!
//! It must not know which filters there are: `key` does.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::vec::Vec;
use core::net::IpAddr;

use crate::client::{Client, ClientId, ClientType};
use crate::request::key::{Key, Kind};
use crate::text::address;
use crate::text::args::Args;
use crate::text::time::Millis;
use crate::text::word::{self, Refusal};

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
    /// Takes the value that follows the filter's name; of ids as many as there are.
    pub(super) fn take(key: Key, not: bool, args: &mut Args<'_>) -> Result<Condition, Refusal> {
        let row = key.row();
        let first = args.value_of(key.name(not), row.accepted)?;
        let read = match row.kind {
            Kind::Duration(_) => Some(Value::Duration(duration(first).map_err(|e| e.of(key.name(not)))?)),
            Kind::Ids => ids(first, args).map(Value::Ids),
            Kind::Type => ClientType::parse(first).map(Value::Type),
            Kind::Ip => ip(first).map(Value::Ip),
            Kind::Db => word::whole(first)
                .and_then(|n| u32::try_from(n).ok())
                .map(Value::Db),
            Kind::Text(accepts, _) => {
                (!first.is_empty() && accepts(first)).then(|| Value::Text(first.to_vec()))
            }
        };
        let refused = || {
            Refusal::new(format!(
                "{} is not accepted: give {}",
                word::shown(first),
                row.accepted
            ))
        };
        let value = read.ok_or_else(|| refused().of(key.name(not)))?;
        Ok(Condition { key, not, value })
    }

    /// Whether it holds for the connection, which is `age` old.
    pub(super) fn holds(&self, client: &Client<'_>, age: Millis) -> bool {
        let is = match (&self.value, self.key.row().kind) {
            (Value::Ids(ids), _) => ids.contains(&client.id),
            (Value::Type(kind), _) => client.client_type() == *kind,
            (Value::Ip(ip), _) => {
                !client.is_unix() && address::ip(client.addr).map(|ip| ip.to_canonical()) == Some(*ip)
            }
            (Value::Db(db), _) => client.db == Some(*db),
            (Value::Duration(least), Kind::Duration(time_of)) => *least <= time_of(client, age),
            (Value::Text(text), Kind::Text(_, fits)) => fits(client, text),
            (Value::Duration(_) | Value::Text(_), _) => false,
        };
        is != self.not
    }
}

fn ip(word: &[u8]) -> Option<IpAddr> {
    let ip: IpAddr = core::str::from_utf8(word).ok()?.parse().ok()?;
    Some(ip.to_canonical())
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
            ("FLAGS UUUUUUUUUUUUUUUUUUUUUUU", &[9]),
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
                "FLAGS NNNNNNNNNNNNNNNNNNNNNNNN",
                format!("FLAGS: 'NNNNNNNNNNNNNNNNNNNNNNNN' is not accepted: {flags}"),
            ),
            (
                "CAPA redirect",
                "CAPA: 'redirect' is not accepted: give r, the one capability that servers know".to_string(),
            ),
            (
                "CAPA rrrrrrrrrrrrrrrrrrrrrrrr",
                "CAPA: 'rrrrrrrrrrrrrrrrrrrrrrrr' is not accepted: give r, the one capability that servers know"
                    .to_string(),
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
            let name = key.name(false).to_ascii_lowercase();
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
