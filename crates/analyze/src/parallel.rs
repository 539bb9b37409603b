//! Scans many parts at once. Each thread takes the next piece of a part that nobody has and folds it into one partial of its
//! own, so that memory follows the number of threads and systems, not of parts or rows.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Result, bail};
use iostrata_capture::guard::reading;
use iostrata_capture::part::{OpenPart, PartFile};

use crate::aggregate::Settings;
use crate::partial::Partial;
use crate::scan::{Fold, Scan, Source};

/// Pieces have about this size: enough that opening a part once for each thread does not matter, and so little that threads end at
/// about the same time.
const PIECE_BYTES: u64 = 8 << 20;

/// One part to be scanned.
pub struct Work<'a> {
    /// What the part's capture is scanned with.
    pub scan: &'a Scan<'a>,
    /// The table that the part is of.
    pub source: Source,
    /// The part.
    pub part: PartFile,
}

/// Piece number `piece` of the `pieces` of a part, by its place in the work.
#[derive(Debug, Clone, Copy)]
struct Piece {
    part: usize,
    piece: usize,
    pieces: usize,
}

/// What a thread has made of the pieces that it took.
struct Worker<'a> {
    work: &'a [Work<'a>],
    settings: Settings,
    /// By number of the capture.
    folds: BTreeMap<usize, Fold<'a>>,
    /// The part that it took a piece of last.
    open: Option<(usize, OpenPart)>,
}

impl Worker<'_> {
    fn take(&mut self, Piece { part: number, piece, pieces }: Piece) -> iostrata_capture::Result<()> {
        let Work { scan, source, part } = &self.work[number];
        let open = match self.open.take() {
            Some((was, open)) if was == number => open,
            _ => source.open(part, &self.settings)?,
        };
        let (_, open) = self.open.insert((number, open));
        let end = |piece: usize| open.groups() * piece / pieces;
        let fold = self.folds.entry(scan.capture).or_insert_with(|| Fold::new(scan, self.settings));
        fold.read(*source, open, end(piece)..end(piece + 1))
    }

    fn finish(self) -> Partial {
        let mut sum = Partial::default();
        self.folds.into_values().for_each(|fold| sum.combine(fold.finish()));
        sum
    }
}

/// The partial of all parts. On failure the error is that of the first part in `work` that has one, whatever the number
/// of threads: pieces are taken in order, and a piece that was taken is finished.
pub fn scan_all(work: &[Work], settings: Settings, threads: NonZeroUsize) -> Result<Partial> {
    let pieces = pieces(work);
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let run = || -> Result<Partial, (usize, anyhow::Error)> {
        let mut worker = Worker { work, settings, folds: BTreeMap::new(), open: None };
        while !failed.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(piece) = pieces.get(index) else { break };
            if let Err(error) = reading(work[piece.part].part.path(), || worker.take(*piece)) {
                failed.store(true, Ordering::Relaxed);
                return Err((index, error.into()));
            }
        }
        Ok(worker.finish())
    };
    let count = threads.get().min(pieces.len());
    let results: Vec<_> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..count).map(|_| scope.spawn(run)).collect();
        running.into_iter().map(|thread| thread.join()).collect()
    });
    let mut sum = Partial::default();
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

/// All parts in pieces, in order.
fn pieces(work: &[Work]) -> Vec<Piece> {
    let of = |(part, work): (usize, &Work)| {
        // Whoever opens it says what is wrong with one that is gone.
        let bytes = work.part.path().metadata().map_or(0, |found| found.len());
        let pieces = usize::try_from(bytes.div_ceil(PIECE_BYTES)).unwrap_or(usize::MAX).clamp(1, 1 << 16);
        (0..pieces).map(move |piece| Piece { part, piece, pieces })
    };
    work.iter().enumerate().flat_map(of).collect()
}
