//! Commands that make no sense, against a live server: it stays up, answers each, and a
//! command that is refused changes no setting.

use crate::inputs::Inputs;
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

fn word(inputs: &mut Inputs) -> Vec<u8> {
    match inputs.below(20) {
        0 => vec![b'x'; inputs.below(5_000)],
        1 => inputs.rules(),
        2 => inputs.address(),
        3..=5 => inputs.word(),
        _ => inputs.known(),
    }
}

fn command(inputs: &mut Inputs) -> Vec<Vec<u8>> {
    let command = COMMANDS[inputs.below(COMMANDS.len())];
    let mut words: Vec<Vec<u8>> = command.iter().map(|word| word.as_bytes().to_vec()).collect();
    let many = inputs.below(6);
    words.extend((0..many).map(|_| word(inputs)));
    // CONFIG SET of something else is not ours to try.
    let ours = |name: &Vec<u8>| name.starts_with(b"connage.");
    if words[0] == b"CONFIG" && !words[2..].iter().step_by(2).all(ours) {
        words[0] = b"CONNAGE.CONFIG".to_vec();
    }
    words
}

on_servers!(
    FIVE,
    beside,
    no_command_of_any_words_harms_the_server_or_sets_what_it_refuses
);
fn no_command_of_any_words_harms_the_server_or_sets_what_it_refuses(on: &'static str) {
    let server = Setup::of(on).module("").start();
    let mut driver = server.admin();
    let mut others = server.clients(5);
    let mut settings: Option<Value> = None;
    let (mut taken, mut refused, mut closed) = (0u64, 0u64, 0u64);
    for n in 0..many() {
        let words = command(&mut Inputs::new(1, "commands", n));
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
