//! Appending to a list of parts.

use std::io::Write;

use super::{Entry, FILE_NAME, Part, PartList, read};
use crate::dir::Dir;
use crate::error::{Error, Result};
use crate::files;

/// List that is appended to. There is no other writer: this one holds the capture's lock.
#[derive(Debug)]
pub struct ListFile {
    directory: Dir,
    /// End of the last line that is known to be complete.
    bytes: u64,
}

impl ListFile {
    /// Creates the list of the capture in `directory`.
    pub fn create(directory: &Dir) -> Result<ListFile> {
        files::replace(directory, FILE_NAME, |_| Ok(()))?;
        Ok(ListFile { directory: directory.clone(), bytes: 0 })
    }

    /// Opens the list of the capture in `directory` for appending; its entries are passed to `take`, as by [`read`].
    pub fn open(directory: &Dir, take: impl FnMut(Entry) -> std::result::Result<(), String>) -> Result<ListFile> {
        let bytes = read(directory, take)?;
        Ok(ListFile { directory: directory.clone(), bytes })
    }

    /// Returns its size in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether this process may append to it.
    pub fn is_writable(&self) -> bool {
        self.directory.open_to_append(FILE_NAME).is_ok()
    }

    /// Appends `entries`, durably. After an error none of them is in the list, and they may be appended again.
    pub fn append(&mut self, entries: &[Entry]) -> Result<()> {
        let path = self.directory.path().join(FILE_NAME);
        let mut lines = Vec::new();
        for entry in entries {
            write_line(&mut lines, entry).map_err(|e| Error::io(&path, "write", e))?;
        }
        // Opened by name each time, so that a replacement or removal is detected.
        let mut file = self.directory.open_to_append(FILE_NAME)?;
        let found = file.metadata().map_err(|e| Error::io(&path, "stat", e))?.len();
        if found < self.bytes {
            let what = format!("has {found} bytes, expected {}: truncated or modified", self.bytes);
            return Err(Error::Schema { path, what });
        }
        if found > self.bytes {
            // Left by a crash, or by a failed append: half a line, or lines of unknown durability.
            file.set_len(self.bytes).map_err(|e| Error::io(&path, "truncate", e))?;
        }
        let written = file.write_all(&lines).and_then(|()| file.sync_data());
        written.map_err(|e| {
            // If this fails, readers ignore half a line.
            let _ = file.set_len(self.bytes);
            Error::io(&path, "append to", e)
        })?;
        self.bytes += lines.len() as u64;
        Ok(())
    }

    /// Rewrites the list without the lines of removed parts: their sums, the lines of the parts in `list`, and `more`. `list`
    /// must equal the current lines. After an error the list is unchanged.
    pub fn rewrite(&mut self, list: &PartList, more: &[Entry]) -> Result<()> {
        self.rewrite_with(list, &[], more)
    }

    /// Does the same where some parts of the list were replaced by `replaced`.
    pub fn rewrite_with(&mut self, list: &PartList, replaced: &[Part], more: &[Entry]) -> Result<()> {
        let path = self.directory.path().join(FILE_NAME);
        let (mut bytes, mut copied) = (0, 0);
        files::replace(&self.directory, FILE_NAME, |file| {
            let mut write = |entry: &Entry| {
                let length = write_line(file, entry).map_err(|e| Error::io(&path, "write", e))?;
                bytes += length;
                Ok(())
            };
            list.removed().try_for_each(|removed| write(&Entry::RemovedSum(removed)))?;
            let mut outcome = Ok(());
            read(&self.directory, |entry| {
                if let Entry::Finished(part) = &entry
                    && outcome.is_ok()
                    && list.get(part.name).is_some()
                {
                    outcome = match replaced.iter().find(|new| new.name == part.name) {
                        Some(new) => write(&Entry::Finished(new.clone())),
                        None => write(&entry),
                    };
                    copied += 1;
                }
                Ok(())
            })?;
            outcome?;
            if copied != list.len() {
                let what = format!("lists {copied} of the existing parts, expected {}: modified", list.len());
                return Err(Error::Schema { path: path.clone(), what });
            }
            more.iter().try_for_each(write)
        })?;
        self.bytes = bytes;
        Ok(())
    }
}

/// Writes the line of `entry` and returns its length.
fn write_line(to: &mut (impl Write + ?Sized), entry: &Entry) -> std::io::Result<u64> {
    let mut line = serde_json::to_vec(entry)?;
    line.push(b'\n');
    to.write_all(&line)?;
    Ok(line.len() as u64)
}
