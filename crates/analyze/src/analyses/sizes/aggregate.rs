//! Operation sizes: counts and durations by layer, direction and size class.

use iostrata_capture::op::{Direction, Layer};
use serde::{Deserialize, Serialize};

use crate::aggregate::any_order::{Accumulate, Aggregate, Context};
use crate::aggregate::count::{DIRECTIONS, Moved};
use crate::aggregate::requests::Needs;
use crate::aggregate::sample::{Distribution, Sample};
use crate::aggregate::sequence::Owners;
use crate::aggregate::{LostByLayer, Precision};
use crate::scan::entries::Entries;

/// Size class: sizes up to a power of two, and above half of it. 2,049 to 4,096 bytes are class 12. Operations that moved nothing have no
/// class.
pub type Class = Option<u32>;

/// Returns the class of a size.
#[inline]
pub fn class_of(bytes: u64) -> Class {
    bytes.checked_sub(1).map(|less| u64::BITS - less.leading_zeros())
}

/// Returns the minimum and the maximum size of a class.
pub fn ends_of(class: Class) -> (u64, u64) {
    match class {
        None => (0, 0),
        Some(0) => (1, 1),
        Some(class) => {
            let greatest = 1u64.checked_shl(class).unwrap_or(u64::MAX);
            ((1 << (class - 1)) + 1, greatest)
        }
    }
}

/// Number of possible classes, besides none.
const CLASSES: usize = u64::BITS as usize + 1;
const PLACES: usize = 1 + CLASSES;

/// Operation, or several that are equal.
#[derive(Debug, Clone, Copy)]
struct Sized {
    direction: Direction,
    /// Number of operations.
    ops: u64,
    /// Number of bytes of one.
    bytes: u64,
    /// Number of bios of one, if it is a request.
    bios: u64,
    /// Duration of one in ns, if known.
    ns: Option<u64>,
}

/// Sums over the operations of a class.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Cell {
    moved: Moved,
    bios: u64,
    durations: Sample,
}

/// Sums by layer, direction and class.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sizes {
    precision: Precision,
    cells: Vec<Option<Box<Cell>>>,
}

/// Result, after all partial results are merged.
#[derive(Debug, Clone, Default)]
pub struct Finished {
    /// Classes with operations, in order of layer, direction and size.
    pub classes: Vec<OfClass>,
    /// Operations of all sizes, in order of layer and direction.
    pub whole: Vec<Whole>,
}

/// Operations of a layer and direction, of any size.
#[derive(Debug, Clone)]
pub struct Whole {
    /// Layer.
    pub layer: Layer,
    /// Direction.
    pub direction: Direction,
    /// Operations and bytes.
    pub moved: Moved,
    /// Durations of the operations.
    pub durations: Distribution,
}

/// Operations of a class.
#[derive(Debug, Clone)]
pub struct OfClass {
    /// Layer.
    pub layer: Layer,
    /// Direction.
    pub direction: Direction,
    /// Minimum and maximum size.
    pub ends: (u64, u64),
    /// Operations and bytes.
    pub moved: Moved,
    /// Number of bios of the requests.
    pub bios: u64,
    /// Durations of the operations.
    pub durations: Distribution,
}

impl Sizes {
    /// Creates sums over no operations.
    fn new(precision: Precision) -> Sizes {
        Sizes { precision, cells: vec![None; Layer::ALL.len() * DIRECTIONS.len() * PLACES] }
    }

    /// Adds operations of `layer`.
    fn add(&mut self, layer: Layer, sized: &Sized) {
        let Sized { direction, ops, bytes, bios, ns } = *sized;
        let class = class_of(bytes).map_or(0, |class| class as usize + 1);
        let place = (layer as usize * DIRECTIONS.len() + direction as usize) * PLACES + class;
        let empty = || Box::new(Cell { moved: Moved::default(), bios: 0, durations: Sample::empty(self.precision) });
        let cell = self.cells[place].get_or_insert_with(empty);
        cell.moved.add(&Moved::of(ops, bytes.saturating_mul(ops), ns));
        cell.bios = cell.bios.saturating_add(bios.saturating_mul(ops));
        match ns {
            Some(ns) => cell.durations.update(ns, ops),
            None => cell.durations.update_untimed(ops),
        }
    }

    /// Adds the sums of `other`.
    fn combine(&mut self, other: Sizes) {
        for (mine, theirs) in self.cells.iter_mut().zip(other.cells) {
            match (mine, theirs) {
                (Some(mine), Some(theirs)) => {
                    let Cell { moved, bios, durations } = *theirs;
                    mine.moved.add(&moved);
                    mine.bios = mine.bios.saturating_add(bios);
                    mine.durations.combine(durations);
                }
                (mine @ None, theirs) => *mine = theirs,
                (Some(_), None) => {}
            }
        }
    }

    /// Returns the operations by class, and of all classes; `lost` events are not in them.
    fn finish(self, lost: &LostByLayer) -> Finished {
        let of = |of: usize| (Layer::ALL[of / DIRECTIONS.len()], DIRECTIONS[of % DIRECTIONS.len()]);
        let whole = |(number, cells): (usize, &[Option<Box<Cell>>])| {
            let ((layer, direction), mut cells) = (of(number), cells.iter().flatten());
            let mut sum = cells.next()?.as_ref().clone();
            for Cell { moved, durations, .. } in cells.map(AsRef::as_ref) {
                sum.moved.add(moved);
                sum.durations.combine(durations.clone());
            }
            let durations = sum.durations.finish(lost[layer as usize]);
            Some(Whole { layer, direction, moved: sum.moved, durations })
        };
        let whole = self.cells.chunks(PLACES).enumerate().filter_map(whole).collect();
        let finish = |(place, cell): (usize, Option<Box<Cell>>)| {
            let Cell { moved, bios, durations } = *cell?;
            let ((layer, direction), class) = (of(place / PLACES), place % PLACES);
            let ends = ends_of(class.checked_sub(1).and_then(|class| u32::try_from(class).ok()));
            Some(OfClass { layer, direction, ends, moved, bios, durations: durations.finish(lost[layer as usize]) })
        };
        Finished { classes: self.cells.into_iter().enumerate().filter_map(finish).collect(), whole }
    }
}

impl Accumulate for Sizes {
    fn update(&mut self, entries: &Entries) {
        // A file system row covers many operations.
        for entry in entries.each_once().filter(|entry| entry.ops > 0 && entries.layer != Layer::Fs) {
            let Some(direction) = entry.direction else { continue };
            let (ops, bios) = (u64::from(entry.ops), u64::from(entry.bios));
            self.add(entries.layer, &Sized { direction, ops, bytes: entry.size, bios, ns: entry.total_ns });
        }
    }
}

impl Aggregate for Sizes {
    const NAME: &'static str = "sizes";
    const VERSION: u32 = 1;
    const NEEDS: Needs = Needs { bios: true, ..Needs::NOTHING };
    type Config = ();
    type Open = Sizes;
    type Finished = Finished;

    fn open((): &(), precision: Precision) -> Sizes {
        Sizes::new(precision)
    }

    fn close(sizes: Sizes, _owners: &Owners) -> Sizes {
        sizes
    }

    fn is_sound(&self) -> bool {
        self.cells.len() == Layer::ALL.len() * DIRECTIONS.len() * PLACES
    }

    fn combine(&mut self, other: Sizes) {
        self.combine(other);
    }

    fn finish(self, context: &Context) -> Finished {
        self.finish(context.lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_size_is_in_its_class_and_classes_follow_each_other() {
        let of = |bytes| ends_of(class_of(bytes));
        assert_eq!(
            [0, 1, 2, 3, 4, 4_096, 4_097].map(of),
            [(0, 0), (1, 1), (2, 2), (3, 4), (3, 4), (2_049, 4_096), (4_097, 8_192)]
        );
        assert_eq!(of(u64::MAX), ((1 << 63) + 1, u64::MAX));
        let mut next = 0u64;
        for class in std::iter::once(None).chain((0..=64).map(Some)) {
            let (least, greatest) = ends_of(class);
            assert_eq!((least, class_of(least), class_of(greatest)), (next, class, class));
            next = greatest.wrapping_add(1);
        }
        assert_eq!(next, 0, "the last class ends at the maximum size");
    }

    proptest! {
        #[test]
        fn any_partition_tells_the_same(
            tagged in prop::collection::vec(((0u32..64, any::<u64>(), 1u64..9, prop::option::of(0u64..5_000)), 0..3usize), 0..100),
        ) {
            let of = |wanted: Option<usize>| {
                let mut sizes = Sizes::new(Precision::Histogram { above: 8 });
                for ((shift, bytes, ops, ns), tag) in &tagged {
                    if wanted.is_none_or(|wanted| wanted == *tag) {
                        let sized = Sized { direction: Direction::Write, ops: *ops, bytes: bytes >> shift, bios: 2, ns: *ns };
                        sizes.add(Layer::Block, &sized);
                    }
                }
                sizes
            };
            let mut sum = of(Some(2));
            sum.combine(of(Some(0)));
            sum.combine(of(Some(1)));
            let told = |sizes: Sizes| format!("{:?}", sizes.finish(&[0, 1, 2, 3]));
            prop_assert!(told(sum) == told(of(None)));
        }
    }
}
