//! Names of a capture's tables. A name is that of the folder, of the class of events in the event accounting, and of the
//! table that an analysis scans.

use std::ops::{Index, IndexMut};

use serde::{Deserialize, Serialize};

use crate::op::{Layer, words};

words! {
    /// Table of a capture.
    TableId {
        /// System calls.
        Syscall = "syscall",
        /// VFS operations.
        Vfs = "vfs",
        /// Page cache, writeback, journal and sync.
        Fs = "fs",
        /// Block requests.
        Block = "block",
        /// Portions of block requests with several owners, classes or files.
        Share = "share",
        /// Processes.
        Process = "process",
        /// Files.
        File = "file",
        /// Clock readings.
        Clock = "clock",
        /// Lost events.
        Loss = "loss",
    }
}

impl Layer {
    /// Returns the table of the layer's operations, which has the same name.
    pub const fn table(self) -> TableId {
        match self {
            Layer::Syscall => TableId::Syscall,
            Layer::Vfs => TableId::Vfs,
            Layer::Fs => TableId::Fs,
            Layer::Block => TableId::Block,
        }
    }
}

impl TableId {
    /// Number of tables.
    pub const COUNT: usize = TableId::ALL.len();

    /// Returns the layer that the rows belong to; `None` for tables of no layer.
    pub const fn layer(self) -> Option<Layer> {
        match self {
            TableId::Syscall => Some(Layer::Syscall),
            TableId::Vfs => Some(Layer::Vfs),
            TableId::Fs => Some(Layer::Fs),
            TableId::Block | TableId::Share => Some(Layer::Block),
            TableId::Process | TableId::File | TableId::Clock | TableId::Loss => None,
        }
    }

    /// Whether rows of other tables refer to this one, or it describes the recording as a whole. Such a table outlives the
    /// events.
    pub const fn is_reference(self) -> bool {
        matches!(self, TableId::Process | TableId::File | TableId::Clock | TableId::Loss)
    }

    /// Whether the recorder generates the rows. Events of all other tables are generated and counted by the kernel side.
    pub const fn is_recorders(self) -> bool {
        matches!(self, TableId::Clock | TableId::Loss)
    }

    /// Returns the table called `name`.
    ///
    /// # Errors
    /// Returns an error text if no table has that name.
    pub fn named(name: &str) -> Result<TableId, String> {
        let names = || TableId::ALL.iter().map(|table| table.name()).collect::<Vec<_>>().join(", ");
        TableId::parse(name).ok_or_else(|| format!("unknown table {name:?}, expected one of {}", names()))
    }
}

/// One value per table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ByTable<T>([T; TableId::COUNT]);

impl<T> ByTable<T> {
    /// Iterates over tables and values, in order of declaration.
    pub fn iter(&self) -> impl Iterator<Item = (TableId, &T)> {
        TableId::ALL.iter().copied().zip(&self.0)
    }

    /// Iterates over the values, in order of declaration.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }

    /// Maps each value to another one.
    pub fn map<U>(self, of: impl FnMut(T) -> U) -> ByTable<U> {
        ByTable(self.0.map(of))
    }
}

impl<T> Index<TableId> for ByTable<T> {
    type Output = T;

    #[inline]
    fn index(&self, table: TableId) -> &T {
        &self.0[table as usize]
    }
}

impl<T> IndexMut<TableId> for ByTable<T> {
    #[inline]
    fn index_mut(&mut self, table: TableId) -> &mut T {
        &mut self.0[table as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_table_has_a_place_of_its_own() {
        let mut places = ByTable(std::array::from_fn(|place| place));
        assert!(
            places
                .iter()
                .all(|(table, place)| TableId::ALL[*place] == table && TableId::named(table.name()) == Ok(table))
        );
        places[TableId::Loss] = 99;
        assert_eq!(places.map(|place| place == 99).values().filter(|changed| **changed).count(), 1);
    }

    #[test]
    fn a_layer_has_the_name_of_its_table() {
        for layer in Layer::ALL {
            assert_eq!((layer.table().name(), layer.table().layer()), (layer.name(), Some(*layer)));
        }
        assert_eq!(TableId::named("blocks").expect_err("no table").split(',').count(), TableId::COUNT + 1);
    }
}
