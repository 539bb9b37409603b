//! Folds rows of one capture into a [`Partial`], one batch at a time.

mod accounts;
mod chunk;
mod crossing;
mod durations;
mod keep;
mod kind;
mod operations;
mod order;
mod pages;
mod pile;
mod remembered;
mod requests;
mod stretches;
mod table;
pub(crate) mod told;
mod whose;

use iostrata_capture::Result;
use iostrata_capture::op::{Layer, Op};
use iostrata_capture::part::{Identity, OpenPart};
use iostrata_capture::table::Table;
use iostrata_capture::tables::SyscallTable;

use crate::aggregate::Settings;
use crate::aggregate::footprint;
use crate::aggregate::heatmap::Heatmap;
use crate::aggregate::sequence::Owners as Owning;
use crate::aggregate::sizes::Sizes;
use crate::aggregate::spans::Spans;
use crate::aggregate::timeline::Timeline;
use crate::disks::Disks;
use crate::event::{Durations as Timed, PHASES, Phase, UNKNOWN};
use crate::files::Files;
use crate::levels::Choice;
use crate::loss::Losses;
use crate::loss::during::Windows;
use crate::memory::Budget;
use crate::names::Names;
use crate::owners::Owners;
use crate::partial::Partial;
use crate::select::{Selection, Window};
use crate::servers::Servers;
use crate::store::asked::Asked as Questions;
use crate::tail::Tail;
use crate::valid::end_ns;
use accounts::Accounts;
use chunk::{Asked, CHUNK_ROWS, Chunk, Done};
use crossing::Known;
use durations::Durations;
use order::Order;
pub use pile::Source;
use table::Events;
pub use table::{EVENT_TABLES, EventTable, Reach};
use told::Told;
use whose::Whose;

/// What every part of a capture is scanned with.
pub struct Scan<'a> {
    /// The number of the capture, which tells its devices from those of other captures.
    pub capture: usize,
    /// Its id, which tells it from all others.
    pub capture_id: &'a str,
    /// Its processes.
    pub owners: &'a Owners<'a>,
    /// Its files.
    pub files: &'a Files,
    /// The disk whose requests are what is done to each of its file systems and devices, by device number.
    pub disks: &'a Disks,
    /// The disk that each file system is directly on, by device number.
    pub mounted: &'a Disks,
    /// The devices whose requests are in the totals.
    pub choice: &'a Choice,
    /// Whether its requests begin at insertion or issue, because it does not tell when they were queued.
    pub begins_late: bool,
    /// When something of its tables was lost.
    pub losses: &'a Losses,
    /// Its processes that serve others.
    pub servers: &'a Servers,
    /// When the events began that are asked for. That is never before some tables lack what the ring of parts removed.
    pub window: Window,
    /// What is left out at its end.
    pub tail: &'a Tail,
    /// What is asked for.
    pub selection: &'a Selection,
    /// What entities are called.
    pub names: &'a Names<'a>,
    /// The parts that tell it, if these are known and all of them whole.
    pub named_by: Option<&'a [Identity]>,
    /// What the program may take of memory.
    pub memory: Budget,
    /// How many accounts are kept open.
    pub most_accounts: usize,
}

/// The column of when operations began, in all tables.
pub const BEGIN: &str = "ts_ns";

/// Once for so many batches it is asked whether there is still memory to be had.
const ASKED_BATCHES: u32 = 4;

/// No recorder lets a row stand for more.
const MOST_WEIGHT: u32 = 1 << 15;

/// For how many events a row stands, if that can be.
#[inline]
fn possible_weight(weight: i32) -> Option<u32> {
    u32::try_from(weight).ok().filter(|weight| (1..=MOST_WEIGHT).contains(weight))
}

/// What of a row is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    /// All of it.
    Whole,
    /// When it ended: it began before the stretches of time that are looked at.
    End,
    /// Nothing.
    Nothing,
}

/// A partial that is being filled with rows of one capture.
pub struct Fold<'a> {
    scan: &'a Scan<'a>,
    settings: Settings,
    partial: Partial,
    whose: Whose<'a>,
    accounts: Accounts,
    durations: Durations,
    timeline: Option<Timeline>,
    sizes: Option<Sizes>,
    heatmap: Option<Heatmap>,
    footprint: Option<footprint::Walk>,
    spans: Option<Spans>,
    order: Option<Order>,
    /// Whose calls of the batch are, where that is asked for.
    known: Known,
    chunk: Chunk,
    /// Times in which something of the table was lost that is being read.
    windows: Option<&'a Windows>,
    /// Rows that ended in them.
    during: Vec<u64>,
}

impl<'a> Fold<'a> {
    /// Of no rows yet of the capture that `scan` is of.
    pub fn new(scan: &'a Scan<'a>, settings: Settings) -> Self {
        Fold {
            scan,
            settings,
            partial: Partial::default(),
            whose: Whose::new(scan),
            accounts: Accounts::new(settings.activity),
            durations: Durations::new(settings.precision),
            timeline: settings.windows.map(Timeline::new),
            sizes: settings.sizes.then(|| Sizes::new(settings.precision)),
            heatmap: settings.heatmap.then(Heatmap::new),
            footprint: settings.footprint.then(|| footprint::Walk::new(settings.precision)),
            spans: settings.spans.map(Spans::new),
            order: None,
            known: Known::default(),
            chunk: Chunk::default(),
            windows: None,
            during: Vec::new(),
        }
    }

    /// From now on it is kept what is asked of the capture beside its rows.
    pub fn keep_questions(&mut self) {
        self.whose.questions = Some(Questions::default());
    }

    /// What was asked since then.
    pub fn questions(&mut self) -> Questions {
        self.whose.questions.take().unwrap_or_default()
    }

    /// Folds some row groups of a part of `table`. After an error it is of no use: it holds some of their rows.
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
        // Of few rows it costs more to ask than they can take.
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
        self.timeline.iter_mut().for_each(Timeline::settle);
        Ok(())
    }

    /// Whether anything of a row group may count: where it tells of one that all began at times that are not asked for, and no such row matters
    /// to anything else, nothing can.
    fn needs(&self, part: &OpenPart, group: usize) -> bool {
        // What was lost is held against all that ended then, and what is kept for later may be asked about such losses. What calls that are not asked for waited
        // for is nobody else's.
        let all_matter = self.windows.is_some() || self.whose.questions.is_some() || self.crosses();
        all_matter || part.bounds(group, BEGIN).is_none_or(|between| self.scan.window.reaches(between))
    }

    /// The partial of all rows.
    pub fn finish(mut self) -> Partial {
        self.accounts.close(self.scan.capture, &mut self.partial);
        self.durations.close(&mut self.partial);
        self.partial.timeline = self.timeline;
        self.partial.sizes = self.sizes;
        self.partial.heatmap = self.heatmap;
        self.partial.spans = self.spans;
        self.partial.footprint = self.footprint.map(|walk| {
            let owners = Owning { systems: &self.partial.names(), entities: &self.partial.entities };
            walk.finish(&owners)
        });
        self.partial
    }

    /// Takes the rows of a batch of `layer`: `take` puts what a row tells into the chunk, `comm` is the command name of a row.
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

    /// Counts what is in the chunk, and makes it empty.
    fn count<'b>(&mut self, layer: Layer, comm: impl Fn(usize) -> Option<&'b str>) {
        let Fold {
            partial,
            whose,
            accounts,
            durations,
            timeline,
            sizes,
            heatmap,
            footprint,
            spans,
            order,
            known,
            chunk,
            ..
        } = self;
        if let Some(questions) = &mut whose.questions {
            chunk.asked.iter().for_each(|asked| questions.began(asked.ts_ns));
        }
        for Asked { key, ts_ns, row } in &chunk.asked {
            let account = whose.known(key, *ts_ns);
            let open = || whose.open((partial, accounts), key, (*ts_ns, comm(*row as usize)));
            chunk.accounts.push(account.unwrap_or_else(open));
        }
        let total_ns = &chunk.durations[Phase::Total as usize];
        for ((account, Done { ops, bytes, .. }), ns) in chunk.accounts.iter().zip(&chunk.done).zip(total_ns) {
            accounts.add(*account, (u64::from(*ops), *bytes), *ns);
        }
        chunk.check(layer, &mut partial.checked);
        durations.add(layer, chunk, partial);
        timeline.iter_mut().for_each(|timeline| keep::moments(timeline, layer, chunk));
        sizes.iter_mut().for_each(|sizes| keep::sizes(sizes, layer, chunk));
        heatmap.iter_mut().for_each(|heatmap| keep::spots(heatmap, (layer, self.scan.capture), chunk));
        footprint.iter_mut().for_each(|walk| keep::touches(walk, layer, (accounts, &partial.entities), chunk));
        spans.iter_mut().for_each(|spans| keep::spans(spans, layer, accounts, chunk));
        known.add(accounts, chunk);
        let ordered = &self.settings.ordered;
        if let Some(order) = order.as_mut().filter(|_| ordered.of_layers()) {
            keep::points(&mut order.stretches, (layer, ordered.queue), accounts, chunk);
        }
        chunk.clear();
        if accounts.are_many(whose.remembered(), self.scan.most_accounts) {
            accounts.close(self.scan.capture, partial);
            whose.forget();
        }
    }

    /// Counts the row of what began at `ts_ns`, if it is asked for as far as that decides. What of it is.
    #[inline]
    fn counts(&mut self, ts_ns: i64, dur_ns: Option<i64>) -> Taken {
        if let Some(Order { stretches, .. }) = &self.order
            && !stretches.has(ts_ns)
        {
            let end_ns = end_ns(ts_ns, dur_ns).filter(|end_ns| stretches.has(*end_ns));
            let ends = self.settings.ordered.queue && end_ns.is_some() && self.is_within(ts_ns);
            let ends = ends && !self.is_beyond(ts_ns, dur_ns);
            return if ends { Taken::End } else { Taken::Nothing };
        }
        self.count_end(ts_ns, dur_ns);
        if !self.is_within(ts_ns) || self.is_beyond(ts_ns, dur_ns) {
            return Taken::Nothing;
        }
        self.partial.rows = self.partial.rows.saturating_add(1);
        Taken::Whole
    }

    /// Takes the end of an operation that began before the stretches of time that are looked at, and is counted elsewhere.
    fn end(&mut self, layer: Layer, row: (usize, i64), told: &Told, (op, dur_ns): (Op, Option<i64>)) {
        let mut durations: Timed = [UNKNOWN; PHASES];
        durations[Phase::Total as usize] = dur_ns.and_then(|ns| u64::try_from(ns).ok()).unwrap_or(UNKNOWN);
        self.chunk.push(layer, row, told, Done::part(0, op, told.kind.direction), &durations);
    }

    /// Counts what began at `ts_ns` in the time in which it ended, if something was lost then: the rows of a table and what it
    /// lost are told apart when an event is over.
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

    /// Whether what began at `ts_ns` is asked for, as far as that decides.
    #[inline]
    fn is_within(&self, ts_ns: i64) -> bool {
        self.scan.window.reaches((ts_ns, ts_ns))
    }

    /// Whether what began then, and took so long, ended when not all is there any more. What is left out for that depends on when it is looked.
    #[inline]
    fn is_beyond(&mut self, ts_ns: i64, dur_ns: Option<i64>) -> bool {
        let is_beyond = self.scan.tail.leaves_out(ts_ns, dur_ns);
        self.note_beyond(is_beyond)
    }

    #[inline]
    fn note_beyond(&mut self, is_beyond: bool) -> bool {
        if is_beyond {
            self.whose.questions.iter_mut().for_each(Questions::leave_out);
        }
        is_beyond
    }

    /// Whether what began at `ts_ns` is in the stretches of time that are looked at, if there are any.
    #[inline]
    fn is_looked_at(&self, ts_ns: i64) -> bool {
        self.order.as_ref().is_none_or(|order| order.stretches.has(ts_ns))
    }

    /// Whether requests of device `dev` are in the totals.
    fn takes(&self, dev: i32) -> bool {
        self.scan.choice.takes(self.scan.capture, dev)
    }

    /// For how many events a row stands. What cannot be is one, and is counted.
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
