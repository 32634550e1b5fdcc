//! Who may do what: by categories where the server lets modules give them, by the server's
//! own counterpart on Redis 7.0.

use crate::on_servers;
use crate::support::conn::Conn;
use crate::support::server::{Server, Setup};

/// A use of each command, and the server's own that goes with it on Redis 7.0.
const USES: [(&str, &str); 13] = [
    ("CONNAGE.SELF", ""),
    ("CONNAGE.SELF MAXAGE 1h", ""),
    ("CONNAGE.LIST ID 1", "client|list"),
    ("CONNAGE.KILL ID 999999", "client|kill"),
    ("CONNAGE.KILL CANCEL", "client|kill"),
    ("CONNAGE.LOG LEN", "client|list"),
    ("CONNAGE.LOG GET", "client|list"),
    ("CONNAGE.LOG RESET", "config|resetstat"),
    ("CONNAGE.LOG HELP", "client|list"),
    ("CONNAGE.CONFIG GET *", "config|get"),
    ("CONNAGE.CONFIG HELP", "config|get"),
    ("CONNAGE.CONFIG SET jitter 7", "config|set"),
    ("CONNAGE.CONFIG RESETSTAT", "config|resetstat"),
];

fn has_categories(on: &str) -> bool {
    on != "redis-7.0"
}

/// A connection of a user with these rights alone.
fn user(server: &Server, admin: &mut Conn, rights: &str) -> Conn {
    admin.ok("ACL SETUSER tester reset");
    admin.ok(&format!("ACL SETUSER tester on nopass ~* &* {rights}"));
    let mut conn = server.client();
    conn.ok("AUTH tester x");
    conn
}

#[track_caller]
fn may(conn: &mut Conn, rights: &str, is_allowed: impl Fn(&str) -> bool) {
    for (line, _) in USES {
        let reply = conn.run(line);
        let refused = reply.is_error() && reply.error().starts_with("NOPERM");
        assert_eq!(!refused, is_allowed(line), "{line} with {rights}: {reply:?}");
        assert!(refused || !reply.is_error(), "{line} with {rights}: {reply:?}");
    }
}

on_servers!(
    FIVE,
    beside,
    with_connection_only_it_may_ask_of_itself_and_do_as_client_does
);
fn with_connection_only_it_may_ask_of_itself_and_do_as_client_does(on: &'static str) {
    let server = Setup::of(on).module("").start();
    let mut admin = server.admin();
    let rights = "-@all +@connection";
    let mut conn = user(&server, &mut admin, rights);
    // The server's own CLIENT KILL is of that category too.
    assert_eq!(conn.ok("CLIENT KILL ID 999999").int(), 0);
    let mine = |line: &str| {
        let family = ["CONNAGE.SELF", "CONNAGE.LIST", "CONNAGE.KILL"];
        has_categories(on) && family.iter().any(|name| line.starts_with(name))
    };
    may(&mut conn, rights, mine);
    let mut conn = user(&server, &mut admin, "-@all +@connection +connage.self");
    assert_eq!(
        conn.ok("CONNAGE.SELF").list().len(),
        28,
        "Redis 7.0 has to be told"
    );
}

on_servers!(
    FIVE,
    beside,
    without_admin_and_dangerous_it_may_ask_of_itself_alone
);
fn without_admin_and_dangerous_it_may_ask_of_itself_alone(on: &'static str) {
    let server = Setup::of(on).module("").start();
    let mut admin = server.admin();
    for rights in [
        "+@all -@dangerous -@admin",
        "+@all -@admin -@dangerous",
        "+@all -@dangerous",
        "+@all -@admin",
    ] {
        let mut conn = user(&server, &mut admin, rights);
        // What the server's own commands are refused for, ours are too. (CLIENT LIST and KILL
        // are of both categories everywhere.)
        assert!(conn.run("CLIENT LIST").is_error());
        may(&mut conn, rights, |line| line.starts_with("CONNAGE.SELF"));
    }
    assert_eq!(crate::support::server::setting(&mut admin, "connage.jitter"), "0");
}

on_servers!(
    FIVE,
    beside,
    no_command_lends_a_right_that_its_counterpart_would_not
);
fn no_command_lends_a_right_that_its_counterpart_would_not(on: &'static str) {
    let server = Setup::of(on).module("").start();
    let mut admin = server.admin();
    for (line, counterpart) in USES {
        let name = line.split(' ').next().expect("a name").to_lowercase();
        let ours = format!("-@all +{name}");
        let mut conn = user(&server, &mut admin, &ours);
        let refused = conn.run(line).is_error();
        assert_eq!(
            refused,
            !has_categories(on) && !counterpart.is_empty(),
            "{line} with {ours}"
        );
        if !counterpart.is_empty() {
            let both = format!("{ours} +{counterpart}");
            let mut conn = user(&server, &mut admin, &both);
            assert!(!conn.run(line).is_error(), "{line} with {both}");
            let theirs = format!("-@all +{counterpart}");
            let mut conn = user(&server, &mut admin, &theirs);
            assert!(
                conn.run(line).error().starts_with("NOPERM"),
                "{line} with {theirs}"
            );
        }
    }
}
