//! The parsers: any bytes are taken or refused with one line, what is taken prints and reads
//! back, and what is refused changes nothing.

use crate::inputs::Inputs;
use crate::lines;
use connage_engine::client::info_line;
use connage_engine::policy::rules::Rules;
use connage_engine::policy::settings::{parse_module_args, Name, Settings};
use connage_engine::request::{self, KillRequest, ListRequest, Wrong};
use connage_engine::text::address::{self, AddrMatch};
use connage_engine::text::glob::Glob;
use connage_engine::text::time::Millis;
use std::fmt::Display;

fn one_line(error: &impl Display) {
    let text = error.to_string();
    assert!(
        !text.is_empty() && !text.chars().any(char::is_control),
        "{text:?}"
    );
}

pub fn client_list(inputs: &mut Inputs) {
    let text = lines::client_list(inputs);
    let rules = Rules::parse(b"a: user=d* addr=10.0.0.0/8 lib=*e* type=normal maxage=1m").expect("a rule");
    for client in info_line::lines(&text) {
        assert!(client.id.0 > 0);
        // What is done with any line.
        let _ = (client.client_type(), client.is_unix(), client.in_multi());
        let _ = (rules.match_from(0, &client), address::ip(client.addr));
    }
}

pub fn duration(inputs: &mut Inputs) {
    let word = match inputs.below(4) {
        0 => inputs.bytes(24),
        _ => inputs.duration(),
    };
    match Millis::parse(&word) {
        Ok(millis) => {
            assert!(millis <= Millis::MAX);
            assert_eq!(Millis::parse(millis.to_string().as_bytes()), Ok(millis));
        }
        Err(error) => one_line(&error),
    }
}

fn value(inputs: &mut Inputs, name: Name) -> Vec<u8> {
    match (inputs.below(4), name) {
        (0, _) => inputs.word(),
        (_, Name::Rules) => inputs.rules(),
        (_, Name::Maxage | Name::Grace) => inputs.duration(),
        _ => inputs.word(),
    }
}

fn any_name(inputs: &mut Inputs) -> Name {
    Name::ALL[inputs.below(Name::ALL.len())]
}

pub fn setting(inputs: &mut Inputs) {
    let mut settings = Settings::default();
    for _ in 0..1 + inputs.below(4) {
        let name = any_name(inputs);
        let value = value(inputs, name);
        let before = settings.clone();
        match settings.set(name, &value) {
            Ok(()) => {
                let mut again = before;
                again
                    .set(name, settings.get(name).as_bytes())
                    .expect("what it prints itself");
                assert_eq!(again, settings);
            }
            Err(error) => {
                one_line(&error);
                assert_eq!(settings, before, "refused, and changed");
            }
        }
    }
}

pub fn module_args(inputs: &mut Inputs) {
    let mut words = Vec::new();
    for _ in 0..inputs.below(5) {
        let name = any_name(inputs);
        words.push(name.as_str().as_bytes().to_vec());
        let value = value(inputs, name);
        words.extend(value.split(|b| *b == b' ').map(<[u8]>::to_vec));
    }
    if inputs.chance(20) {
        words = inputs.words(8);
    }
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    if let Err(error) = parse_module_args(&words) {
        one_line(&error);
    }
}

pub fn rules(inputs: &mut Inputs) {
    let text = inputs.rules();
    match Rules::parse(&text) {
        Ok(rules) => {
            let printed = rules.to_string();
            let again = Rules::parse(printed.as_bytes()).expect("what it prints itself");
            assert_eq!(again, rules, "{printed}");
            let line = lines::client_list(inputs);
            info_line::lines(&line).for_each(|client| {
                assert_eq!(rules.match_from(0, &client), again.match_from(0, &client));
            });
        }
        Err(error) => one_line(&error),
    }
}

pub fn requests(inputs: &mut Inputs) {
    let words = inputs.words(10);
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    match KillRequest::parse(&words) {
        Ok(KillRequest::Close(kill)) => {
            let text = lines::client_list(inputs);
            for client in info_line::lines(&text) {
                let _ = kill.filter.matches(&client, Millis(inputs.number()));
                // The link to the master, by no words whatever.
                assert!(!(client.has_flag(b'M') && kill.filter.allows(&client, || false)));
            }
        }
        Ok(KillRequest::Cancel) => {}
        Err(error) => one_line(&error),
    }
    if let Err(error) = ListRequest::parse(&words) {
        one_line(&error);
    }
    if let Err(error) = request::parse_self(&words) {
        one_line(&error);
    }
    let of_log = request::log::parse_get(&words).err();
    let of_get = request::config::parse_get(&words).err();
    let of_set = request::config::parse_set(&words).err();
    for wrong in [of_log, of_get, of_set].into_iter().flatten() {
        if let Wrong::Refused(refusal) = wrong {
            one_line(&refusal);
        }
    }
}

pub fn matches(inputs: &mut Inputs) {
    let pattern: String = (0..inputs.below(12))
        .map(|_| inputs.of(&["*", "?", "a", "b", "[ab]", "[^a-", "]", "\\", "-", "é"]))
        .collect();
    let text: String = (0..inputs.below(24))
        .map(|_| inputs.of(&["a", "b", "-", "]"]))
        .collect();
    let glob = Glob::new(&pattern);
    let _ = (glob.matches(text.as_bytes()), glob.matches(&inputs.bytes(20)));
    let (word, addr) = (inputs.address(), inputs.address());
    if let Some(net) = AddrMatch::parse(&word) {
        let again = AddrMatch::parse(net.to_string().as_bytes());
        assert_eq!(again, Some(net), "{net}");
        let _ = net.matches(&addr, inputs.chance(10));
    }
    let _ = (
        address::has_port(&addr),
        address::same(&word, &addr),
        address::ip(&addr),
    );
}
