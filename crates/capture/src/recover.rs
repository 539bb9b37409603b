//! Making a capture whole that its recorder could not finish: killed, or cut off with the machine.

use std::path::Path;

use crate::capture::Lock;
use crate::error::{Error, Result};
use crate::manifest::{Manifest, Part, State};
use crate::part::{Torn, finished, torn, whole_part};
use crate::tables;

/// What was recovered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Parts that were made whole, with all their row groups.
    pub parts: Vec<Part>,
    /// Parts that had been finished, though the manifest did not say so yet.
    pub unlisted: Vec<Part>,
    /// Parts of which nothing had been flushed.
    pub empty: u32,
}

/// Makes ordinary parts of those that were never finished, up to the last row group that was flushed, and puts them into the
/// manifest. None where the recording came to its end and there is nothing to do.
///
/// # Errors
/// Where a recorder is still at work on it, and where it cannot be read or written.
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
    manifest.state = State::Recovered;
    manifest.write(directory)?;
    Ok(Some(recovered))
}

fn recover_table(folder: &Path, table: &'static str, manifest: &Manifest, recovered: &mut Recovered) -> Result<()> {
    let whole = finished(folder)?;
    for (number, path) in &whole {
        let part = whole_part(path, table, *number)?;
        if !manifest.parts.iter().any(|listed| listed.file == part.file) {
            recovered.unlisted.push(part);
        }
    }
    for number in torn::unfinished(folder)? {
        if whole.iter().any(|(finished, _)| *finished == number) {
            // It was finished, and only its log is left.
            torn::remove(folder, number)?;
        } else if let Some(torn) = Torn::read(folder, number)? {
            recovered.parts.push(torn.finish(folder, table)?);
        } else {
            torn::remove(folder, number)?;
            recovered.empty += 1;
        }
    }
    Ok(())
}
