//! Which scenario runs on which servers, and beside which others.

use super::say;
use super::server::fetched;
use std::sync::RwLock;

/// Where many run in one process (`cargo test`): those that measure time or load the machine run alone, the others
/// side by side. Where each has a process of its own (`cargo nextest`), .config/nextest.toml says the same.
static GATE: RwLock<()> = RwLock::new(());

pub fn run(name: &'static str, alone: bool, scenario: fn(&'static str)) {
    if !fetched(name) {
        assert!(std::env::var_os("CI").is_none(), "{name} not fetched");
        say(format!("skipped: {name} not fetched"));
        return;
    }
    // A scenario that failed poisons the gate, which is no matter to the others.
    let (_alone, _beside);
    if alone {
        _alone = GATE.write().unwrap_or_else(|e| e.into_inner());
    } else {
        _beside = GATE.read().unwrap_or_else(|e| e.into_inner());
    }
    scenario(name);
}

/// `on_servers!(FIVE, beside, scenario)`: a test of each server for the function `scenario(name)`. `ALL` is for starting,
/// evicting, sparing, losing nothing and unloading; `FIVE` for the rest; `TLS` are those that have it built in;
/// `VALKEY` and `VALKEY_9` for what came with them; `beside` others or `alone`. Both words are part of the tests' names,
/// by which .config/nextest.toml chooses: `scenario::five::beside::redis_7_0`.
///
/// The servers are those of scripts/servers.txt, which the test `servers` sees to.
#[macro_export]
macro_rules! on_servers {
    (ALL, $how:ident, $scenario:ident) => {
        $crate::on_servers!(@ all $how $scenario, redis_7_0 "redis-7.0", redict_7_3 "redict-7.3",
            redis_7_4 "redis-7.4", redis_8_0 "redis-8.0", redis_8_2 "redis-8.2", valkey_8_0 "valkey-8.0",
            valkey_8_1 "valkey-8.1", valkey_8_1_1 "valkey-8.1.1", valkey_9_1 "valkey-9.1");
    };
    (FIVE, $how:ident, $scenario:ident) => {
        $crate::on_servers!(@ five $how $scenario, redis_7_0 "redis-7.0", redis_7_4 "redis-7.4",
            redis_8_2 "redis-8.2", valkey_8_1 "valkey-8.1", valkey_9_1 "valkey-9.1");
    };
    (TLS, $how:ident, $scenario:ident) => {
        $crate::on_servers!(@ tls $how $scenario, redis_7_0 "redis-7.0", redict_7_3 "redict-7.3",
            redis_7_4 "redis-7.4", redis_8_0 "redis-8.0", valkey_8_0 "valkey-8.0",
            valkey_8_1_1 "valkey-8.1.1");
    };
    (VALKEY, $how:ident, $scenario:ident) => {
        $crate::on_servers!(@ valkey $how $scenario, valkey_8_0 "valkey-8.0", valkey_8_1 "valkey-8.1",
            valkey_9_1 "valkey-9.1");
    };
    (VALKEY_9, $how:ident, $scenario:ident) => {
        $crate::on_servers!(@ valkey $how $scenario, valkey_9_1 "valkey-9.1");
    };
    (@ $class:ident $how:ident $scenario:ident, $($test:ident $name:literal),+) => {
        mod $scenario {
            mod $class {
                mod $how {
                    $(
                        #[test]
                        fn $test() {
                            let alone = stringify!($how) == "alone";
                            $crate::support::matrix::run($name, alone, super::super::super::$scenario);
                        }
                    )+
                }
            }
        }
    };
}
