//! Tables that are scanned, and their properties.

use arrow_array::RecordBatch;
use iostrata_capture::op::Layer;
use iostrata_capture::part::{OpenPart, PartFile};
use iostrata_capture::table::Table;
use iostrata_capture::tables::{BlockTable, FsTable, ShareTable, SyscallTable, VfsTable};
use iostrata_capture::{Capture, Result, TableId};

use super::Fold;
use crate::aggregate::Settings;

/// Time ranges that need a row; each variant includes the previous ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// None.
    Never,
    /// The one in which it began.
    Begin,
    /// Those in which it began and ended.
    Ends,
    /// These, and all between them.
    Through,
}

/// Names of columns.
pub type Columns = &'static [&'static str];

/// Adds the rows of a batch. The error states the column and what is wrong with it.
pub type Add = fn(&RecordBatch, &mut Fold) -> std::result::Result<(), String>;

/// Table of events.
pub trait Events: Table {
    /// Layer of the operations, bytes and durations in its rows.
    #[allow(clippy::panic, reason = "evaluated at compile time")]
    const LAYER: Layer = match Self::ID.layer() {
        Some(layer) => layer,
        None => panic!("only rows of a layer are scanned"),
    };
    /// Columns that are always read.
    const COLUMNS: Columns;
    /// Additional columns for the attribution to cgroups, files and disks.
    const OF_ENTITIES: Columns = &[];
    /// Additional columns for sizes.
    const OF_SIZES: Columns = &[];
    /// Additional columns for offsets.
    const OF_PLACES: Columns = &[];
    /// Columns for the matching of requests to calls.
    const OF_CROSSING: Columns = &[];
    /// Whether its rows have the end of events.
    const HAS_ENDS: bool = true;
    /// Whether each of its rows is an operation, with a place in the time order.
    const HAS_ORDER: bool = false;
    /// Time ranges that need a row for the matching of requests to calls.
    const REACH: Reach;

    /// Adds the rows of `batch`.
    ///
    /// # Errors
    /// The column, and what is wrong with it.
    fn fold(batch: &RecordBatch, fold: &mut Fold) -> std::result::Result<(), String>;

    /// Adds the rows of `batch` to those for the matching of requests to calls.
    ///
    /// # Errors
    /// The column, and what is wrong with it.
    fn cross(_batch: &RecordBatch, _fold: &mut Fold) -> std::result::Result<(), String> {
        Ok(())
    }
}

/// Table that is scanned.
#[derive(Debug)]
pub struct EventTable {
    /// Name.
    pub id: TableId,
    /// [`Events::LAYER`].
    pub layer: Layer,
    /// [`Events::HAS_ENDS`].
    pub has_ends: bool,
    /// [`Events::HAS_ORDER`].
    pub has_order: bool,
    /// [`Events::REACH`].
    reach: Reach,
    pub(super) fold: Add,
    pub(super) cross: Add,
    columns: [Columns; 4],
    of_crossing: Columns,
    parts: fn(&Capture) -> Result<Vec<PartFile>>,
    open: fn(&PartFile, &[&str]) -> Result<OpenPart>,
}

/// All scanned tables in the order of reading: `share` after `block`, which has the requests.
pub static EVENT_TABLES: [EventTable; 5] = [
    event_table::<SyscallTable>(),
    event_table::<VfsTable>(),
    event_table::<FsTable>(),
    event_table::<BlockTable>(),
    event_table::<ShareTable>(),
];

const fn event_table<T: Events>() -> EventTable {
    EventTable {
        id: T::ID,
        layer: T::LAYER,
        has_ends: T::HAS_ENDS,
        has_order: T::HAS_ORDER,
        reach: T::REACH,
        fold: T::fold,
        cross: T::cross,
        columns: [T::COLUMNS, T::OF_ENTITIES, T::OF_SIZES, T::OF_PLACES],
        of_crossing: T::OF_CROSSING,
        parts: Capture::parts::<T>,
        open: OpenPart::new::<T>,
    }
}

impl EventTable {
    /// Returns its parts in `capture`.
    ///
    /// # Errors
    /// If they cannot be found.
    pub fn parts(&self, capture: &Capture) -> Result<Vec<PartFile>> {
        (self.parts)(capture)
    }

    /// Returns the columns to read.
    pub fn columns(&self, settings: &Settings) -> Vec<&'static str> {
        if !settings.folds() {
            return self.of_crossing.to_vec();
        }
        let asked = [true, settings.entities, settings.bios(), settings.positions(), settings.crossing];
        let columns = self.columns.iter().chain([&self.of_crossing]).zip(asked).filter(|(_, asked)| *asked);
        let mut columns: Vec<&str> = columns.flat_map(|(columns, _)| *columns).copied().collect();
        columns.sort_unstable();
        columns.dedup();
        columns
    }

    /// Returns the time ranges that need its rows.
    pub fn reach(&self, settings: &Settings) -> Reach {
        let of_layer = match (self.has_order && !settings.in_order.is_empty(), settings.ends()) {
            (false, _) => Reach::Never,
            (true, true) => Reach::Ends,
            (true, false) => Reach::Begin,
        };
        if settings.crossing { self.reach.max(of_layer) } else { of_layer }
    }

    /// Opens a part of it to read these columns.
    ///
    /// # Errors
    /// If it cannot be read, or belongs to another table.
    pub fn open(&self, part: &PartFile, columns: &[&str]) -> Result<OpenPart> {
        (self.open)(part, columns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_of_the_layer_of_their_table() {
        assert!(EVENT_TABLES.iter().all(|table| table.id.layer() == Some(table.layer)));
        assert!(EVENT_TABLES.is_sorted_by_key(|table| table.id));
        let layers = TableId::ALL.iter().filter(|table| table.layer().is_some());
        assert_eq!(layers.count(), EVENT_TABLES.len());
    }
}
