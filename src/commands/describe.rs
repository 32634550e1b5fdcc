//! Describe: the arguments that several commands share, as COMMAND DOCS tells of them.

use crate::api::command::{Arg, Kind};

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
    let types = || {
        Kind::OneOf(vec![
            token("normal", "NORMAL"),
            token("master", "MASTER"),
            token("primary", "PRIMARY"),
            token("slave", "SLAVE"),
            token("replica", "REPLICA"),
            token("pubsub", "PUBSUB"),
        ])
    };
    vec![
        multiple_option("client-id", "ID"),
        multiple_option("not-client-id", "NOT-ID"),
        option("client-type", "TYPE", types()),
        option("not-client-type", "NOT-TYPE", types()),
        option("username", "USER", Kind::Text),
        option("not-username", "NOT-USER", Kind::Text),
        option("addr", "ADDR", Kind::Text),
        option("not-addr", "NOT-ADDR", Kind::Text),
        option("laddr", "LADDR", Kind::Text),
        option("not-laddr", "NOT-LADDR", Kind::Text),
        option("ip", "IP", Kind::Text),
        option("not-ip", "NOT-IP", Kind::Text),
        option("name", "NAME", Kind::Text),
        option("not-name", "NOT-NAME", Kind::Text),
        option("maxage", "MAXAGE", Kind::Text),
        option("idle", "IDLE", Kind::Text),
        option("flags", "FLAGS", Kind::Text),
        option("not-flags", "NOT-FLAGS", Kind::Text),
        option("lib-name", "LIB-NAME", Kind::Text),
        option("not-lib-name", "NOT-LIB-NAME", Kind::Text),
        option("lib-ver", "LIB-VER", Kind::Text),
        option("not-lib-ver", "NOT-LIB-VER", Kind::Text),
        option("db", "DB", Kind::Integer),
        option("not-db", "NOT-DB", Kind::Integer),
        option("capa", "CAPA", Kind::Text),
        option("not-capa", "NOT-CAPA", Kind::Text),
    ]
}

fn multiple_option(name: &'static str, token: &'static str) -> Arg {
    multiple(option(name, token, Kind::Integer))
}
