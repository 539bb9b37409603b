//! Maximum waiting time of a row at each stage from the BPF programs to the disk. It keeps two promises: a capture loses at most
//! `--flush-interval`, and the live view shows rows promptly.

use std::time::Duration;

/// Maximum time that rows wait for their batch to fill, without a live view.
pub const BATCH_AGE: Duration = Duration::from_secs(1);

/// The same with a live view; with the poll of the rings the total is a quarter of a second.
const LIVE_BATCH_AGE: Duration = Duration::from_millis(200);

/// Maximum sleep of the drain while no ring fills up. The rings hold more than arrives in that time.
const POLL: Duration = Duration::from_millis(100);

/// Typical time to determine a completeness time.
const MOMENT: Duration = Duration::from_millis(100);

/// Maximum interval between the writer's time checks while no batch arrives.
const TICK: Duration = Duration::from_millis(250);

/// Records aggregated in the BPF programs are shown once they have been idle, or have existed, for these times.
const LIVE: Waited = Waited { idle: LIVE_BATCH_AGE, begun: Duration::from_secs(1) };

/// Age limits of an aggregated record: since its last update, and since its start. Either one is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waited {
    /// Since the last update.
    pub idle: Duration,
    /// Since the start.
    pub begun: Duration,
}

impl Waited {
    /// No waiting.
    pub const NOT: Waited = Waited { idle: Duration::ZERO, begun: Duration::ZERO };
}

/// Time constants of one recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Sleep of the drain while no ring fills up.
    pub poll: Duration,
    /// Maximum time that rows wait for their batch to fill.
    pub batch_age: Duration,
    /// Interval after which all seen events start their transfer to the disk, beginning with the BPF programs' slots.
    pub flush: Duration,
    /// Interval of the writer's checks.
    pub tick: Duration,
    /// Age limits of the records taken from the BPF programs' slots with each batch; none without a live view.
    pub shown: Option<Waited>,
}

impl Pace {
    /// Time constants for rows that must be on the disk after `flush_interval`.
    pub fn of(flush_interval: Duration, is_live: bool) -> Pace {
        let (poll, tick) = (POLL.min(flush_interval / 20), TICK.min(flush_interval / 20));
        let batch_age = if is_live { LIVE_BATCH_AGE } else { BATCH_AGE };
        Pace {
            poll,
            batch_age: batch_age.min(flush_interval / 2),
            // The drain may be late by one sleep, the writer by one tick; the rest is for the completeness time and the work itself.
            flush: flush_interval.saturating_sub(poll + tick + MOMENT.min(flush_interval / 10) + flush_interval / 40),
            tick,
            shown: is_live.then_some(LIVE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_on_its_way_to_the_disk_before_the_interval_is_over() {
        for ms in [100, 101, 250, 1000, 5000, 60_000, 315_360_000_000] {
            let interval = Duration::from_millis(ms);
            for is_live in [false, true] {
                let Pace { poll, batch_age, flush, tick, .. } = Pace::of(interval, is_live);
                assert!(flush + poll + tick < interval && flush >= interval / 4 * 3, "{ms}");
                assert!(!poll.is_zero() && !tick.is_zero() && batch_age <= interval / 2, "{ms}");
            }
        }
    }
}
