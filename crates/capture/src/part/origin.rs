//! Origin of a part in its footer: capture, table and number. A copy under another name, or a part of another capture, is
//! detected by it. Earlier recorders did not write it.

use std::fmt;

use parquet::file::metadata::{FileMetaData, KeyValue};

use super::PartName;
use crate::TableId;

const CAPTURE: &str = "iostrata.capture";
const TABLE: &str = "iostrata.table";
const NUMBER: &str = "iostrata.part";

/// Maximum number of characters of a capture ID in messages: a footer may claim anything.
const MOST_CHARS: usize = 64;

/// Origin of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Capture, by `parts_id` of its manifest.
    capture: String,
    /// Table.
    table: String,
    /// Number in the table.
    number: u32,
}

impl Origin {
    /// Creates the origin of part `name` of a capture.
    pub(crate) fn new(capture: &str, name: PartName) -> Origin {
        Origin { capture: capture.to_owned(), table: name.table.name().to_owned(), number: name.number }
    }

    /// Returns the origin in a footer; `None` if it has none of the keys. A missing capture or table is empty, a missing number
    /// 0.
    pub(crate) fn of(metadata: &FileMetaData) -> Option<Origin> {
        let keys = metadata.key_value_metadata()?;
        let value =
            |name: &str| keys.iter().find(|key| key.key == name).map(|key| key.value.clone().unwrap_or_default());
        let found = [CAPTURE, TABLE, NUMBER].map(value);
        if found.iter().all(Option::is_none) {
            return None;
        }
        let [capture, table, number] = found.map(Option::unwrap_or_default);
        Some(Origin { capture, table, number: number.parse().unwrap_or(0) })
    }

    /// Returns the key-value metadata of the footer.
    pub(super) fn keys(&self) -> Vec<KeyValue> {
        let key = |name: &str, value: String| KeyValue::new(name.to_owned(), value);
        vec![key(CAPTURE, self.capture.clone()), key(TABLE, self.table.clone()), key(NUMBER, self.number.to_string())]
    }

    /// Returns the difference from part `name` of the capture with `id` in its parts, as a predicate; `None` if it is that
    /// part. Without such an ID in the manifest nothing is checked.
    pub(crate) fn contradicts(&self, id: Option<&str>, name: PartName) -> Option<String> {
        self.strange(id, name.table).or_else(|| self.copied(id, name).map(copy_of))
    }

    /// Returns the difference from a part of `table`, in the same manner.
    pub(crate) fn strange(&self, id: Option<&str>, table: TableId) -> Option<String> {
        let id = id?;
        let short = |text: &str| text.chars().take(MOST_CHARS).collect::<String>();
        if self.capture != id {
            return Some(format!("is a part of another capture ({})", short(&self.capture)));
        }
        (self.table != table.name()).then(|| format!("is a part of table {}", short(&self.table)))
    }

    /// Returns the other part of the table of `name` that it claims to be. Programs that copy footer metadata write the number
    /// of one part into the rows of many.
    pub(crate) fn copied(&self, id: Option<&str>, name: PartName) -> Option<PartName> {
        (id.is_some() && self.number != name.number).then_some(PartName { number: self.number, ..name })
    }

    /// Returns the number.
    pub(super) fn number(&self) -> u32 {
        self.number
    }
}

/// Returns the text for a part that is identical to another one.
pub(crate) fn copy_of(first: impl fmt::Display) -> String {
    format!("is a copy of {first}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TableId;

    #[test]
    fn a_part_is_the_one_that_it_was_written_as_and_no_other() {
        let name = |table, number| PartName { table, number };
        let origin = Origin::new("a", name(TableId::Block, 3));
        let said = |id, table, number| origin.contradicts(id, name(table, number));
        assert_eq!(said(Some("a"), TableId::Block, 3), None);
        assert_eq!(said(None, TableId::Vfs, 7), None);
        assert_eq!(said(Some("b"), TableId::Block, 3).as_deref(), Some("is a part of another capture (a)"));
        assert_eq!(said(Some("a"), TableId::Vfs, 3).as_deref(), Some("is a part of table block"));
        assert_eq!(said(Some("a"), TableId::Block, 4).as_deref(), Some("is a copy of block/part-000003.parquet"));
    }
}
