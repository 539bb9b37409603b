//! Appending to a list.

use std::io::Write;

use super::{Entry, FILE_NAME, Part, PartList, read};
use crate::dir::Dir;
use crate::error::{Error, Result};
use crate::files;

/// A list that is appended to. Nobody else writes to it: whoever does holds the capture's lock.
#[derive(Debug)]
pub struct ListFile {
    directory: Dir,
    /// Where the last line ends that is known to be whole.
    bytes: u64,
}

impl ListFile {
    /// Begins the list of the capture in `directory`.
    pub fn create(directory: &Dir) -> Result<ListFile> {
        files::replace(directory, FILE_NAME, |_| Ok(()))?;
        Ok(ListFile { directory: directory.clone(), bytes: 0 })
    }

    /// Goes on with the list of the capture in `directory`, whose entries are handed to `take`, as by [`read`].
    pub fn open(directory: &Dir, take: impl FnMut(Entry) -> std::result::Result<(), String>) -> Result<ListFile> {
        let bytes = read(directory, take)?;
        Ok(ListFile { directory: directory.clone(), bytes })
    }

    /// Its size.
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
        // By its name each time: what was put in its place, or removed, is noticed.
        let mut file = self.directory.open_to_append(FILE_NAME)?;
        let found = file.metadata().map_err(|e| Error::io(&path, "stat", e))?.len();
        if found < self.bytes {
            let what = format!("has {found} bytes, expected {}: it was cut or changed", self.bytes);
            return Err(Error::Schema { path, what });
        }
        if found > self.bytes {
            // What a crash left, or an append that failed: half a line, or lines of which nobody knows whether they are durable.
            file.set_len(self.bytes).map_err(|e| Error::io(&path, "cut off the end of", e))?;
        }
        let written = file.write_all(&lines).and_then(|()| file.sync_data());
        written.map_err(|e| {
            // Else readers see to it that half a line is none.
            let _ = file.set_len(self.bytes);
            Error::io(&path, "append to", e)
        })?;
        self.bytes += lines.len() as u64;
        Ok(())
    }

    /// Writes the list anew, without the lines of parts that were removed: with what they come to, with those of the parts that
    /// are in `list`, and with `more`. `list` is what the lines come to now. After an error the list is as it was.
    pub fn rewrite(&mut self, list: &PartList, more: &[Entry]) -> Result<()> {
        self.rewrite_with(list, &[], more)
    }

    /// Likewise, where some parts of the list have been replaced by `replaced`.
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
                let what =
                    format!("lists {copied} of the parts that are there, expected {}: it was changed", list.len());
                return Err(Error::Schema { path: path.clone(), what });
            }
            more.iter().try_for_each(write)
        })?;
        self.bytes = bytes;
        Ok(())
    }
}

/// Writes the line of `entry`. Its length.
fn write_line(to: &mut (impl Write + ?Sized), entry: &Entry) -> std::io::Result<u64> {
    let mut line = serde_json::to_vec(entry)?;
    line.push(b'\n');
    to.write_all(&line)?;
    Ok(line.len() as u64)
}
