//! Commands that make no sense, against a live server: it stays up, answers each, and a
//! command that is refused changes no setting.

use crate::on_servers;
use crate::support::conn::{Conn, Gone};
use crate::support::resp::{encode, Value};
use crate::support::say;
use crate::support::server::{figure, Setup};

/// Commands on each server; `make fuzz` asks for more.
fn many() -> u64 {
    let asked = std::env::var("CONNAGE_COMMANDS").ok();
    asked.map_or(20_000, |n| n.parse().expect("CONNAGE_COMMANDS is a number"))
}

const COMMANDS: [&[&str]; 12] = [
    &["CONNAGE.KILL"],
    &["CONNAGE.KILL", "DRYRUN"],
    &["CONNAGE.LIST"],
    &["CONNAGE.CONFIG", "SET"],
    &["CONNAGE.CONFIG", "SET"],
    &["CONNAGE.CONFIG", "GET"],
    &["CONNAGE.CONFIG"],
    &["CONNAGE.LOG"],
    &["CONNAGE.LOG", "GET"],
    &["CONNAGE.SELF"],
    &["CONNAGE.SELF", "MAXAGE"],
    &["CONFIG", "SET"],
];

const WORDS: &[&str] = &[
    "maxage",
    "jitter",
    "grace",
    "rate",
    "types",
    "rules",
    "dry-run",
    "log-max-len",
    "enabled",
    "connage.maxage",
    "connage.jitter",
    "connage.rules",
    "connage.types",
    "yes",
    "no",
    "normal",
    "pubsub",
    "replica",
    "master",
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
    "NOT-TYPE",
    "NOT-USER",
    "NOT-ADDR",
    "NOT-IP",
    "SKIPME",
    "GRACE",
    "OVER",
    "LIMIT",
    "DRYRUN",
    "CANCEL",
    "MAXAGE",
    "GET",
    "SET",
    "LEN",
    "RESET",
    "RESETSTAT",
    "HELP",
    "default",
    "127.0.0.1:1",
    "10.0.0.1",
    "a: user=b maxage=1h",
    "a: user=b maxage=1h; b: name=c grace=2s",
    "a:",
    ";",
    "a: foo=1",
    "a: addr=1.2.3.4/33",
    "a: type=master",
    "*",
    "m*",
    "%s%n%n",
    "\r\n",
    "\0",
    "",
    "N",
    "é",
    "both",
    "1h",
    "1d",
    "100000000",
    "0",
    "1",
    "-1",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "1.5",
    "5w",
    "90",
    "91",
];

/// xorshift64*, for no two runs need differ.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((u128::from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)) * n as u128) >> 64) as usize
    }

    fn word(&mut self) -> Vec<u8> {
        match self.below(20) {
            0 => (0..self.below(30)).map(|_| self.below(256) as u8).collect(),
            1 => vec![b'x'; self.below(5_000)],
            2 => self.below(100).to_string().into_bytes(),
            _ => WORDS[self.below(WORDS.len())].into(),
        }
    }

    fn command(&mut self) -> Vec<Vec<u8>> {
        let mut words: Vec<Vec<u8>> = COMMANDS[self.below(COMMANDS.len())]
            .iter()
            .map(|word| word.as_bytes().to_vec())
            .collect();
        let config = words[0] == b"CONFIG";
        for _ in 0..self.below(6) {
            words.push(self.word());
        }
        // CONFIG SET of something else is not ours to try.
        if config
            && !words[2..]
                .iter()
                .step_by(2)
                .all(|name| name.starts_with(b"connage."))
        {
            words[0] = b"CONNAGE.CONFIG".to_vec();
        }
        words
    }
}

on_servers!(
    FIVE,
    beside,
    no_command_of_any_words_harms_the_server_or_sets_what_it_refuses
);
fn no_command_of_any_words_harms_the_server_or_sets_what_it_refuses(on: &'static str) {
    let server = Setup::of(on).module("").start();
    let mut chance = Chance(0x9e37_79b9);
    let mut driver = server.admin();
    let mut others = server.clients(5);
    let mut settings: Option<Value> = None;
    let (mut taken, mut refused, mut closed) = (0u64, 0u64, 0u64);
    for n in 0..many() {
        let words = chance.command();
        let mut bytes = encode(&words);
        bytes.extend(encode(&["CONNAGE.CONFIG", "GET", "*"]));
        let shown = || -> Vec<_> {
            words
                .iter()
                .map(|w| String::from_utf8_lossy(w).into_owned())
                .collect()
        };
        let replies = driver
            .send_bytes(&bytes)
            .map_err(Gone::from)
            .and_then(|()| Ok((driver.reply()?, driver.reply()?)));
        let (reply, now) = match replies {
            Ok(replies) => replies,
            Err(gone) => {
                // It has named itself, or lowered the limit.
                assert_eq!(gone, Gone::End, "{:?}", shown());
                driver = server.admin();
                (settings, closed) = (None, closed + 1);
                continue;
            }
        };
        match &reply {
            Value::Error(error) => {
                refused += 1;
                assert!(
                    !error.contains("panic") && !error.contains("internal"),
                    "{:?}: {error}",
                    shown()
                );
                if let Some(before) = &settings {
                    assert_eq!(&now, before, "refused, and changed: {:?}: {error}", shown());
                }
            }
            _ => taken += 1,
        }
        settings = Some(now);
        if n % 500 == 0 {
            assert_eq!(figure(&mut driver, "healthy"), 1);
            others.truncate(2);
            // Some are evicted before they have said a word.
            others.extend((0..3).filter_map(|_| Conn::open(&server.tcp()).ok()));
        }
    }
    driver = server.admin();
    assert_eq!(driver.ok("PING").text(), "PONG");
    assert_eq!(figure(&mut driver, "healthy"), 1);
    say(format!(
        "{on}: {} commands of random words: {taken} taken, {refused} refused, the caller closed {closed} times",
        many()
    ));
    assert!(taken > many() / 100 && refused > many() / 10);
    // And it still does what it is for.
    let words = "CONNAGE.CONFIG SET enabled yes maxage 300 types normal dry-run no rate 0 rules";
    let mut words: Vec<&str> = words.split(' ').collect();
    words.push("");
    driver.call(&words);
    server.client().ends();
}
