//! The settings: one table, and what follows from it.
//!
//! Validated and immutable once in use. Where settings come from, and what is done with
//! them, is not known here.

use crate::policy::rules::Rules;
use crate::policy::types::Types;
use crate::policy::value::Value;
use crate::text::time::Millis;
use crate::text::word::{self, Refusal};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

pub use crate::policy::percent::Percent;

/// What a change of a setting touches: the limits of connections, which are derived anew then.
const LIMITS: bool = true;
/// Nothing that is derived.
const NO_LIMITS: bool = false;

/// Makes of a row for each setting the structure that holds them, their names and their defaults, and by their
/// types what they accept and print.
macro_rules! table {
    ($($(#[$meaning:meta])+ $name:literal $key:ident $field:ident: $type:ty = $default:expr, $touches:ident;)+) => {
        /// All settings, each with a valid value. A copy is cheap.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Settings {
            $($(#[$meaning])+ pub $field: $type,)+
        }

        impl Default for Settings {
            fn default() -> Settings {
                Settings { $($field: $default,)+ }
            }
        }

        /// The name of a setting.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Name {
            $($key,)+
        }

        impl Name {
            /// Every setting, in the order of the documentation.
            pub const ALL: [Name; [$($name),+].len()] = [$(Name::$key),+];

            /// The name as users write it, without the module's prefix.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Name::$key => $name,)+
                }
            }

            /// How many of the words that follow in `loadmodule` are its value.
            fn words(self, after: &[&[u8]]) -> usize {
                match self {
                    $(Name::$key => <$type>::words(after),)+
                }
            }
        }

        impl Settings {
            /// Sets one value.
            ///
            /// # Errors
            /// A value that the setting does not accept; nothing has changed then.
            pub fn set(&mut self, name: Name, value: &[u8]) -> Result<(), Refusal> {
                let refused = |refusal: Refusal| refusal.of(name.as_str());
                match name {
                    $(Name::$key => self.$field = <$type>::read(value).map_err(refused)?,)+
                }
                Ok(())
            }

            /// The value of one setting as it is printed everywhere, durations in milliseconds.
            /// [`Settings::set`] reads it back.
            #[must_use]
            pub fn get(&self, name: Name) -> String {
                match name {
                    $(Name::$key => self.$field.print(),)+
                }
            }

            /// Whether all settings by which connections have their limits are as those of `other`.
            #[must_use]
            pub fn limit_as(&self, other: &Settings) -> bool {
                $(($touches == NO_LIMITS || self.$field == other.$field))&&+
            }
        }
    };
}

table! {
    /// `false`: nothing is evicted, drains included.
    "enabled" Enabled enabled: bool = true, NO_LIMITS;
    /// The limit of a connection that no rule says otherwise of; 0: none.
    "maxage" Maxage maxage: Millis = Millis(0), LIMITS;
    /// How much earlier than `maxage` a connection's own limit may be drawn.
    "jitter" Jitter jitter: Percent = Percent(0), LIMITS;
    /// How long past its limit a busy connection may go on.
    "grace" Grace grace: Millis = Millis(5_000), LIMITS;
    /// The most evictions a second; 0: as many as keep the server responsive.
    "rate" Rate rate: u32 = 1_000, NO_LIMITS;
    /// Which connections age evicts.
    "types" Types types: Types = Types::default(), LIMITS;
    /// Limits for some connections.
    "rules" Rules rules: Rules = Rules::default(), LIMITS;
    /// `true`: age only counts, logs and lists what it would evict.
    "dry-run" DryRun dry_run: bool = false, LIMITS;
    /// Entries that the log keeps.
    "log-max-len" LogMaxLen log_max_len: u32 = 128, NO_LIMITS;
}

impl Name {
    /// The setting of this name, in either case.
    #[must_use]
    pub fn parse(word: &[u8]) -> Option<Name> {
        Name::ALL
            .into_iter()
            .find(|name| word.eq_ignore_ascii_case(name.as_str().as_bytes()))
    }

    /// All names, as an error lists them.
    #[must_use]
    pub fn list() -> String {
        word::one_of(&Name::ALL.map(Name::as_str))
    }
}

/// The settings that `loadmodule`'s words give: names each with a value. `types` takes all
/// type names that follow it, and `rules` all words to the end, since CONFIG REWRITE writes
/// words without quotes; for the same reason `rules` may be the last word of all, and is
/// empty then.
///
/// # Errors
/// A name that is unknown or comes twice, a value that is missing or not accepted.
pub fn parse_module_args(args: &[&[u8]]) -> Result<Settings, Refusal> {
    let mut settings = Settings::default();
    let mut given: Vec<Name> = Vec::new();
    let mut rest = args;
    while let [word, after @ ..] = rest {
        let Some(name) = Name::parse(word) else {
            return Err(Refusal::new(format!(
                "{} is not a setting: give names and values of {}",
                word::shown(word),
                Name::list()
            )));
        };
        if given.contains(&name) {
            return Err(Refusal::new("given twice: once is accepted").of(name.as_str()));
        }
        given.push(name);
        let Some((value, after)) = after.split_at_checked(name.words(after)) else {
            return Err(Refusal::new(format!("{} needs a value after it", name.as_str())));
        };
        settings.set(name, &value.join(&b' '))?;
        rest = after;
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn from_args(words: &str) -> Result<Settings, String> {
        let words: Vec<&[u8]> = words.split_terminator(' ').map(str::as_bytes).collect();
        parse_module_args(&words).map_err(|e| e.to_string())
    }

    #[test]
    fn the_names_and_defaults_are_those_of_the_readme() {
        let readme = include_str!("../../../README.md");
        let after = readme.split_once("\n| name | default |").map(|(_, after)| after);
        let rows = after
            .unwrap()
            .lines()
            .skip(2)
            .take_while(|line| line.starts_with("| "));
        let said: Vec<(String, String)> = rows
            .map(|row| {
                let cell = |at| row.split('|').nth(at).unwrap().trim().trim_matches('`');
                let name = Name::parse(cell(1).as_bytes()).unwrap();
                let default = if cell(2) == "empty" { "" } else { cell(2) };
                let mut settings = Settings::default();
                settings.set(name, default.as_bytes()).unwrap();
                (name.as_str().to_string(), settings.get(name))
            })
            .collect();
        let ours = Name::ALL.map(|name| (name.as_str().to_string(), Settings::default().get(name)));
        assert_eq!(said, ours);
    }

    #[test]
    fn what_changes_limits_is_told_from_what_does_not() {
        let cases = [
            (Name::Enabled, "no", true),
            (Name::Maxage, "1h", false),
            (Name::Jitter, "1", false),
            (Name::Grace, "1", false),
            (Name::Rate, "1", true),
            (Name::Types, "both", false),
            (Name::Rules, "a:", false),
            (Name::DryRun, "yes", false),
            (Name::LogMaxLen, "1", true),
        ];
        for (name, value, want) in cases {
            let mut settings = Settings::default();
            assert!(settings.limit_as(&Settings::default()));
            settings.set(name, value.as_bytes()).unwrap();
            assert_eq!(settings.limit_as(&Settings::default()), want, "{name:?}");
        }
    }

    #[test]
    fn every_name_is_known_in_either_case_and_no_other_is() {
        for name in Name::ALL {
            assert_eq!(Name::parse(name.as_str().as_bytes()), Some(name));
            let upper = name.as_str().to_ascii_uppercase();
            assert_eq!(Name::parse(upper.as_bytes()), Some(name));
        }
        for word in ["", "max", "maxages", "dry_run", "connage.maxage"] {
            assert_eq!(Name::parse(word.as_bytes()), None);
        }
    }

    #[test]
    fn a_value_that_is_accepted_prints_one_way() {
        let cases = [
            (Name::Enabled, "NO", "no"),
            (Name::Maxage, "5m", "300000"),
            (Name::Maxage, "0", "0"),
            (Name::Jitter, "90", "90"),
            (Name::Grace, "0s", "0"),
            (Name::Rate, "1000000", "1000000"),
            (Name::Rate, "0", "0"),
            (Name::Types, "pubsub,NORMAL", "normal pubsub"),
            (Name::Rules, "a:maxage=1m;", "a: maxage=60000"),
            (Name::DryRun, "Yes", "yes"),
            (Name::LogMaxLen, "0", "0"),
        ];
        for (name, value, want) in cases {
            let mut settings = Settings::default();
            settings.set(name, value.as_bytes()).unwrap();
            assert_eq!(settings.get(name), want);
            let others = Name::ALL.into_iter().filter(|other| *other != name);
            for other in others {
                assert_eq!(settings.get(other), Settings::default().get(other));
            }
        }
    }

    #[test]
    fn a_value_that_is_refused_is_named_and_changes_nothing() {
        let duration = "is not a duration: give whole milliseconds, or a whole number with \
                        ms, s, m, h or d (300000 = 300s = 5m)";
        let number = "is not accepted: give a whole number from 0 to 1000000";
        let cases = [
            (
                Name::Enabled,
                "maybe",
                "enabled: 'maybe' is neither yes nor no".to_string(),
            ),
            (Name::Maxage, "-1", format!("maxage: '-1' {duration}")),
            (
                Name::Jitter,
                "91",
                "jitter: '91' is not a share: give a whole number of percent, 0 to 90".to_string(),
            ),
            (Name::Grace, "", format!("grace: '' {duration}")),
            (Name::Rate, "1000001", format!("rate: '1000001' {number}")),
            (Name::Rate, "4294967296", format!("rate: '4294967296' {number}")),
            (
                Name::Types,
                "normal replica",
                "types: 'replica' is not a type that age evicts: give normal, pubsub or both".to_string(),
            ),
            (
                Name::Rules,
                "a: jitter=x",
                "rules: rule 'a': jitter: 'x' is not a share: give a whole number of percent, \
                 0 to 90"
                    .to_string(),
            ),
            (
                Name::DryRun,
                "1",
                "dry-run: '1' is neither yes nor no".to_string(),
            ),
            (Name::LogMaxLen, "1s", format!("log-max-len: '1s' {number}")),
        ];
        for (name, value, want) in cases {
            let mut settings = Settings::default();
            let error = settings.set(name, value.as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), want);
            assert_eq!(settings, Settings::default());
        }
    }

    #[test]
    fn loadmodule_takes_names_and_values_and_types_and_rules_without_quotes() {
        assert_eq!(from_args(""), Ok(Settings::default()));
        let settings = from_args(
            "MAXAGE 1h types normal pubsub dry-run yes rate 5 rules a: user=x maxage=0; b: grace=1s",
        )
        .unwrap();
        let mut want = Settings::default();
        for (name, value) in [
            (Name::Maxage, "1h"),
            (Name::Types, "both"),
            (Name::DryRun, "yes"),
            (Name::Rate, "5"),
            (Name::Rules, "a: user=x maxage=0; b: grace=1s"),
        ] {
            want.set(name, value.as_bytes()).unwrap();
        }
        assert_eq!(settings, want);
        assert_eq!(from_args("rules"), Ok(Settings::default()));
        assert_eq!(from_args("types both"), from_args("types normal,pubsub"));
        // In one word, as with quotes.
        let words: [&[u8]; 4] = [b"types", b"normal pubsub", b"rules", b"a: user=x maxage=1h"];
        let quoted = parse_module_args(&words).map_err(|e| e.to_string());
        assert_eq!(quoted, from_args("types normal pubsub rules a: user=x maxage=1h"));
    }

    #[test]
    fn loadmodule_refuses_what_it_does_not_understand() {
        let names = Name::list();
        let cases = [
            (
                "foo 1",
                format!("'foo' is not a setting: give names and values of {names}"),
            ),
            (
                "maxage 1 2",
                format!("'2' is not a setting: give names and values of {names}"),
            ),
            (
                "maxage 1h MAXAGE 1h",
                "maxage: given twice: once is accepted".to_string(),
            ),
            ("maxage 1h jitter", "jitter needs a value after it".to_string()),
            ("types", "types needs a value after it".to_string()),
            (
                "types replica",
                "types: 'replica' is not a type that age evicts: give normal, pubsub or both".to_string(),
            ),
            (
                "rules a: maxage=1 enabled no",
                "rules: rule 'a': 'enabled' is not key=value with one of the keys user, name, \
                 lib, addr, laddr, type, maxage, jitter or grace"
                    .to_string(),
            ),
        ];
        for (words, want) in cases {
            assert_eq!(from_args(words), Err(want), "{words}");
        }
    }

    /// Any value that the setting accepts.
    fn value(name: Name) -> impl Strategy<Value = String> {
        let any = prop_oneof![
            "(yes|no|YES)",
            "[0-9]{1,9}(ms|s|m|h|d)?",
            (0..=90u8).prop_map(|n| n.to_string()),
            (0..=1_000_000u32).prop_map(|n| n.to_string()),
            "(normal|pubsub|both|pubsub,normal)",
            "(|a: user=[a-z*]{1,5} maxage=[0-9]{1,5}s;b: lib=[a-z]{1,3})",
        ];
        any.prop_filter("not accepted", move |value| {
            Settings::default().set(name, value.as_bytes()).is_ok()
        })
    }

    fn any_settings() -> impl Strategy<Value = Settings> {
        Vec::from(Name::ALL.map(value)).prop_map(|values| {
            let mut settings = Settings::default();
            for (name, value) in Name::ALL.into_iter().zip(values) {
                settings.set(name, value.as_bytes()).unwrap();
            }
            settings
        })
    }

    proptest! {
        #[test]
        fn what_is_printed_sets_the_same_again(settings in any_settings()) {
            let mut again = Settings::default();
            for name in Name::ALL {
                again.set(name, settings.get(name).as_bytes()).unwrap();
            }
            prop_assert_eq!(again, settings);
        }

        /// As CONFIG REWRITE writes them: every word without quotes.
        #[test]
        fn what_is_printed_loads_the_same_again(settings in any_settings()) {
            let mut names = Name::ALL.to_vec();
            names.sort_by_key(|name| *name == Name::Rules);
            let line: Vec<String> =
                names.iter().map(|n| format!("{} {}", n.as_str(), settings.get(*n))).collect();
            prop_assert_eq!(from_args(line.join(" ").trim_end()), Ok(settings));
        }

        #[test]
        fn any_bytes_are_a_value_or_one_line_of_error(bytes: Vec<u8>, name in 0..Name::ALL.len()) {
            let mut settings = Settings::default();
            if let Err(error) = settings.set(Name::ALL[name], &bytes) {
                prop_assert!(!error.to_string().chars().any(char::is_control));
                prop_assert_eq!(settings, Settings::default());
            }
        }

        #[test]
        fn any_words_are_settings_or_an_error(words: Vec<Vec<u8>>) {
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            let _ = parse_module_args(&words);
        }
    }
}
