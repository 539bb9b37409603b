//! Operations, bytes and average durations by layer and direction.

use iostrata_capture::op::{Direction, Layer};
use serde::{Deserialize, Serialize};

use super::packed::Packed;

/// Both directions, in column order.
pub const DIRECTIONS: [Direction; 2] = [Direction::Read, Direction::Write];

/// Sums over operations. They saturate instead of wrapping.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// Number of operations, failed ones included.
    pub ops: u64,
    /// Number of bytes moved.
    pub bytes: u64,
    /// Number of operations of known duration.
    pub timed: u64,
    /// Sum of their durations in ns.
    pub sum_ns: u128,
}

impl Moved {
    /// Sums of `ops` equal operations with these bytes together, and this duration each, if known.
    #[inline]
    pub fn of(ops: u64, bytes: u64, ns: Option<u64>) -> Moved {
        let (timed, sum_ns) = ns.map_or((0, 0), |ns| (ops, u128::from(ns) * u128::from(ops)));
        Moved { ops, bytes, timed, sum_ns }
    }

    /// Returns the mean duration of the operations of known duration in nanoseconds, rounded.
    pub fn avg_ns(&self) -> Option<u64> {
        average(self.sum_ns, self.timed)
    }

    /// Subtracts the sums of `other`, which are a part of these.
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

/// Returns `sum / count`, rounded half up; `None` for a count of zero.
pub(crate) fn average(sum: u128, count: u64) -> Option<u64> {
    let count = u128::from(count);
    let rounded = sum.saturating_add(count / 2).checked_div(count)?;
    Some(u64::try_from(rounded).unwrap_or(u64::MAX))
}

/// Sums by layer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    ops: [u64; Layer::ALL.len()],
    moved: [[Moved; DIRECTIONS.len()]; Layer::ALL.len()],
}

impl Counts {
    /// Returns the number of operations of `layer` of any kind.
    pub fn ops(&self, layer: Layer) -> u64 {
        self.ops[layer as usize]
    }

    /// Returns the reads or writes of `layer`.
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

    /// Subtracts the sums of `other`, which are a part of these.
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

/// Number of sums of a [`Moved`]: operations, bytes, operations of unknown duration, durations.
const SUMS: usize = 4;
const LAYERS: usize = Layer::ALL.len();
const _: () = assert!(LAYERS + LAYERS * DIRECTIONS.len() * SUMS <= u8::MAX as usize);

/// Maximum sum of durations. The maximum number of operations, each of a month, stays below it.
const MOST_NS: u128 = u128::MAX >> 2;

/// Compact form of [`Counts`] for one of many entities: most sums are zero. The numbers of operations that are neither reads nor writes, by
/// layer, precede the sums of reads and writes.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "Counts", into = "Counts")]
pub struct Kept(Packed);

impl From<Counts> for Kept {
    fn from(counts: Counts) -> Kept {
        let mut kept = Kept::default();
        for layer in Layer::ALL {
            let moved = DIRECTIONS.map(|direction| *counts.moved(*layer, direction));
            let others = moved.iter().fold(counts.ops(*layer), |ops, moved| ops.saturating_sub(moved.ops));
            kept.add(*layer, None, &Moved { ops: others, ..Moved::default() });
            DIRECTIONS.iter().zip(&moved).for_each(|(direction, moved)| kept.add(*layer, Some(*direction), moved));
        }
        kept
    }
}

impl From<Kept> for Counts {
    fn from(kept: Kept) -> Counts {
        kept.get()
    }
}

impl Kept {
    /// Adds operations of `layer`; without a direction they are neither reads nor writes.
    pub fn add(&mut self, layer: Layer, direction: Option<Direction>, Moved { ops, bytes, timed, sum_ns }: &Moved) {
        let Some(direction) = direction else {
            return self.0.add(layer as u8, (*ops).into(), u64::MAX.into());
        };
        let first = LAYERS + (layer as usize * DIRECTIONS.len() + direction as usize) * SUMS;
        for (number, sum) in [*ops, *bytes, ops.saturating_sub(*timed)].into_iter().enumerate() {
            self.0.add((first + number) as u8, sum.into(), u64::MAX.into());
        }
        self.0.add((first + 3) as u8, *sum_ns, MOST_NS);
    }

    /// Adds the sums of `other`.
    pub fn combine(&mut self, other: &Kept) {
        for (number, sum) in other.0.each() {
            let is_time = usize::from(number) >= LAYERS && (usize::from(number) - LAYERS) % SUMS == 3;
            self.0.add(number, sum, if is_time { MOST_NS } else { u64::MAX.into() });
        }
    }

    /// Returns all sums.
    pub fn get(&self) -> Counts {
        let mut counts = Counts::default();
        for (number, sum) in self.0.each() {
            let (number, count) = (usize::from(number), u64::try_from(sum).unwrap_or(u64::MAX));
            let Some(place) = number.checked_sub(LAYERS) else {
                counts.ops[number] = count;
                continue;
            };
            let of_layer = counts.moved.get_mut(place / SUMS / DIRECTIONS.len());
            let Some(moved) = of_layer.map(|of_layer| &mut of_layer[place / SUMS % DIRECTIONS.len()]) else { continue };
            match place % SUMS {
                0 => moved.ops = count,
                1 => moved.bytes = count,
                // Number of operations of unknown duration, until all sums are read.
                2 => moved.timed = count,
                _ => moved.sum_ns = sum,
            }
        }
        for (ops, moved) in counts.ops.iter_mut().zip(&mut counts.moved) {
            for moved in moved {
                moved.timed = moved.ops.saturating_sub(moved.timed);
                *ops = ops.saturating_add(moved.ops);
            }
        }
        counts
    }

    /// Returns the number of all operations.
    pub fn ops(&self) -> u64 {
        let is_ops = |number: usize| number.checked_sub(LAYERS).is_none_or(|place| place % SUMS == 0);
        let ops = self.0.each().filter(|(number, _)| is_ops(usize::from(*number)));
        ops.fold(0, |sum, (_, ops)| sum.saturating_add(u64::try_from(ops).unwrap_or(u64::MAX)))
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

    #[test]
    fn what_is_kept_is_what_was_added() {
        let (mut counts, mut kept) = (Counts::default(), Kept::default());
        let mut number = 1u64;
        for layer in Layer::ALL {
            for direction in [None, Some(Direction::Read), Some(Direction::Write)] {
                for _ in 0..3 {
                    number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let ops = number >> 40;
                    let sums = Moved { ops, bytes: number, timed: ops / 3, sum_ns: number.into() };
                    counts.add(*layer, direction, &sums);
                    kept.add(*layer, direction, &sums);
                }
            }
        }
        assert_eq!(kept.get(), counts);
        assert_eq!(kept.ops(), Layer::ALL.iter().map(|layer| counts.ops(*layer)).sum::<u64>());
        assert_eq!(Kept::from(counts.clone()).get(), counts);
        let mut twice = kept.clone();
        twice.combine(&kept);
        counts.combine(&counts.clone());
        assert_eq!(twice.get(), counts);
    }
}
