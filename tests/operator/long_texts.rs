//! Names, users and libraries may be as long as the server lets them be: what commands and the log tell of
//! them is cut, and the cut is marked.

use crate::on_servers;
use crate::rows::{listed, row, Row};
use crate::support::server::{wait_for_figure, Setup};
use crate::support::wait_until;

const LONG: usize = 1 << 20;

on_servers!(FIVE, beside, what_is_told_of_a_long_text_is_its_beginning);
fn what_is_told_of_a_long_text_is_its_beginning(on: &'static str) {
    let server = Setup::of(on).module("").start();
    let mut admin = server.admin();
    let (name, user) = ("n".repeat(LONG), "u".repeat(300));
    admin.ok(&format!("ACL SETUSER {user} on nopass +@all"));
    let mut conn = server.client();
    conn.ok(&format!("AUTH {user} x"));
    conn.ok(&format!("CLIENT SETNAME {name}"));
    let has_lib = on != "redis-7.0";
    if has_lib {
        conn.ok(&format!("CLIENT SETINFO lib-name {}", "l".repeat(LONG)));
    }
    let id = conn.id();
    let cut = |letter: &str| letter.repeat(256) + "...";
    let own = Row::of(&conn.ok("CONNAGE.SELF"));
    for row in [own, row(&mut admin, id)] {
        assert_eq!(row.text("name"), cut("n"));
        assert_eq!(row.text("user"), cut("u"));
        if has_lib {
            let lib = row.text("lib-name");
            assert!(lib == cut("l") || lib.is_empty(), "{} bytes", lib.len());
        }
    }
    // It is matched as a whole.
    assert_eq!(listed(&mut admin, &format!("NAME {name}")), [id]);
    assert!(listed(&mut admin, &format!("NAME {}", cut("n"))).is_empty());
    for line in [
        format!("CONNAGE.SELF {name}"),
        format!("CONNAGE.SELF MAXAGE {name}"),
        format!("CONNAGE.LIST {name}"),
        format!("CONNAGE.LIST USER {name}"),
        format!("CONNAGE.KILL GRACE {name}"),
        format!("CONNAGE.LOG GET {name}"),
        format!("CONNAGE.CONFIG SET {name} 1"),
        format!("CONNAGE.CONFIG SET maxage {name}"),
    ] {
        let reply = admin.run(&line);
        let error = reply.error();
        assert!(error.len() < 1_000 && error.contains("..."), "{error:.100}");
    }
    admin.ok(&format!("CONNAGE.KILL ID {id}"));
    wait_for_figure(&mut admin, "evicted_connections", 1);
    wait_until("the log's line", || {
        server.log().contains(&format!("evicted id={id} "))
    });
    let log = server.log();
    let line = log.lines().find(|line| line.contains("evicted id="));
    let line = line.expect("that line");
    assert!(
        line.len() < 1_200 && line.contains(&cut("n")) && line.contains(&cut("u")),
        "{line:.200}"
    );
}
