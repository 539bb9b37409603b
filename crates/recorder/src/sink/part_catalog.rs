//! Finished parts of a segment: their list on the disk, and its pending changes.

use anyhow::Result;
use iostrata_capture::dir::Dir;
use iostrata_capture::list::{Entry, ListFile, Part, PartList};
use iostrata_capture::part::PartName;

/// Space for the manifest, with the copy that replaces it, and for the list entries of open parts.
const MANIFEST_BYTES: u64 = 256 << 10;

/// Minimum number of entries of removed parts before the list is rewritten. They must also outnumber the parts.
const MANY_LINES: u64 = 1_000;

/// Number of parts, and their size on the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// Number of parts.
    pub parts: u64,
    /// Size in bytes.
    pub bytes: u64,
}

/// Parts of a segment. Each part is kept in memory only if parts may be removed later.
pub struct PartCatalog {
    directory: Dir,
    file: ListFile,
    size: Size,
    /// Parts that may be removed later.
    ring: Option<PartList>,
    /// Entries that are not in the list yet.
    unsaved: Vec<Entry>,
    /// Number of entries of removed parts in the list.
    removed_lines: u64,
    /// Parts to delete, which are no longer listed.
    doomed: Vec<PartName>,
}

impl PartCatalog {
    /// Creates the list of the segment in `directory`, without parts; `is_ring`: whether parts may be removed later.
    pub fn create(directory: &Dir, is_ring: bool) -> Result<PartCatalog> {
        let file = ListFile::create(directory)?;
        Ok(PartCatalog::of(directory, file, is_ring.then(PartList::default)))
    }

    /// Opens the list of the previously recorded segment in `directory`; any of its parts may be removed.
    pub fn open(directory: &Dir) -> Result<PartCatalog> {
        let mut ring = PartList::default();
        let mut removed_lines = 0;
        let mut file = ListFile::open(directory, |entry| {
            removed_lines += u64::from(matches!(entry, Entry::Removed(_)));
            ring.take(entry)
        })?;
        if !file.is_writable() {
            // Recovered by another user: this process's own copy replaces it.
            file.rewrite(&ring, &[])?;
            removed_lines = 0;
        }
        let size = Size { parts: ring.len(), bytes: ring.bytes() };
        Ok(PartCatalog { size, removed_lines, ..PartCatalog::of(directory, file, Some(ring)) })
    }

    fn of(directory: &Dir, file: ListFile, ring: Option<PartList>) -> PartCatalog {
        let (directory, size) = (directory.clone(), Size::default());
        PartCatalog { directory, file, size, ring, unsaved: Vec::new(), removed_lines: 0, doomed: Vec::new() }
    }

    /// Number and size of the parts.
    pub fn size(&self) -> Size {
        self.size
    }

    /// Size of the parts, their list and the manifest, with the copies that replace the latter two.
    pub fn bytes(&self) -> u64 {
        self.size.bytes.saturating_add(self.file.bytes()).saturating_add(self.unwritten_bytes())
    }

    /// Part of [`PartCatalog::bytes`] that is not on the disk, or not yet.
    pub fn unwritten_bytes(&self) -> u64 {
        MANIFEST_BYTES + if self.ring.is_some() { self.file.bytes() } else { 0 }
    }

    /// Adds a part.
    pub fn add(&mut self, part: Part) {
        self.size = Size { parts: self.size.parts + 1, bytes: self.size.bytes + part.bytes };
        let entry = Entry::Finished(part);
        if let Some(ring) = &mut self.ring {
            // The only refused part is one that is already listed.
            let _ = ring.take(entry.clone());
        }
        self.unsaved.push(entry);
    }

    /// Removes the oldest part from the list. It is deleted after the list is saved, so the list never names a missing part.
    /// Tables that others refer to are skipped unless they exceed `most_reference_bytes`. Returns whether there was a part.
    pub fn take_off_oldest(&mut self, most_reference_bytes: u64) -> bool {
        let Some(ring) = &mut self.ring else { return false };
        let Some(name) = ring.oldest(most_reference_bytes) else { return false };
        let Some(part) = ring.remove(name) else { return false };
        self.size.parts = self.size.parts.saturating_sub(1);
        self.size.bytes = self.size.bytes.saturating_sub(part.bytes);
        self.unsaved.push(Entry::Removed(name));
        self.doomed.push(name);
        true
    }

    /// Saves the pending entries, and then deletes the parts that are no longer listed. After a failure, the next call tries
    /// again.
    pub fn save(&mut self) -> Result<()> {
        if self.unsaved.is_empty() {
            return Ok(());
        }
        self.file.append(&self.unsaved)?;
        self.removed_lines += self.unsaved.iter().filter(|entry| matches!(entry, Entry::Removed(_))).count() as u64;
        self.unsaved.clear();
        self.remove_doomed()?;
        self.shorten()
    }

    fn remove_doomed(&mut self) -> Result<()> {
        let mut outcome = Ok(());
        for name in std::mem::take(&mut self.doomed) {
            if let Err(error) = self.directory.sub(name.table.name()).remove(name.file()) {
                outcome = Err(error.into());
                self.doomed.push(name);
            }
        }
        outcome
    }

    /// Rewrites the list if most entries are of removed parts. The cost is small compared with that of writing all these entries.
    fn shorten(&mut self) -> Result<()> {
        let Some(ring) = &self.ring else { return Ok(()) };
        if self.removed_lines <= MANY_LINES.max(ring.len()) {
            return Ok(());
        }
        self.file.rewrite(ring, &[])?;
        self.removed_lines = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
