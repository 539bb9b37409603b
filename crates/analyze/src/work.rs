//! What of captures is read in one go: pieces of parts and, where the order of operations is looked at, stretches of time that follow each other.

mod plan;
mod unit;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use iostrata_capture::TableId;
use iostrata_capture::guard::reading;
use iostrata_capture::op::Layer;
use iostrata_capture::part::{MOST_GROUPS, OpenPart, PartFile};

use crate::aggregate::Settings;
use crate::aggregate::sequence::{Finished as Ordered, Sequences, Span};
use crate::memory::Budget;
use crate::parallel::each;
use crate::partial::Partial;
use crate::progress::Progress;
use crate::scan::{EventTable, Fold, Scan, Source};
use crate::store::{Id, Kept, Store};
use unit::Unit;

/// One part to be scanned.
pub struct Work<'a> {
    /// What the part's capture is scanned with.
    pub scan: &'a Scan<'a>,
    /// The table that the part is of.
    pub table: &'static EventTable,
    /// The part.
    pub part: PartFile,
}

/// What a thread takes in one go.
enum Task {
    /// Piece number `piece` of the `pieces` of a part, by its place in the work.
    Piece { part: usize, piece: usize, pieces: usize },
    /// What began in some stretches of time.
    Stretches(Stretches),
}

/// Stretches of the time of a capture that follow each other.
struct Stretches {
    /// The number of the first.
    first: usize,
    spans: Vec<Span>,
    /// The row groups that have something of them, in the order in which they are read.
    reads: Vec<Read>,
}

/// Row groups of a part, none of which has anything of earlier ones of the stretches.
struct Read {
    /// The first of the stretches of which they may have something.
    stretch: usize,
    /// The place of the part in the work.
    part: usize,
    groups: Vec<usize>,
}

impl Read {
    /// Where operations began at the same time, those of the part that comes first are first, and in a part those of the row group that does.
    fn source(&self) -> Source {
        (self.part as u64) << 32 | self.groups.first().copied().unwrap_or(0) as u64
    }
}

/// So many parts a thread keeps open for its next task at most: where they are small a stretch of time may be of thousands.
const MOST_OPEN: usize = 16;

/// And so many row groups in these: what is known of each takes memory (7 KB).
const MOST_OPEN_GROUPS: usize = MOST_GROUPS as usize;

/// What a thread has made of the tasks that it took.
struct Worker<'a> {
    work: &'a [Work<'a>],
    settings: Settings,
    /// Where results are looked for and kept, if they are.
    store: Option<&'a Store>,
    /// What all units of a capture have in common that are kept, by number of the capture.
    scopes: &'a BTreeMap<usize, Id>,
    /// Of units that were found, or are kept.
    partial: Partial,
    /// By number of the capture.
    folds: BTreeMap<usize, Fold<'a>>,
    /// The parts that its last task was of: the next is most often of the same.
    open: BTreeMap<usize, OpenPart>,
}

/// Where results are kept, and what all units of a capture have in common, by number of the capture.
type Keeping<'a> = (Option<&'a Store>, &'a BTreeMap<usize, Id>);

impl<'a> Worker<'a> {
    fn new(work: &'a [Work<'a>], settings: Settings, (store, scopes): Keeping<'a>) -> Self {
        Worker {
            work,
            settings,
            store,
            scopes,
            partial: Partial::default(),
            folds: BTreeMap::new(),
            open: BTreeMap::new(),
        }
    }

    /// Does unit `number`, or takes what is kept of it.
    fn take_unit(&mut self, number: usize, unit: &Unit, sequences: &Mutex<Sequences>) -> Result<()> {
        let Some((store, Work { scan, .. })) = self.store.zip(unit.work(self.work)) else {
            return unit.tasks.iter().try_for_each(|task| self.take(task, sequences));
        };
        let scope = self.scopes.get(&scan.capture);
        let id = scope.map(|scope| unit.id(self.work, store, *scope)).transpose()?.flatten();
        let tables = unit.tables(self.work);
        let found = id.map(|id| store.find(id)).transpose()?.flatten();
        if let Some(kept) = found.filter(|kept| kept.asked.holds(scan, &tables)) {
            store.found();
            self.add(kept, unit.first(), sequences);
        } else if store.takes(number) {
            let kept = self.make(scan, unit, &tables)?;
            // What is left out at the end of a capture that grows is there the next time.
            let id = id.filter(|_| !(scan.tail.grows && kept.asked.leaves_out()));
            store.keep(scan.capture, id, &kept)?;
            self.add(kept, unit.first(), sequences);
        }
        Ok(())
    }

    /// What a unit of a capture comes to.
    fn make(&self, scan: &'a Scan<'a>, unit: &Unit, tables: &[TableId]) -> Result<Kept> {
        let mut alone = Worker::new(self.work, self.settings, (None, self.scopes));
        let sequences = Mutex::new(Sequences::default());
        alone.fold(scan).keep_questions();
        unit.tasks.iter().try_for_each(|task| alone.take(task, &sequences))?;
        let mut asked = alone.fold(scan).questions();
        asked.settle(scan, tables);
        let first = unit.first();
        let runs = sequences.into_inner().unwrap_or_else(PoisonError::into_inner).runs();
        let sequences =
            runs.map(|(of, (begin, next), sequence)| (of, (begin - first, next - first), sequence)).collect();
        Ok(Kept { partial: alone.finish(), sequences, asked })
    }

    fn add(&mut self, kept: Kept, first: usize, sequences: &Mutex<Sequences>) {
        let Kept { partial, sequences: runs, .. } = kept;
        self.partial.combine(partial);
        // Whoever panicked while it held them ends the program; see `each`.
        let mut sequences = sequences.lock().unwrap_or_else(PoisonError::into_inner);
        for (of, (begin, next), sequence) in runs {
            sequences.put(of, (first.saturating_add(begin), first.saturating_add(next)), sequence);
        }
    }

    fn take(&mut self, task: &Task, sequences: &Mutex<Sequences>) -> Result<()> {
        match task {
            Task::Piece { part, piece, pieces } => {
                let end = |groups: usize, piece: usize| groups * piece / pieces;
                self.open.retain(|open, _| open == part);
                self.read(*part, 0, |groups| (end(groups, *piece)..end(groups, piece + 1)).collect())
            }
            Task::Stretches(stretches) => self.take_stretches(stretches, sequences),
        }
    }

    fn take_stretches(&mut self, stretches: &Stretches, all: &Mutex<Sequences>) -> Result<()> {
        let Stretches { first, spans, reads } = stretches;
        let Some(Read { part, .. }) = reads.first() else { return Ok(()) };
        let work = self.work;
        let scan = work[*part].scan;
        let of_capture = work.iter().filter(|work| work.scan.capture == scan.capture && work.table.has_order);
        let mut layers: Vec<Layer> = of_capture.map(|work| work.table.layer).collect();
        layers.dedup();
        self.fold(scan).begin_stretches(spans.clone(), &layers);
        self.open.retain(|open, _| reads.iter().any(|read| open == &read.part));
        for read in reads {
            self.fold(scan).pass_stretches(read.stretch);
            self.read(read.part, read.source(), |_| read.groups.clone())?;
        }
        let sequences = self.fold(scan).end_stretches();
        // Whoever panicked while it held them ends the program; see `each`.
        let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
        for (layer, sequence) in sequences {
            all.put((scan.capture, layer), (*first, first + spans.len()), sequence);
        }
        Ok(())
    }

    fn fold(&mut self, scan: &'a Scan<'a>) -> &mut Fold<'a> {
        let settings = self.settings;
        self.folds.entry(scan.capture).or_insert_with(|| Fold::new(scan, settings))
    }

    /// Reads the row groups that `groups` chooses, of as many as it is told.
    fn read(&mut self, number: usize, source: Source, groups: impl FnOnce(usize) -> Vec<usize>) -> Result<()> {
        let work = self.work;
        let Work { scan, table, part } = &work[number];
        let read = || {
            let mut open = match self.open.remove(&number) {
                Some(open) => open,
                None => table.open(part, &table.columns(&self.settings))?,
            };
            let groups = groups(open.groups());
            self.fold(scan).read(table, &mut open, (&groups, source))?;
            let groups: usize = self.open.values().chain([&open]).map(OpenPart::groups).sum();
            if self.open.len() < MOST_OPEN && groups <= MOST_OPEN_GROUPS {
                self.open.insert(number, open);
            }
            Ok(())
        };
        Ok(reading(part.path(), read)?)
    }

    fn finish(self) -> Partial {
        Partial::sum(self.folds.into_values().map(Fold::finish).chain([self.partial]))
    }
}

/// The partial of all parts, and what depends on the order of their rows; `what` is done is said on the way. On failure the error is that of the first part in `work` that has one, whatever the number of threads, unless
/// it takes more memory than it may.
pub fn scan_all(
    work: &[Work],
    settings: Settings,
    (threads, memory): (NonZeroUsize, Budget),
    (store, what): (Option<&Store>, &'static str),
) -> Result<(Partial, Ordered)> {
    let units = unit::units(plan::tasks(work, &settings, (threads, memory), store.is_some())?, store.is_some());
    let mut scopes = BTreeMap::new();
    for (store, Work { scan, .. }) in store.iter().flat_map(|store| work.iter().map(move |work| (store, work))) {
        if !scopes.contains_key(&scan.capture) {
            scopes.extend(store.scope(scan, &settings)?.map(|scope| (scan.capture, scope)));
        }
    }
    let sequences = Mutex::new(Sequences::default());
    let begin = || Worker::new(work, settings, (store, &scopes));
    let progress = Progress::of(units.len(), what);
    let take = |worker: &mut Worker, index: usize| {
        let taken = worker.take_unit(index, &units[index], &sequences);
        progress.step();
        taken.and_then(|()| memory.check())
    };
    let partials = each(units.len(), threads, begin, take, Worker::finish)?;
    let sum = Partial::sum(partials);
    let sequences = sequences.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok((sum, sequences.finish()))
}
