//! A capture as a whole: its manifest and its parts.

use std::fs::{File, TryLockError};
use std::path::PathBuf;

use crate::TableId;
use crate::census::Census;
use crate::dir::Dir;
use crate::error::{Error, Result};
use crate::list::PartList;
use crate::manifest::{Manifest, State};
use crate::part::{PartFile, PartName, Place, Torn, torn};
use crate::table::Table;
use crate::tables::ClockTable;
use crate::wall::WallClock;
use crate::whole;

/// How often a list is read that changes meanwhile.
const TRIES: u32 = 4;

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
    pub torn: Vec<(TableId, Torn)>,
    /// What is there of it, and whether that is what was written.
    pub census: Census,
    /// Of one that did not come to its end: the moment up to which all is there that had ended, of all CPUs and in all tables; none where
    /// nobody knows.
    pub whole_until_ns: Option<i64>,
    /// Its wall clock.
    pub wall: WallClock,
}

impl Capture {
    /// Opens the capture in `directory`, and counts what is there. Every part that is there must be whole.
    pub fn open(directory: &Dir) -> Result<Capture> {
        let manifest = Manifest::read(directory)?;
        for _ in 1..TRIES {
            let capture = Capture::counted(directory, manifest.clone())?;
            // A recorder may have taken a part off the list since it was read, so that there is room for others.
            if manifest.state != State::Recording || !capture.census.lacks_parts() {
                return capture.timed();
            }
        }
        Capture::counted(directory, manifest)?.timed()
    }

    fn counted(directory: &Dir, manifest: Manifest) -> Result<Capture> {
        // Before the parts: what is there of them then is all that this moment promises, or more.
        let whole_until_ns = match manifest.state {
            State::Complete => None,
            State::Recovered => manifest.whole_until_ns,
            State::Recording => whole::read(directory, manifest.parts_id.as_deref()),
        };
        let list = PartList::read(directory)?;
        let mut torn = Vec::new();
        // What a recorder that came to its end left unfinished is in its books as lost.
        let tables = if manifest.state == State::Complete { &[] } else { TableId::ALL };
        for table in tables {
            let folder = directory.sub(table.name());
            for number in torn::unfinished(&folder)? {
                torn.extend(Torn::read(&folder, number)?.map(|part| (*table, part)));
            }
        }
        // After them: one that is finished meanwhile is found under either name.
        let census = Census::take(directory, &manifest, &list, &torn)?;
        Ok(Capture {
            directory: directory.path().to_owned(),
            dir: directory.clone(),
            manifest,
            list,
            torn,
            census,
            whole_until_ns,
            wall: WallClock::default(),
        })
    }

    fn timed(self) -> Result<Capture> {
        let wall = WallClock::read(&self.parts::<ClockTable>()?)?;
        Ok(Capture { wall, ..self })
    }

    /// The parts of table `T` that were counted, in order. A capture that was cut off may have more than are listed. What says that it
    /// is another part is none of them.
    pub fn parts<T: Table>(&self) -> Result<Vec<PartFile>> {
        let finished = self.census.numbers(T::ID);
        // It may have been finished while the capture was opened.
        let torn = self.torn.iter().filter(|(table, _)| *table == T::ID).map(|(_, torn)| torn);
        let torn = torn.filter(|torn| finished.binary_search(&torn.number()).is_err());
        let mut parts: Vec<(u32, PartFile)> = torn.map(|torn| (torn.number(), PartFile::Torn(torn.clone()))).collect();
        parts.extend(finished.iter().map(|number| {
            let name = PartName { table: T::ID, number: *number };
            (*number, PartFile::Whole(Place::of(&self.dir, name)))
        }));
        parts.sort_by_key(|(number, _)| *number);
        let folder = self.dir.sub(T::NAME);
        let others = self.census.others(T::ID).iter().map(|name| PartFile::Whole(Place::new(&folder, name.clone())));
        Ok(parts.into_iter().map(|(_, part)| part).chain(others).collect())
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
