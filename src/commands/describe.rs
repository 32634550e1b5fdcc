//! Describe: the arguments that several commands share, as COMMAND DOCS tells of them.

use crate::api::command::{Arg, Kind};
use connage_engine::client::ClientType;
use connage_engine::request::filter::{Described, Filter, Takes};

/// A value behind its token: `TOKEN value`.
pub fn option(name: &'static str, token: &'static str, kind: Kind) -> Arg {
    Arg {
        name,
        kind,
        token: Some(token),
        optional: true,
        multiple: false,
    }
}

/// A token alone.
pub fn token(name: &'static str, token: &'static str) -> Arg {
    Arg {
        name,
        kind: Kind::Token,
        token: Some(token),
        optional: false,
        multiple: false,
    }
}

/// A value without a token.
pub fn value(name: &'static str, kind: Kind) -> Arg {
    Arg {
        name,
        kind,
        token: None,
        optional: false,
        multiple: false,
    }
}

pub fn optional(mut arg: Arg) -> Arg {
    arg.optional = true;
    arg
}

pub fn multiple(mut arg: Arg) -> Arg {
    arg.multiple = true;
    arg
}

/// The filters of KILL and LIST.
pub fn filters() -> Vec<Arg> {
    Filter::described().map(filter).collect()
}

fn filter(described: Described) -> Arg {
    let of = |kind| option(described.value, described.token, kind);
    match described.takes {
        Takes::Text => of(Kind::Text),
        Takes::Integer => of(Kind::Integer),
        Takes::Integers => multiple(of(Kind::Integer)),
        Takes::ClientType => {
            let types = ClientType::NAMES.map(|(name, as_token, _)| token(name, as_token));
            of(Kind::OneOf(types.into()))
        }
    }
}
