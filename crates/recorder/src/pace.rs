//! How long a row may wait in whose hands, so that what is promised of it is kept from the kernel side to the disk: of a capture that no
//! more than `--flush-interval` is lost, of the live view that rows come at once.

use std::time::Duration;

/// Rows wait at most so long for their batch to fill, where nobody looks at them meanwhile.
pub const BATCH_AGE: Duration = Duration::from_secs(1);

/// The same where somebody does; with the poll of the rings that makes a quarter of a second.
const LIVE_BATCH_AGE: Duration = Duration::from_millis(200);

/// How long the drain sleeps at most when no ring is filling up. The rings hold more than comes in that time.
const POLL: Duration = Duration::from_millis(100);

/// How long it takes to find a moment up to which all is in the rings, as a rule.
const MOMENT: Duration = Duration::from_millis(100);

/// How often the writer looks at its clock at least when no batch comes.
const TICK: Duration = Duration::from_millis(250);

/// What is gathered in the kernel is shown when nothing was added to it for a while, or after a while from its begin.
const LIVE: Waited = Waited { idle: LIVE_BATCH_AGE, begun: Duration::from_secs(1) };

/// How long an event has waited in the kernel that is taken: since something was added to it, and since it was begun. Either is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waited {
    /// Since something was added.
    pub idle: Duration,
    /// Since it was begun.
    pub begun: Duration,
}

impl Waited {
    /// Not at all.
    pub const NOT: Waited = Waited { idle: Duration::ZERO, begun: Duration::ZERO };
}

/// The times of one recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// How long the drain sleeps when no ring is filling up.
    pub poll: Duration,
    /// How long rows wait for their batch to fill.
    pub batch_age: Duration,
    /// After so long all that was seen goes on its way to the disk, from the kernel's slots on.
    pub flush: Duration,
    /// How often the writer looks whether something is due.
    pub tick: Duration,
    /// What of the kernel's slots is taken with each batch; none where nobody looks at rows as they come.
    pub shown: Option<Waited>,
}

impl Pace {
    /// For rows that are to be on the disk after `flush_interval`.
    pub fn of(flush_interval: Duration, is_live: bool) -> Pace {
        let (poll, tick) = (POLL.min(flush_interval / 20), TICK.min(flush_interval / 20));
        let batch_age = if is_live { LIVE_BATCH_AGE } else { BATCH_AGE };
        Pace {
            poll,
            batch_age: batch_age.min(flush_interval / 2),
            // The drain notices late by a sleep, the writer by a tick; and some of it for the moment and the work itself.
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
