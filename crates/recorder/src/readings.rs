//! The selected groups that aggregate in the kernel: their start, and the thread that reads them and hands their rows over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use iostrata_capture::ledger::Amounts;
use iostrata_capture::manifest::LayerState;
use iostrata_capture::message::tell;
use iostrata_capture::table_id::Kind;
use iostrata_capture::{ByTable, TableId};

use crate::books::EventCounts;
use crate::clock;
use crate::groups::readings::{Readings, Span, Start, state};
use crate::kernel_facts::KernelFacts;
use crate::options::Record;
use crate::session::Words;
use crate::sink::{Batch, ParquetSink, Sink, Totals};

/// Rows handed over and events lost in the kernel, of one table.
#[derive(Debug, Default)]
pub struct Count {
    /// Rows handed over.
    pub rows: AtomicU64,
    /// Events that are in no row, because a map of the kernel had no room.
    pub table_full: AtomicU64,
    /// Events that are in no row, because the kernel did not report their begin or their end.
    pub unseen_end: AtomicU64,
}

/// Counts by table, for the event accounting.
pub type Counts = ByTable<Count>;

/// A group, and the start of its current interval.
pub struct Running {
    /// Table of its rows.
    pub table: TableId,
    readings: Box<dyn Readings>,
    since_ns: i64,
    has_failed: bool,
}

impl Running {
    /// Wraps a group that has been started.
    pub fn of(table: TableId, readings: Box<dyn Readings>) -> Running {
        Running { table, readings, since_ns: 0, has_failed: false }
    }

    /// Starts the first interval. `offset_ns` is added to monotonic times.
    ///
    /// # Errors
    /// If the kernel refuses the access.
    pub fn begin(&mut self, offset_ns: i64) -> Result<()> {
        self.since_ns = clock::monotonic_ns().saturating_add(offset_ns);
        self.readings.begin()
    }
}

/// Tables of the capture: readings only of the selected groups.
pub fn tables(options: &Record) -> Vec<TableId> {
    let is_selected = |table: &TableId| options.groups.iter().any(|group| group.table == *table);
    let tables = TableId::ALL.iter().copied();
    tables.filter(|table| table.kind() != Kind::Readings || is_selected(table)).collect()
}

/// Starts the selected groups of readings. A group that this kernel cannot run is not captured; it is an error if nothing else is.
///
/// # Errors
/// If nothing can be captured.
pub fn start(
    options: &Record,
    kernel: &dyn KernelFacts,
    words: &Words,
) -> Result<(BTreeMap<String, LayerState>, Vec<Running>)> {
    let devices = options.filter.devices.iter().map(|device| device.dev).collect();
    let with = Start { kernel, words, devices };
    let (mut states, mut running) = (BTreeMap::new(), Vec::new());
    for group in &options.groups {
        let started = (group.start)(&with);
        let mut filters = options.manifest_filters();
        if group.filters_devices {
            filters.devices.clear();
        }
        states.insert(group.table.name().to_owned(), state(&started, filters.words().into_iter().collect()));
        running.extend(started.ok().map(|readings| Running::of(group.table, readings)));
    }
    if running.is_empty() && options.layers.is_empty() {
        let why: Vec<String> = states.iter().map(|(name, state)| format!("{name}: {}", state.how)).collect();
        return Err(anyhow!("no probe group can be captured on this machine: {}", why.join("; ")));
    }
    Ok((states, running))
}

/// State of the thread.
struct Reader {
    running: Vec<Running>,
    sink: ParquetSink,
    totals: Arc<Totals>,
    counts: Arc<Counts>,
    offset_ns: i64,
}

impl Reader {
    /// Reads all groups. With `is_last`, waits for room.
    fn read(&mut self, is_last: bool) {
        // While paused, the disk has no space for anything but the final rows.
        if self.totals.paused.load(Relaxed) && !is_last {
            return;
        }
        for running in &mut self.running {
            let until_ns = clock::monotonic_ns().saturating_add(self.offset_ns);
            let table = running.table;
            let reading = match running.readings.read(Span { since_ns: running.since_ns, until_ns }) {
                Ok(reading) => reading,
                Err(error) => {
                    if !std::mem::replace(&mut running.has_failed, true) {
                        tell(&format!(
                            "iostrata: {table}: cannot be read: {error:#}; the next reading includes this interval\n"
                        ));
                    }
                    continue;
                }
            };
            let mut tally = EventCounts::default();
            let rows = reading.rows.num_rows() as u64;
            (0..rows).for_each(|_| tally.count(0, &Amounts::default()));
            let batch = Batch { table, rows: reading.rows, tally };
            let is_taken =
                rows == 0 || if is_last { self.sink.put(batch).is_ok() } else { self.sink.offer(batch).is_ok() };
            if is_taken {
                running.readings.keep();
                running.since_ns = until_ns;
                self.counts[table].rows.fetch_add(rows, Relaxed);
                self.counts[table].table_full.fetch_add(reading.lost.table_full, Relaxed);
                self.counts[table].unseen_end.fetch_add(reading.lost.unseen_end, Relaxed);
            }
        }
    }

    fn run(mut self, interval: Duration, stop: &Receiver<()>) {
        let mut due = Instant::now() + interval;
        loop {
            let waited = stop.recv_timeout(due.saturating_duration_since(Instant::now()));
            let is_last = !matches!(waited, Err(RecvTimeoutError::Timeout));
            self.read(is_last);
            if is_last {
                return;
            }
            due = clock::next_due(due, interval);
        }
    }
}

/// The running thread.
pub struct ReadingThread {
    thread: JoinHandle<()>,
    stop: Sender<()>,
}

impl ReadingThread {
    /// Starts to read `running` at each `interval` into `sink`; none if there is no group.
    ///
    /// # Errors
    /// If the thread cannot start.
    pub fn start(
        running: Vec<Running>,
        sink: Option<ParquetSink>,
        (totals, counts): (Arc<Totals>, Arc<Counts>),
        (interval, offset_ns): (Duration, i64),
    ) -> Result<Option<ReadingThread>> {
        let Some(sink) = sink.filter(|_| !running.is_empty()) else { return Ok(None) };
        let (stop, stopped) = bounded(1);
        let reader = Reader { running, sink, totals, counts, offset_ns };
        let thread = std::thread::Builder::new()
            .name("readings".into())
            .spawn(move || reader.run(interval, &stopped))
            .context("cannot start the thread that reads counters")?;
        Ok(Some(ReadingThread { thread, stop }))
    }

    /// Reads all groups a last time, and detaches them.
    ///
    /// # Errors
    /// If the thread panicked.
    pub fn finish(self) -> Result<()> {
        let _ = self.stop.send(());
        self.thread.join().map_err(|_| anyhow!("the thread that reads counters panicked"))
    }
}
