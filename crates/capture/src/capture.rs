//! A capture as a whole: its manifest and its parts.

use std::fs::{File, TryLockError};
use std::path::PathBuf;

use crate::dir::{Dir, irregular};
use crate::error::{Error, Result};
use crate::list::PartList;
use crate::manifest::{Manifest, State};
use crate::part::{PartFile, Torn, finished, torn};
use crate::table::Table;
use crate::tables::{self, ClockTable};
use crate::wall::WallClock;

/// A capture to be read.
#[derive(Debug, Clone)]
pub struct Capture {
    /// What its directory is called.
    pub directory: PathBuf,
    /// Its directory.
    pub dir: Dir,
    /// Its manifest.
    pub manifest: Manifest,
    /// Its finished parts.
    pub list: PartList,
    /// By table: its parts that are not finished, as far as they had been flushed.
    pub torn: Vec<(&'static str, Torn)>,
    /// Its wall clock.
    pub wall: WallClock,
}

impl Capture {
    /// Opens the capture in `directory`. Every part that is listed must be there, whole.
    pub fn open(directory: &Dir) -> Result<Capture> {
        let manifest = Manifest::read(directory)?;
        let list = PartList::read(directory)?;
        for (name, part) in list.parts() {
            let path = name.path(directory.path());
            let found = directory.sub(name.table).find(name.file()).map_err(|e| match e {
                Error::Io { path, reason, .. } => Error::io(&path, "find the part", reason),
                error => error,
            })?;
            let size = found.bytes;
            if !found.is_file() {
                return Err(irregular(&path));
            }
            if size != part.bytes && Some(size) != part.replaced_bytes {
                let what =
                    format!("has {size} bytes, but the list of parts says {}: it was cut or changed", part.bytes);
                return Err(Error::Schema { path, what });
            }
        }
        let mut torn = Vec::new();
        // What a recorder that came to its end left unfinished is in its books as lost.
        let tables = if manifest.state == State::Complete { Vec::new() } else { tables::all() };
        for table in tables {
            let folder = directory.sub(table.name);
            for number in torn::unfinished(&folder)? {
                torn.extend(Torn::read(&folder, number)?.map(|part| (table.name, part)));
            }
        }
        let mut capture = Capture {
            directory: directory.path().to_owned(),
            dir: directory.clone(),
            manifest,
            list,
            torn,
            wall: WallClock::default(),
        };
        capture.wall = WallClock::read(&capture.parts::<ClockTable>()?)?;
        Ok(capture)
    }

    /// The parts of table `T`, in order. A capture that was cut off may have more than are listed.
    pub fn parts<T: Table>(&self) -> Result<Vec<PartFile>> {
        let finished = finished(&self.dir.sub(T::NAME))?;
        // It may have been finished since the capture was opened.
        let torn = self.torn.iter().filter(|(table, _)| *table == T::NAME).map(|(_, torn)| torn);
        let torn = torn.filter(|torn| finished.binary_search_by_key(&torn.number(), |(number, _)| *number).is_err());
        let mut parts: Vec<(u32, PartFile)> = torn.map(|torn| (torn.number(), PartFile::Torn(torn.clone()))).collect();
        parts.extend(finished.iter().map(|(number, place)| (*number, PartFile::Whole(place.clone()))));
        parts.sort_by_key(|(number, _)| *number);
        Ok(parts.into_iter().map(|(_, part)| part).collect())
    }
}

/// The name of the file that is locked.
pub const LOCK: &str = ".lock";

/// Held by whoever writes to a capture; given back when dropped, and by the kernel when its process ends, however it does.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of the capture in `directory`; none where another process has it.
    pub fn take(directory: &Dir) -> Result<Option<Lock>> {
        let file = directory.open_or_create(LOCK)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(Error::io(&directory.path().join(LOCK), "lock", e)),
        }
    }

    /// Whether a process has the lock of the capture in `directory`.
    pub fn is_taken(directory: &Dir) -> bool {
        let file = directory.open_file(LOCK);
        file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// Removes what the lock leaves behind, from a directory that is to be left as it was.
    pub fn remove(directory: &Dir) {
        let _ = directory.remove(LOCK);
    }
}
