//! Which scenario runs on which servers, and beside which others.

use super::say;
use super::server::fetched;
use std::sync::RwLock;

/// Those that measure time or load the machine run alone, the others side by side.
static GATE: RwLock<()> = RwLock::new(());

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    Beside,
    Alone,
}

pub fn run(name: &'static str, gate: Gate, scenario: fn(&'static str)) {
    if !fetched(name) {
        assert!(std::env::var_os("CI").is_none(), "{name} not fetched");
        say(format!("skipped: {name} not fetched"));
        return;
    }
    // A scenario that failed poisons the gate, which is no matter to the others.
    let (_alone, _beside);
    match gate {
        Gate::Alone => _alone = GATE.write().unwrap_or_else(|e| e.into_inner()),
        Gate::Beside => _beside = GATE.read().unwrap_or_else(|e| e.into_inner()),
    }
    scenario(name);
}

/// `on_servers!(FIVE, beside, scenario)`: a test of each server for the function
/// `scenario(name)`. `ALL` is for starting, evicting, sparing, losing nothing and
/// unloading; `FIVE` for the rest; `TLS` are those that have it built in; `VALKEY_9` for what came with it; `beside`
/// others or `alone`.
#[macro_export]
macro_rules! on_servers {
    (ALL, $how:ident, $scenario:ident) => {
        $crate::on_servers!(@ $how, $scenario,
            redis_7_0 "redis-7.0", redict_7_3 "redict-7.3", redis_7_4 "redis-7.4",
            redis_8_2 "redis-8.2", valkey_8_0 "valkey-8.0", valkey_8_1 "valkey-8.1",
            valkey_9_1 "valkey-9.1");
    };
    (FIVE, $how:ident, $scenario:ident) => {
        $crate::on_servers!(@ $how, $scenario,
            redis_7_0 "redis-7.0", redis_7_4 "redis-7.4", redis_8_2 "redis-8.2",
            valkey_8_1 "valkey-8.1", valkey_9_1 "valkey-9.1");
    };
    (TLS, $how:ident, $scenario:ident) => {
        $crate::on_servers!(@ $how, $scenario,
            redis_7_0 "redis-7.0", redict_7_3 "redict-7.3", redis_7_4 "redis-7.4",
            valkey_8_0 "valkey-8.0");
    };
    (VALKEY_9, $how:ident, $scenario:ident) => {
        $crate::on_servers!(@ $how, $scenario, valkey_9_1 "valkey-9.1");
    };
    (@ beside, $scenario:ident, $($test:ident $name:literal),+) => {
        $crate::on_servers!(@ Beside, $scenario, $($test $name),+ ;);
    };
    (@ alone, $scenario:ident, $($test:ident $name:literal),+) => {
        $crate::on_servers!(@ Alone, $scenario, $($test $name),+ ;);
    };
    (@ $gate:ident, $scenario:ident, $($test:ident $name:literal),+ ;) => {
        mod $scenario {
            use $crate::support::matrix::{run, Gate};
            $(
                #[test]
                fn $test() {
                    run($name, Gate::$gate, super::$scenario);
                }
            )+
        }
    };
}
