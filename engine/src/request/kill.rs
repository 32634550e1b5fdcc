//! CONNAGE.KILL: its options around the filters, and whom it spares.
//!
//! It must not know which connections there are.

use crate::client::flag::{self, Closable};
use crate::client::reach::Reach;
use crate::client::{Client, ClientType};
use crate::request::filter::{self, Filter};
use crate::request::{put, take_limit};
use crate::text::args::Args;
use crate::text::time::Millis;
use crate::text::word::{self, Refusal};
use alloc::format;

/// CONNAGE.KILL.
#[derive(Clone, Debug, PartialEq)]
pub enum KillRequest {
    /// Close what matches.
    Close(Kill),
    /// End all draining by command.
    Cancel,
}

/// Which connections to close, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Kill {
    /// Empty: those that are past their own limit.
    pub filter: Filter,
    /// Whether the caller is left alone; it is unless it says otherwise.
    pub skipme: bool,
    /// How long a busy connection may go on; `None`: as long as the setting says. 0: not at
    /// all.
    pub grace: Option<Millis>,
    /// The time that the closings are spread over, above 0.
    pub over: Option<Millis>,
    /// The most connections to close, above 0; the oldest first.
    pub limit: Option<u64>,
    /// Close nothing, only count.
    pub dry_run: bool,
}

impl KillRequest {
    /// Reads the words after the command's name.
    ///
    /// # Errors
    /// A word that is unknown, a value that is missing or not accepted, an option given
    /// twice, `CANCEL` among others, and naming what KILL never closes.
    pub fn parse(words: &[&[u8]]) -> Result<KillRequest, Refusal> {
        let mut args = Args::new(words);
        if args.take("CANCEL") {
            return match args.next_word() {
                None => Ok(KillRequest::Cancel),
                Some(word) => Err(Refusal::new(format!(
                    "{} is not accepted with CANCEL: give CANCEL alone",
                    word::shown(word)
                ))),
            };
        }
        let mut filter = Filter::default();
        let (mut skipme, mut grace, mut over, mut limit, mut dry_run) = (None, None, None, None, None);
        while args.peek().is_some() {
            if filter.take(&mut args)? {
                // It was a filter, and is in there now.
            } else if args.take("SKIPME") {
                let value = args.value_of("SKIPME", "yes or no")?;
                put("SKIPME", &mut skipme, word::yes_or_no(value))?;
            } else if args.take("GRACE") {
                let value = args.value_of("GRACE", "a duration, 0 for at once")?;
                put("GRACE", &mut grace, Millis::parse(value))?;
            } else if args.take("OVER") {
                let value = args.value_of("OVER", "a duration above 0")?;
                put("OVER", &mut over, filter::duration(value))?;
            } else if args.take("LIMIT") {
                take_limit(&mut args, &mut limit)?;
            } else if args.take("DRYRUN") {
                put("DRYRUN", &mut dry_run, Ok(true))?;
            } else if args.take("CANCEL") {
                return Err(Refusal::new(
                    "CANCEL is not accepted with other words: give CANCEL alone",
                ));
            } else {
                return Err(args.refuse_next(&format!(
                    "CANCEL, or any of {}, SKIPME, GRACE, OVER, LIMIT and DRYRUN",
                    Filter::list()
                )));
            }
        }
        refuse_server_links(&filter)?;
        Ok(KillRequest::Close(Kill {
            filter,
            skipme: skipme.unwrap_or(true),
            grace,
            over,
            limit,
            dry_run: dry_run.is_some(),
        }))
    }
}

impl Filter {
    /// Whom KILL may close beyond ordinary connections: replicas for `TYPE replica` or `ID`, monitors and NO-EVICT
    /// clients when something singles them out.
    #[must_use]
    pub fn reach(&self) -> Reach {
        Reach {
            replicas: self.names_id() || self.names_type() == Some(ClientType::Replica),
            protected: self.singles_out(),
        }
    }

    /// Whether KILL may close the connection, should it match.
    #[must_use]
    pub fn allows(&self, client: &Client<'_>, awaits_link: impl FnOnce() -> bool) -> bool {
        self.reach().allows(client, awaits_link)
    }
}

/// What KILL says when it is asked to close the link to the master, by whatever name.
pub(super) fn master_refused(name: &str) -> Refusal {
    Refusal::new(format!(
        "{name} names the link to the master, which CONNAGE.KILL never closes: use CLIENT KILL"
    ))
}

/// Refuses filters that could match nothing but links that KILL never closes.
fn refuse_server_links(filter: &Filter) -> Result<(), Refusal> {
    match filter.names_type() {
        Some(ClientType::Master) => return Err(master_refused("TYPE master")),
        Some(kind @ (ClientType::SlotImport | ClientType::SlotExport)) => {
            return Err(slot_link_refused(&format!("TYPE {}", kind.name())));
        }
        _ => {}
    }
    let flags = filter.names_flags();
    if flags.contains(&flag::MASTER) {
        return Err(master_refused("FLAGS M"));
    }
    let names_link = |letter: &&u8| flag::closable(**letter) == Closable::Never;
    match flags.iter().find(names_link) {
        Some(flag) => Err(slot_link_refused(&format!("FLAGS {}", char::from(*flag)))),
        None => Ok(()),
    }
}

fn slot_link_refused(name: &str) -> Refusal {
    Refusal::new(format!(
        "{name} names a link that moves slots, which CONNAGE.KILL never closes: use CLIENT KILL"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::ClientId;
    use proptest::prelude::*;

    fn words(text: &str) -> Vec<&[u8]> {
        text.split_terminator(' ').map(str::as_bytes).collect()
    }

    fn kill(text: &str) -> Result<KillRequest, String> {
        KillRequest::parse(&words(text)).map_err(|e| e.to_string())
    }

    fn close(text: &str) -> Kill {
        match kill(text) {
            Ok(KillRequest::Close(kill)) => kill,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn kill_without_a_word_closes_what_is_past_its_limit_but_the_caller() {
        let plain = Kill {
            filter: Filter::default(),
            skipme: true,
            grace: None,
            over: None,
            limit: None,
            dry_run: false,
        };
        assert_eq!(close(""), plain);
    }

    #[test]
    fn options_and_filters_come_in_any_order() {
        let one = close("skipme NO USER u GRACE 0 over 60s LIMIT 5 DryRun ID 1 2 NAME n");
        let other = close("USER u ID 1 2 NAME n DRYRUN LIMIT 5 OVER 1m GRACE 0 SKIPME no");
        assert_eq!(one, other);
        assert!(!one.skipme && one.dry_run);
        assert_eq!(one.grace, Some(Millis(0)));
        assert_eq!(one.over, Some(Millis(60_000)));
        assert_eq!(one.limit, Some(5));
        assert_eq!(one.filter.ids(), Some(&[1, 2].map(ClientId).into()));
    }

    #[test]
    fn cancel_stands_alone() {
        assert_eq!(kill("cancel"), Ok(KillRequest::Cancel));
        assert_eq!(
            kill("CANCEL ID 5"),
            Err("'ID' is not accepted with CANCEL: give CANCEL alone".to_string())
        );
        assert_eq!(
            kill("ID 5 CANCEL"),
            Err("CANCEL is not accepted with other words: give CANCEL alone".to_string())
        );
        // As a value it is a word like others.
        assert!(kill("USER CANCEL").is_ok());
    }

    #[test]
    fn wrong_words_are_named_with_what_is_accepted() {
        let options = format!(
            "give CANCEL, or any of {}, SKIPME, GRACE, OVER, LIMIT and DRYRUN",
            Filter::list()
        );
        let duration = "is not a duration: give whole milliseconds, or a whole number with \
                        ms, s, m, h or d (300000 = 300s = 5m)";
        let master = "names the link to the master, which CONNAGE.KILL never closes: \
                      use CLIENT KILL";
        let slots = "names a link that moves slots, which CONNAGE.KILL never closes: \
                     use CLIENT KILL";
        let cases = [
            ("foo", format!("'foo' is not an option here: {options}")),
            (
                "127.0.0.1:5",
                format!("'127.0.0.1:5' is not an option here: {options}"),
            ),
            ("ID 5 -1", format!("'-1' is not an option here: {options}")),
            (
                "NOT-MAXAGE 5",
                format!("'NOT-MAXAGE' is not an option here: {options}"),
            ),
            ("SKIPME", "SKIPME needs a value: yes or no".to_string()),
            (
                "SKIPME maybe",
                "SKIPME: 'maybe' is neither yes nor no".to_string(),
            ),
            (
                "GRACE",
                "GRACE needs a value: a duration, 0 for at once".to_string(),
            ),
            ("GRACE x", format!("GRACE: 'x' {duration}")),
            ("OVER", "OVER needs a value: a duration above 0".to_string()),
            (
                "OVER 0",
                "OVER: '0' is not accepted: give a duration above 0".to_string(),
            ),
            ("OVER -5", format!("OVER: '-5' {duration}")),
            ("LIMIT", "LIMIT needs a value: a whole number above 0".to_string()),
            (
                "LIMIT 0",
                "LIMIT: '0' is not accepted: give a whole number above 0".to_string(),
            ),
            (
                "LIMIT 5s",
                "LIMIT: '5s' is not accepted: give a whole number above 0".to_string(),
            ),
            (
                "MAXAGE 0",
                "MAXAGE: '0' is not accepted: give a duration above 0".to_string(),
            ),
            (
                "DRYRUN DRYRUN",
                "DRYRUN: given twice: once is accepted".to_string(),
            ),
            (
                "GRACE 1 GRACE 1",
                "GRACE: given twice: once is accepted".to_string(),
            ),
            (
                "SKIPME no SKIPME no",
                "SKIPME: given twice: once is accepted".to_string(),
            ),
            ("TYPE master", format!("TYPE master {master}")),
            ("TYPE primary ID 5", format!("TYPE master {master}")),
            ("FLAGS bM", format!("FLAGS M {master}")),
            ("TYPE slot-import", format!("TYPE slot-import {slots}")),
            ("FLAGS g", format!("FLAGS g {slots}")),
        ];
        for (text, want) in cases {
            assert_eq!(kill(text), Err(want), "{text}");
        }
        assert!(kill("NOT-TYPE master NOT-FLAGS Mi").is_ok());
    }

    #[test]
    fn kill_spares_whom_nobody_named() {
        // Filters that single connections out, and those that do not.
        let named = [
            "ID 1",
            "USER u",
            "ADDR a:1",
            "LADDR a:1",
            "IP ::1",
            "NAME n",
            "FLAGS x",
        ];
        let unnamed = [
            "",
            "TYPE normal",
            "MAXAGE 5",
            "IDLE 5",
            "LIB-NAME l",
            "LIB-VER v",
            "DB 1",
            "CAPA r",
            "NOT-ID 1 NOT-USER u NOT-NAME n NOT-FLAGS x NOT-IP ::1 NOT-ADDR a:1",
        ];
        let allows = |text: &str, flags: &[u8]| {
            let client = Client {
                flags,
                ..Client::unknown(ClientId(1))
            };
            close(text).filter.allows(&client, || false)
        };
        for text in named.iter().chain(&unnamed) {
            for flags in ["N", "P", "xb", "U"] {
                assert!(allows(text, flags.as_bytes()), "{text} takes {flags}");
            }
            for flags in ["M", "i", "E", "g", "o", "SM", "Pg", "Me"] {
                assert!(!allows(text, flags.as_bytes()), "{text} spares {flags}");
            }
            for flags in ["O", "e", "Pe", "OP"] {
                let want = named.contains(text);
                assert_eq!(allows(text, flags.as_bytes()), want, "{text} and {flags}");
            }
            assert_eq!(allows(text, b"S"), *text == "ID 1", "{text} and replicas");
        }
        assert!(allows("TYPE replica", b"S"));
        assert!(!allows("TYPE replica", b"Se"));
        assert!(!allows("TYPE replica", b"Sg"));
    }

    proptest! {
        #[test]
        fn any_words_are_a_request_or_one_line_of_error(words: Vec<Vec<u8>>, option in "(|LIMIT|OVER|GRACE|SKIPME|ID)") {
            let all = [option.as_bytes()].into_iter().chain(words.iter().map(Vec::as_slice));
            let all: Vec<&[u8]> = all.collect();
            if let Err(error) = KillRequest::parse(&all) {
                prop_assert!(!error.to_string().chars().any(char::is_control));
            }
        }
    }
}
