//! The finished parts of a segment: its manifest on the disk, and what it does not name any more.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use anyhow::{Context, Result};
use iostrata_capture::manifest::{Manifest, Part};

/// What the manifest needs, for itself and for each part.
const MANIFEST_BYTES: (u64, u64) = (256 << 10, 512);

/// A segment's parts.
pub struct Shelf {
    directory: PathBuf,
    /// Its manifest.
    pub manifest: Manifest,
    /// Whether the manifest on the disk is another.
    unsaved: bool,
    /// Parts that the manifest does not name any more.
    doomed: Vec<PathBuf>,
}

impl Shelf {
    /// Of the segment in `directory`, whose manifest is on the disk, or will be.
    pub fn new(directory: PathBuf, manifest: Manifest) -> Shelf {
        Shelf { directory, manifest, unsaved: false, doomed: Vec::new() }
    }

    /// What the parts take, and the manifest, with the copy that takes its place.
    pub fn bytes(&self) -> u64 {
        self.manifest.parts.iter().map(|part| part.bytes).sum::<u64>() + self.manifest_bytes()
    }

    /// What of it is the manifest's.
    pub fn manifest_bytes(&self) -> u64 {
        let (manifest, for_each_part) = MANIFEST_BYTES;
        manifest + for_each_part * self.manifest.parts.len() as u64
    }

    /// Adds a part.
    pub fn add(&mut self, part: Part) {
        self.manifest.parts.push(part);
        self.unsaved = true;
    }

    /// Takes the oldest part off the manifest; it is deleted after the manifest was saved, which so never names a part that is not
    /// there. Of tables that others refer to only where they have come to make more than `most_reference_bytes`. Whether there
    /// was one.
    pub fn take_off_oldest(&mut self, most_reference_bytes: u64) -> bool {
        let Some(place) = self.manifest.oldest_part(most_reference_bytes) else { return false };
        let part = self.manifest.remove_part(place);
        self.doomed.push(self.directory.join(part.file));
        self.unsaved = true;
        true
    }

    /// Writes the manifest where it has changed, and then removes what it does not name any more. What cannot be removed is tried
    /// again the next time.
    pub fn save(&mut self) -> Result<()> {
        if !self.unsaved {
            return Ok(());
        }
        self.manifest.write(&self.directory)?;
        self.unsaved = false;
        let mut outcome = Ok(());
        for path in std::mem::take(&mut self.doomed) {
            match fs::remove_file(&path) {
                Err(e) if e.kind() != ErrorKind::NotFound => {
                    outcome = Err(e).with_context(|| format!("cannot remove {}", path.display()));
                    self.doomed.push(path);
                }
                _ => {}
            }
        }
        outcome
    }
}
