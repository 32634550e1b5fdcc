//! Info: the section `connage` of INFO.

use crate::api::guard;
use crate::api::reply::{Info, InfoSection};
use crate::kernel::clock;
use crate::state;
use connage_engine::text::time::Millis;

#[derive(Debug)]
pub struct Section;

impl Info for Section {
    fn tell(section: &InfoSection) {
        let now = clock::now();
        let fields = state::with_any(|state| {
            let lingering = state.linger.len() as u64;
            let room = state.linger.left() as u64;
            let reaper = &mut state.reaper;
            let report = reaper.report(now);
            let settings = reaper.settings();
            let tally = &reaper.tally;
            let ms = |duration: Millis| signed(duration.0);
            [
                ("enabled", i64::from(settings.enabled)),
                ("maxage_ms", ms(settings.maxage)),
                ("jitter_percent", i64::from(settings.jitter.0)),
                ("grace_ms", ms(settings.grace)),
                ("rate", i64::from(settings.rate)),
                ("dry_run", i64::from(settings.dry_run)),
                ("tracked_connections", signed(report.tracked as u64)),
                ("draining_connections", signed(report.draining as u64)),
                ("lingering_connections", signed(lingering)),
                ("linger_room", signed(room)),
                ("backlog_connections", signed(report.backlog as u64)),
                ("oldest_connection_age_ms", ms(report.oldest_age)),
                ("next_expiry_in_ms", report.next_expiry_in_ms),
                ("evicted_connections", signed(tally.evicted())),
                ("evicted_quiet", signed(tally.quiet)),
                ("evicted_blocked", signed(tally.blocked)),
                ("evicted_forced", signed(tally.forced)),
                ("evicted_by_command", signed(tally.by_command)),
                ("would_evict", signed(tally.would_evict)),
                ("wakeups", signed(tally.wakeups)),
                ("sweeps", signed(tally.sweeps)),
                ("sweep_usec", signed(tally.sweep_usec)),
                ("sweep_usec_max", signed(tally.sweep_usec_max)),
                ("lag_usec_p50", signed(tally.lag.percentile(50))),
                ("lag_usec_p99", signed(tally.lag.percentile(99))),
                ("lag_usec_max", signed(tally.lag.max())),
                ("recheck_period_ms", signed(report.recheck_period_ms)),
                ("memory_bytes", signed(report.memory as u64)),
                ("healthy", i64::from(guard::is_healthy())),
            ]
        });
        for (name, value) in fields.into_iter().flatten() {
            section.field(name, value);
        }
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
