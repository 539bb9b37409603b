//! Until when the capture on the disk is complete, but for losses that are on the disk too.
//!
//! Rows of `loss` that cannot be written are kept here and written again, since a moment is only told when all that was lost before it is on the
//! disk. Where such rows are gone for good nobody knows any more of what is missing: then there is no moment, and the file goes.

use anyhow::Result;
use iostrata_capture::TableId;
use iostrata_capture::dir::Dir;
use iostrata_capture::message::tell;
use iostrata_capture::whole::{self, WholeFile};

use super::{Batch, Whole};

/// So many batches are kept at most, of which one comes a second and one with each flush, and each takes a kilobyte or two.
const MOST_KEPT: usize = 1024;

/// What is known of it. Of what is told of batches and parts only those of `loss` count.
pub struct Completeness {
    directory: Dir,
    /// None, where nobody knows any more.
    file: Option<WholeFile>,
    /// Rows of `loss` that may not be on the disk.
    unsynced: Vec<Batch>,
    /// Whether some of them are in no part.
    is_missing: bool,
}

impl Completeness {
    /// Of the capture in `directory`, whose parts have `capture_id` and of which nothing was recorded before `began_ns`.
    pub fn begin(directory: &Dir, capture_id: &str, began_ns: i64) -> Result<Completeness> {
        let file = Some(WholeFile::create(directory, capture_id, began_ns)?);
        Ok(Completeness { directory: directory.clone(), file, unsynced: Vec::new(), is_missing: false })
    }

    /// Rows have come. Whether they may be written now: not before those that are missing.
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

    /// All that came is on the disk, unless some of it is missing.
    pub fn synced(&mut self, table: TableId) {
        if table == TableId::Loss && !self.is_missing {
            self.unsynced.clear();
        }
    }

    /// What came last, and was not on the disk yet, is in no part.
    pub fn missed(&mut self, table: TableId) {
        self.is_missing |= table == TableId::Loss && self.file.is_some();
    }

    /// What is to be written again: all of it that is not on the disk.
    pub fn missing(&mut self) -> Vec<Batch> {
        match std::mem::take(&mut self.is_missing) {
            true => std::mem::take(&mut self.unsynced),
            false => Vec::new(),
        }
    }

    /// Rows that were on the disk are gone.
    pub fn gone(&mut self, table: TableId) {
        if table == TableId::Loss {
            self.forget();
        }
    }

    fn forget(&mut self) {
        if self.file.take().is_some() {
            whole::remove(&self.directory);
            tell(
                "iostrata: what was lost could not be recorded; after a kill it will not be known up to when the capture is complete",
            );
        }
        self.is_missing = false;
        self.unsynced.clear();
    }

    /// Writes down a moment, where all that was lost before it is on the disk. `lost_in_writing` is what the writer has lost by now.
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

    use arrow::array::RecordBatch;
    use arrow::datatypes::Schema;

    use super::*;
    use crate::books::Tally;

    const ID: &str = "0123456789abcdef";

    fn batch() -> Batch {
        Batch { table: TableId::Loss, rows: RecordBatch::new_empty(Arc::new(Schema::empty())), tally: Tally::default() }
    }

    #[test]
    fn no_moment_is_told_while_rows_of_losses_are_missing_and_none_when_they_are_gone() {
        let place = tempfile::tempdir().expect("a directory");
        let directory = Dir::open(place.path()).expect("there");
        let known = || whole::read(&directory, Some(ID));
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
        // Two batches, of which one could not be written, and so the other is not.
        assert!(complete.came(&batch()));
        complete.missed(TableId::Loss);
        assert!(!complete.came(&batch()));
        complete.synced(TableId::Loss);
        assert_eq!(tell(&mut complete, 500, 7, 7), Some(400));
        // Written again, each comes anew.
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
        assert_eq!(whole::read(&directory, Some(ID)), Some(100));
        assert!(complete.came(&batch()));
        assert_eq!(whole::read(&directory, Some(ID)), None);
    }
}
