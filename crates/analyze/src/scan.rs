//! Folds rows of one capture into a [`Partial`], one batch at a time.

mod accumulators;
pub(crate) mod attribution;
mod attribution_cache;
mod attributor;
mod chunk;
mod crossing;
mod durations;
pub mod entries;
mod fs_events;
mod kind;
mod operations;
mod order;
mod pile;
mod requests;
mod table;
mod time_ranges;

use iostrata_capture::Result;
use iostrata_capture::op::{Layer, Op};
use iostrata_capture::part::{Identity, OpenPart};
use iostrata_capture::table::Table;
use iostrata_capture::tables::SyscallTable;

use crate::aggregate::Settings;
use crate::aggregate::any_order::{Opened, States};
use crate::aggregate::sequence::{Owners as Owning, Point};
use crate::disks::Disks;
use crate::entity::CaptureNumber;
use crate::event::{Durations as Timed, PHASES, Phase, UNKNOWN};
use crate::files::Files;
use crate::loss::Losses;
use crate::loss::during::Windows;
use crate::memory::Budget;
use crate::names::Names;
use crate::owners::Owners;
use crate::partial::Partial;
use crate::select::{Selection, Window};
use crate::servers::Servers;
use crate::stacking::LevelSelection;
use crate::store::lookups::LookupTrace;
use crate::tail::Tail;
use crate::valid::end_ns;
use accumulators::Accumulators;
use attribution::RowAttribution;
use attributor::Attributor;
use chunk::{CHUNK_ROWS, Chunk, KeyedRow, OpAmounts};
use crossing::Known;
use durations::Durations;
use entries::Entries;
use order::Order;
pub use pile::Source;
use table::Events;
pub use table::{EVENT_TABLES, EventTable, Reach};

/// Inputs of the scan that all parts of a capture share.
pub struct Scan<'a> {
    /// Number of the capture; distinguishes its devices from those of other captures.
    pub capture: CaptureNumber,
    /// Unique id of the capture.
    pub capture_id: &'a str,
    /// Processes of the capture.
    pub owners: &'a Owners<'a>,
    /// Files of the capture.
    pub files: &'a Files,
    /// Disk that counts the requests of each file system and device, by device number.
    pub disks: &'a Disks,
    /// Disk that each file system is directly on, by device number.
    pub mounted: &'a Disks,
    /// Devices that totals count.
    pub choice: &'a LevelSelection,
    /// Whether requests begin at insertion or issue, because the capture has no queueing times.
    pub begins_late: bool,
    /// Losses in its tables, with their times.
    pub losses: &'a Losses,
    /// Processes that serve the calls of others.
    pub servers: &'a Servers,
    /// Selected begin times of events. They exclude the period for which some tables lack rows that the ring of parts removed.
    pub window: Window,
    /// Excluded end of the capture.
    pub tail: &'a Tail,
    /// Filters.
    pub selection: &'a Selection,
    /// Names of entities.
    pub names: &'a Names<'a>,
    /// Parts of the tables with names; `None` if they are unknown or one of them is incomplete.
    pub named_by: Option<&'a [Identity]>,
    /// Memory limit.
    pub memory: Budget,
    /// Maximum number of open accumulators.
    pub most_accounts: usize,
}

/// Column with the begin of operations, in all tables.
pub const BEGIN: &str = "ts_ns";

/// Number of batches between checks of the memory limit.
const ASKED_BATCHES: u32 = 4;

/// Maximum weight of a row from any recorder.
const MOST_WEIGHT: u32 = 1 << 15;

/// Returns the weight of a row, the number of events that it represents, if valid.
#[inline]
fn possible_weight(weight: i32) -> Option<u32> {
    u32::try_from(weight).ok().filter(|weight| (1..=MOST_WEIGHT).contains(weight))
}

/// Returns the operations with an owner, for the time order.
fn points(entries: &Entries) -> impl Iterator<Item = Point> {
    // Bytes of an operation that is counted elsewhere have neither a number of operations nor a duration.
    let operations = entries.each().filter(|entry| entry.ops > 0 || entry.total_ns.is_some());
    operations.filter_map(|entry| {
        let end_ns = end_ns(entry.ts_ns, entry.total_ns.and_then(|ns| i64::try_from(ns).ok()));
        Some(Point {
            ts_ns: entry.ts_ns,
            end_ns,
            position: entry.position,
            bytes: entry.size,
            ops: entry.ops,
            direction: entry.direction,
            slot: entry.slot(),
            places: entries.places(&entry)?,
        })
    })
}

/// Part of a row that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inclusion {
    /// The whole row.
    Whole,
    /// Only its end: it began before the time ranges that are read.
    End,
    /// Nothing.
    Nothing,
}

/// Partial result that rows of one capture are being folded into.
pub struct Fold<'a> {
    scan: &'a Scan<'a>,
    settings: Settings,
    partial: Partial,
    whose: Attributor<'a>,
    accounts: Accumulators,
    durations: Durations,
    /// Requested aggregates.
    aggregates: Vec<Box<dyn Opened>>,
    order: Option<Order>,
    /// Attribution of the calls of the batch, if requests are matched to calls.
    known: Known,
    chunk: Chunk,
    /// Loss windows of the table that is being read.
    windows: Option<&'a Windows>,
    /// Number of rows that ended in each of them.
    during: Vec<u64>,
}

impl<'a> Fold<'a> {
    /// Creates a partial result without rows, for the capture of `scan`.
    pub fn new(scan: &'a Scan<'a>, settings: Settings) -> Self {
        Fold {
            scan,
            partial: Partial::default(),
            whose: Attributor::new(scan),
            accounts: Accumulators::new(settings.activity),
            durations: Durations::new(settings.precision),
            aggregates: settings.any_order.open(settings.precision),
            settings,
            order: None,
            known: Known::default(),
            chunk: Chunk::default(),
            windows: None,
            during: Vec::new(),
        }
    }

    /// Starts to record the lookups that the result depends on besides the rows.
    pub fn keep_questions(&mut self) {
        self.whose.questions = Some(LookupTrace::default());
    }

    /// Returns the lookups that were recorded since then.
    pub fn questions(&mut self) -> LookupTrace {
        self.whose.questions.take().unwrap_or_default()
    }

    /// Folds some row groups of a part of `table`. After an error the fold must not be used: it contains some of their rows.
    pub fn read(
        &mut self,
        table: &EventTable,
        part: &mut OpenPart,
        (groups, source): (&[usize], Source),
    ) -> Result<()> {
        self.order.iter_mut().for_each(|order| order.stretches.read(source, table.has_order));
        let crosses = self.crosses();
        self.windows = self.scan.losses.windows(table.id);
        self.during = vec![0; self.windows.map_or(0, Windows::places)];
        let groups: Vec<usize> = groups.iter().copied().filter(|group| self.needs(part, *group)).collect();
        let memory = self.scan.memory;
        let mut passed = 0u32;
        // For few rows a check costs more than the memory that they can take.
        let refuses = || {
            passed = passed.wrapping_add(1);
            if passed.is_multiple_of(ASKED_BATCHES) { memory.refusal() } else { None }
        };
        part.read(&groups)?.each_unless(refuses, |batch| {
            self.known.begin(if crosses && table.id == SyscallTable::ID { batch.num_rows() } else { 0 });
            if self.settings.folds() {
                (table.fold)(batch, self)?;
            }
            if crosses { (table.cross)(batch, self) } else { Ok(()) }
        })?;
        if self.windows.is_some() {
            self.partial.during.add(self.scan.capture, table.id, std::mem::take(&mut self.during));
        }
        self.aggregates.iter_mut().for_each(|aggregate| aggregate.settle());
        Ok(())
    }

    /// Whether any row of a row group may count. None does if, by the statistics of the part, all of them began outside the selected times, and
    /// nothing else needs such rows.
    fn needs(&self, part: &OpenPart, group: usize) -> bool {
        // Losses are compared with all rows that ended in their windows, and stored results depend on such losses. Requests of calls that are
        // not selected must not be matched to other calls.
        let all_matter = self.windows.is_some() || self.whose.questions.is_some() || self.crosses();
        all_matter || part.bounds(group, BEGIN).is_none_or(|between| self.scan.window.reaches(between))
    }

    /// Returns the partial result of all rows.
    pub fn finish(mut self) -> Partial {
        self.accounts.close(self.scan.capture, &mut self.partial);
        self.durations.close(&mut self.partial);
        let owners = Owning { systems: &self.partial.names(), entities: &self.partial.entities };
        self.partial.aggregates = States::of(self.aggregates, &owners);
        self.partial
    }

    /// Processes the rows of a batch of `layer`: `take` adds the fields of a row to the chunk, `comm` returns the command name of a row.
    fn rows<'b>(
        &mut self,
        (layer, rows): (Layer, usize),
        comm: impl Fn(usize) -> Option<&'b str>,
        take: impl Fn(&mut Self, usize),
    ) {
        for begin in (0..rows).step_by(CHUNK_ROWS) {
            (begin..rows.min(begin + CHUNK_ROWS)).for_each(|row| take(self, row));
            self.count(layer, &comm);
        }
    }

    /// Counts the entries of the chunk, and clears it.
    fn count<'b>(&mut self, layer: Layer, comm: impl Fn(usize) -> Option<&'b str>) {
        let Fold { partial, whose, accounts, durations, aggregates, order, known, chunk, .. } = self;
        if let Some(questions) = &mut whose.questions {
            chunk.asked.iter().for_each(|asked| questions.began(asked.ts_ns));
        }
        for KeyedRow { key, ts_ns, row } in &chunk.asked {
            let account = whose.known(key, *ts_ns);
            let open = || whose.open((partial, accounts), key, (*ts_ns, comm(*row as usize)));
            chunk.accounts.push(account.unwrap_or_else(open));
        }
        if self.settings.counts {
            let total_ns = &chunk.durations[Phase::Total as usize];
            for ((account, OpAmounts { ops, bytes, .. }), ns) in chunk.accounts.iter().zip(&chunk.done).zip(total_ns) {
                accounts.add(*account, (u64::from(*ops), *bytes), *ns);
            }
            chunk.check(layer, &mut partial.checked);
            durations.add(layer, chunk, partial);
        }
        let entries = Entries { layer, capture: self.scan.capture, entities: &partial.entities, chunk, accounts };
        aggregates.iter_mut().for_each(|aggregate| aggregate.update(&entries));
        if let Some(order) = order.as_mut().filter(|_| !self.settings.in_order.is_empty()) {
            let ends = self.settings.ends();
            points(&entries).for_each(|point| order.stretches.point(layer, point, ends));
        }
        known.add(accounts, chunk);
        chunk.clear();
        if accounts.are_many(whose.remembered(), self.scan.most_accounts) {
            accounts.close(self.scan.capture, partial);
            whose.forget();
        }
    }

    /// Counts a row that began at `ts_ns`, if its times are selected. Returns the part of it that counts.
    #[inline]
    fn counts(&mut self, ts_ns: i64, dur_ns: Option<i64>) -> Inclusion {
        if let Some(Order { stretches, .. }) = &self.order
            && !stretches.has(ts_ns)
        {
            let end_ns = end_ns(ts_ns, dur_ns).filter(|end_ns| stretches.has(*end_ns));
            let ends = self.settings.ends() && end_ns.is_some() && self.is_within(ts_ns);
            let ends = ends && !self.is_beyond(ts_ns, dur_ns);
            return if ends { Inclusion::End } else { Inclusion::Nothing };
        }
        self.count_end(ts_ns, dur_ns);
        if !self.is_within(ts_ns) || self.is_beyond(ts_ns, dur_ns) {
            return Inclusion::Nothing;
        }
        self.partial.rows = self.partial.rows.saturating_add(1);
        Inclusion::Whole
    }

    /// Adds the end of an operation that began before the time ranges that are read. Its begin is counted elsewhere.
    fn end(&mut self, layer: Layer, row: (usize, i64), told: &RowAttribution, (op, dur_ns): (Op, Option<i64>)) {
        let mut durations: Timed = [UNKNOWN; PHASES];
        durations[Phase::Total as usize] = dur_ns.and_then(|ns| u64::try_from(ns).ok()).unwrap_or(UNKNOWN);
        self.chunk.push(layer, row, told, OpAmounts::part(0, op, told.kind.direction), &durations);
    }

    /// Counts a row in the loss window in which it ended: at its end an event is either recorded or lost.
    #[inline]
    fn count_end(&mut self, ts_ns: i64, dur_ns: Option<i64>) {
        let end_ns = || end_ns(ts_ns, dur_ns).unwrap_or(ts_ns);
        self.whose.questions.iter_mut().for_each(|questions| questions.ended(end_ns()));
        if let Some(windows) = self.windows {
            let end_ns = end_ns();
            if let Some(count) = self.during.get_mut(windows.place(end_ns)) {
                *count = count.saturating_add(1);
            }
        }
    }

    /// Whether the begin time `ts_ns` is selected.
    #[inline]
    fn is_within(&self, ts_ns: i64) -> bool {
        self.scan.window.reaches((ts_ns, ts_ns))
    }

    /// Whether an event with this begin and duration ended after the complete range, and is excluded. Exclusions are recorded: they depend on the
    /// time of the analysis.
    #[inline]
    fn is_beyond(&mut self, ts_ns: i64, dur_ns: Option<i64>) -> bool {
        let is_beyond = self.scan.tail.leaves_out(ts_ns, dur_ns);
        self.note_beyond(is_beyond)
    }

    #[inline]
    fn note_beyond(&mut self, is_beyond: bool) -> bool {
        if is_beyond {
            self.whose.questions.iter_mut().for_each(LookupTrace::leave_out);
        }
        is_beyond
    }

    /// Whether `ts_ns` is in the time ranges that are read; true if there are none.
    #[inline]
    fn is_looked_at(&self, ts_ns: i64) -> bool {
        self.order.as_ref().is_none_or(|order| order.stretches.has(ts_ns))
    }

    /// Whether totals count the requests of device `dev`.
    fn takes(&self, dev: i32) -> bool {
        self.scan.choice.takes(self.scan.capture.place(), dev)
    }

    /// Returns the weight of a row. An invalid weight is replaced by 1 and counted as invalid.
    #[inline]
    fn weight(&mut self, weight: i32) -> u32 {
        match possible_weight(weight) {
            Some(1) => 1,
            Some(weight) => {
                self.partial.sampled.add(u64::from(weight));
                weight
            }
            None => {
                let checked = &mut self.partial.checked;
                checked.bad_weights = checked.bad_weights.saturating_add(1);
                1
            }
        }
    }
}
