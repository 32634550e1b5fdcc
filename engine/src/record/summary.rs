//! Summary: what the server's log is told of evictions, at most once a second, and whether it wants a line for each.

use crate::record::journal::How;
use crate::text::time::Micros;
use alloc::format;
use alloc::string::String;

const SECOND_US: u64 = 1_000_000;

/// Evictions of which the log has not been told yet.
#[derive(Debug, Default)]
pub struct Summary {
    quiet: u64,
    blocked: u64,
    forced: u64,
    would: u64,
    told_at: Micros,
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

    fn evicted(&self) -> u64 {
        self.quiet + self.blocked + self.forced
    }

    /// When [`step`](Self::step) will have something to tell.
    #[must_use]
    pub fn next(&self) -> Option<Micros> {
        (self.evicted() + self.would > 0).then(|| self.told_at.plus_micros(SECOND_US))
    }

    /// What has gathered, unless something was told within the last second.
    pub fn step(&mut self, now: Micros) -> Option<String> {
        self.next().filter(|at| *at <= now)?;
        let evicted = self.evicted();
        let parts = [
            (evicted > 0).then(|| {
                format!(
                    "evicted {evicted} connection(s): {} quiet, {} blocked, {} forced",
                    self.quiet, self.blocked, self.forced
                )
            }),
            (self.would > 0).then(|| format!("dry run: would have evicted {}", self.would)),
        ];
        *self = Summary {
            told_at: now,
            ..Summary::default()
        };
        let [first, second] = parts;
        Some(match (first, second) {
            (Some(first), Some(second)) => format!("{first}; {second}"),
            (first, second) => first.or(second).unwrap_or_default(),
        })
    }
}

/// Whether the log wants a line for each eviction: asked at most once a second, since it costs as much as a look.
#[derive(Debug, Default)]
pub struct Verbosity {
    verbose: bool,
    known_until: Micros,
}

impl Verbosity {
    #[must_use]
    pub fn is_known(&self, now: Micros) -> bool {
        now < self.known_until
    }

    /// The log's level is this; where the server does not say (`rename-command`), it drops by itself what is too much.
    pub fn set(&mut self, now: Micros, level: Option<&[u8]>) {
        self.verbose = level.is_none_or(|level| matches!(level, b"debug" | b"verbose"));
        self.known_until = now.plus_micros(SECOND_US);
    }

    #[must_use]
    pub fn is_verbose(&self) -> bool {
        self.verbose
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = SECOND_US;

    #[test]
    fn what_has_gathered_is_told_once_a_second_at_most_and_once_only() {
        let mut summary = Summary::default();
        assert_eq!((summary.next(), summary.step(Micros(90 * SECOND))), (None, None));
        let cases: [(u64, &[How], Option<&str>); 6] = [
            (
                100 * SECOND,
                &[How::Quiet],
                Some("evicted 1 connection(s): 1 quiet, 0 blocked, 0 forced"),
            ),
            (100 * SECOND + 1, &[How::Quiet, How::Blocked], None),
            (101 * SECOND - 1, &[], None),
            (
                101 * SECOND,
                &[How::Forced, How::DryRun],
                Some("evicted 3 connection(s): 1 quiet, 1 blocked, 1 forced; dry run: would have evicted 1"),
            ),
            (102 * SECOND, &[], None),
            (
                103 * SECOND,
                &[How::DryRun, How::DryRun],
                Some("dry run: would have evicted 2"),
            ),
        ];
        for (at, evictions, line) in cases {
            evictions.iter().for_each(|how| summary.add(*how));
            assert_eq!(summary.step(Micros(at)).as_deref(), line, "{at}");
            let next = if line.is_some() || at == 102 * SECOND {
                None
            } else {
                Some(Micros(101 * SECOND))
            };
            assert_eq!(summary.next(), next, "{at}");
        }
    }

    #[test]
    fn the_level_of_the_log_is_asked_for_again_after_a_second_and_in_doubt_all_is_told() {
        let mut verbosity = Verbosity::default();
        assert!(!verbosity.is_known(Micros(SECOND)));
        for (level, verbose) in [
            (Some(&b"debug"[..]), true),
            (Some(b"verbose"), true),
            (Some(b"notice"), false),
            (Some(b"warning"), false),
            (Some(b""), false),
            (None, true),
        ] {
            verbosity.set(Micros(SECOND), level);
            assert_eq!(verbosity.is_verbose(), verbose, "{level:?}");
            assert!(verbosity.is_known(Micros(2 * SECOND - 1)));
            assert!(!verbosity.is_known(Micros(2 * SECOND)));
        }
    }
}
