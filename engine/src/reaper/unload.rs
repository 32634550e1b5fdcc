//! Unload: who keeps the server from being rid of the module's commands.
//!
//! The server frees these with the module, while connections go on pointing to them: to the last command that they
//! ran, to what they have queued in MULTI, and, where servers look ahead in a pipeline, to what comes after a command
//! that blocks. Whoever follows such a pointer later (CLIENT LIST, EXEC) takes the server down. So whoever may have
//! one is ended before, or stands in the way.

use crate::client::{Client, ClientId};
use crate::text::word::shown;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};

/// In front of the name of each command of the module's.
const OURS: &[u8] = b"connage.";
/// So many of those in the way are named.
const NAMED: usize = 5;

/// Why somebody stands in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// It has queued commands in MULTI, of which the server does not tell which.
    Transaction,
    /// Ending it would lose an answer.
    Unsent,
    /// It has run a command of the module within this second, and threads may be reading the next.
    Lately,
    /// A command of its is being executed, or is about to be.
    UnderWay,
    /// It is a link of the server's own.
    Link,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Why::Transaction => "in MULTI, with commands queued that may be the module's",
            Why::Unsent => "ran a command of the module, and its answers have not left",
            Why::Lately => "ran a command of the module a moment ago, and the server reads with threads",
            Why::UnderWay => "something is under way that a command of the module may be part of",
            Why::Link => "a link of the server's own that ran a command of the module",
        })
    }
}

/// What holds of the server, and of the operator who unloads.
#[derive(Clone, Copy, Debug)]
pub struct Conditions {
    /// The server looks up the commands of a pipeline before it executes the first of them (Valkey 9, Redis 8.4).
    pub looks_ahead: bool,
    /// Threads of the server's look up the commands that they read (Valkey 8 and Redis 8, with `io-threads`).
    pub threads_look_up: bool,
    /// The operator has been refused a moment ago, and asks again.
    pub insists: bool,
}

/// What is to become of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Stays,
    Ends,
    InTheWay(Why),
}

fn is_ours(command: &[u8]) -> bool {
    command
        .split_at_checked(OURS.len())
        .is_some_and(|(head, _)| head.eq_ignore_ascii_case(OURS))
}

fn fate(client: &Client, conditions: Conditions) -> Fate {
    let ours = is_ours(client.cmd);
    if client.is_server_link() {
        // The commands of the module are never propagated: nothing of theirs is queued or comes later.
        return if ours {
            Fate::InTheWay(Why::Link)
        } else {
            Fate::Stays
        };
    }
    let queued = client.multi.is_some_and(|queued| queued > 0);
    let (blocked, unblocked) = (client.is_blocked(), client.is_unblocked());
    if !ours && !queued && !(conditions.looks_ahead && (blocked || unblocked)) {
        return Fate::Stays;
    }
    let insists_or = |why| {
        if conditions.insists {
            Fate::Ends
        } else {
            Fate::InTheWay(why)
        }
    };
    if unblocked {
        return Fate::InTheWay(Why::UnderWay);
    }
    if queued {
        // In EXEC, it may well be the one that unloads.
        return if client.argv_mem > 0 {
            Fate::InTheWay(Why::UnderWay)
        } else {
            insists_or(Why::Transaction)
        };
    }
    if client.is_closing() {
        return Fate::Ends;
    }
    if client.obl > 0 || client.oll > 0 || client.omem > 0 {
        return insists_or(Why::Unsent);
    }
    if blocked {
        // With a command of ours it is postponed: by CLIENT PAUSE.
        return if ours || client.waits_for_data() {
            Fate::Ends
        } else {
            Fate::InTheWay(Why::UnderWay)
        };
    }
    if client.argv_mem > 0 {
        return insists_or(Why::UnderWay);
    }
    if conditions.threads_look_up && client.idle_s <= 1 {
        return Fate::InTheWay(Why::Lately);
    }
    Fate::Ends
}

/// What the connections make of an unloading.
#[derive(Debug, Default)]
pub struct Survey<'a> {
    /// To be ended before; nobody, where somebody is in the way.
    pub end: Vec<Client<'a>>,
    in_the_way: Vec<(Why, ClientId, &'a [u8])>,
}

impl<'a> Survey<'a> {
    pub fn of(clients: impl Iterator<Item = Client<'a>>, conditions: Conditions) -> Self {
        let mut survey = Survey::default();
        for client in clients {
            match fate(&client, conditions) {
                Fate::Stays => {}
                Fate::Ends => survey.end.push(client),
                Fate::InTheWay(why) => survey.in_the_way.push((why, client.id, client.addr)),
            }
        }
        if !survey.in_the_way.is_empty() {
            survey.end.clear();
        }
        survey.in_the_way.sort_unstable();
        survey
    }

    /// Who is in the way, for the server's log; `None` where nobody is.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        let (first, ..) = self.in_the_way.first()?;
        let mut text = format!("{} connection(s) are in the way: ", self.in_the_way.len());
        let mut last = None;
        for (why, id, addr) in self.in_the_way.iter().take(NAMED) {
            if last != Some(*why) {
                let gap = if last.is_some() { "; " } else { "" };
                let _ = write!(text, "{gap}{why}:");
                last = Some(*why);
            }
            let _ = write!(text, " id={id} addr={}", shown(addr));
        }
        if self.in_the_way.len() > NAMED {
            text.push_str(" and more");
        }
        // Sorted: where the first cannot be ended, none can.
        text.push_str(if *first < Why::Lately {
            ". To unload once more within a minute ends those that can be ended"
        } else {
            ". Try again in a moment, or end them with CLIENT KILL"
        });
        Some(text)
    }
}

/// The user of a line of ACL LIST, where a rule of its names a command of the module. Since Redis 7.2 a server works
/// out all rules again when a module has gone, and ends at one that names what is not there.
#[must_use]
pub fn user_whose_rules_name_a_command(line: &[u8]) -> Option<&[u8]> {
    let mut words = line.split(|byte| *byte == b' ');
    let (_, user) = (words.next(), words.next()?);
    let names = |word: &[u8]| {
        // A selector's rules are in parentheses.
        let rule = word.strip_prefix(b"(").unwrap_or(word);
        let command = rule.strip_prefix(b"+").or_else(|| rule.strip_prefix(b"-"));
        command.is_some_and(is_ours)
    };
    words.any(names).then_some(user)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_that_names_a_command_of_the_module_is_found_wherever_it_stands() {
        let cases: [(&str, Option<&str>); 9] = [
            ("user mon on resetchannels -@all +connage.self", Some("mon")),
            ("user mon on ~* &* +@all -connage.kill +get", Some("mon")),
            ("user mon on -@all +connage.config|get", Some("mon")),
            ("user m on -@all (resetchannels -@all +connage.list)", Some("m")),
            ("user m on -@all (+CONNAGE.LIST ~x)", Some("m")),
            ("user default on nopass ~* &* +@all", None),
            ("user connage.x on ~connage.* &connage.* #00 +get", None),
            ("user", None),
            ("", None),
        ];
        for (line, want) in cases {
            let got = user_whose_rules_name_a_command(line.as_bytes());
            assert_eq!(got, want.map(str::as_bytes), "{line}");
        }
    }

    const FIRST: Conditions = Conditions {
        looks_ahead: false,
        threads_look_up: false,
        insists: false,
    };
    const IDLE: Client<'static> = Client {
        flags: b"N",
        cmd: b"get",
        ..Client::unknown(ClientId(7))
    };
    const OURS: Client<'static> = Client {
        cmd: b"connage.self",
        ..IDLE
    };
    const IN_MULTI: Client<'static> = Client {
        flags: b"x",
        multi: Some(2),
        ..IDLE
    };
    const BLOCKED: Client<'static> = Client {
        flags: b"b",
        cmd: b"blpop",
        argv_mem: 9,
        ..IDLE
    };

    #[test]
    fn whoever_may_point_to_a_command_of_the_module_is_ended_or_in_the_way() {
        use Why::{Link, Transaction, UnderWay, Unsent};
        let stays = Fate::Stays;
        let ends = Fate::Ends;
        let hinders = Fate::InTheWay;
        let sub = |cmd| Client { cmd, ..IDLE };
        let flags = |flags, client| Client { flags, ..client };
        // Asked for the first time, and again; then both where the server looks ahead.
        let cases: [(&str, Client, [Fate; 4]); 25] = [
            ("another command", IDLE, [stays; 4]),
            ("none yet", sub(b"NULL"), [stays; 4]),
            ("another module's", sub(b"connages.x"), [stays; 4]),
            ("ours", OURS, [ends; 4]),
            ("a subcommand", sub(b"connage.config|get"), [ends; 4]),
            ("a subscriber", flags(b"P", OURS), [ends; 4]),
            ("a monitor", flags(b"O", OURS), [ends; 4]),
            ("no-evict", flags(b"e", OURS), [ends; 4]),
            ("a replica", flags(b"S", OURS), [hinders(Link); 4]),
            ("the master", flags(b"M", OURS), [hinders(Link); 4]),
            ("the master in MULTI", flags(b"Mx", IN_MULTI), [stays; 4]),
            (
                "MULTI, nothing queued",
                Client {
                    multi: Some(0),
                    ..IN_MULTI
                },
                [stays; 4],
            ),
            (
                "MULTI",
                IN_MULTI,
                [hinders(Transaction), ends, hinders(Transaction), ends],
            ),
            (
                "MULTI, ours the last",
                Client {
                    cmd: b"connage.self",
                    ..IN_MULTI
                },
                [hinders(Transaction), ends, hinders(Transaction), ends],
            ),
            (
                "EXEC",
                Client {
                    argv_mem: 4,
                    ..IN_MULTI
                },
                [hinders(UnderWay); 4],
            ),
            ("closing", flags(b"A", Client { obl: 5, ..OURS }), [ends; 4]),
            (
                "its answer unsent",
                Client { obl: 5, ..OURS },
                [hinders(Unsent), ends, hinders(Unsent), ends],
            ),
            (
                "more unsent",
                Client { oll: 1, ..OURS },
                [hinders(Unsent), ends, hinders(Unsent), ends],
            ),
            (
                "half a command",
                Client { argv_mem: 3, ..OURS },
                [hinders(UnderWay), ends, hinders(UnderWay), ends],
            ),
            ("another's unsent", Client { obl: 5, ..IDLE }, [stays; 4]),
            ("blocked", BLOCKED, [stays, stays, ends, ends]),
            (
                "blocked, unsent",
                Client { obl: 5, ..BLOCKED },
                [stays, stays, hinders(Unsent), ends],
            ),
            (
                "executed by a thread",
                Client {
                    cmd: b"ft.search",
                    ..BLOCKED
                },
                [stays, stays, hinders(UnderWay), hinders(UnderWay)],
            ),
            (
                "postponed",
                Client {
                    cmd: b"connage.self",
                    ..BLOCKED
                },
                [ends; 4],
            ),
            (
                "unblocked",
                flags(b"u", BLOCKED),
                [stays, stays, hinders(UnderWay), hinders(UnderWay)],
            ),
        ];
        for (title, client, want) in cases {
            let got =
                [(false, false), (false, true), (true, false), (true, true)].map(|(looks_ahead, insists)| {
                    fate(
                        &client,
                        Conditions {
                            looks_ahead,
                            insists,
                            ..FIRST
                        },
                    )
                });
            assert_eq!(got, want, "{title}");
        }
    }

    #[test]
    fn where_threads_look_up_commands_nobody_may_have_run_ours_within_the_second() {
        let conditions = Conditions {
            threads_look_up: true,
            ..FIRST
        };
        let idle = |idle_s| fate(&Client { idle_s, ..OURS }, conditions);
        assert_eq!(idle(0), Fate::InTheWay(Why::Lately));
        assert_eq!(idle(1), Fate::InTheWay(Why::Lately));
        assert_eq!(idle(2), Fate::Ends);
        assert_eq!(fate(&IDLE, conditions), Fate::Stays);
    }

    fn survey<'a>(clients: &[Client<'a>]) -> Survey<'a> {
        Survey::of(clients.iter().copied(), FIRST)
    }

    #[test]
    fn where_somebody_is_in_the_way_nobody_is_ended() {
        assert_eq!(survey(&[OURS, IDLE]).end, [OURS]);
        assert_eq!(survey(&[OURS, IDLE]).refusal(), None);
        let refused = survey(&[OURS, IN_MULTI]);
        assert!(refused.end.is_empty());
        assert!(refused.refusal().is_some());
    }

    #[test]
    fn a_refusal_names_a_few_and_says_what_helps() {
        let multi = |id| Client {
            id: ClientId(id),
            addr: b"10.0.0.1:5",
            ..IN_MULTI
        };
        let text = survey(&[multi(9), multi(8)]).refusal().unwrap();
        assert_eq!(
            text,
            "2 connection(s) are in the way: in MULTI, with commands queued that may be the module's: \
             id=8 addr='10.0.0.1:5' id=9 addr='10.0.0.1:5'. \
             To unload once more within a minute ends those that can be ended"
        );
        let many: Vec<Client> = (1..=9).map(multi).collect();
        let text = survey(&many).refusal().unwrap();
        assert!(
            text.contains(" id=5 ") && !text.contains(" id=6 ") && text.contains(" and more"),
            "{text}"
        );
        let link = Client { flags: b"S", ..OURS };
        assert!(survey(&[link]).refusal().unwrap().contains("CLIENT KILL"));
    }
}
