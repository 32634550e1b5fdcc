//! Inputs: words, numbers and bytes drawn from a seed. It leans towards what parsers trip
//! over: limits of integers, words that are almost right, and bytes that are no text. What words parsers know
//! it has from the engine's tables.

use connage_engine::client::ClientType;
use connage_engine::policy::rule::Rule;
use connage_engine::policy::settings::Name;
use connage_engine::request::filter::Filter;
use std::sync::OnceLock;

/// What the parsers know but for what the engine's tables name, and what only looks like it.
const OTHERS: &[&str] = &[
    "yes",
    "no",
    "both",
    "unix",
    "SKIPME",
    "GRACE",
    "OVER",
    "LIMIT",
    "DRYRUN",
    "CANCEL",
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
    "GET",
    "SET",
    "LEN",
    "RESET",
    "RESETSTAT",
    "HELP",
    "127.0.0.1:1",
    "10.0.0.1",
    "a: user=b maxage=1h",
    "a: user=b maxage=1h; b: name=c grace=2s",
    "a: foo=1",
    "a: addr=1.2.3.4/33",
    "a: type=master",
    "m*",
    "%s%n%n",
    "\r\n",
    "\0",
    "é",
    "1h",
    "100000000",
    "5w",
    "90",
    "91",
];

/// All words that the parsers know, and those others.
fn words() -> &'static [String] {
    static WORDS: OnceLock<Vec<String>> = OnceLock::new();
    WORDS.get_or_init(|| {
        let settings = Name::ALL.map(Name::as_str);
        let filters = Filter::described().map(|filter| filter.token);
        let types = ClientType::NAMES.map(|(name, ..)| name);
        let own = settings.map(|name| format!("connage.{name}"));
        let known = settings.into_iter().chain(Rule::KEYS).chain(filters).chain(types);
        let known = known.chain(OTHERS.iter().copied()).map(str::to_string);
        known.chain(own).collect()
    })
}

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

    /// A word that parsers know, or that looks like one, as it is.
    pub fn known(&mut self) -> Vec<u8> {
        words()[self.below(words().len())].clone().into_bytes()
    }

    /// Something that could stand in a command.
    pub fn word(&mut self) -> Vec<u8> {
        let mut word = match self.below(10) {
            0 => self.bytes(12),
            1 | 2 => self.duration(),
            3 => self.of(NUMBERS).as_bytes().to_vec(),
            _ => self.known(),
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
                let key = self.of(&Rule::KEYS);
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
}
