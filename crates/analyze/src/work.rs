//! What of captures is read in one go: pieces of parts and, where the order of operations is looked at, stretches of time.

mod plan;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use iostrata_capture::guard::reading;
use iostrata_capture::op::Layer;
use iostrata_capture::part::{OpenPart, PartFile};

use crate::aggregate::Settings;
use crate::aggregate::sequence::{Sequences, Span};
use crate::memory::Budget;
use crate::parallel::each;
use crate::partial::Partial;
use crate::progress::Progress;
use crate::scan::{Fold, Scan, Source};

/// One part to be scanned.
pub struct Work<'a> {
    /// What the part's capture is scanned with.
    pub scan: &'a Scan<'a>,
    /// The table that the part is of.
    pub source: Source,
    /// The part.
    pub part: PartFile,
}

/// What a thread takes in one go.
enum Task {
    /// Piece number `piece` of the `pieces` of a part, by its place in the work.
    Piece { part: usize, piece: usize, pieces: usize },
    /// What began in a stretch of time.
    Stretch(Stretch),
}

/// Stretch `number` of the time of a table.
struct Stretch {
    number: usize,
    span: Span,
    /// The row groups that have something of it, by the place of their part in the work.
    groups: Vec<(usize, Vec<usize>)>,
}

/// What a thread has made of the tasks that it took.
struct Worker<'a> {
    work: &'a [Work<'a>],
    settings: Settings,
    /// By number of the capture.
    folds: BTreeMap<usize, Fold<'a>>,
    /// The part that it read last.
    open: Option<(usize, OpenPart)>,
}

impl<'a> Worker<'a> {
    fn take(&mut self, task: &Task, sequences: &Mutex<Sequences>) -> Result<()> {
        match task {
            Task::Piece { part, piece, pieces } => {
                let end = |groups: usize, piece: usize| groups * piece / pieces;
                self.read(*part, |groups| (end(groups, *piece)..end(groups, piece + 1)).collect())
            }
            Task::Stretch(Stretch { number, span, groups }) => {
                let Some((first, _)) = groups.first() else { return Ok(()) };
                let work = self.work;
                let Work { scan, source, .. } = &work[*first];
                self.fold(scan).begin_sequence(*span);
                for (part, groups) in groups {
                    self.read(*part, |_| groups.clone())?;
                }
                let sequence = self.fold(scan).end_sequence(source.layer());
                // Whoever panicked while it held them ends the program; see `each`.
                let of = if self.settings.ordered.crossing { Layer::Syscall } else { source.layer() };
                let mut sequences = sequences.lock().unwrap_or_else(PoisonError::into_inner);
                sequences.add((scan.capture, of), *number, sequence);
                Ok(())
            }
        }
    }

    fn fold(&mut self, scan: &'a Scan<'a>) -> &mut Fold<'a> {
        let settings = self.settings;
        self.folds.entry(scan.capture).or_insert_with(|| Fold::new(scan, settings))
    }

    /// Reads the row groups that `groups` chooses, of as many as it is told.
    fn read(&mut self, number: usize, groups: impl FnOnce(usize) -> Vec<usize>) -> Result<()> {
        let work = self.work;
        let Work { scan, source, part } = &work[number];
        let read = || {
            let open = match self.open.take() {
                Some((was, open)) if was == number => open,
                _ => source.open(part, &source.columns(&self.settings))?,
            };
            let groups = groups(open.groups());
            self.fold(scan).read(*source, &open, &groups)?;
            self.open = Some((number, open));
            Ok(())
        };
        Ok(reading(part.path(), read)?)
    }

    fn finish(self) -> Partial {
        let mut sum = Partial::default();
        self.folds.into_values().for_each(|fold| sum.combine(fold.finish()));
        sum
    }
}

/// The partial of all parts; `what` is done is said on the way. On failure the error is that of the first part in `work` that has one, whatever the number of threads, unless
/// it takes more memory than it may.
pub fn scan_all(
    work: &[Work],
    settings: Settings,
    (threads, memory): (NonZeroUsize, Budget),
    what: &'static str,
) -> Result<Partial> {
    let tasks = plan::tasks(work, &settings, threads)?;
    let sequences = Mutex::new(Sequences::default());
    let begin = || Worker { work, settings, folds: BTreeMap::new(), open: None };
    let progress = Progress::of(tasks.len(), what);
    let take = |worker: &mut Worker, index: usize| {
        let taken = worker.take(&tasks[index], &sequences);
        progress.step();
        taken.and_then(|()| memory.check())
    };
    let partials = each(tasks.len(), threads, begin, take, Worker::finish)?;
    let mut sum = Partial::default();
    partials.into_iter().for_each(|partial| sum.combine(partial));
    sum.sequences = sequences.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(sum)
}
