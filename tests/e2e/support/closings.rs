//! When connections were closed, by the server's own clock: this process may wait for a
//! processor, and then sees ends later, and many at once.

use super::conn::Conn;

/// The moment of each closing in CONNAGE.LOG in ms, in order; the log is empty afterwards.
/// Needs a `log-max-len` that holds them all.
pub fn closed_at(admin: &mut Conn) -> Vec<i64> {
    let log = admin.ok("CONNAGE.LOG GET -1");
    admin.ok("CONNAGE.LOG RESET");
    let times = log.list().iter().map(|entry| entry.field("time-ms").int());
    let mut times: Vec<i64> = times.collect();
    times.sort_unstable();
    times
}

/// The most within a second. Not quite a whole one, for the log's milliseconds are those of the
/// wall clock, and not the ones that `rate` is counted by.
pub fn most_in_a_second(times: &[i64]) -> usize {
    let within = |first: &i64| {
        times
            .iter()
            .filter(|t| (*first..first + 980).contains(*t))
            .count()
    };
    times.iter().map(within).max().unwrap_or(0)
}
