//! Commands that no client sends: another module calls them, a script does through one, an AOF that is
//! loaded or the link to a master has them. Redis 7.0 has no user to ask about then.

use crate::on_servers;
use crate::support::resp::{encode, Value};
use crate::support::server::Setup;
use crate::support::wait_until;
use std::path::Path;

const COMMANDS: [&str; 12] = [
    "CONNAGE.LIST",
    "CONNAGE.LIST USER default",
    "CONNAGE.KILL MAXAGE 1h",
    "CONNAGE.KILL USER nobody-but-default DRYRUN",
    "CONNAGE.KILL CANCEL",
    "CONNAGE.LOG GET",
    "CONNAGE.LOG LEN",
    "CONNAGE.LOG RESET",
    "CONNAGE.LOG HELP",
    "CONNAGE.CONFIG GET *",
    "CONNAGE.CONFIG SET jitter 7",
    "CONNAGE.CONFIG RESETSTAT",
];

on_servers!(
    ALL,
    beside,
    another_module_may_call_every_command_on_its_own_account
);
fn another_module_may_call_every_command_on_its_own_account(on: &'static str) {
    let server = Setup::of(on).module("").other_module().start();
    let mut admin = server.admin();
    admin.ok("ACL SETUSER nobody-but-default");
    // Whoever calls the other module need not have a right to ours.
    admin.ok("ACL SETUSER tester on nopass nocommands +other.call +eval");
    let mut conn = server.client();
    conn.ok("AUTH tester x");
    for line in COMMANDS {
        let reply = conn.run(&format!("OTHER.CALL {line}"));
        assert!(!reply.is_error(), "{line}: {reply:?}");
        let words: Vec<&str> = line.split(' ').collect();
        let script = ["EVAL", "return redis.call('OTHER.CALL', unpack(ARGV))", "0"];
        let reply = conn.call(&[&script[..], &words[..]].concat());
        assert!(!reply.is_error(), "{line} in a script: {reply:?}");
        assert!(conn.run(line).error().starts_with("NOPERM"), "{line} itself");
    }
    // Among these are the ids that such calls have themselves.
    for id in 1..60 {
        let reply = conn.run(&format!("OTHER.CALL CONNAGE.LIST ID {id}"));
        assert!(reply.list().len() <= 1, "{id}: {reply:?}");
        let reply = conn.run(&format!("OTHER.CALL CONNAGE.KILL ID {id} DRYRUN"));
        assert!((0..=1).contains(&reply.int()), "{id}: {reply:?}");
    }
    for line in ["CONNAGE.SELF", "CONNAGE.SELF MAXAGE 1"] {
        let reply = conn.run(&format!("OTHER.CALL {line}"));
        assert!(reply.error().contains("no client's connection"), "{reply:?}");
    }
}

on_servers!(FIVE, beside, called_for_a_user_it_is_that_users_rights_that_count);
fn called_for_a_user_it_is_that_users_rights_that_count(on: &'static str) {
    let server = Setup::of(on).module("").other_module().start();
    let mut admin = server.admin();
    admin.ok("ACL SETUSER nobody-but-default");
    admin.ok("ACL SETUSER tester on nopass +@all -@admin -@dangerous");
    let mut conn = server.client();
    conn.ok("AUTH tester x");
    for line in COMMANDS {
        let reply = conn.run(&format!("OTHER.CALLAS {line}"));
        assert!(reply.is_error(), "{line}: {reply:?}");
        let reply = admin.run(&format!("OTHER.CALLAS {line}"));
        assert!(!reply.is_error(), "{line}: {reply:?}");
    }
}

on_servers!(
    FIVE,
    beside,
    a_modules_own_user_has_no_right_of_another_that_has_its_name
);
fn a_modules_own_user_has_no_right_of_another_that_has_its_name(on: &'static str) {
    let server = Setup::of(on).module("").other_module().start();
    let mut admin = server.admin();
    admin.ok("ACL SETUSER nobody-but-default");
    admin.ok("ACL SETUSER boss on nopass +@all");
    let mut conn = server.client();
    assert_eq!(conn.ok("OTHER.BECOME boss on +@all -@admin -@dangerous").int(), 1);
    assert_eq!(conn.ok("ACL WHOAMI").text(), "boss");
    for line in COMMANDS {
        // Redis 7.0 can only be asked by name who may reset.
        if on == "redis-7.0" && ["CONNAGE.CONFIG RESETSTAT", "CONNAGE.LOG RESET"].contains(&line) {
            continue;
        }
        assert!(conn.run(line).error().starts_with("NOPERM"), "{line}");
    }
    assert_eq!(conn.ok("OTHER.BECOME boss on +@all").int(), 1);
    for line in COMMANDS {
        conn.ok(line);
    }
}

on_servers!(FIVE, beside, an_aof_with_our_commands_is_loaded);
fn an_aof_with_our_commands_is_loaded(on: &'static str) {
    let setup = Setup::of(on).module("").line("appendonly yes");
    let mut server = setup.start();
    let mut admin = server.admin();
    admin.ok("SET before 1");
    admin.ok("CONFIG SET appendfsync always");
    admin.ok("SET more 1");
    server.stop();
    let folder = server.log_path();
    let folder = folder.parent().unwrap_or(Path::new("/")).join("appendonlydir");
    let newest = std::fs::read_dir(folder)
        .expect("its AOF")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.to_string_lossy().ends_with(".incr.aof"))
        .expect("the file that it appends to");
    let mut bytes = std::fs::read(&newest).expect("read");
    for line in COMMANDS
        .into_iter()
        .chain(["CONNAGE.SELF MAXAGE 1", "SET after 1"])
    {
        bytes.extend(encode(&line.split(' ').collect::<Vec<_>>()));
    }
    std::fs::write(&newest, bytes).expect("written");
    let server = server.start_again();
    let mut admin = server.admin();
    assert_eq!(admin.ok("EXISTS before after").int(), 2);
}

on_servers!(FIVE, beside, the_link_to_a_master_may_bring_our_commands);
fn the_link_to_a_master_may_bring_our_commands(on: &'static str) {
    let master = Setup::of(on)
        .module("")
        .line("repl-diskless-sync-delay 0")
        .start();
    let replica = Setup::of(on)
        .module("")
        .line(&format!("replicaof 127.0.0.1 {}", master.port))
        .start();
    let (mut admin, mut reader) = (master.admin(), replica.admin());
    wait_until("the replica to follow", || {
        reader
            .ok("INFO replication")
            .text()
            .contains("master_link_status:up")
    });
    for line in COMMANDS.into_iter().chain(["CONNAGE.SELF", "SET after 1"]) {
        let reply = admin.run(&format!("DEBUG REPLICATE {line}"));
        assert!(!reply.is_error(), "{line}: {reply:?}");
    }
    wait_until("what came after", || {
        reader.ok("GET after") == Value::Text(b"1".to_vec())
    });
}
