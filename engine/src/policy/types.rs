//! The setting `types`: which connections age evicts, where no rule names their type.

use alloc::format;
use core::fmt;

use crate::client::ClientType;
use crate::text::word::{self, Refusal};

/// Normal connections, pubsub connections or both; at least one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Types {
    pub normal: bool,
    pub pubsub: bool,
}

impl Default for Types {
    fn default() -> Types {
        Types {
            normal: true,
            pubsub: false,
        }
    }
}

impl Types {
    /// Reads `normal`, `pubsub` or `both`, in either case; also several of them, with blanks
    /// or commas between.
    ///
    /// # Errors
    /// Any other word, or none.
    pub fn parse(text: &[u8]) -> Result<Types, Refusal> {
        let mut types = Types {
            normal: false,
            pubsub: false,
        };
        let words = text
            .split(|b| b" \t,".contains(b))
            .filter(|word| !word.is_empty());
        for word in words {
            let both = word.eq_ignore_ascii_case(b"both");
            let normal = both || word.eq_ignore_ascii_case(b"normal");
            let pubsub = both || word.eq_ignore_ascii_case(b"pubsub");
            if !normal && !pubsub {
                return Err(refusal(word));
            }
            types.normal |= normal;
            types.pubsub |= pubsub;
        }
        if types.normal || types.pubsub {
            Ok(types)
        } else {
            Err(refusal(text))
        }
    }

    /// Whether age evicts connections of this type. Replicas and the server's own links
    /// never.
    #[must_use]
    pub fn covers(self, kind: ClientType) -> bool {
        match kind {
            ClientType::Normal => self.normal,
            ClientType::Pubsub => self.pubsub,
            ClientType::Replica | ClientType::Master | ClientType::SlotImport | ClientType::SlotExport => {
                false
            }
        }
    }
}

fn refusal(word: &[u8]) -> Refusal {
    Refusal::new(format!(
        "{} is not a type that age evicts: give normal, pubsub or both",
        word::shown(word)
    ))
}

impl fmt::Display for Types {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.normal, self.pubsub) {
            (true, true) => "normal pubsub",
            (_, true) => "pubsub",
            (_, false) => "normal",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_one_or_both_in_any_writing_and_print_one_way() {
        let cases = [
            ("normal", "normal"),
            ("PubSub", "pubsub"),
            ("both", "normal pubsub"),
            ("pubsub normal", "normal pubsub"),
            ("normal,pubsub", "normal pubsub"),
            (" normal ,\tpubsub, ", "normal pubsub"),
            ("normal normal", "normal"),
            ("both normal", "normal pubsub"),
        ];
        for (text, want) in cases {
            let types = Types::parse(text.as_bytes()).unwrap();
            assert_eq!(types.to_string(), want, "{text}");
            assert_eq!(Types::parse(want.as_bytes()), Ok(types));
        }
    }

    #[test]
    fn no_type_and_other_types_are_refused() {
        for (text, word) in [
            ("", ""),
            (" , ", " , "),
            ("replica", "replica"),
            ("normal master", "master"),
            ("normalpubsub", "normalpubsub"),
        ] {
            assert_eq!(
                Types::parse(text.as_bytes()).unwrap_err().to_string(),
                format!("'{word}' is not a type that age evicts: give normal, pubsub or both")
            );
        }
    }

    #[test]
    fn types_cover_what_they_name_and_never_a_link_of_the_servers_own() {
        let both = Types::parse(b"both").unwrap();
        assert!(both.covers(ClientType::Normal) && both.covers(ClientType::Pubsub));
        let normal = Types::default();
        assert!(normal.covers(ClientType::Normal) && !normal.covers(ClientType::Pubsub));
        for kind in [
            ClientType::Replica,
            ClientType::Master,
            ClientType::SlotImport,
            ClientType::SlotExport,
        ] {
            assert!(!both.covers(kind));
        }
    }
}
