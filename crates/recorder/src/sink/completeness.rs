//! Completeness time: the time up to which the capture on the disk is complete, except for losses that are on the disk too.
//!
//! Rows of `loss` that cannot be written are kept here and written again, because a completeness time is valid only if all earlier losses are on
//! the disk. If such rows are dropped for good, the amount of missing data is unknown: then there is no completeness time, and the file is
//! removed.

use anyhow::Result;
use iostrata_capture::TableId;
use iostrata_capture::completeness::{self, CompletenessFile};
use iostrata_capture::dir::Dir;
use iostrata_capture::message::tell;

use super::{Batch, Whole};

/// Maximum number of batches that are kept. One arrives each second and one with each flush, and each takes a kilobyte or two.
const MOST_KEPT: usize = 1024;

/// State of the completeness time. Of the reported batches and parts, only those of `loss` matter.
pub struct Completeness {
    directory: Dir,
    /// None if the completeness time is unknown for good.
    file: Option<CompletenessFile>,
    /// Batches of `loss` that may not be on the disk.
    unsynced: Vec<Batch>,
    /// Whether some of them are in no part.
    is_missing: bool,
}

impl Completeness {
    /// Starts for the capture in `directory`. Its parts have `capture_id`, and nothing was recorded before `began_ns`.
    pub fn begin(directory: &Dir, capture_id: &str, began_ns: i64) -> Result<Completeness> {
        let file = Some(CompletenessFile::create(directory, capture_id, began_ns)?);
        Ok(Completeness { directory: directory.clone(), file, unsynced: Vec::new(), is_missing: false })
    }

    /// Reports a new batch. Returns whether it may be written now: not before the missing ones.
    pub fn came(&mut self, batch: &Batch) -> bool {
        if batch.table != TableId::Loss {
            return true;
        }
        if self.unsynced.len() == MOST_KEPT {
            self.forget();
        }
        if self.file.is_some() {
            self.unsynced.push(batch.clone());
        }
        !self.is_missing
    }

    /// Reports that all batches so far are on the disk, unless some are missing.
    pub fn synced(&mut self, table: TableId) {
        if table == TableId::Loss && !self.is_missing {
            self.unsynced.clear();
        }
    }

    /// Reports that the last batches, which were not on the disk yet, are in no part.
    pub fn missed(&mut self, table: TableId) {
        self.is_missing |= table == TableId::Loss && self.file.is_some();
    }

    /// Returns the batches to write again: all that are not on the disk.
    pub fn missing(&mut self) -> Vec<Batch> {
        match std::mem::take(&mut self.is_missing) {
            true => std::mem::take(&mut self.unsynced),
            false => Vec::new(),
        }
    }

    /// Reports the loss of rows that were on the disk.
    pub fn gone(&mut self, table: TableId) {
        if table == TableId::Loss {
            self.forget();
        }
    }

    fn forget(&mut self) {
        if self.file.take().is_some() {
            completeness::remove(&self.directory);
            tell(
                "iostrata: losses could not be recorded; after a crash the time up to which the capture is complete will be unknown",
            );
        }
        self.is_missing = false;
        self.unsynced.clear();
    }

    /// Records a completeness time if all earlier losses are on the disk. `lost_in_writing` is the current number of events lost by the writer.
    pub fn tell(&mut self, told: Whole, lost_in_writing: u64) -> Result<()> {
        let is_known = !self.is_missing && told.lost_in_writing == lost_in_writing;
        match self.file.as_mut().filter(|_| is_known) {
            Some(file) => Ok(file.tell(told.until_ns)?),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::RecordBatch;
    use arrow_schema::Schema;

    use super::*;
    use crate::books::EventCounts;

    const ID: &str = "0123456789abcdef";

    fn batch() -> Batch {
        Batch {
            table: TableId::Loss,
            rows: RecordBatch::new_empty(Arc::new(Schema::empty())),
            tally: EventCounts::default(),
        }
    }

    #[test]
    fn no_moment_is_told_while_rows_of_losses_are_missing_and_none_when_they_are_gone() {
        let place = tempfile::tempdir().expect("a directory");
        let directory = Dir::open(place.path()).expect("there");
        let known = || completeness::read(&directory, Some(ID));
        let mut complete = Completeness::begin(&directory, ID, 100).expect("room");
        let tell = |complete: &mut Completeness, until_ns, told, lost| {
            complete.tell(Whole { until_ns, lost_in_writing: told }, lost).expect("room");
            known()
        };
        assert_eq!(tell(&mut complete, 200, 0, 0), Some(200));
        // The writer has lost something since.
        assert_eq!(tell(&mut complete, 300, 0, 7), Some(200));
        assert!(complete.came(&batch()));
        complete.synced(TableId::Loss);
        assert_eq!(tell(&mut complete, 400, 7, 7), Some(400));
        // Two batches: the first could not be written, so the second is not written either.
        assert!(complete.came(&batch()));
        complete.missed(TableId::Loss);
        assert!(!complete.came(&batch()));
        complete.synced(TableId::Loss);
        assert_eq!(tell(&mut complete, 500, 7, 7), Some(400));
        // Each batch is reported again when it is written again.
        let again = complete.missing();
        assert_eq!(again.len(), 2);
        assert!(again.iter().all(|batch| complete.came(batch)));
        complete.synced(TableId::Loss);
        assert!(complete.missing().is_empty());
        assert_eq!(tell(&mut complete, 600, 7, 7), Some(600));
        complete.gone(TableId::Loss);
        assert_eq!(tell(&mut complete, 700, 7, 7), None);
    }

    #[test]
    fn only_so_much_is_kept() {
        let place = tempfile::tempdir().expect("a directory");
        let directory = Dir::open(place.path()).expect("there");
        let mut complete = Completeness::begin(&directory, ID, 100).expect("room");
        complete.missed(TableId::Loss);
        (0..MOST_KEPT).for_each(|_| assert!(!complete.came(&batch())));
        assert_eq!(completeness::read(&directory, Some(ID)), Some(100));
        assert!(complete.came(&batch()));
        assert_eq!(completeness::read(&directory, Some(ID)), None);
    }
}
