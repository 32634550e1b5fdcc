//! What commands are asked for: all of them parse here.
//!
//! Parsing answers a value, or says what is wrong. It must not know which connections there are.

mod condition;
pub mod config;
pub mod filter;
mod key;
pub mod kill;
pub mod list;
pub mod log;
pub mod own;
mod pick;

use crate::text::args::Args;
use crate::text::word::{self, Refusal};
use alloc::format;

pub use crate::request::kill::{Kill, KillRequest};
pub use crate::request::list::ListRequest;
pub use crate::request::own::parse_self;
pub use crate::request::pick::Candidates;

/// What is wrong with the words of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// There are too many, or too few, which the server says in its own words.
    Arity,
    Refused(Refusal),
}

impl From<Refusal> for Wrong {
    fn from(refusal: Refusal) -> Wrong {
        Wrong::Refused(refusal)
    }
}

fn take_limit(args: &mut Args<'_>, limit: &mut Option<u64>) -> Result<(), Refusal> {
    const ACCEPTED: &str = "a whole number above 0";
    let value = args.value_of("LIMIT", ACCEPTED)?;
    let read = word::whole(value)
        .filter(|n| *n > 0)
        .ok_or_else(|| Refusal::new(format!("{} is not accepted: give {ACCEPTED}", word::shown(value))));
    put("LIMIT", limit, read)
}

/// Fills an option's place, once.
fn put<T>(name: &str, place: &mut Option<T>, value: Result<T, Refusal>) -> Result<(), Refusal> {
    let value = value.map_err(|e| e.of(name))?;
    if place.is_some() {
        return Err(Refusal::new("given twice: once is accepted").of(name));
    }
    *place = Some(value);
    Ok(())
}
