//! Inputs: words, numbers and bytes drawn from a seed. It leans towards what parsers trip
//! over: limits of integers, words that are almost right, and bytes that are no text.

/// What the parsers know, and what only looks like it.
const WORDS: &[&str] = &[
    "enabled",
    "maxage",
    "jitter",
    "grace",
    "rate",
    "types",
    "rules",
    "dry-run",
    "log-max-len",
    "yes",
    "no",
    "normal",
    "pubsub",
    "both",
    "replica",
    "master",
    "slot-import",
    "slot-export",
    "user",
    "name",
    "lib",
    "addr",
    "laddr",
    "type",
    "unix",
    "ID",
    "TYPE",
    "USER",
    "ADDR",
    "LADDR",
    "IP",
    "NAME",
    "IDLE",
    "FLAGS",
    "LIB-NAME",
    "LIB-VER",
    "DB",
    "CAPA",
    "NOT-ID",
    "NOT-USER",
    "NOT-ADDR",
    "NOT-FLAGS",
    "SKIPME",
    "GRACE",
    "OVER",
    "LIMIT",
    "DRYRUN",
    "CANCEL",
    "MAXAGE",
    "default",
    "10.1.0.0/16",
    "127.0.0.1:6379",
    "[::1]:1",
    "fd00::/8",
    "::ffff:10.0.0.1",
    "0.0.0.0/0",
    "1.2.3.4/33",
    "::/129",
    "/tmp/socket:0",
    "N",
    "MOS",
    "xbu",
    "ci:",
    "a:",
    "b: ",
    ";",
    "=",
    "*",
    "?",
    "[a-z]",
    "[^",
    "\\",
    "ci-*",
    "user=ci-*",
    "addr=10.0.0.0/8",
    "maxage=10m",
    "maxage=0",
    "grace=1s",
    "jitter=90",
    "jitter=91",
    "type=pubsub",
    "lib=jedis*",
    "5m",
    "1d",
];

const NUMBERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "-0",
    "+1",
    "00",
    "01",
    "2147483647",
    "2147483648",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "9223372036854775",
    "106751991167",
    "106751991168",
    "18446744073709551615",
    "18446744073709551616",
    "99999999999999999999999999",
    "1.5",
    "1e3",
    "0x10",
    " 1",
    "1 ",
    "",
];

const SUFFIXES: &[&str] = &["", "", "ms", "s", "m", "h", "d", "S", "Ms", "w", "ns", " s", "s "];

/// One input's source of chance: xorshift64*, seeded by splitmix64.
pub struct Inputs {
    state: u64,
}

impl Inputs {
    pub fn new(seed: u64, target: &str, n: u64) -> Inputs {
        let name = target
            .bytes()
            .fold(seed, |h, b| h.wrapping_mul(0x100_0000_01b3) ^ u64::from(b));
        let mut z = name.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Inputs {
            state: (z ^ (z >> 31)) | 1,
        }
    }

    pub fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn of<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list[self.below(list.len())]
    }

    /// A number that is as likely small as at a limit.
    pub fn number(&mut self) -> u64 {
        match self.below(8) {
            0 => 0,
            1 => 1,
            2 => u64::MAX,
            3 => i64::MAX as u64,
            4 => (i64::MAX as u64) + 1,
            5 => self.next() >> self.below(64),
            6 => 1u64 << self.below(64),
            _ => self.below(100_000) as u64,
        }
    }

    pub fn bytes(&mut self, most: usize) -> Vec<u8> {
        let length = self.below(most + 1);
        (0..length).map(|_| (self.next() >> 56) as u8).collect()
    }

    pub fn duration(&mut self) -> Vec<u8> {
        let mut word = match self.below(3) {
            0 => self.of(NUMBERS).as_bytes().to_vec(),
            1 => self.number().to_string().into_bytes(),
            _ => self.below(10_000).to_string().into_bytes(),
        };
        word.extend_from_slice(self.of(SUFFIXES).as_bytes());
        word
    }

    /// Something that could stand in a command.
    pub fn word(&mut self) -> Vec<u8> {
        let mut word = match self.below(10) {
            0 => self.bytes(12),
            1 | 2 => self.duration(),
            3 => self.of(NUMBERS).as_bytes().to_vec(),
            _ => self.of(WORDS).as_bytes().to_vec(),
        };
        if self.chance(10) && !word.is_empty() {
            let at = self.below(word.len());
            word[at] = (self.next() >> 56) as u8;
        }
        if self.chance(5) {
            word.to_ascii_uppercase().clone_into(&mut word);
        }
        word
    }

    pub fn words(&mut self, most: usize) -> Vec<Vec<u8>> {
        let many = self.below(most + 1);
        (0..many).map(|_| self.word()).collect()
    }

    /// A list of rules, or what might have been one.
    pub fn rules(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        for n in 0..self.below(5) {
            if n > 0 || self.chance(10) {
                text.extend_from_slice(self.of(&[&b";"[..], b"; ", b" ;", b"\n"]));
            }
            match self.below(8) {
                0 => text.extend(self.word()),
                _ => text.extend_from_slice(format!("r{n}:").as_bytes()),
            }
            for _ in 0..self.below(5) {
                text.push(b' ');
                let key = self.of(&[
                    "user", "name", "lib", "addr", "laddr", "type", "maxage", "jitter", "grace",
                ]);
                text.extend_from_slice(key.as_bytes());
                text.push(b'=');
                text.extend(match key {
                    "maxage" | "grace" => self.duration(),
                    "addr" | "laddr" => self.address(),
                    _ => self.word(),
                });
            }
        }
        text
    }

    pub fn address(&mut self) -> Vec<u8> {
        let part = |me: &mut Inputs| me.below(300).to_string();
        match self.below(4) {
            0 => self.word(),
            1 => format!(
                "{:x}::{:x}/{}",
                self.below(70_000),
                self.below(70_000),
                self.below(140)
            )
            .into(),
            _ => {
                let ip: Vec<String> = (0..4).map(|_| part(self)).collect();
                format!("{}/{}", ip.join("."), self.below(40)).into()
            }
        }
    }

    /// Lines as CLIENT LIST has them, some of them damaged.
    pub fn client_list(&mut self) -> Vec<u8> {
        const KEYS: &[&str] = &[
            "id",
            "addr",
            "laddr",
            "fd",
            "name",
            "age",
            "idle",
            "flags",
            "capa",
            "db",
            "sub",
            "psub",
            "ssub",
            "multi",
            "watch",
            "qbuf",
            "qbuf-free",
            "argv-mem",
            "multi-mem",
            "rbs",
            "rbp",
            "obl",
            "oll",
            "omem",
            "tot-mem",
            "events",
            "cmd",
            "user",
            "redir",
            "resp",
            "lib-name",
            "lib-ver",
            "io-thread",
            "new",
        ];
        if self.chance(10) {
            return self.bytes(200);
        }
        let mut text = Vec::new();
        for _ in 0..1 + self.below(3) {
            for key in KEYS {
                if self.chance(15) {
                    continue;
                }
                text.extend_from_slice(if self.chance(3) { self.of(KEYS) } else { key }.as_bytes());
                text.push(if self.chance(2) { b' ' } else { b'=' });
                text.extend(if self.chance(50) {
                    self.number().to_string().into_bytes()
                } else {
                    self.word()
                });
                text.push(if self.chance(2) { b'\n' } else { b' ' });
            }
            text.push(b'\n');
        }
        if self.chance(20) {
            text.truncate(self.below(text.len() + 1));
        }
        text
    }
}
