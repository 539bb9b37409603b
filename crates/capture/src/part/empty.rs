//! Parts without rows, so that every table of a capture can be queried: a glob that matches nothing is an error in most readers.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::{finished, torn};
use crate::error::{Error, Result};
use crate::list::Part;
use crate::tables::{self, Declared};

/// The tables of the capture in `directory` that have no finished part.
pub fn without_parts(directory: &Path) -> Result<Vec<Declared>> {
    let mut without = Vec::new();
    for table in tables::all() {
        if finished(&directory.join(table.name))?.is_empty() {
            without.push(table);
        }
    }
    Ok(without)
}

/// Gives each table of the capture in `directory`, whose parts have `id`, that has no finished part one without rows. The parts, which are in no list yet.
/// A folder that is missing is made.
pub fn fill_in(directory: &Path, id: Option<&str>) -> Result<Vec<Part>> {
    let fill = |table: &Declared| {
        let folder = directory.join(table.name);
        match fs::create_dir(&folder) {
            Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(Error::io(&folder, "create", e)),
            _ => {}
        }
        // What is left there of a part that could not be finished keeps its number.
        let number = torn::unfinished(&folder)?.last().map_or(1, |number| number.saturating_add(1));
        (table.create_part)(directory, number, id)?.finish()
    };
    without_parts(directory)?.iter().map(fill).collect()
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
        fs::create_dir(place.path().join(ClockTable::NAME)).expect("room");
        (tables::all().into_iter().find(|table| table.name == ClockTable::NAME).expect("declared").create_part)(
            place.path(),
            7,
            None,
        )
        .and_then(|part| part.finish())
        .expect("room");
        let parts = fill_in(place.path(), Some("x")).expect("room");
        assert_eq!(parts.len(), tables::all().len() - 1);
        assert!(
            parts.iter().all(|part| part.rows == 0 && part.name.number == 1 && part.name.table != ClockTable::NAME)
        );
        let vfs = finished(&place.path().join(VfsTable::NAME)).expect("a folder");
        let mut batches = 0;
        let read = PartFile::Whole(vfs[0].1.clone()).read::<VfsTable>(|_| {
            batches += 1;
            Ok(())
        });
        assert_eq!((read.is_ok(), batches), (true, 0));
        assert!(fill_in(place.path(), Some("x")).expect("nothing to do").is_empty());
    }
}
