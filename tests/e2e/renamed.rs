//! `rename-command`: what the module asks the server by may have another name, or none.

use crate::on_servers;
use crate::support::conn::Conn;
use crate::support::server::{figure, Server, Setup};
use crate::support::wait_until;

/// Since Redis 7.2.
fn has_categories(server: &Server) -> bool {
    server.setup.name != "redis-7.0"
}

/// A figure of the module's, of INFO under its other name.
fn info(conn: &mut Conn, name: &str, field: &str) -> i64 {
    let text = conn.ok(&format!("{name} connage")).text();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(&format!("connage_{field}:")));
    line.and_then(|value| value.trim().parse().ok())
        .expect("a figure")
}

on_servers!(FIVE, beside, without_config_settings_are_set_and_evictions_told);
fn without_config_settings_are_set_and_evictions_told(on: &'static str) {
    for name in ["\"\"", "hidden"] {
        let setup = Setup::of(on).line(&format!("rename-command CONFIG {name}"));
        let server = setup.module("maxage 1h").start();
        assert!(
            server.log().contains("no CONFIG (rename-command)"),
            "{}",
            server.log()
        );
        let mut admin = server.admin();
        let get = |admin: &mut Conn, name: &str| {
            let reply = admin.ok(&format!("CONNAGE.CONFIG GET {name}"));
            reply.list().last().map(|value| value.text())
        };
        admin.ok("CONNAGE.CONFIG SET grace 2s jitter 10");
        assert_eq!(get(&mut admin, "grace").as_deref(), Some("2000"));
        // All or none, and each once.
        for (wrong, word) in [
            ("grace 7s jitter 99", "99"),
            ("grace 7s rules nonsense", "nonsense"),
            ("grace 7s grace 8s", "grace"),
        ] {
            let reply = admin.run(&format!("CONNAGE.CONFIG SET {wrong}"));
            assert!(
                reply.is_error() && format!("{reply:?}").contains(word),
                "{reply:?}"
            );
            assert_eq!(get(&mut admin, "grace").as_deref(), Some("2000"), "{wrong}");
        }
        admin.ok("CONNAGE.CONFIG SET maxage 100 jitter 0");
        assert!(figure(&mut admin, "linger_room") > 0);
        server.client().ends();
        wait_until("the line of the eviction", || {
            server.log().contains("> evicted id=")
        });
        assert_eq!(figure(&mut admin, "healthy"), 1);
        if !has_categories(&server) {
            admin.ok("CONNAGE.CONFIG SET maxage 1h");
            admin.ok("ACL SETUSER ci on >pw ~* +@all -client|kill");
            let mut conn = server.client();
            conn.ok("AUTH ci pw");
            for line in ["CONFIG SET maxage 1s", "CONFIG GET *", "CONFIG RESETSTAT"] {
                let reply = conn.run(&format!("CONNAGE.{line}"));
                assert!(format!("{reply:?}").contains("NOPERM"), "{line}: {reply:?}");
            }
        }
        admin.ok("CONNAGE.CONFIG RESETSTAT");
        // Whether it reads with threads is not known either.
        wait_until("it to unload", || !admin.run("MODULE UNLOAD connage").is_error());
    }
}

on_servers!(
    FIVE,
    beside,
    without_acl_users_are_known_and_unloading_is_refused_where_it_might_end_the_server
);
fn without_acl_users_are_known_and_unloading_is_refused_where_it_might_end_the_server(on: &'static str) {
    let server = Setup::of(on)
        .line("user ci on nopass ~* +@all")
        .line("rename-command ACL hidden")
        .module("maxage 1h")
        .start();
    let mut admin = server.admin();
    let mut conn = server.client();
    conn.ok("AUTH ci any");
    for line in ["CONNAGE.LIST", "CONNAGE.KILL"] {
        let reply = admin.run(&format!("{line} USER nobody"));
        assert!(format!("{reply:?}").contains("no user 'nobody'"), "{reply:?}");
    }
    assert_eq!(admin.ok("CONNAGE.LIST USER ci").list().len(), 1);
    assert_eq!(admin.ok("CONNAGE.KILL USER ci").int(), 1);
    conn.ends();
    let refused = admin.run("MODULE UNLOAD connage").is_error();
    assert_eq!(refused, has_categories(&server));
    for text in ["no ACL (rename-command)", "not unloaded: "] {
        assert_eq!(server.log().contains(text), refused, "{}", server.log());
    }
}

on_servers!(FIVE, beside, without_info_it_knows_maxclients_and_compares);
fn without_info_it_knows_maxclients_and_compares(on: &'static str) {
    let server = Setup::of(on)
        .line("rename-command INFO hidden")
        .line("rename-command COMMAND \"\"")
        .module("")
        .start();
    let mut admin = server.admin();
    assert!(info(&mut admin, "hidden", "linger_room") > 0);
    let mut conns = server.clients(3);
    assert_eq!(info(&mut admin, "hidden", "tracked_connections"), 4);
    admin.ok("CONFIG SET connage.maxage 1");
    for conn in &mut conns {
        conn.ends();
    }
    assert_eq!(info(&mut admin, "hidden", "evicted_quiet"), 3);
    assert_eq!(admin.ok("CONNAGE.LIST").list().len(), 1);
}
