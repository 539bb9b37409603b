//! Tasks of the scan: pieces of parts and, for results that depend on the order of operations, consecutive time ranges.

mod plan;
mod stored;
mod unit;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use iostrata_capture::TableId;
use iostrata_capture::op::Layer;
use iostrata_capture::panic_guard::reading;
use iostrata_capture::part::{MOST_GROUPS, OpenPart, PartFile};

use crate::aggregate::Settings;
use crate::aggregate::sequence::{Finished as Ordered, Sequences, Span};
use crate::memory::Budget;
use crate::parallel::each;
use crate::partial::Partial;
use crate::progress::Progress;
use crate::scan::{EventTable, Fold, Scan, Source};
use crate::store::{Id, Kept, Planned, Store};
pub use stored::Eventless;
use stored::Stored;
use unit::Unit;

/// Part to be scanned.
pub struct Work<'a> {
    /// Inputs of the scan of its capture.
    pub scan: &'a Scan<'a>,
    /// Table of the part.
    pub table: &'static EventTable,
    /// Part.
    pub part: PartFile,
}

/// Task of a thread.
enum Task {
    /// Piece number `piece` of the `pieces` of a part, by the index of the part.
    Piece { part: usize, piece: usize, pieces: usize },
    /// Events that began in some time ranges.
    TimeRanges(TimeRanges),
}

/// Consecutive time ranges of a capture.
struct TimeRanges {
    /// Number of the first.
    first: usize,
    spans: Vec<Span>,
    /// Row groups with rows of any of them, in reading order.
    reads: Vec<Read>,
}

/// Row groups of a part without rows of earlier ones of the time ranges.
struct Read {
    /// First of the time ranges that they may have rows of.
    stretch: usize,
    /// Index of the part.
    part: usize,
    groups: Vec<usize>,
}

impl Read {
    /// Returns the source. Of operations that began at the same time, those of the first part come first, and within a part those of the first row
    /// group.
    fn source(&self) -> Source {
        (self.part as u64) << 32 | self.groups.first().copied().unwrap_or(0) as u64
    }
}

/// Maximum number of parts that a thread keeps open for its next task. A time range may have thousands of small parts.
const MOST_OPEN: usize = 16;

/// Maximum number of row groups in these parts: the metadata of each takes memory (7 KB).
const MOST_OPEN_GROUPS: usize = MOST_GROUPS as usize;

/// State of a thread, with the results of its tasks.
struct Worker<'a> {
    work: &'a [Work<'a>],
    settings: &'a Settings,
    /// Store of partial results, if used.
    store: Option<&'a Store>,
    /// Id of the inputs that all units of a capture have in common, by number of the capture.
    scopes: &'a BTreeMap<usize, Id>,
    /// Result of units that were found or stored.
    partial: Partial,
    /// Folds by number of the capture.
    folds: BTreeMap<usize, Fold<'a>>,
    /// Parts of the previous task, which the next most often reads too.
    open: BTreeMap<usize, OpenPart>,
}

/// Store of partial results, and id of the inputs that all units of a capture have in common, by number of the capture.
type Keeping<'a> = (Option<&'a Store>, &'a BTreeMap<usize, Id>);

impl<'a> Worker<'a> {
    fn new(work: &'a [Work<'a>], settings: &'a Settings, (store, scopes): Keeping<'a>) -> Self {
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

    /// Computes unit `number` of the scan `what`, or takes its stored result.
    fn take_unit(
        &mut self,
        (what, number): (&'static str, usize),
        unit: &Unit,
        sequences: &Mutex<Sequences>,
    ) -> Result<()> {
        let Some((store, Work { scan, .. })) = self.store.zip(unit.work(self.work)) else {
            return unit.tasks.iter().try_for_each(|task| self.take(task, sequences));
        };
        // Without a scope nothing is stored: the names that decide which rows count may change.
        let made = if self.scopes.contains_key(&scan.capture.place()) { unit.made(self.work)? } else { None };
        let planned = Planned { first: unit.first(), tables: unit.tables(self.work), made };
        let id = self.id(store, scan, &planned)?;
        if !self.take_stored((store, id), scan, &planned, sequences)? && store.takes(number) {
            let kept = self.make(scan, unit, &planned.tables)?;
            // Rows that are excluded at the end of a growing capture are present the next time.
            let id = id.filter(|_| !(scan.tail.grows && kept.asked.leaves_out()));
            store.keep(scan.capture, id, &kept)?;
            self.add(kept, planned.first, sequences);
        }
        store.plan(scan.capture, what, number, planned);
        Ok(())
    }

    /// Returns the id of a unit; none if its result is not stored.
    fn id(&self, store: &Store, scan: &Scan, planned: &Planned) -> Result<Option<Id>> {
        let scope = self.scopes.get(&scan.capture.place()).zip(planned.made.as_ref());
        scope.map(|(scope, made)| store.id(*scope, made)).transpose()
    }

    /// Takes the stored result of a unit with this id. Returns whether there is one that is still valid.
    fn take_stored(
        &mut self,
        (store, id): (&Store, Option<Id>),
        scan: &Scan,
        planned: &Planned,
        sequences: &Mutex<Sequences>,
    ) -> Result<bool> {
        let holds = |kept: &Kept| kept.asked.holds(scan, &planned.tables);
        let found = id.map(|id| store.find(id, scan.capture, holds)).transpose()?.flatten();
        let Some(kept) = found else { return Ok(false) };
        store.found();
        self.add(kept, planned.first, sequences);
        Ok(true)
    }

    /// Computes the result of a unit of a capture.
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
        // A panic of a thread that held the lock ends the program; see `each`.
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
            Task::TimeRanges(stretches) => self.take_stretches(stretches, sequences),
        }
    }

    fn take_stretches(&mut self, stretches: &TimeRanges, all: &Mutex<Sequences>) -> Result<()> {
        let TimeRanges { first, spans, reads } = stretches;
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
        // A panic of a thread that held the lock ends the program; see `each`.
        let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
        for (layer, sequence) in sequences {
            all.put((scan.capture, layer), (*first, first + spans.len()), sequence);
        }
        Ok(())
    }

    fn fold(&mut self, scan: &'a Scan<'a>) -> &mut Fold<'a> {
        let settings = self.settings;
        self.folds.entry(scan.capture.place()).or_insert_with(|| Fold::new(scan, settings.clone()))
    }

    /// Reads the row groups of a part that `groups` selects, given their number.
    fn read(&mut self, number: usize, source: Source, groups: impl FnOnce(usize) -> Vec<usize>) -> Result<()> {
        let work = self.work;
        let Work { scan, table, part } = &work[number];
        let read = || {
            let mut open = match self.open.remove(&number) {
                Some(open) => open,
                None => table.open(part, &table.columns(self.settings))?,
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

/// Returns the id of the inputs that all units of a capture have in common, by number of the capture.
fn scopes<'a>(
    scans: impl Iterator<Item = &'a Scan<'a>>,
    settings: &Settings,
    store: &Store,
) -> Result<BTreeMap<usize, Id>> {
    let mut scopes = BTreeMap::new();
    for scan in scans {
        let place = scan.capture.place();
        if !scopes.contains_key(&place) {
            scopes.extend(store.scope(scan, settings)?.map(|scope| (place, scope)));
        }
    }
    Ok(scopes)
}

/// Scans all parts, and takes the stored results of captures without events. Returns their partial result, and the results that depend on the order of
/// rows. `what` is the label of the progress line. On failure the error is that of the first part in `work` that fails, for any number of threads,
/// unless the memory limit is exceeded.
pub fn scan_all(
    (work, sources): (&[Work], &[Eventless]),
    settings: &Settings,
    (threads, memory): (NonZeroUsize, Budget),
    (store, what): (Option<&Store>, &'static str),
) -> Result<(Partial, Ordered)> {
    let units = unit::units(plan::tasks(work, settings, (threads, memory), store.is_some())?, store.is_some());
    let scopes = match store {
        Some(store) => {
            scopes(work.iter().map(|work| work.scan).chain(sources.iter().map(|source| source.scan)), settings, store)?
        }
        None => BTreeMap::new(),
    };
    let sequences = Mutex::new(Sequences::default());
    let begin = || Worker::new(work, settings, (store, &scopes));
    let stored = Stored::of(sources);
    let count = units.len() + stored.units();
    let progress = Progress::of(count, what);
    let take = |worker: &mut Worker, index: usize| {
        let taken = match units.get(index) {
            Some(unit) => worker.take_unit((what, index), unit, &sequences),
            None => stored.take(worker, index - units.len(), &sequences),
        };
        progress.step();
        taken.and_then(|()| memory.check())
    };
    let partials = each(count, threads, begin, take, Worker::finish)?;
    stored.check(settings, store)?;
    let sum = Partial::sum(partials);
    let sequences = sequences.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok((sum, sequences.finish(settings)))
}
