//! Log: the only caller of the server's log. A verbose line for each eviction, and at most one
//! notice a second that sums them up.

use crate::api;
use crate::api::register::{self, Level};
use connage_engine::client::Client;
use connage_engine::reaper::Closing;
use connage_engine::record::journal::How;
use connage_engine::text::time::Micros;
use connage_engine::text::word::cut;
use std::fmt::Write;

const SECOND_US: u64 = 1_000_000;

/// With the module's own context the server puts our name in front.
fn write(level: Level, line: &str) {
    let told = api::with_own_context(|ctx| register::log(Some(ctx), level, line));
    if told.is_none() {
        register::log(None, level, line);
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

/// Evictions that no notice has told of yet.
#[derive(Debug, Default)]
pub struct Summary {
    quiet: u64,
    blocked: u64,
    forced: u64,
    would: u64,
    told_at: Micros,
    verbose: bool,
    level_known_until: Micros,
}

impl Summary {
    pub fn add(&mut self, how: How) {
        match how {
            How::Quiet => self.quiet += 1,
            How::Blocked => self.blocked += 1,
            How::Forced => self.forced += 1,
            How::DryRun => self.would += 1,
        }
    }

    pub fn is_verbose(&self) -> bool {
        self.verbose
    }

    pub fn is_level_due(&self, now: Micros) -> bool {
        now >= self.level_known_until
    }

    pub fn set_level(&mut self, now: Micros, verbose: bool) {
        self.verbose = verbose;
        self.level_known_until = now.plus_micros(SECOND_US);
    }

    fn gathered(&self) -> u64 {
        self.quiet + self.blocked + self.forced + self.would
    }

    /// When [`Summary::tell`] will have something to tell.
    pub fn next(&self) -> Option<Micros> {
        (self.gathered() > 0).then(|| self.told_at.plus_micros(SECOND_US))
    }

    /// Tells what has gathered, unless it told something within the last second.
    pub fn tell(&mut self, now: Micros) {
        let evicted = self.quiet + self.blocked + self.forced;
        if self.gathered() == 0 || now.since(self.told_at) < SECOND_US {
            return;
        }
        let mut line = String::new();
        if evicted > 0 {
            let _ = write!(
                line,
                "evicted {evicted} connection(s): {} quiet, {} blocked, {} forced",
                self.quiet, self.blocked, self.forced
            );
        }
        if self.would > 0 {
            let gap = if line.is_empty() { "" } else { "; " };
            let _ = write!(line, "{gap}dry run: would have evicted {}", self.would);
        }
        notice(&line);
        (self.quiet, self.blocked, self.forced, self.would) = (0, 0, 0, 0);
        self.told_at = now;
    }
}
