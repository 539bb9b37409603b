//! Repair of captures of an interrupted recording: a recorder that was killed, or a machine that stopped.

use std::collections::BTreeSet;
use std::path::Path;

use crate::TableId;
use crate::capture::Lock;
use crate::completeness;
use crate::dir::Dir;
use crate::error::{Error, Result};
use crate::list::{Entry, ListFile, Part, PartList};
use crate::manifest::{Manifest, State};
use crate::panic_guard::reading;
use crate::part::{IncompletePart, Origin, PartName, empty, finished, incomplete, origin, whole_part};

/// Result of a repair.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Parts that were repaired, with all their row groups.
    pub parts: Vec<Part>,
    /// Parts that were finished but not listed yet.
    pub unlisted: Vec<Part>,
    /// Empty parts of tables that had none.
    pub filled: Vec<Part>,
    /// Number of parts of which nothing had been flushed.
    pub empty: u32,
    /// Parts that cannot be read or repaired, and were left unchanged: the reasons.
    pub unreadable: Vec<Error>,
}

/// Content of the list of parts.
#[derive(Default)]
struct Listed {
    list: PartList,
    /// Parts that are to be deleted, as far as they have lines.
    removed: BTreeSet<PartName>,
}

impl Listed {
    fn take(&mut self, entry: Entry) -> std::result::Result<(), String> {
        if let Entry::Removed(name) = &entry {
            self.removed.insert(*name);
        }
        self.list.take(entry)
    }
}

/// Turns unfinished parts into ordinary ones, up to the last row group that was flushed, and lists them. `None` if the
/// recording is complete and there is nothing to do. An unreadable part does not prevent the repair of the others.
///
/// # Errors
/// Returns an error if a recorder still writes the capture, if the manifest or the list cannot be read or written, or if a
/// folder cannot be listed.
pub fn recover(directory: &Dir) -> Result<Option<Recovered>> {
    // A capture that needs no repair is not changed, not even by a lock.
    if Manifest::read(directory)?.state != State::Recording {
        return Ok(None);
    }
    let Some(_lock) = Lock::take(directory)? else {
        return Err(Error::manifest(directory.path(), "is still being recorded; stop the recorder first"));
    };
    // Its recorder may have completed in between.
    let mut manifest = Manifest::read(directory)?;
    if manifest.state != State::Recording {
        return Ok(None);
    }
    let whole_until_ns = completeness::read(directory, manifest.parts_id.as_deref());
    let mut listed = Listed::default();
    let mut file = ListFile::open(directory, |entry| listed.take(entry))?;
    let mut recovered = Recovered::default();
    for table in TableId::ALL {
        recover_table((directory, manifest.parts_id.as_deref()), *table, &listed, &mut recovered)?;
    }
    // If parts are left to repair, one of them may become the part of a table that has none.
    if recovered.unreadable.is_empty() {
        recovered.filled = empty::fill_in(directory, manifest.parts_id.as_deref())?;
    }
    let new = recovered.unlisted.iter().chain(&recovered.parts).chain(&recovered.filled).cloned();
    file.rewrite(&listed.list, &new.map(Entry::Finished).collect::<Vec<_>>())?;
    // If parts are left to repair, the repair may be run again.
    if recovered.unreadable.is_empty() {
        manifest.state = State::Recovered;
        manifest.whole_until_ns = whole_until_ns;
    }
    manifest.write(directory)?;
    if manifest.state == State::Recovered {
        completeness::remove(directory);
    }
    Ok(Some(recovered))
}

fn recover_table(
    (directory, id): (&Dir, Option<&str>),
    table: TableId,
    listed: &Listed,
    recovered: &mut Recovered,
) -> Result<()> {
    let folder = directory.sub(table.name());
    let whole = finished(&folder)?;
    for (number, place) in &whole {
        let name = PartName { table, number: *number };
        if listed.list.get(name).is_none() && listed.removed.contains(&name) {
            // The recorder was about to delete it: its rows are counted as removed.
            folder.remove(name.file())?;
            continue;
        }
        match reading(place.path(), || {
            own(place.path(), origin(place)?, id, name).and_then(|()| whole_part(place, name))
        }) {
            Ok(_) if listed.list.get(name).is_some() => {}
            Ok(part) => recovered.unlisted.push(part),
            Err(error) => recovered.unreadable.push(error),
        }
    }
    for number in incomplete::unfinished(&folder)? {
        // Of a finished part only its log is left.
        let finished = whole.binary_search_by_key(&number, |(number, _)| *number).is_ok();
        match reading(folder.path(), || {
            if finished { Ok(None) } else { recover_part(&folder, PartName { table, number }, id) }
        }) {
            Ok(Some(part)) => recovered.parts.push(part),
            Ok(None) => {
                incomplete::remove(&folder, number)?;
                recovered.empty += u32::from(!finished);
            }
            Err(error) => recovered.unreadable.push(error),
        }
    }
    Ok(())
}

/// Returns an error if a part states another origin than `name` of the capture with `id` in its parts.
fn own(path: &Path, origin: Option<Origin>, id: Option<&str>, name: PartName) -> Result<()> {
    match origin.and_then(|origin| origin.contradicts(id, name)) {
        Some(what) => Err(Error::Schema { path: path.to_owned(), what }),
        None => Ok(()),
    }
}

/// Repairs a part; `None` if nothing of it had been flushed.
fn recover_part(folder: &Dir, name: PartName, id: Option<&str>) -> Result<Option<Part>> {
    let Some(torn) = IncompletePart::read(folder, name.number)? else { return Ok(None) };
    own(torn.place.path(), torn.origin(), id, name)?;
    torn.finish(name.table).map(Some)
}
