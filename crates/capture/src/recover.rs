//! Making a capture whole that its recorder could not finish: killed, or cut off with the machine.

use std::collections::HashSet;
use std::path::Path;

use crate::capture::Lock;
use crate::error::{Error, Result};
use crate::guard::reading;
use crate::manifest::{Manifest, Part, State};
use crate::part::{Torn, finished, torn, whole_part};
use crate::tables;

/// What was recovered.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Parts that were made whole, with all their row groups.
    pub parts: Vec<Part>,
    /// Parts that had been finished, though the manifest did not say so yet.
    pub unlisted: Vec<Part>,
    /// Parts of which nothing had been flushed.
    pub empty: u32,
    /// Parts that cannot be read or made whole, and were left as they are: why.
    pub unreadable: Vec<Error>,
}

/// Makes ordinary parts of those that were never finished, up to the last row group that was flushed, and puts them into the
/// manifest. None where the recording came to its end and there is nothing to do. A part that cannot be read keeps none of
/// the others from being recovered.
///
/// # Errors
/// Where a recorder is still at work on it, and where the manifest cannot be read or written, or a folder not listed.
pub fn recover(directory: &Path) -> Result<Option<Recovered>> {
    // Not even the lock is made in a capture that needs nothing.
    if Manifest::read(directory)?.state != State::Recording {
        return Ok(None);
    }
    let Some(_lock) = Lock::take(directory)? else {
        return Err(Error::manifest(directory, "is still being recorded; stop the recorder first"));
    };
    // Its recorder may have come to its end just now.
    let mut manifest = Manifest::read(directory)?;
    if manifest.state != State::Recording {
        return Ok(None);
    }
    let mut recovered = Recovered::default();
    for table in tables::all() {
        recover_table(&directory.join(table.name), table.name, &manifest, &mut recovered)?;
    }
    manifest.parts.extend(recovered.unlisted.iter().chain(&recovered.parts).cloned());
    // Where something is left to do it may be run again.
    if recovered.unreadable.is_empty() {
        manifest.state = State::Recovered;
    }
    manifest.write(directory)?;
    Ok(Some(recovered))
}

fn recover_table(folder: &Path, table: &'static str, manifest: &Manifest, recovered: &mut Recovered) -> Result<()> {
    let whole = finished(folder)?;
    let listed: HashSet<&str> = manifest.parts.iter().map(|part| part.file.as_str()).collect();
    for (number, path) in &whole {
        match reading(path, || whole_part(path, table, *number)) {
            Ok(part) if listed.contains(part.file.as_str()) => {}
            Ok(part) => recovered.unlisted.push(part),
            Err(error) => recovered.unreadable.push(error),
        }
    }
    for number in torn::unfinished(folder)? {
        // One that was finished has only its log left.
        let finished = whole.binary_search_by_key(&number, |(number, _)| *number).is_ok();
        match reading(folder, || if finished { Ok(None) } else { recover_part(folder, table, number) }) {
            Ok(Some(part)) => recovered.parts.push(part),
            Ok(None) => {
                torn::remove(folder, number)?;
                recovered.empty += u32::from(!finished);
            }
            Err(error) => recovered.unreadable.push(error),
        }
    }
    Ok(())
}

/// Makes a part whole; none where nothing of it had been flushed.
fn recover_part(folder: &Path, table: &str, number: u32) -> Result<Option<Part>> {
    Torn::read(folder, number)?.map(|torn| torn.finish(folder, table)).transpose()
}
