//! Scans many parts at once. Each thread takes the next part that nobody has and folds it into one partial of its own,
//! so that memory follows the number of threads and systems, not of parts or rows.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Result, bail};
use iostrata_capture::guard::reading;
use iostrata_capture::part::PartFile;

use crate::aggregate::Settings;
use crate::partial::Partial;
use crate::scan::{Scan, Source};

/// One part to be scanned.
pub struct Work<'a> {
    /// What the part's capture is scanned with.
    pub scan: &'a Scan<'a>,
    /// The table that the part is of.
    pub source: Source,
    /// The part.
    pub part: PartFile,
}

/// The partial of all parts. On failure the error is that of the first part in `work` that has one, whatever the number
/// of threads: parts are taken in order, and a part that was taken is finished.
pub fn scan_all(work: &[Work], settings: Settings, threads: NonZeroUsize) -> Result<Partial> {
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let worker = || -> Result<Partial, (usize, anyhow::Error)> {
        let mut sum = Partial::empty(settings);
        while !failed.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(Work { scan, source, part }) = work.get(index) else { break };
            let fold = || scan.fold(*source, part, &mut sum);
            if let Err(error) = reading(part.path(), fold) {
                failed.store(true, Ordering::Relaxed);
                return Err((index, error.into()));
            }
        }
        Ok(sum)
    };
    let count = threads.get().min(work.len());
    let results: Vec<_> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..count).map(|_| scope.spawn(worker)).collect();
        running.into_iter().map(|thread| thread.join()).collect()
    });
    let mut sum = Partial::empty(settings);
    let mut errors = Vec::new();
    for result in results {
        match result {
            Ok(Ok(partial)) => sum.combine(partial),
            Ok(Err(error)) => errors.push(error),
            Err(_) => bail!("a scanning thread ended unexpectedly; this is a mistake in iostrata-analyze"),
        }
    }
    match errors.into_iter().min_by_key(|(index, _)| *index) {
        Some((_, error)) => Err(error),
        None => Ok(sum),
    }
}
