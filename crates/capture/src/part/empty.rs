//! Empty parts, so that every table of a capture can be queried: most readers fail on a glob without matches.

use super::{finished, incomplete};
use crate::TableId;
use crate::dir::{Dir, FOLDER_MODE};
use crate::error::Result;
use crate::list::Part;
use crate::table_id::Kind;

/// Whether `table` of the capture in `directory` has no finished part and should have one. Readings are only in captures with
/// their probe group, whose recorder makes the folder.
pub fn lacks_part(directory: &Dir, table: TableId) -> Result<bool> {
    let folder = directory.sub(table.name());
    let is_expected = table.kind() != Kind::Readings || folder.is_there();
    Ok(is_expected && finished(&folder)?.is_empty())
}

/// Creates an empty part for each table without a finished part, in the capture in `directory` with `id` in its parts. Returns
/// the new parts, which are not listed yet. Missing folders are created.
pub fn fill_in(directory: &Dir, id: Option<&str>) -> Result<Vec<Part>> {
    let fill = |table: &TableId| {
        if !lacks_part(directory, *table)? {
            return Ok(None);
        }
        let folder = directory.sub(table.name());
        directory.make_dir_unless_there(table.name(), FOLDER_MODE)?;
        // The remains of an unfinished part keep their number.
        let number = incomplete::unfinished(&folder)?.last().map_or(1, |number| number.saturating_add(1));
        (table.declared().create_part)(directory, number, id)?.finish().map(Some)
    };
    TableId::ALL.iter().filter_map(|table| fill(table).transpose()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::part::PartFile;
    use crate::table::Table;
    use crate::tables::{ClockTable, VfsTable};

    #[test]
    fn each_table_gets_a_part_unless_it_has_one() {
        let place = tempfile::tempdir().expect("a temporary directory");
        let directory = Dir::open(place.path()).expect("there");
        directory.make_dir(ClockTable::NAME, FOLDER_MODE).expect("room");
        (TableId::Clock.declared().create_part)(&directory, 7, None).and_then(|part| part.finish()).expect("room");
        let parts = fill_in(&directory, Some("x")).expect("room");
        let expected = TableId::ALL.iter().filter(|table| table.kind() != Kind::Readings);
        assert_eq!(parts.len(), expected.count() - 1);
        assert!(parts.iter().all(|part| part.rows == 0 && part.name.number == 1 && part.name.table != TableId::Clock));
        let vfs = finished(&directory.sub(VfsTable::NAME)).expect("a folder");
        let mut batches = 0;
        let read = PartFile::Whole(vfs[0].1.clone()).read::<VfsTable>(|_| {
            batches += 1;
            Ok(())
        });
        assert_eq!((read.is_ok(), batches), (true, 0));
        assert!(fill_in(&directory, Some("x")).expect("nothing to do").is_empty());
        directory.make_dir(TableId::BlockLatency.name(), FOLDER_MODE).expect("room");
        assert_eq!(fill_in(&directory, Some("x")).expect("room").len(), 1, "readings with a folder");
    }
}
