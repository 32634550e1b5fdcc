//! What a setting's value is: how each of their types is read and printed.
//!
//! No setting is known here.

use alloc::format;
use alloc::string::{String, ToString};

use crate::policy::percent::Percent;
use crate::policy::rules::Rules;
use crate::policy::types::Types;
use crate::text::time::Millis;
use crate::text::word::{self, Refusal};

/// The largest number that a setting accepts which is neither a duration nor a share.
const MAX_NUMBER: u32 = 1_000_000;

/// The type of a setting.
pub(super) trait Value: Sized {
    /// # Errors
    /// Anything that is not one of its values.
    fn read(word: &[u8]) -> Result<Self, Refusal>;

    /// The value in the one way in which it is printed everywhere; [`Value::read`] reads it back.
    fn print(&self) -> String;

    /// How many of the words after a setting's name in `loadmodule` are its value. CONFIG REWRITE writes words
    /// there without quotes, so that one value may be several of them.
    fn words(_after: &[&[u8]]) -> usize {
        1
    }
}

impl Value for bool {
    fn read(word: &[u8]) -> Result<bool, Refusal> {
        word::yes_or_no(word)
    }

    fn print(&self) -> String {
        if *self { "yes" } else { "no" }.to_string()
    }
}

impl Value for u32 {
    fn read(word: &[u8]) -> Result<u32, Refusal> {
        word::whole(word)
            .and_then(|n| u32::try_from(n).ok())
            .filter(|n| *n <= MAX_NUMBER)
            .ok_or_else(|| {
                Refusal::new(format!(
                    "{} is not accepted: give a whole number from 0 to {MAX_NUMBER}",
                    word::shown(word)
                ))
            })
    }

    fn print(&self) -> String {
        self.to_string()
    }
}

impl Value for Millis {
    fn read(word: &[u8]) -> Result<Millis, Refusal> {
        Millis::parse(word)
    }

    fn print(&self) -> String {
        self.to_string()
    }
}

impl Value for Percent {
    fn read(word: &[u8]) -> Result<Percent, Refusal> {
        Percent::parse(word)
    }

    fn print(&self) -> String {
        self.to_string()
    }
}

impl Value for Types {
    fn read(text: &[u8]) -> Result<Types, Refusal> {
        Types::parse(text)
    }

    fn print(&self) -> String {
        self.to_string()
    }

    /// All type names that follow. The first word is the value whatever it is, so that a bad one is named.
    fn words(after: &[&[u8]]) -> usize {
        let names = after.iter().skip(1).take_while(|word| Types::parse(word).is_ok());
        names.count().saturating_add(1)
    }
}

impl Value for Rules {
    fn read(text: &[u8]) -> Result<Rules, Refusal> {
        Rules::parse(text)
    }

    fn print(&self) -> String {
        self.to_string()
    }

    /// All words to the end, which may be none.
    fn words(after: &[&[u8]]) -> usize {
        after.len()
    }
}
