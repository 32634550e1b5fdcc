//! The settings: one table of their names, and what each accepts and prints.
//!
//! Validated and immutable once in use. Where settings come from, and what is done with
//! them, is not known here.

use crate::policy::rules::Rules;
use crate::policy::types::Types;
use crate::text::time::Millis;
use crate::text::word::{self, Refusal};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

pub use crate::policy::percent::Percent;

/// The most evictions a second that `rate` accepts.
pub const MAX_RATE: u32 = 1_000_000;
/// The most entries that `log-max-len` accepts.
pub const MAX_LOG_LEN: u32 = 1_000_000;

/// All settings, each with a valid value. A copy is cheap.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// `false`: nothing is evicted, drains included.
    pub enabled: bool,
    /// The limit of a connection that no rule says otherwise of; 0: none.
    pub maxage: Millis,
    /// How much earlier than `maxage` a connection's own limit may be drawn.
    pub jitter: Percent,
    /// How long past its limit a busy connection may go on.
    pub grace: Millis,
    /// The most evictions a second; 0: as many as keep the server responsive.
    pub rate: u32,
    /// Which connections age evicts.
    pub types: Types,
    pub rules: Rules,
    /// `true`: age only counts, logs and lists what it would evict.
    pub dry_run: bool,
    /// Entries that the log keeps.
    pub log_max_len: u32,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            enabled: true,
            maxage: Millis(0),
            jitter: Percent(0),
            grace: Millis(5_000),
            rate: 1_000,
            types: Types::default(),
            rules: Rules::default(),
            dry_run: false,
            log_max_len: 128,
        }
    }
}

/// The name of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Name {
    Enabled,
    Maxage,
    Jitter,
    Grace,
    Rate,
    Types,
    Rules,
    DryRun,
    LogMaxLen,
}

impl Name {
    /// Every setting, in the order of the documentation.
    pub const ALL: [Name; 9] = [
        Name::Enabled,
        Name::Maxage,
        Name::Jitter,
        Name::Grace,
        Name::Rate,
        Name::Types,
        Name::Rules,
        Name::DryRun,
        Name::LogMaxLen,
    ];

    /// The name as users write it, without the module's prefix.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Name::Enabled => "enabled",
            Name::Maxage => "maxage",
            Name::Jitter => "jitter",
            Name::Grace => "grace",
            Name::Rate => "rate",
            Name::Types => "types",
            Name::Rules => "rules",
            Name::DryRun => "dry-run",
            Name::LogMaxLen => "log-max-len",
        }
    }

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

impl Settings {
    /// Sets one value.
    ///
    /// # Errors
    /// A value that the setting does not accept; nothing has changed then.
    pub fn set(&mut self, name: Name, value: &[u8]) -> Result<(), Refusal> {
        self.try_set(name, value).map_err(|e| e.of(name.as_str()))
    }

    fn try_set(&mut self, name: Name, value: &[u8]) -> Result<(), Refusal> {
        match name {
            Name::Enabled => self.enabled = word::yes_or_no(value)?,
            Name::Maxage => self.maxage = Millis::parse(value)?,
            Name::Jitter => self.jitter = Percent::parse(value)?,
            Name::Grace => self.grace = Millis::parse(value)?,
            Name::Rate => self.rate = up_to(MAX_RATE, value)?,
            Name::Types => self.types = Types::parse(value)?,
            Name::Rules => self.rules = Rules::parse(value)?,
            Name::DryRun => self.dry_run = word::yes_or_no(value)?,
            Name::LogMaxLen => self.log_max_len = up_to(MAX_LOG_LEN, value)?,
        }
        Ok(())
    }

    /// The value of one setting as it is printed everywhere, durations in milliseconds.
    /// [`Settings::set`] reads it back.
    #[must_use]
    pub fn get(&self, name: Name) -> String {
        let yes_no = |yes| if yes { "yes" } else { "no" }.to_string();
        match name {
            Name::Enabled => yes_no(self.enabled),
            Name::Maxage => self.maxage.to_string(),
            Name::Jitter => self.jitter.to_string(),
            Name::Grace => self.grace.to_string(),
            Name::Rate => self.rate.to_string(),
            Name::Types => self.types.to_string(),
            Name::Rules => self.rules.to_string(),
            Name::DryRun => yes_no(self.dry_run),
            Name::LogMaxLen => self.log_max_len.to_string(),
        }
    }
}

fn up_to(most: u32, value: &[u8]) -> Result<u32, Refusal> {
    word::whole(value)
        .and_then(|n| u32::try_from(n).ok())
        .filter(|n| *n <= most)
        .ok_or_else(|| {
            Refusal::new(format!(
                "{} is not accepted: give a whole number from 0 to {most}",
                word::shown(value)
            ))
        })
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
        let words = match name {
            Name::Rules => after.len(),
            // The first word is its value whatever it is, so that a bad one is named.
            Name::Types => after
                .iter()
                .skip(1)
                .take_while(|word| Types::parse(word).is_ok())
                .count()
                .saturating_add(1),
            _ => 1,
        };
        let Some((value, after)) = after.split_at_checked(words) else {
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
    fn the_defaults_are_those_of_the_documentation() {
        let defaults = Name::ALL.map(|name| (name.as_str(), Settings::default().get(name)));
        let want = [
            ("enabled", "yes"),
            ("maxage", "0"),
            ("jitter", "0"),
            ("grace", "5000"),
            ("rate", "1000"),
            ("types", "normal"),
            ("rules", ""),
            ("dry-run", "no"),
            ("log-max-len", "128"),
        ];
        assert_eq!(defaults, want.map(|(name, value)| (name, value.to_string())));
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
        let names = "enabled, maxage, jitter, grace, rate, types, rules, dry-run or log-max-len";
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

    fn value(name: Name) -> BoxedStrategy<String> {
        match name {
            Name::Enabled | Name::DryRun => "(yes|no|YES)".boxed(),
            Name::Maxage | Name::Grace => "[0-9]{1,9}(ms|s|m|h|d)?".boxed(),
            Name::Jitter => (0..=90u8).prop_map(|n| n.to_string()).boxed(),
            Name::Rate | Name::LogMaxLen => (0..=1_000_000u32).prop_map(|n| n.to_string()).boxed(),
            Name::Types => "(normal|pubsub|both|pubsub,normal)".boxed(),
            Name::Rules => "(|a: user=[a-z*]{1,5} maxage=[0-9]{1,5}s;b: lib=[a-z]{1,3})".boxed(),
        }
    }

    fn any_settings() -> impl Strategy<Value = Settings> {
        Name::ALL.map(value).to_vec().prop_map(|values| {
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
        fn any_bytes_are_a_value_or_one_line_of_error(bytes: Vec<u8>, name in 0..9usize) {
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
