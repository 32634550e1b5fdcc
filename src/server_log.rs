//! Server log: what the module writes to it, and the only place that does once the module is loaded.

use crate::api;
use crate::api::log::{log, Level};
use connage_engine::client::Client;
use connage_engine::reaper::Closing;
use connage_engine::text::word::cut;

/// With the module's own context the server puts our name in front.
fn write(level: Level, line: &str) {
    let told = api::with_own_context(|ctx| log(Some(ctx), level, line));
    if told.is_none() {
        log(None, level, line);
    }
}

pub fn notice(line: &str) {
    write(Level::Notice, line);
}

pub fn warning(line: &str) {
    write(Level::Warning, line);
}

pub fn fault(text: &str) {
    warning(&format!(
        "internal fault, eviction has stopped; CONNAGE.CONFIG SET of any setting starts it again: {text}"
    ));
}

pub fn evicted(client: &Client, closing: &Closing) {
    let text = |text| String::from_utf8_lossy(&cut(text).concat()).into_owned();
    let line = format!(
        "evicted id={} addr={} user={} name={} age-ms={} limit-ms={} reason={} how={} waited-ms={}",
        client.id,
        text(client.addr),
        text(client.user),
        text(client.name),
        closing.age,
        closing.limit,
        closing.reason,
        closing.how.name(),
        closing.waited,
    );
    write(Level::Verbose, &line);
}
