//! The tables that are scanned, and what the scan has to know of each.

use arrow::array::RecordBatch;
use iostrata_capture::op::Layer;
use iostrata_capture::part::{OpenPart, PartFile};
use iostrata_capture::table::Table;
use iostrata_capture::tables::{BlockTable, FsTable, ShareTable, SyscallTable, VfsTable};
use iostrata_capture::{Capture, Result, TableId};

use super::Fold;
use crate::aggregate::Settings;

/// In which stretches of time a row is looked at: each includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// In none.
    Never,
    /// In that in which it began.
    Begin,
    /// In those in which it began and ended.
    Ends,
    /// In these and in all between.
    Through,
}

/// Names of columns.
pub type Columns = &'static [&'static str];

/// Adds the rows of a batch, or says which column is wrong and how.
pub type Add = fn(&RecordBatch, &mut Fold) -> std::result::Result<(), String>;

/// A table whose rows are events.
pub trait Events: Table {
    /// The layer whose operations, bytes and durations its rows are of.
    #[allow(clippy::panic, reason = "while it is compiled")]
    const LAYER: Layer = match Self::ID.layer() {
        Some(layer) => layer,
        None => panic!("only rows of a layer are scanned"),
    };
    /// The columns that are looked at.
    const COLUMNS: Columns;
    /// Those that are looked at beside these where it matters which cgroup, file and disk a row is of.
    const OF_ENTITIES: Columns = &[];
    /// Those that are looked at beside these where sizes are counted.
    const OF_SIZES: Columns = &[];
    /// Those that are looked at beside these where it is looked at where operations are.
    const OF_PLACES: Columns = &[];
    /// Those that are looked at to tell what calls wait for.
    const OF_CROSSING: Columns = &[];
    /// Whether its rows tell when something ended.
    const HAS_ENDS: bool = true;
    /// Whether each of its rows is an operation, which has an order among others.
    const HAS_ORDER: bool = false;
    /// When its rows are looked at to tell what calls wait for.
    const REACH: Reach;

    /// Adds the rows of `batch`.
    ///
    /// # Errors
    /// Which column is wrong, and how.
    fn fold(batch: &RecordBatch, fold: &mut Fold) -> std::result::Result<(), String>;

    /// Takes the rows of `batch` to tell what calls wait for.
    ///
    /// # Errors
    /// Which column is wrong, and how.
    fn cross(_batch: &RecordBatch, _fold: &mut Fold) -> std::result::Result<(), String> {
        Ok(())
    }
}

/// A table that is scanned.
#[derive(Debug)]
pub struct EventTable {
    /// Its name.
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

/// All of them, in the order in which they are read: `share` after `block`, which says of which requests.
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
    /// Its parts in `capture`.
    ///
    /// # Errors
    /// Where they cannot be found.
    pub fn parts(&self, capture: &Capture) -> Result<Vec<PartFile>> {
        (self.parts)(capture)
    }

    /// The columns of it that are looked at.
    pub fn columns(&self, settings: &Settings) -> Vec<&'static str> {
        if !settings.folds() {
            return self.of_crossing.to_vec();
        }
        let asked = [true, settings.entities, settings.sizes, settings.positions(), settings.ordered.crossing];
        let columns = self.columns.iter().chain([&self.of_crossing]).zip(asked).filter(|(_, asked)| *asked);
        let mut columns: Vec<&str> = columns.flat_map(|(columns, _)| *columns).copied().collect();
        columns.sort_unstable();
        columns.dedup();
        columns
    }

    /// In which stretches of time its rows are looked at.
    pub fn reach(&self, settings: &Settings) -> Reach {
        let of_layer = match settings.ordered {
            ordered if !self.has_order || !ordered.of_layers() => Reach::Never,
            ordered if ordered.queue => Reach::Ends,
            _ => Reach::Begin,
        };
        if settings.ordered.crossing { self.reach.max(of_layer) } else { of_layer }
    }

    /// Opens a part of it to read these columns.
    ///
    /// # Errors
    /// Where it cannot be read, or is of another table.
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
