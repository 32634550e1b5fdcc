//! What a rule asks of a connection: how each kind of pattern is read, and which values it fits.
//!
//! No key of a rule is known here, and no limit.

use alloc::format;

use crate::client::{Client, ClientType};
use crate::text::address::AddrMatch;
use crate::text::glob::Glob;
use crate::text::word::{self, Refusal};

/// A pattern for values of one type.
pub(super) trait Pattern<V> {
    /// Whether it fits the `value`, which is one of `client`'s.
    fn fits(&self, value: V, client: &Client<'_>) -> bool;
}

impl Pattern<&[u8]> for Glob {
    fn fits(&self, text: &[u8], _client: &Client<'_>) -> bool {
        // A pattern with stars takes as long as both are, and the text may have been chosen to be long.
        self.matches(word::head(text))
    }
}

impl Pattern<&[u8]> for AddrMatch {
    fn fits(&self, addr: &[u8], client: &Client<'_>) -> bool {
        self.matches(addr, client.is_unix())
    }
}

/// The type follows from the flags.
impl Pattern<&[u8]> for ClientType {
    fn fits(&self, _flags: &[u8], client: &Client<'_>) -> bool {
        client.client_type() == *self
    }
}

/// Any text is a pattern, but for what CONFIG REWRITE could not write back: it does not
/// quote what loadmodule was given.
pub(super) fn glob(value: &[u8]) -> Result<Glob, Refusal> {
    core::str::from_utf8(value)
        .ok()
        .filter(|text| !text.contains(|c: char| c.is_control() || c == '"' || c == '\''))
        .map(Glob::new)
        .ok_or_else(|| {
            Refusal::new(format!(
                "{} is not a pattern: give UTF-8 without quotes and control characters \
                 ('?' stands for any byte)",
                word::shown(value)
            ))
        })
}

/// A user has a name, so an empty pattern is a slip.
pub(super) fn user(value: &[u8]) -> Result<Glob, Refusal> {
    if value.is_empty() {
        return Err(Refusal::new("empty: give a user's name or a pattern"));
    }
    glob(value)
}

pub(super) fn address(value: &[u8]) -> Result<AddrMatch, Refusal> {
    AddrMatch::parse(value).ok_or_else(|| {
        Refusal::new(format!(
            "{} is not an address: give {}",
            word::shown(value),
            AddrMatch::ACCEPTED
        ))
    })
}

/// Only the types that `types` can name: age never evicts others.
pub(super) fn client_type(value: &[u8]) -> Result<ClientType, Refusal> {
    ClientType::parse(value)
        .filter(|kind| matches!(kind, ClientType::Normal | ClientType::Pubsub))
        .ok_or_else(|| {
            Refusal::new(format!(
                "{} is not a type that age evicts: give normal or pubsub",
                word::shown(value)
            ))
        })
}
