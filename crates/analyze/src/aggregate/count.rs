//! Operations, bytes and average durations by layer and direction.

use iostrata_capture::op::{Direction, Layer};

use super::{Aggregate, LostByLayer, Settings};
use crate::event::{Event, Phase};

/// Both directions, in the order of columns.
pub const DIRECTIONS: [Direction; 2] = [Direction::Read, Direction::Write];

/// The sums of one layer and direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    /// Operations, failed ones included.
    pub ops: u64,
    /// Bytes moved.
    pub bytes: u64,
    timed: u64,
    sum_ns: u128,
}

impl Moved {
    /// The average duration of those operations whose duration is known, in nanoseconds, rounded.
    pub fn avg_ns(&self) -> Option<u64> {
        average(self.sum_ns, self.timed)
    }

    fn add(&mut self, other: &Moved) {
        self.ops = self.ops.saturating_add(other.ops);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.timed = self.timed.saturating_add(other.timed);
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
    }
}

/// `sum / count`, rounded half up; `None` of nothing.
pub(crate) fn average(sum: u128, count: u64) -> Option<u64> {
    let count = u128::from(count);
    let rounded = sum.saturating_add(count / 2).checked_div(count)?;
    Some(u64::try_from(rounded).unwrap_or(u64::MAX))
}

/// Counts of every layer. Sums stop at the greatest value instead of wrapping.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    rows: [u64; Layer::ALL.len()],
    moved: [[Moved; DIRECTIONS.len()]; Layer::ALL.len()],
}

impl Counts {
    /// What rows of `layer` stand for, whatever they did.
    pub fn rows(&self, layer: Layer) -> u64 {
        self.rows[layer as usize]
    }

    /// Adds bytes of an operation that is counted elsewhere.
    pub fn add_bytes(&mut self, layer: Layer, direction: Direction, bytes: u64) {
        self.moved[layer as usize][direction as usize].add(&Moved { bytes, ..Moved::default() });
    }

    /// Reads or writes of `layer`.
    pub fn moved(&self, layer: Layer, direction: Direction) -> &Moved {
        &self.moved[layer as usize][direction as usize]
    }
}

impl Aggregate for Counts {
    type Output = Counts;

    fn empty(_: Settings) -> Self {
        Counts::default()
    }

    fn update(&mut self, event: &Event) {
        let rows = &mut self.rows[event.layer as usize];
        *rows = rows.saturating_add(event.weight);
        let Some(direction) = event.direction else { return };
        let total = event.durations.get(Phase::Total);
        self.moved[event.layer as usize][direction as usize].add(&Moved {
            ops: event.weight,
            bytes: event.all_bytes(),
            timed: if total.is_some() { event.weight } else { 0 },
            sum_ns: total.map_or(0, |ns| u128::from(ns) * u128::from(event.weight)),
        });
    }

    fn combine(&mut self, other: Self) {
        for (mine, theirs) in self.rows.iter_mut().zip(other.rows) {
            *mine = mine.saturating_add(theirs);
        }
        for (mine, theirs) in self.moved.iter_mut().flatten().zip(other.moved.iter().flatten()) {
            mine.add(theirs);
        }
    }

    fn finish(self, _: &LostByLayer) -> Counts {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::Precision;
    use crate::event::{Anomalies, Durations};
    use iostrata_capture::op::Op;

    fn event(direction: Option<Direction>, bytes: u64, dur_ns: Option<i64>) -> Event {
        let mut durations = Durations::default();
        durations.set(Phase::Total, dur_ns, &mut Anomalies::default());
        Event { layer: Layer::Vfs, op: Op::Read, direction, bytes, durations, weight: 1 }
    }

    #[test]
    fn an_event_counts_in_its_layer_and_direction_and_nowhere_else() {
        let mut counts = Counts::empty(Settings { precision: Precision::DEFAULT });
        counts.update(&event(Some(Direction::Read), 7, Some(10)));
        counts.update(&event(Some(Direction::Read), 0, None));
        counts.update(&event(None, 9, Some(99)));
        for layer in Layer::ALL {
            assert_eq!(counts.rows(*layer), if *layer == Layer::Vfs { 3 } else { 0 });
            for direction in DIRECTIONS {
                let moved = counts.moved(*layer, direction);
                match (layer, direction) {
                    (Layer::Vfs, Direction::Read) => {
                        assert_eq!((moved.ops, moved.bytes, moved.avg_ns()), (2, 7, Some(10)));
                    }
                    _ => assert_eq!((moved, moved.avg_ns()), (&Moved::default(), None)),
                }
            }
        }
    }

    #[test]
    fn an_event_counts_for_as_many_as_it_stands_for() {
        let mut counts = Counts::default();
        counts.update(&Event { weight: 4, ..event(Some(Direction::Read), 7, Some(10)) });
        counts.update(&event(Some(Direction::Read), 1, Some(60)));
        let moved = counts.moved(Layer::Vfs, Direction::Read);
        assert_eq!((counts.rows(Layer::Vfs), moved.ops, moved.bytes, moved.avg_ns()), (5, 5, 29, Some(20)));
    }

    #[test]
    fn sums_stop_at_the_greatest_value() {
        let mut counts = Counts::default();
        for _ in 0..3 {
            counts.update(&event(Some(Direction::Write), u64::MAX, Some(i64::MAX)));
        }
        let moved = counts.moved(Layer::Vfs, Direction::Write);
        assert_eq!((moved.bytes, moved.avg_ns()), (u64::MAX, Some(i64::MAX as u64)));
    }
}
