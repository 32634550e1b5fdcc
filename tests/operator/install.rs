//! Installing: which version there is. Uninstalling: what is left in the configuration file, and
//! whether a server starts with it.

use crate::on_servers;
use crate::rows::set;
use crate::support::conn::Conn;
use crate::support::server::{Server, Setup};

/// With the module in its configuration, and settings that CONFIG REWRITE wrote there.
fn installed(on: &'static str) -> (Server, Conn) {
    let server = Setup::of(on).module("maxage 1h jitter 20").start();
    let mut admin = server.admin();
    set(&mut admin, "grace", "10s");
    admin.ok("CONFIG REWRITE");
    assert!(
        server.file("conf").contains("\nconnage.grace"),
        "{}",
        server.file("conf")
    );
    (server, admin)
}

on_servers!(FIVE, beside, the_server_tells_the_version_of_cargo_toml);
/// As one number: 1.2.3 is 10203.
fn the_server_tells_the_version_of_cargo_toml(on: &'static str) {
    let server = Setup::of(on).module("").start();
    let modules = server.admin().ok("INFO modules").text();
    let ours = modules.lines().find(|line| line.contains("name=connage,"));
    let told = ours.and_then(|line| line.split(',').find_map(|part| part.strip_prefix("ver=")));
    let version = env!("CARGO_PKG_VERSION").split('.').fold(0, |number, part| {
        number * 100 + part.parse::<u32>().expect("a number")
    });
    assert_eq!(told, Some(version.to_string().as_str()), "{modules}");
}

on_servers!(
    ALL,
    beside,
    unload_and_then_rewrite_leave_a_configuration_that_a_server_starts_with
);
fn unload_and_then_rewrite_leave_a_configuration_that_a_server_starts_with(on: &'static str) {
    let (server, mut admin) = installed(on);
    admin.ok("MODULE UNLOAD connage");
    admin.ok("CONFIG REWRITE");
    let server = server.restart();
    assert_eq!(server.admin().ok("CONFIG GET connage.*").list().len(), 0);
    let conf = server.file("conf");
    let of_ours = |line: &&str| line.starts_with("loadmodule") || line.starts_with("connage.");
    assert_eq!(conf.lines().filter(of_ours).count(), 0, "{conf}");
}

on_servers!(FIVE, beside, without_its_loadmodule_line_alone_no_server_starts);
/// Why the order matters.
fn without_its_loadmodule_line_alone_no_server_starts(on: &'static str) {
    let (server, _) = installed(on);
    let conf = server.file("conf");
    let ours: Vec<&str> = conf.lines().filter(|line| line.starts_with("connage.")).collect();
    let mut setup = Setup::of(on);
    for line in &ours {
        setup = setup.line(line);
    }
    let said = setup.try_start().err().unwrap_or_default();
    assert!(said.contains("Module Config"), "{ours:?}: {said}");
}
