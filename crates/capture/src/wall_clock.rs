//! Wall clock of a capture.
//!
//! `ts_ns` follows the monotonic clock, so that a step of the wall clock changes no duration and no order. The table `clock`
//! records the drift between the two since the start, by steps and by suspension.

use arrow_array::RecordBatch;

use crate::column::Reader;
use crate::error::Result;
use crate::part::PartFile;
use crate::tables::{ClockTable, ClockView};

/// Differences below this are not a step.
const STEP_NS: u64 = 500_000;

/// Wall clock of a capture. Without data it equals `ts_ns`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WallClock {
    /// Start (`ts_ns`) of each period and offset of the wall clock in it, in order of time; only where the offset changes.
    steps: Vec<(i64, i64)>,
}

impl WallClock {
    /// Reads the parts of table `clock`.
    pub(crate) fn read(parts: &[PartFile]) -> Result<WallClock> {
        let mut told = Vec::new();
        for part in parts {
            part.read::<ClockTable>(|batch| add_rows(&mut told, batch))?;
        }
        Ok(WallClock::of(told))
    }

    fn of(mut told: Vec<(i64, i64)>) -> WallClock {
        told.sort_unstable();
        let mut now = 0i64;
        told.retain(|(_, ahead)| {
            let is_step = ahead.abs_diff(now) > STEP_NS;
            now = if is_step { *ahead } else { now };
            is_step
        });
        WallClock { steps: told }
    }

    /// Returns the start (`ts_ns`) and the offset from `ts_ns` of each period with a constant offset.
    pub fn steps(&self) -> &[(i64, i64)] {
        &self.steps
    }

    /// Returns the wall-clock time at `ts_ns`, in nanoseconds since the Unix epoch. Steps are accurate to a tenth of a second.
    pub fn at(&self, ts_ns: i64) -> i64 {
        let steps = self.steps.partition_point(|(from_ns, _)| *from_ns <= ts_ns);
        let ahead = steps.checked_sub(1).map_or(0, |last| self.steps[last].1);
        ts_ns.saturating_add(ahead)
    }

    /// Returns the first `ts_ns` at which the wall clock showed `wall_ns` or later.
    pub fn reaches(&self, wall_ns: i64) -> i64 {
        let begins = std::iter::once((i64::MIN, 0)).chain(self.steps.iter().copied());
        let ends = self.steps.iter().map(|(from_ns, _)| Some(*from_ns)).chain([None]);
        let of = |((from_ns, ahead), end_ns): ((i64, i64), Option<i64>)| {
            let ts_ns = from_ns.max(wall_ns.saturating_sub(ahead));
            end_ns.is_none_or(|end_ns| ts_ns < end_ns).then_some(ts_ns)
        };
        // After the last step every later time is reached.
        begins.zip(ends).find_map(of).unwrap_or(i64::MAX)
    }
}

fn add_rows(told: &mut Vec<(i64, i64)>, batch: &RecordBatch) -> std::result::Result<(), String> {
    let view = ClockView::new(batch)?;
    told.extend((0..view.rows).map(|row| {
        let ts_ns = view.ts_ns.at(row);
        (ts_ns, view.wall_ns.at(row).saturating_sub(ts_ns))
    }));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_reached_once_though_a_step_may_repeat_it_or_leave_it_out() {
        // An hour ahead at 100, and back to where it was at 200.
        let wall = WallClock { steps: vec![(100, 3_600_000_000), (200, 0)] };
        for (wall_ns, ts_ns) in [(50, 50), (100, 100), (3_600_000_150, 150), (150, 100), (3_600_000_200, 3_600_000_200)]
        {
            assert_eq!(wall.reaches(wall_ns), ts_ns, "{wall_ns}");
        }
        assert_eq!(WallClock::default().reaches(7), 7);
    }

    /// NTP adjusts one clock and not the other; the differences amount to more than a step in the end.
    #[test]
    fn wall_time_is_right_to_a_millisecond_over_weeks() {
        const PAIR_NS: i64 = 10_000_000_000;
        let pairs = 3 * 7 * 24 * 360;
        let ahead = |pair: i64| pair * 700 + (pair / 20_000) * 40_000_000;
        let clock = WallClock::of((0..pairs).map(|pair| (pair * PAIR_NS, ahead(pair))).collect());
        for pair in 0..pairs {
            let off = clock.at(pair * PAIR_NS + PAIR_NS / 2) - pair * PAIR_NS - PAIR_NS / 2 - ahead(pair);
            assert!(off.abs() < 1_000_000, "{pair}: {off}");
        }
    }

    #[test]
    fn a_step_holds_from_when_it_was_told_until_the_next() {
        const HOUR: i64 = 3_600_000_000_000;
        // Out of order, with NTP adjustments in between.
        let clock = WallClock::of(vec![(300, HOUR + 900), (100, 0), (200, HOUR), (400, 20), (500, -400_000)]);
        assert_eq!(clock.steps, [(200, HOUR), (400, 20)]);
        let at = [50, 199, 200, 399, 400, 1_000].map(|ts_ns| clock.at(ts_ns) - ts_ns);
        assert_eq!(at, [0, 0, HOUR, HOUR, 20, 20]);
        assert_eq!(WallClock::default().at(7), 7);
        assert_eq!(WallClock::of(vec![(0, i64::MAX)]).at(i64::MAX), i64::MAX);
    }
}
