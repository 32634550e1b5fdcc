//! Info: the section `connage` of INFO. One table of its fields.

use crate::api::guard;
use crate::api::reply::{Info, InfoSection};
use crate::kernel::clock;
use crate::state;
use connage_engine::policy::settings::Settings;
use connage_engine::reaper::Report;
use connage_engine::record::tally::Tally;
use connage_engine::text::time::Millis;

/// What fields are taken from.
struct Figures<'a> {
    settings: &'a Settings,
    report: Report,
    tally: &'a Tally,
    lingering: usize,
    linger_room: usize,
}

/// A field's name, and how it is got.
type Field = (&'static str, fn(&Figures) -> i64);

/// The fields in their order.
const FIELDS: &[Field] = &[
    ("enabled", |f| i64::from(f.settings.enabled)),
    ("maxage_ms", |f| ms(f.settings.maxage)),
    ("jitter_percent", |f| i64::from(f.settings.jitter.0)),
    ("grace_ms", |f| ms(f.settings.grace)),
    ("rate", |f| i64::from(f.settings.rate)),
    ("dry_run", |f| i64::from(f.settings.dry_run)),
    ("tracked_connections", |f| count(f.report.tracked)),
    ("draining_connections", |f| count(f.report.draining)),
    ("lingering_connections", |f| count(f.lingering)),
    ("linger_room", |f| count(f.linger_room)),
    ("backlog_connections", |f| count(f.report.backlog)),
    ("oldest_connection_age_ms", |f| ms(f.report.oldest_age)),
    ("next_expiry_in_ms", |f| f.report.next_expiry_in_ms),
    ("evicted_connections", |f| signed(f.tally.evicted())),
    ("evicted_quiet", |f| signed(f.tally.quiet)),
    ("evicted_blocked", |f| signed(f.tally.blocked)),
    ("evicted_forced", |f| signed(f.tally.forced)),
    ("evicted_by_command", |f| signed(f.tally.by_command)),
    ("would_evict", |f| signed(f.tally.would_evict)),
    ("wakeups", |f| signed(f.tally.wakeups)),
    ("sweeps", |f| signed(f.tally.sweeps)),
    ("sweep_usec", |f| signed(f.tally.sweep_usec)),
    ("sweep_usec_max", |f| signed(f.tally.sweep_usec_max)),
    ("lag_usec_p50", |f| signed(f.tally.lag.percentile(50))),
    ("lag_usec_p99", |f| signed(f.tally.lag.percentile(99))),
    ("lag_usec_max", |f| signed(f.tally.lag.max())),
    ("recheck_period_ms", |f| signed(f.report.recheck_period_ms)),
    ("memory_bytes", |f| count(f.report.memory)),
    ("healthy", |_| i64::from(guard::is_healthy())),
];

#[derive(Debug)]
pub struct Section;

impl Info for Section {
    fn tell(section: &InfoSection) {
        let now = clock::now();
        let values = state::with_any(|state| {
            let figures = Figures {
                settings: state.reaper.settings(),
                report: state.reaper.report(now),
                tally: &state.reaper.tally,
                lingering: state.linger.count(),
                linger_room: state.linger.left(),
            };
            FIELDS
                .iter()
                .map(|(_, value)| value(&figures))
                .collect::<Vec<_>>()
        });
        for ((name, _), value) in FIELDS.iter().zip(values.unwrap_or_default()) {
            section.field(name, value);
        }
    }
}

fn ms(duration: Millis) -> i64 {
    signed(duration.0)
}

fn count(value: usize) -> i64 {
    signed(value as u64)
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
