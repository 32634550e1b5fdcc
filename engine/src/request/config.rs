//! CONNAGE.CONFIG: which settings it is asked for, and what they are to be set to.
//!
//! It must not know what settings there are, nor what their values mean: `settings` does.

use crate::policy::settings::Name;
use crate::request::Wrong;
use crate::text::glob::Glob;
use crate::text::word::{self, Refusal};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// How the server's own store begins the name of a setting; users may as well.
pub const PREFIX: &str = "connage.";

/// The longest pattern of names, in bytes.
const MOST_PATTERN: usize = 256;

fn without_prefix(word: &[u8]) -> &[u8] {
    match word.split_at_checked(PREFIX.len()) {
        Some((head, rest)) if head.eq_ignore_ascii_case(PREFIX.as_bytes()) => rest,
        _ => word,
    }
}

/// CONNAGE.CONFIG GET: the settings that match a pattern, in their order.
///
/// # Errors
/// There is no pattern, or one that is too long.
pub fn parse_get(words: &[&[u8]]) -> Result<Vec<Name>, Wrong> {
    if words.is_empty() {
        return Err(Wrong::Arity);
    }
    let mut are_wanted = Name::ALL.map(|name| (name, false));
    // One by one, and none that is long: a pattern as it is matched takes many times the memory of its text.
    for word in words {
        if word.len() > MOST_PATTERN {
            return Err(Wrong::Refused(Refusal::new(format!(
                "{} is too long a pattern: at most {MOST_PATTERN} bytes are accepted",
                word::shown(word)
            ))));
        }
        let pattern = Glob::new(&String::from_utf8_lossy(without_prefix(word)).to_lowercase());
        for (name, is_wanted) in &mut are_wanted {
            *is_wanted |= pattern.matches(name.as_str().as_bytes());
        }
    }
    let wanted = are_wanted.into_iter().filter(|(_, is_wanted)| *is_wanted);
    Ok(wanted.map(|(name, _)| name).collect())
}

/// CONNAGE.CONFIG SET: settings, each with the value that it is given.
///
/// # Errors
/// A name without a value, none at all, or one that is unknown. What values are accepted is not asked.
pub fn parse_set<'a>(words: &[&'a [u8]]) -> Result<Vec<(Name, &'a [u8])>, Wrong> {
    let pairs = words.chunks_exact(2);
    if words.is_empty() || !pairs.remainder().is_empty() {
        return Err(Wrong::Arity);
    }
    let mut settings = Vec::new();
    for pair in pairs {
        let [name, value] = pair else {
            continue;
        };
        let known = Name::parse(without_prefix(name)).ok_or_else(|| {
            Refusal::new(format!(
                "{} is not a setting: give {}",
                word::shown(name),
                Name::list()
            ))
        })?;
        settings.push((known, *value));
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_named_by_patterns_in_either_case_with_or_without_the_prefix() {
        let cases: [(&[&[u8]], &[Name]); 6] = [
            (&[b"maxage"], &[Name::Maxage]),
            (&[b"CONNAGE.MaxAge"], &[Name::Maxage]),
            (&[b"g*", b"maxage"], &[Name::Maxage, Name::Grace]),
            (&[b"connage.r*"], &[Name::Rate, Name::Rules]),
            (&[b"connage"], &[]),
            (&[b"*"], &Name::ALL),
        ];
        for (words, want) in cases {
            assert_eq!(parse_get(words).unwrap(), want, "{words:?}");
        }
        assert_eq!(parse_get(&[]), Err(Wrong::Arity));
    }

    #[test]
    fn a_pattern_has_a_longest_length() {
        let longest = "*".repeat(MOST_PATTERN);
        assert_eq!(parse_get(&[longest.as_bytes()]).unwrap(), Name::ALL);
        let longer = "*".repeat(MOST_PATTERN + 1);
        let refusal = format!(
            "'{}...' is too long a pattern: at most 256 bytes are accepted",
            "*".repeat(64)
        );
        let want = Err(Wrong::Refused(Refusal::new(refusal)));
        assert_eq!(parse_get(&[b"maxage", longer.as_bytes()]), want);
    }

    #[test]
    fn settings_come_with_their_values() {
        let words: [&[u8]; 4] = [b"Rate", b"5", b"connage.rate", b""];
        let want: [(Name, &[u8]); 2] = [(Name::Rate, b"5"), (Name::Rate, b"")];
        assert_eq!(parse_set(&words).unwrap(), want);
        for words in [&words[..0], &words[..1], &words[..3]] {
            assert_eq!(parse_set(words), Err(Wrong::Arity));
        }
        let refusal = Refusal::new(format!("'connage.x' is not a setting: give {}", Name::list()));
        assert_eq!(
            parse_set(&[b"rate", b"5", b"connage.x", b"5"]),
            Err(Wrong::Refused(refusal))
        );
    }
}
