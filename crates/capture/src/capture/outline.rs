//! Outline of a capture: all of it except its events. Results of the events can be merged with it where the capture is not.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Capture, Parts, Unfinished};
use crate::TableId;
use crate::error::{Error, Result};
use crate::list::PartList;
use crate::manifest::Manifest;
use crate::part::{PartFile, Place};
use crate::row_check::RowCheck;

/// Outline of a capture without its parts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outline {
    /// Path of the directory, where the capture was.
    directory: String,
    /// Contents of `manifest.json`.
    manifest: Value,
    /// Finished parts.
    list: PartList,
    /// Unfinished parts.
    unfinished: Unfinished,
    /// Rows present.
    census: RowCheck,
    /// Time up to which an incomplete capture is complete.
    whole_until_ns: Option<i64>,
}

/// Copy of a part that has no events: its table, its name in the folder of the table, and its bytes.
#[derive(Debug, Clone)]
pub struct PartCopy {
    /// Table.
    pub table: TableId,
    /// Name.
    pub name: String,
    /// Contents.
    pub bytes: Arc<[u8]>,
}

impl Outline {
    /// Creates the outline of `capture`.
    ///
    /// # Errors
    /// Returns an error if the manifest cannot be serialized.
    pub fn of(capture: &Capture) -> Result<Outline> {
        let Capture { directory, manifest, list, unfinished, census, whole_until_ns, .. } = capture;
        Ok(Outline {
            directory: directory.display().to_string(),
            manifest: serde_json::to_value(manifest).map_err(|e| Error::manifest(directory, e.to_string()))?,
            list: list.clone(),
            unfinished: *unfinished,
            census: census.clone(),
            whole_until_ns: *whole_until_ns,
        })
    }

    /// Returns the id of the capture; none in an invalid outline.
    pub fn capture_id(&self) -> Option<&str> {
        self.manifest.get("capture_id")?.as_str()
    }

    /// Whether it is an outline of the same state of the same capture, wherever that was.
    pub fn is_same(&self, other: &Outline) -> bool {
        Outline { directory: other.directory.clone(), ..self.clone() } == *other
    }

    /// Returns the path of the directory, where the capture was.
    pub fn directory(&self) -> &str {
        &self.directory
    }

    /// Opens the capture of this outline, with copies of all parts that have no events. `place` is the path for messages about the outline itself.
    ///
    /// # Errors
    /// Returns an error if the manifest is invalid, or the clock cannot be read.
    pub fn open(self, copies: impl IntoIterator<Item = PartCopy>, place: &Path) -> Result<Capture> {
        let Outline { directory, manifest, list, unfinished, census, whole_until_ns } = self;
        let manifest = Manifest::of(manifest, place)?;
        // As for a copy over the network: the directory is that of another machine.
        let directory = PathBuf::from(format!("{}:{directory}", manifest.host.hostname));
        let part = |PartCopy { table, name, bytes }: PartCopy| {
            (table, PartFile::Whole(Place::copied(directory.join(table.name()).join(name), bytes)))
        };
        let parts = Parts::Copies(Arc::new(copies.into_iter().map(part).collect()));
        let capture = Capture::without_parts(directory.clone(), manifest);
        Capture { list, unfinished, census, whole_until_ns, parts, ..capture }.timed()
    }
}

impl Capture {
    /// Returns all parts that have no events, with their tables.
    ///
    /// # Errors
    /// Returns an error if a folder cannot be read.
    pub fn reference_parts(&self) -> Result<Vec<(TableId, PartFile)>> {
        let mut parts = Vec::new();
        for table in TableId::ALL.iter().filter(|table| table.is_reference()) {
            parts.extend(self.parts_of(*table)?.into_iter().map(|part| (*table, part)));
        }
        Ok(parts)
    }

    /// Whether its events can be read; not if it was opened from an outline.
    pub fn has_events(&self) -> bool {
        matches!(self.parts, Parts::Files(..))
    }
}
