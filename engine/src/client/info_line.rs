//! One line of CLIENT LIST, read by field name.
//!
//! Servers differ in which fields they print and in which order, so what is unknown is
//! passed over and what is missing stays unknown. It is on a hot path (a line for each of
//! many thousand connections), so it must not allocate; and it must take any bytes.

use crate::client::{Client, ClientId};

/// No server prints so much of a Unix socket's path, in bytes.
const LONGEST_PATH: usize = 128;

/// The connections of a whole CLIENT LIST reply, in its order. Lines without an id are
/// passed over.
pub fn lines(reply: &[u8]) -> impl Iterator<Item = Client<'_>> {
    let mut rest = reply;
    core::iter::from_fn(move || {
        while !rest.is_empty() {
            let (client, after) = first_line(rest);
            rest = after;
            if client.is_some() {
                return client;
            }
        }
        None
    })
}

/// What one line says; `None` when it has no valid id. Of a field that comes twice the
/// first counts.
#[must_use]
pub fn parse(line: &[u8]) -> Option<Client<'_>> {
    first_line(line).0
}

/// What the first line says, and what comes after it. Each byte is looked at once: to split
/// into lines, then fields, then keys and values takes half as long again.
fn first_line(text: &[u8]) -> (Option<Client<'_>>, &[u8]) {
    let mut client = Client::unknown(ClientId(0));
    let mut seen = 0u32;
    let mut path = None;
    let mut rest = text;
    loop {
        let (key, mut end, mut after) = until(rest, [b'=', b' ', b'\n']);
        if end == Some(b'=') {
            // Only the first '=' ends the key: values (names, users) may hold more of them.
            let mut value;
            let begin = after;
            (value, end, after) = until(begin, [b' ', b'\n']);
            if key == b"addr" && !is_ip(value) {
                path = path_twice(begin);
            }
            if let (b"addr" | b"laddr", Some(path)) = (key, path) {
                (value, end, after) = split(begin, path);
            }
            if end != Some(b' ') {
                value = value.strip_suffix(b"\r").unwrap_or(value);
            }
            seen |= set(&mut client, seen, key, value);
        }
        if end != Some(b' ') {
            client.line = text.get(..text.len() - after.len()).unwrap_or_default();
            return ((client.id.0 > 0).then_some(client), after);
        }
        rest = after;
    }
}

/// Whether an address has nothing in it but what IP addresses and ports are written with.
fn is_ip(addr: &[u8]) -> bool {
    addr.iter().all(|b| b.is_ascii_hexdigit() || b":.[]".contains(b))
}

/// How long the path of a Unix socket is that stands at the beginning, as `addr`, and again as `laddr`. The
/// server escapes nothing in it: there may be blanks in it, and what looks like other fields. So it ends
/// where the same comes again, and after that one of the fields that follow.
fn path_twice(text: &[u8]) -> Option<usize> {
    const AGAIN: &[u8] = b" laddr=";
    let head = text.get(..LONGEST_PATH).unwrap_or(text);
    let ends = head.windows(AGAIN.len()).enumerate();
    // The longest: a path may hold all of that itself.
    ends.rev()
        .filter(|(_, window)| *window == AGAIN)
        .map(|(end, _)| end)
        .find(|end| {
            let path = text.get(..*end).unwrap_or_default();
            let again = text.get(end + AGAIN.len()..).unwrap_or_default();
            let rest = again.strip_prefix(path);
            rest.is_some_and(|rest| rest.starts_with(b" fd=") || rest.starts_with(b" name="))
        })
}

/// The bytes before the first that ends them, that byte, and the bytes after it. Eight bytes at a
/// time: most keys and values end within the first eight.
fn until<const N: usize>(text: &[u8], ends: [u8; N]) -> (&[u8], Option<u8>, &[u8]) {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = ONES << 7;
    let mut at = 0;
    let mut rest = text;
    while let Some((eight, after)) = rest.split_first_chunk::<8>() {
        let eight = u64::from_le_bytes(*eight);
        let found = ends.iter().fold(0, |found, end| {
            let zero_where_it_is = eight ^ (ONES * u64::from(*end));
            found | (zero_where_it_is.wrapping_sub(ONES) & !zero_where_it_is & HIGHS)
        });
        if found != 0 {
            at += (found.trailing_zeros() / 8) as usize;
            return split(text, at);
        }
        at += 8;
        rest = after;
    }
    at += rest
        .iter()
        .position(|byte| ends.contains(byte))
        .unwrap_or(rest.len());
    split(text, at)
}

fn split(text: &[u8], at: usize) -> (&[u8], Option<u8>, &[u8]) {
    match text.split_at_checked(at) {
        Some((before, [end, after @ ..])) => (before, Some(*end), after),
        _ => (text, None, b""),
    }
}

/// Puts one field where it belongs, unless its bit is among those `seen`. Answers its bit;
/// 0 for a field that is not known.
fn set<'a>(client: &mut Client<'a>, seen: u32, key: &[u8], value: &'a [u8]) -> u32 {
    // Each arm has its own bit. The compiler makes a tree of lengths and bytes of these
    // patterns, so that their number does not matter.
    macro_rules! table {
        ($($name:literal $bit:literal => $place:ident = $read:expr;)*) => {
            match key {
                $($name => {
                    const BIT: u32 = 1 << $bit;
                    if seen & BIT == 0 {
                        client.$place = $read;
                    }
                    BIT
                })*
                _ => 0,
            }
        };
    }
    table! {
        b"id" 0 => id = ClientId(count(value));
        b"addr" 1 => addr = value;
        b"laddr" 2 => laddr = value;
        b"fd" 3 => fd = number(value).and_then(|n| i32::try_from(n).ok()).unwrap_or(-1);
        b"name" 4 => name = value;
        b"age" 5 => age_s = count(value);
        b"idle" 6 => idle_s = count(value);
        b"flags" 7 => flags = value;
        b"capa" 8 => capa = value;
        b"db" 9 => db = number(value).and_then(|n| u32::try_from(n).ok());
        b"sub" 10 => sub = count(value);
        b"psub" 11 => psub = count(value);
        b"ssub" 12 => ssub = count(value);
        b"multi" 13 => multi = number(value);
        b"watch" 14 => watch = number(value);
        b"qbuf" 15 => qbuf = count(value);
        b"qbuf-free" 16 => qbuf_free = count(value);
        b"argv-mem" 17 => argv_mem = count(value);
        b"multi-mem" 18 => multi_mem = count(value);
        b"rbs" 19 => rbs = count(value);
        b"obl" 20 => obl = count(value);
        b"oll" 21 => oll = count(value);
        b"omem" 22 => omem = count(value);
        b"tot-mem" 23 => tot_mem = count(value);
        b"events" 24 => events = value;
        b"cmd" 25 => cmd = value;
        b"user" 26 => user = value;
        b"resp" 27 => resp = u8::try_from(count(value)).unwrap_or(0);
        b"lib-name" 28 => lib_name = value;
        b"lib-ver" 29 => lib_ver = value;
        b"tot-net-in" 30 => net_in = number(value);
    }
}

/// A number that is 0 where the server prints none, or a negative one: `age` is, after
/// the wall clock has been set back.
fn count(value: &[u8]) -> u64 {
    number(value).unwrap_or(0)
}

/// Digits only; `None` for anything else, and for what does not fit.
fn number(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    let mut n = 0u64;
    for b in value {
        let digit = b.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        n = n.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    Some(n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Lines as servers printed them.
    const REDIS_7_0: &[u8] = b"id=3 addr=127.0.0.1:38710 laddr=127.0.0.1:6379 fd=8 name=w=1 \
        age=12 idle=4 flags=N db=2 sub=1 psub=2 ssub=3 multi=-1 qbuf=26 qbuf-free=20448 \
        argv-mem=10 multi-mem=5 rbs=1024 rbp=16 obl=7 oll=9 omem=11 tot-mem=22298 events=r \
        cmd=client|list user=default redir=-1 resp=2";
    const VALKEY_8: &[u8] = b"id=18446744073709551615 addr=[::1]:1 laddr=[::1]:2 fd=-1 name= \
        age=-3600 idle=0 flags=xO capa=r db=0 sub=0 psub=0 ssub=0 multi=4 watch=2 qbuf=0 \
        qbuf-free=0 argv-mem=0 multi-mem=0 rbs=16384 rbp=16384 obl=0 oll=0 omem=0 tot-mem=17152 \
        events=rw cmd=NULL user=(superuser) redir=-1 resp=3 lib-name=redis-py lib-ver=5.0.1 \
        tot-net-in=7 tot-net-out=9 tot-cmds=0\n";

    #[test]
    fn every_field_lands_in_its_place() {
        let client = Client {
            line: REDIS_7_0,
            id: ClientId(3),
            addr: b"127.0.0.1:38710",
            laddr: b"127.0.0.1:6379",
            fd: 8,
            name: b"w=1",
            age_s: 12,
            idle_s: 4,
            flags: b"N",
            capa: b"",
            db: Some(2),
            sub: 1,
            psub: 2,
            ssub: 3,
            multi: None,
            watch: None,
            qbuf: 26,
            qbuf_free: 20448,
            argv_mem: 10,
            multi_mem: 5,
            rbs: 1024,
            obl: 7,
            oll: 9,
            omem: 11,
            tot_mem: 22298,
            events: b"r",
            cmd: b"client|list",
            user: b"default",
            resp: 2,
            net_in: None,
            lib_name: b"",
            lib_ver: b"",
        };
        assert_eq!(parse(REDIS_7_0), Some(client));
        let client = Client {
            line: VALKEY_8,
            addr: b"[::1]:1",
            laddr: b"[::1]:2",
            flags: b"xO",
            capa: b"r",
            db: Some(0),
            multi: Some(4),
            watch: Some(2),
            rbs: 16384,
            tot_mem: 17152,
            events: b"rw",
            cmd: b"NULL",
            user: b"(superuser)",
            resp: 3,
            net_in: Some(7),
            lib_name: b"redis-py",
            lib_ver: b"5.0.1",
            ..Client::unknown(ClientId(u64::MAX))
        };
        assert_eq!(parse(VALKEY_8), Some(client));
    }

    #[test]
    fn a_line_without_a_valid_id_is_no_client() {
        for line in [
            "",
            " ",
            "id",
            "id=",
            "id=0",
            "id=-1",
            "id=x",
            "id=x id=2",
            "id=18446744073709551616",
            "addr=1:2 fd=3",
            "xid=4",
        ] {
            assert_eq!(parse(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn of_a_field_that_comes_twice_the_first_counts() {
        let client = parse(b"id=1 user=a multi=-1 id=2 user=b multi=7").unwrap();
        assert_eq!(client.id, ClientId(1));
        assert_eq!(client.user, b"a");
        assert_eq!(client.multi, None);
    }

    #[test]
    fn values_may_hold_equal_signs_and_bytes_that_are_not_text() {
        let client = parse(b"id=1 name==a=b= user=\xff\x00\t=").unwrap();
        assert_eq!(client.name, b"=a=b=");
        assert_eq!(client.user, b"\xff\x00\t=");
    }

    #[test]
    fn numbers_that_make_no_sense_are_as_if_not_said() {
        let client =
            parse(b"id=1 fd=99999999999 db=-1 qbuf=1x obl=1: oll=1/ resp=300 age=18446744073709551616")
                .unwrap();
        let unknown = Client::unknown(ClientId(1));
        assert_eq!(
            client,
            Client {
                line: client.line,
                ..unknown
            }
        );
    }

    #[test]
    fn what_is_in_a_sockets_path_is_no_field() {
        let paths = [
            "/tmp/s:0",
            "[/tmp/s:0]:0",
            "/tmp/with a blank:0",
            "/tmp/a user=root flags=M id=9:0",
            "/tmp/a laddr=/tmp/a fd=7 user=root:0",
            "[/tmp/a laddr=1.2.3.4:5 name=x:0]:0",
            "/tmp/two\nid=9 lines:0",
            "relative path:0",
        ];
        for path in paths {
            let line = format!("id=1 addr={path} laddr={path} fd=8 name=n flags=U user=u\nid=2 fd=9\n");
            let clients: Vec<Client> = lines(line.as_bytes()).collect();
            let [first, second] = clients[..] else {
                panic!("{path}: {clients:?}");
            };
            assert_eq!((first.id, second.id), (ClientId(1), ClientId(2)));
            assert_eq!((first.addr, first.laddr), (path.as_bytes(), path.as_bytes()));
            assert_eq!(
                (first.fd, first.name, first.flags, first.user),
                (8, &b"n"[..], &b"U"[..], &b"u"[..])
            );
        }
        // Of a path that does not come twice (there is no such server) the first word is taken.
        let client = parse(b"id=1 addr=/a b user=u").unwrap();
        assert_eq!((client.addr, client.user), (&b"/a"[..], &b"u"[..]));
    }

    #[test]
    fn a_reply_is_taken_line_by_line() {
        let ids: Vec<u64> = lines(b"id=1 a=b\nid=2\n\nnonsense\nid=3\r\n")
            .map(|c| c.id.0)
            .collect();
        assert_eq!(ids, [1, 2, 3]);
        assert_eq!(lines(b"").count(), 0);
    }

    fn word() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(
            any::<u8>().prop_filter("ends a word", |b| !b" \r\n".contains(b)),
            0..12,
        )
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(bytes: Vec<u8>) {
            lines(&bytes).count();
        }

        #[test]
        fn any_values_of_known_fields_are_taken(values in prop::collection::vec(word(), 6)) {
            let mut line = b"id=7".to_vec();
            for (key, value) in ["fd", "multi", "db", "resp", "age", "flags"].iter().zip(&values) {
                line.extend_from_slice(format!(" {key}=").as_bytes());
                line.extend_from_slice(value);
            }
            prop_assert_eq!(parse(&line).map(|c| c.id), Some(ClientId(7)));
        }

        #[test]
        fn a_printed_line_reads_back(
            id in 1..u64::MAX,
            texts in prop::collection::vec(word(), 10),
            counts in prop::collection::vec(any::<u64>(), 14),
            fd in -1..i32::MAX,
            db: u32,
            multi: Option<u64>,
            watch: Option<u64>,
            resp: u8,
            net_in: Option<u64>,
        ) {
            let [addr, laddr, name, flags, capa, events, cmd, user, lib_name, lib_ver] =
                &texts[..] else { unreachable!() };
            let [age_s, idle_s, sub, psub, ssub, qbuf, qbuf_free, argv_mem, multi_mem, rbs,
                obl, oll, omem, tot_mem] = counts[..] else { unreachable!() };
            let mut client = Client {
                line: b"", id: ClientId(id), addr, laddr, fd, name, age_s, idle_s, flags, capa,
                db: Some(db), sub, psub, ssub, multi, watch, qbuf, qbuf_free, argv_mem,
                multi_mem, rbs, obl, oll, omem, tot_mem, events, cmd, user, resp, net_in, lib_name,
                lib_ver,
            };
            let line = printed(&client);
            client.line = &line;
            prop_assert_eq!(parse(&line), Some(client));
        }
    }

    /// The line as a server prints it.
    fn printed(c: &Client<'_>) -> Vec<u8> {
        let mut line = Vec::new();
        let mut put = |key: &str, value: &[u8]| {
            line.extend_from_slice(key.as_bytes());
            line.push(b'=');
            line.extend_from_slice(value);
            line.push(b' ');
        };
        put("id", c.id.to_string().as_bytes());
        put("addr", c.addr);
        put("laddr", c.laddr);
        put("fd", c.fd.to_string().as_bytes());
        put("name", c.name);
        put("age", c.age_s.to_string().as_bytes());
        put("idle", c.idle_s.to_string().as_bytes());
        put("flags", c.flags);
        put("capa", c.capa);
        put("db", c.db.unwrap_or(0).to_string().as_bytes());
        put("sub", c.sub.to_string().as_bytes());
        put("psub", c.psub.to_string().as_bytes());
        put("ssub", c.ssub.to_string().as_bytes());
        let multi = c.multi.map_or("-1".to_string(), |n| n.to_string());
        put("multi", multi.as_bytes());
        if let Some(watch) = c.watch {
            put("watch", watch.to_string().as_bytes());
        }
        for (key, n) in [
            ("qbuf", c.qbuf),
            ("qbuf-free", c.qbuf_free),
            ("argv-mem", c.argv_mem),
            ("multi-mem", c.multi_mem),
            ("rbs", c.rbs),
            ("rbp", 5),
            ("obl", c.obl),
            ("oll", c.oll),
            ("omem", c.omem),
            ("tot-mem", c.tot_mem),
        ] {
            put(key, n.to_string().as_bytes());
        }
        put("events", c.events);
        put("cmd", c.cmd);
        put("user", c.user);
        put("redir", b"-1");
        put("resp", c.resp.to_string().as_bytes());
        put("lib-name", c.lib_name);
        put("lib-ver", c.lib_ver);
        if let Some(bytes) = c.net_in {
            put("tot-net-in", bytes.to_string().as_bytes());
        }
        line.pop();
        line
    }
}
