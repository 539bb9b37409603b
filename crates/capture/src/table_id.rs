//! The names of a capture's tables. A name is that of the folder, of the class of events in the books, and of what an analysis scans.

use std::ops::{Index, IndexMut};

use serde::{Deserialize, Serialize};

use crate::op::{Layer, words};

words! {
    /// A table of a capture.
    TableId {
        /// System calls.
        Syscall = "syscall",
        /// Operations of the virtual file system.
        Vfs = "vfs",
        /// Page cache, writeback, journal and sync.
        Fs = "fs",
        /// Requests to disks.
        Block = "block",
        /// Parts of requests that are of several owners, classes or files.
        Share = "share",
        /// Processes.
        Process = "process",
        /// Files.
        File = "file",
        /// Moments of both clocks.
        Clock = "clock",
        /// Events that were lost.
        Loss = "loss",
    }
}

impl Layer {
    /// The table of its operations, which has its name.
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
    /// How many there are.
    pub const COUNT: usize = TableId::ALL.len();

    /// The layer of the I/O stack that its rows are of; none where they are of no layer.
    pub const fn layer(self) -> Option<Layer> {
        match self {
            TableId::Syscall => Some(Layer::Syscall),
            TableId::Vfs => Some(Layer::Vfs),
            TableId::Fs => Some(Layer::Fs),
            TableId::Block | TableId::Share => Some(Layer::Block),
            TableId::Process | TableId::File | TableId::Clock | TableId::Loss => None,
        }
    }

    /// Whether rows of other tables refer to it, or it describes the recording as a whole. Such a table outlives the events.
    pub const fn is_reference(self) -> bool {
        matches!(self, TableId::Process | TableId::File | TableId::Clock | TableId::Loss)
    }

    /// Whether the recorder itself makes its rows. Of all others the kernel side makes the events, and counts them.
    pub const fn is_recorders(self) -> bool {
        matches!(self, TableId::Clock | TableId::Loss)
    }

    /// The table that is called `name`.
    ///
    /// # Errors
    /// What is wrong, where no table has that name.
    pub fn named(name: &str) -> Result<TableId, String> {
        let names = || TableId::ALL.iter().map(|table| table.name()).collect::<Vec<_>>().join(", ");
        TableId::parse(name).ok_or_else(|| format!("{name:?} is no table, expected one of {}", names()))
    }
}

/// A value for each table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ByTable<T>([T; TableId::COUNT]);

impl<T> ByTable<T> {
    /// Each table with its value, in order of declaration.
    pub fn iter(&self) -> impl Iterator<Item = (TableId, &T)> {
        TableId::ALL.iter().copied().zip(&self.0)
    }

    /// The values, in order of declaration.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }

    /// The same with another value for each.
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
