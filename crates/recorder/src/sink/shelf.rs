//! The finished parts of a segment: their list on the disk, and what is still to be done about it.

use anyhow::Result;
use iostrata_capture::dir::Dir;
use iostrata_capture::list::{Entry, ListFile, Part, PartList};
use iostrata_capture::part::PartName;

/// What the manifest needs, with the copy that takes its place, and the lines of parts that are still open.
const MANIFEST_BYTES: u64 = 256 << 10;

/// So many lines of parts that were removed are worth a list that is written anew, where they are more than the parts.
const MANY_LINES: u64 = 1_000;

/// How many parts there are, and what they take on the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// Parts.
    pub parts: u64,
    /// Bytes.
    pub bytes: u64,
}

/// A segment's parts. Only where some of them may have to go is there memory for each.
pub struct Shelf {
    directory: Dir,
    file: ListFile,
    size: Size,
    /// Those that may have to go.
    ring: Option<PartList>,
    /// Lines that are not in the list yet.
    unsaved: Vec<Entry>,
    /// Lines of it that say that a part was removed.
    removed_lines: u64,
    /// Parts that are not listed any more.
    doomed: Vec<PartName>,
}

impl Shelf {
    /// Of the segment in `directory`, which has none yet; `is_ring` says whether some may have to go again.
    pub fn create(directory: &Dir, is_ring: bool) -> Result<Shelf> {
        let file = ListFile::create(directory)?;
        Ok(Shelf::of(directory, file, is_ring.then(PartList::default)))
    }

    /// Of the segment in `directory`, which was recorded before; all of its parts may have to go.
    pub fn open(directory: &Dir) -> Result<Shelf> {
        let mut ring = PartList::default();
        let mut removed_lines = 0;
        let mut file = ListFile::open(directory, |entry| {
            removed_lines += u64::from(matches!(entry, Entry::Removed(_)));
            ring.take(entry)
        })?;
        if !file.is_writable() {
            // Recovered by another user: one that takes its place is this process's own.
            file.rewrite(&ring, &[])?;
            removed_lines = 0;
        }
        let size = Size { parts: ring.len(), bytes: ring.bytes() };
        Ok(Shelf { size, removed_lines, ..Shelf::of(directory, file, Some(ring)) })
    }

    fn of(directory: &Dir, file: ListFile, ring: Option<PartList>) -> Shelf {
        let (directory, size) = (directory.clone(), Size::default());
        Shelf { directory, file, size, ring, unsaved: Vec::new(), removed_lines: 0, doomed: Vec::new() }
    }

    /// Its parts.
    pub fn size(&self) -> Size {
        self.size
    }

    /// What the parts take, their list, and the manifest, with the copies that take the place of these.
    pub fn bytes(&self) -> u64 {
        self.size.bytes.saturating_add(self.file.bytes()).saturating_add(self.unwritten_bytes())
    }

    /// What of it is not on the disk, or not yet.
    pub fn unwritten_bytes(&self) -> u64 {
        MANIFEST_BYTES + if self.ring.is_some() { self.file.bytes() } else { 0 }
    }

    /// Adds a part.
    pub fn add(&mut self, part: Part) {
        self.size = Size { parts: self.size.parts + 1, bytes: self.size.bytes + part.bytes };
        let entry = Entry::Finished(part);
        if let Some(ring) = &mut self.ring {
            // Refused is only a part that is there already.
            let _ = ring.take(entry.clone());
        }
        self.unsaved.push(entry);
    }

    /// Takes the oldest part off the list; it is deleted after the list was saved, which so never names a part that is not there.
    /// Of tables that others refer to only where they have come to make more than `most_reference_bytes`. Whether there was one.
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

    /// Puts into the list what is not in it, and then removes what it does not name any more. What cannot be done is tried again
    /// the next time.
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

    /// Writes the list anew where most of it is about parts that are not there any more. What it costs is little beside all the
    /// lines that it has cost to come to that.
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
