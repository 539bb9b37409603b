//! Capture as a whole: its manifest and its parts.

pub mod outline;

use std::fs::{File, TryLockError};
use std::path::PathBuf;
use std::sync::Arc;

use crate::TableId;
use crate::completeness;
use crate::dir::Dir;
use crate::error::{Error, Result};
use crate::list::PartList;
use crate::manifest::{Manifest, State};
use crate::part::{IncompletePart, PartFile, PartName, Place, incomplete};
use serde::{Deserialize, Serialize};

use crate::row_check::RowCheck;
use crate::table::Table;
use crate::tables::ClockTable;
use crate::wall_clock::WallClock;

/// Number of attempts to read a list that changes during the read.
const TRIES: u32 = 4;

/// Capture opened for reading.
#[derive(Debug, Clone)]
pub struct Capture {
    /// Path of the directory.
    pub directory: PathBuf,
    /// Manifest.
    pub manifest: Manifest,
    /// Finished parts.
    pub list: PartList,
    /// Unfinished parts.
    pub unfinished: Unfinished,
    /// Rows present, compared with the rows written.
    pub census: RowCheck,
    /// For an incomplete capture: time up to which the rows of ended events are complete on all CPUs and in all tables;
    /// none if unknown.
    pub whole_until_ns: Option<i64>,
    /// Wall clock.
    pub wall: WallClock,
    parts: Parts,
}

/// Numbers of unfinished parts, and of the rows that were flushed to them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfinished {
    /// Number of parts.
    pub parts: u64,
    /// Number of rows.
    pub rows: u64,
}

/// Parts of a capture.
#[derive(Debug, Clone)]
enum Parts {
    /// Files in the directory of the capture, and unfinished ones by table, as far as they were flushed.
    Files(Dir, Vec<(TableId, IncompletePart)>),
    /// Copies of all parts that have no events.
    Copies(Arc<Vec<(TableId, PartFile)>>),
}

impl Capture {
    /// Opens the capture in `directory`, and counts its rows. Every part in it must be complete.
    pub fn open(directory: &Dir) -> Result<Capture> {
        let manifest = Manifest::read(directory)?;
        for _ in 1..TRIES {
            let capture = Capture::counted(directory, manifest.clone())?;
            // A recorder may have removed a part from the list since it was read, to free space.
            if manifest.state != State::Recording || !capture.census.lacks_parts() {
                return capture.timed();
            }
        }
        Capture::counted(directory, manifest)?.timed()
    }

    fn counted(directory: &Dir, manifest: Manifest) -> Result<Capture> {
        // Before the parts: the rows found afterwards are complete up to this time, or later.
        let whole_until_ns = match manifest.state {
            State::Complete => None,
            State::Recovered => manifest.whole_until_ns,
            State::Recording => completeness::read(directory, manifest.parts_id.as_deref()),
        };
        let list = PartList::read(directory)?;
        let mut torn = Vec::new();
        // Parts left unfinished by a recorder that completed are counted as lost in its event accounting.
        let tables = if manifest.state == State::Complete { &[] } else { TableId::ALL };
        for table in tables {
            let folder = directory.sub(table.name());
            for number in incomplete::unfinished(&folder)? {
                torn.extend(IncompletePart::read(&folder, number)?.map(|part| (*table, part)));
            }
        }
        // After the unfinished parts: a part that is finished in between is found under either name.
        let census = RowCheck::take(directory, &manifest, &list, &torn)?;
        let rows = torn.iter().fold(0u64, |sum, (_, torn)| sum.saturating_add(torn.rows()));
        Ok(Capture {
            directory: directory.path().to_owned(),
            manifest,
            list,
            unfinished: Unfinished { parts: torn.len() as u64, rows },
            parts: Parts::Files(directory.clone(), torn),
            census,
            whole_until_ns,
            wall: WallClock::default(),
        })
    }

    /// Creates a capture with this manifest and no parts.
    pub fn without_parts(directory: PathBuf, manifest: Manifest) -> Capture {
        let (list, unfinished, census, whole_until_ns, wall) = Default::default();
        let parts = Parts::Copies(Arc::default());
        Capture { directory, manifest, list, unfinished, census, whole_until_ns, wall, parts }
    }

    fn timed(self) -> Result<Capture> {
        let wall = WallClock::read(&self.parts::<ClockTable>()?)?;
        Ok(Capture { wall, ..self })
    }

    /// Returns the counted parts of table `T`, in order. An incomplete capture may have more than are listed. Parts that
    /// claim to be another part are excluded.
    pub fn parts<T: Table>(&self) -> Result<Vec<PartFile>> {
        self.parts_of(T::ID)
    }

    /// Returns the counted parts of `table`, as [`Capture::parts`].
    fn parts_of(&self, table: TableId) -> Result<Vec<PartFile>> {
        let (dir, torn) = match &self.parts {
            Parts::Files(dir, torn) => (dir, torn),
            Parts::Copies(copies) => {
                return Ok(copies.iter().filter(|(of, _)| *of == table).map(|(_, part)| part.clone()).collect());
            }
        };
        let finished = self.census.numbers(table);
        // The part may have been finished while the capture was opened.
        let torn = torn.iter().filter(|(of, _)| *of == table).map(|(_, torn)| torn);
        let torn = torn.filter(|torn| finished.binary_search(&torn.number()).is_err());
        let mut parts: Vec<(u32, PartFile)> =
            torn.map(|torn| (torn.number(), PartFile::Incomplete(Box::new(torn.clone())))).collect();
        parts.extend(finished.iter().map(|number| {
            let name = PartName { table, number: *number };
            (*number, PartFile::Whole(Place::of(dir, name)))
        }));
        parts.sort_by_key(|(number, _)| *number);
        let folder = dir.sub(table.name());
        let others = self.census.others(table).iter().map(|name| PartFile::Whole(Place::new(&folder, name.clone())));
        Ok(parts.into_iter().map(|(_, part)| part).chain(others).collect())
    }
}

/// Name of the lock file.
pub const LOCK: &str = ".lock";

/// Lock held by the writer of a capture; released when dropped, and by the kernel at any end of the process.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of the capture in `directory`; `None` if another process holds it.
    pub fn take(directory: &Dir) -> Result<Option<Lock>> {
        let file = directory.open_or_create(LOCK)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(Error::io(&directory.path().join(LOCK), "lock", e)),
        }
    }

    /// Whether a process holds the lock of the capture in `directory`.
    pub fn is_taken(directory: &Dir) -> bool {
        let file = directory.open_file(LOCK);
        file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// Removes the lock file from a directory that must be left unchanged.
    pub fn remove(directory: &Dir) {
        let _ = directory.remove(LOCK);
    }
}
