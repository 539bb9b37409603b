//! What a part says of itself in its footer: of which capture and table it is, and its number. So a copy of it under another name, or
//! a part of another capture, is known as one. Earlier recorders wrote nothing of it.

use std::fmt;

use parquet::file::metadata::{FileMetaData, KeyValue};

use super::PartName;
use crate::TableId;

const CAPTURE: &str = "iostrata.capture";
const TABLE: &str = "iostrata.table";
const NUMBER: &str = "iostrata.part";

/// No id of a capture is longer, as it is shown: a footer may claim anything.
const MOST_CHARS: usize = 64;

/// Where a part was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The capture, by `parts_id` of its manifest.
    capture: String,
    /// The table.
    table: String,
    /// The number in it.
    number: u32,
}

impl Origin {
    /// Of part `name` of a capture.
    pub(crate) fn new(capture: &str, name: PartName) -> Origin {
        Origin { capture: capture.to_owned(), table: name.table.name().to_owned(), number: name.number }
    }

    /// What a footer says, if it says anything. What is not there of it is of no capture, of no table, or number 0.
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

    /// As a footer has it.
    pub(super) fn keys(&self) -> Vec<KeyValue> {
        let key = |name: &str, value: String| KeyValue::new(name.to_owned(), value);
        vec![key(CAPTURE, self.capture.clone()), key(TABLE, self.table.clone()), key(NUMBER, self.number.to_string())]
    }

    /// What a part is instead of part `name` of the capture whose parts have `id`, as a predicate; none where it is that one. In a
    /// capture whose manifest has no such id nothing is known of its parts, and none is another one's.
    pub(crate) fn contradicts(&self, id: Option<&str>, name: PartName) -> Option<String> {
        self.strange(id, name.table).or_else(|| self.copied(id, name).map(copy_of))
    }

    /// What a part is instead of one of `table`, likewise.
    pub(crate) fn strange(&self, id: Option<&str>, table: TableId) -> Option<String> {
        let id = id?;
        let short = |text: &str| text.chars().take(MOST_CHARS).collect::<String>();
        if self.capture != id {
            return Some(format!("is a part of another capture ({})", short(&self.capture)));
        }
        (self.table != table.name()).then(|| format!("is a part of table {}", short(&self.table)))
    }

    /// The other part of the table of `name` that it says to be. Programs that keep what footers say put the number of one part on the rows of many.
    pub(crate) fn copied(&self, id: Option<&str>, name: PartName) -> Option<PartName> {
        (id.is_some() && self.number != name.number).then_some(PartName { number: self.number, ..name })
    }

    /// The number.
    pub(super) fn number(&self) -> u32 {
        self.number
    }
}

/// What is said of a part that is the same as another one.
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
