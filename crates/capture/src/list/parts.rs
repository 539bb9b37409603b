//! Result of the lines of a list: the existing parts, and sums of the removed ones.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Entry, Part, Removed, read};
use crate::TableId;
use crate::dir::Dir;
use crate::error::Result;
use crate::part::PartName;

/// In-memory data of an existing part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Number of rows.
    pub rows: u64,
    /// Size on disk in bytes.
    pub bytes: u64,
    /// Size in bytes after a replacement that was begun: the part has either size.
    pub replaced_bytes: Option<u64>,
    /// Maximum `ts_ns`; none in an empty part.
    pub last_ts_ns: Option<i64>,
}

/// Parts of a capture. An existing part takes some tens of bytes, a removed one nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartList {
    tables: BTreeMap<TableId, TableParts>,
}

/// Parts of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct TableParts {
    kept: BTreeMap<u32, Kept>,
    kept_bytes: u64,
    removed: Sum,
}

/// Sums of the removed parts of a table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Sum {
    parts: u64,
    rows: u64,
    bytes: u64,
    last_ts_ns: Option<i64>,
}

impl Sum {
    /// Adds `other`. A list may claim anything: sums saturate.
    fn add(&mut self, other: Sum) {
        self.parts = self.parts.saturating_add(other.parts);
        self.rows = self.rows.saturating_add(other.rows);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.last_ts_ns = self.last_ts_ns.max(other.last_ts_ns);
    }
}

impl PartList {
    /// Reads the list of the capture in `directory`.
    pub fn read(directory: &Dir) -> Result<PartList> {
        let mut list = PartList::default();
        read(directory, |entry| list.take(entry))?;
        Ok(list)
    }

    /// Applies the next entry, or returns an error text.
    pub fn take(&mut self, entry: Entry) -> std::result::Result<(), String> {
        match entry {
            Entry::Finished(part) => self.add(&part),
            Entry::Replacing(part) => {
                match self.tables.get_mut(&part.name.table).and_then(|t| t.kept.get_mut(&part.name.number)) {
                    Some(kept) if kept.rows == part.rows => {
                        kept.replaced_bytes = Some(part.bytes);
                        Ok(())
                    }
                    _ => Err(format!(
                        "{} is replaced, expected an existing part with the same number of rows",
                        part.name
                    )),
                }
            }
            Entry::Removed(name) => match self.remove(name) {
                Some(_) => Ok(()),
                None => Err(format!("{name} was removed, expected an existing part")),
            },
            Entry::RemovedSum(Removed { table, parts, rows, bytes, last_ts_ns }) => {
                let table = self.tables.entry(table).or_default();
                table.removed.add(Sum { parts, rows, bytes, last_ts_ns });
                Ok(())
            }
        }
    }

    fn add(&mut self, part: &Part) -> std::result::Result<(), String> {
        let Part { name, rows, bytes, last_ts_ns, .. } = *part;
        let table = self.tables.entry(name.table).or_default();
        if table.kept.contains_key(&name.number) {
            return Err(format!("{name} was finished, expected a new part"));
        }
        table.kept.insert(name.number, Kept { rows, bytes, replaced_bytes: None, last_ts_ns });
        table.kept_bytes = table.kept_bytes.saturating_add(bytes);
        Ok(())
    }

    /// Removes a part, and adds it to the removed sums; `None` if it does not exist.
    pub fn remove(&mut self, name: PartName) -> Option<Kept> {
        let table = self.tables.get_mut(&name.table)?;
        let part = table.kept.remove(&name.number)?;
        let Kept { rows, bytes, last_ts_ns, .. } = part;
        table.kept_bytes = table.kept_bytes.saturating_sub(bytes);
        table.removed.add(Sum { parts: 1, rows, bytes, last_ts_ns });
        Some(part)
    }

    /// Returns the part with this name.
    pub fn get(&self, name: PartName) -> Option<&Kept> {
        self.tables.get(&name.table)?.kept.get(&name.number)
    }

    /// Iterates over the existing parts, by table and number.
    pub fn parts(&self) -> impl Iterator<Item = (PartName, &Kept)> {
        self.tables.iter().flat_map(|(table, parts)| {
            parts.kept.iter().map(|(number, part)| (PartName { table: *table, number: *number }, part))
        })
    }

    /// Returns the number of existing parts.
    pub fn len(&self) -> u64 {
        self.tables.values().map(|table| table.kept.len() as u64).sum()
    }

    /// Whether there are no parts.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the size of the existing parts on the disk, in bytes.
    pub fn bytes(&self) -> u64 {
        self.tables.values().fold(0, |sum, table| sum.saturating_add(table.kept_bytes))
    }

    /// Iterates over the removed sums, by table.
    pub fn removed(&self) -> impl Iterator<Item = Removed> {
        let some = self.tables.iter().filter(|(_, parts)| parts.removed.parts > 0);
        some.map(|(table, TableParts { removed: Sum { parts, rows, bytes, last_ts_ns }, .. })| Removed {
            table: *table,
            parts: *parts,
            rows: *rows,
            bytes: *bytes,
            last_ts_ns: *last_ts_ns,
        })
    }

    /// Returns the time up to which rows of events may be missing because their parts were removed. Later rows are complete.
    pub fn removed_until_ns(&self) -> Option<i64> {
        let events = self.tables.iter().filter(|(table, _)| !table.is_reference());
        events.filter_map(|(_, parts)| parts.removed.last_ts_ns).max()
    }

    /// Returns the maximum `ts_ns` of all existing parts.
    pub fn last_ts_ns(&self) -> Option<i64> {
        self.parts().filter_map(|(_, part)| part.last_ts_ns).max()
    }

    /// Returns the part to remove first when the capture must become smaller: the oldest one of events, unless the tables that
    /// they refer to take more than `most_reference_bytes`. Within a table this is the first part, since a part is finished
    /// before the next one is begun; among tables, the one with the oldest last row.
    pub fn oldest(&self, most_reference_bytes: u64) -> Option<PartName> {
        let references = self.tables.iter().filter(|(table, _)| table.is_reference());
        let too_many =
            references.fold(0u64, |sum, (_, parts)| sum.saturating_add(parts.kept_bytes)) > most_reference_bytes;
        let tables = self.tables.iter().filter(|(table, _)| table.is_reference() == too_many);
        let firsts = tables.filter_map(|(table, parts)| Some((table, parts.kept.first_key_value()?)));
        let (table, (number, _)) = firsts.min_by_key(|(_, (_, part))| part.last_ts_ns)?;
        Some(PartName { table: *table, number: *number })
    }
}
