//! Operations, bytes and average durations by layer and direction.

use iostrata_capture::op::{Direction, Layer};
use serde::{Deserialize, Serialize};

/// Both directions, in the order of columns.
pub const DIRECTIONS: [Direction; 2] = [Direction::Read, Direction::Write];

/// Sums over operations. They stop at the greatest value instead of wrapping.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// Operations, failed ones included.
    pub ops: u64,
    /// Bytes moved.
    pub bytes: u64,
    /// Operations whose duration is known.
    pub timed: u64,
    /// The sum of these durations.
    pub sum_ns: u128,
}

impl Moved {
    /// The average duration of those operations whose duration is known, in nanoseconds, rounded.
    pub fn avg_ns(&self) -> Option<u64> {
        average(self.sum_ns, self.timed)
    }

    /// Takes off the sums of `other`, which are a part of these.
    pub fn take_off(&mut self, other: &Moved) {
        self.ops = self.ops.saturating_sub(other.ops);
        self.bytes = self.bytes.saturating_sub(other.bytes);
        self.timed = self.timed.saturating_sub(other.timed);
        self.sum_ns = self.sum_ns.saturating_sub(other.sum_ns);
    }

    /// Adds the sums of `other`.
    #[inline]
    pub fn add(&mut self, other: &Moved) {
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

/// Sums of every layer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    ops: [u64; Layer::ALL.len()],
    moved: [[Moved; DIRECTIONS.len()]; Layer::ALL.len()],
}

impl Counts {
    /// Operations of `layer`, whatever they did.
    pub fn ops(&self, layer: Layer) -> u64 {
        self.ops[layer as usize]
    }

    /// Reads or writes of `layer`.
    pub fn moved(&self, layer: Layer, direction: Direction) -> &Moved {
        &self.moved[layer as usize][direction as usize]
    }

    /// Adds operations of `layer`; without a direction they are neither reads nor writes.
    pub fn add(&mut self, layer: Layer, direction: Option<Direction>, sums: &Moved) {
        let ops = &mut self.ops[layer as usize];
        *ops = ops.saturating_add(sums.ops);
        if let Some(direction) = direction {
            self.moved[layer as usize][direction as usize].add(sums);
        }
    }

    /// Takes off the sums of `other`, which are a part of these.
    pub fn take_off(&mut self, other: &Counts) {
        for (mine, part) in self.ops.iter_mut().zip(other.ops) {
            *mine = mine.saturating_sub(part);
        }
        for (mine, part) in self.moved.iter_mut().flatten().zip(other.moved.iter().flatten()) {
            mine.take_off(part);
        }
    }

    /// Adds the sums of `other`.
    pub fn combine(&mut self, other: &Counts) {
        for (mine, theirs) in self.ops.iter_mut().zip(other.ops) {
            *mine = mine.saturating_add(theirs);
        }
        for (mine, theirs) in self.moved.iter_mut().flatten().zip(other.moved.iter().flatten()) {
            mine.add(theirs);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_count_in_their_layer_and_direction_and_nowhere_else() {
        let mut counts = Counts::default();
        counts.add(Layer::Vfs, Some(Direction::Read), &Moved { ops: 1, bytes: 7, timed: 1, sum_ns: 10 });
        counts.add(Layer::Vfs, Some(Direction::Read), &Moved { ops: 1, ..Moved::default() });
        counts.add(Layer::Vfs, None, &Moved { ops: 1, bytes: 9, timed: 1, sum_ns: 99 });
        for layer in Layer::ALL {
            assert_eq!(counts.ops(*layer), if *layer == Layer::Vfs { 3 } else { 0 });
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
    fn sums_stop_at_the_greatest_value() {
        let mut counts = Counts::default();
        let most = Moved { ops: u64::MAX, bytes: u64::MAX, timed: u64::MAX, sum_ns: u128::MAX };
        (0..3).for_each(|_| counts.add(Layer::Fs, Some(Direction::Write), &most));
        assert_eq!((counts.ops(Layer::Fs), counts.moved(Layer::Fs, Direction::Write)), (u64::MAX, &most));
    }

    #[test]
    fn averages_are_rounded_half_up() {
        assert_eq!(
            [(0, 0), (5, 2), (4, 3), (u128::MAX, 1)].map(|(sum, of)| average(sum, of)),
            [None, Some(3), Some(1), Some(u64::MAX)]
        );
    }
}
