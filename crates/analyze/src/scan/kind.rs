//! Kind of a row: everything that determines the counts that it is added to.

use iostrata_capture::op::{Direction, Layer};

use crate::aggregate::count::DIRECTIONS;
use crate::aggregate::flow::{STEP_BITS, Step};

// Widths and bit positions of the fields of a code, from the lowest bit: step, counts, direction, layer.
const COUNTED_BITS: u32 = 3;
const DIRECTION_BITS: u32 = 2;
const LAYER_BITS: u32 = Layer::ALL.len().next_power_of_two().ilog2();
const DIRECTION_AT: u32 = STEP_BITS + COUNTED_BITS;
const LAYER_AT: u32 = DIRECTION_AT + DIRECTION_BITS;

/// Number of bits of [`Kind::code`].
pub const KIND_BITS: u32 = LAYER_AT + LAYER_BITS;

/// Kind of all rows of an accumulator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// Layer of their table.
    pub layer: Layer,
    /// Direction in the counts of reads and writes; `None` if they are neither.
    pub direction: Option<Direction>,
    /// Counts that they are added to.
    pub counted: Counted,
}

/// Counts that a row is added to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// Operations, bytes and durations of its layer. With a step, also the bytes of that step between application and device.
    Whole(Option<Step>),
    /// Only the bytes of a step between application and device. Its layer counts it as something else.
    Way(Step),
    /// I/O on files in memory, in no system.
    Memory,
    /// Requests of a device that totals do not count, in no system.
    LeftOut,
}

impl Kind {
    /// Encodes the kind in [`KIND_BITS`] bits.
    #[inline]
    pub fn code(&self) -> u32 {
        let (counted, step) = match self.counted {
            Counted::Whole(None) => (0, 0),
            Counted::Whole(Some(step)) => (1, step.code()),
            Counted::Way(step) => (2, step.code()),
            Counted::Memory => (3, 0),
            Counted::LeftOut => (4, 0),
        };
        let direction = self.direction.map_or(2, |direction| direction as u32);
        u32::from(step) | counted << STEP_BITS | direction << DIRECTION_AT | (self.layer as u32) << LAYER_AT
    }

    /// Decodes a [`Kind::code`].
    pub fn of_code(code: u32) -> Kind {
        let step = Step::of_code(code as u16 & ((1 << STEP_BITS) - 1));
        let counted = match code >> STEP_BITS & ((1 << COUNTED_BITS) - 1) {
            0 => Counted::Whole(None),
            1 => Counted::Whole(Some(step)),
            2 => Counted::Way(step),
            3 => Counted::Memory,
            _ => Counted::LeftOut,
        };
        let direction = DIRECTIONS.get((code >> DIRECTION_AT & ((1 << DIRECTION_BITS) - 1)) as usize).copied();
        Kind { layer: Layer::ALL[(code >> LAYER_AT & ((1 << LAYER_BITS) - 1)) as usize], direction, counted }
    }

    /// Whether they count in a system.
    pub fn is_systems(&self) -> bool {
        matches!(self.counted, Counted::Whole(_) | Counted::Way(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_code_of_its_own() {
        let steps: Vec<Step> = Step::all().collect();
        let counted = steps.iter().flat_map(|step| [Counted::Whole(Some(*step)), Counted::Way(*step)]);
        let counted: Vec<Counted> = counted.chain([Counted::Whole(None), Counted::Memory, Counted::LeftOut]).collect();
        for layer in Layer::ALL {
            for direction in [None, Some(Direction::Read), Some(Direction::Write)] {
                for counted in &counted {
                    let kind = Kind { layer: *layer, direction, counted: *counted };
                    assert_eq!((Kind::of_code(kind.code()), kind.code() >> KIND_BITS), (kind, 0));
                }
            }
        }
    }
}
