//! The drain thread: drains the rings, decodes records, collects rows in batches and offers them to the sink.
//!
//! It never waits for the disk: a batch that finds the sink full is dropped and counted.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use crossbeam_channel::{Receiver, Sender};
use iostrata_capture::TableId;
use iostrata_capture::ledger::Amounts;
use iostrata_capture::manifest::Unmapped;
use libbpf_rs::{MapHandle, RingBufferBuilder};

use crate::books::EventCounts;
use crate::bpf::{bytes_of, record_at, types};
use crate::classes::{OFTEN, of_number};
use crate::clock;
use crate::completeness_times::CompletenessTimes;
use crate::device_filter::DeviceFilter;
use crate::groups;
use crate::heap::MemoryTrimmer;
use crate::intake::Intake;
use crate::losses::Cause;
use crate::pace::{Pace, Waited};
use crate::self_telemetry::SelfTelemetry;
use crate::session::AggregationSlots;
use crate::sink::{Batch, Sink, Totals, Whole};

/// Behavior when the sink is full.
#[derive(Debug, Clone, Copy)]
enum Patience {
    /// Drop and count: the rings fill up meanwhile.
    None,
    /// Wait: everything is detached and nothing more arrives.
    UntilRoom,
}

struct Drain {
    intake: Intake,
    sink: Box<dyn Sink>,
    totals: Arc<Totals>,
    gathering: Option<AggregationSlots>,
    moments: CompletenessTimes,
    chronicle: SelfTelemetry,
    thrift: MemoryTrimmer,
    pace: Pace,
    flushed: Instant,
    /// Start of the last transfer of all seen events to the disk.
    handed_on: Instant,
}

/// Work that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    Nothing,
    /// Rows have waited long enough for their batches to fill.
    Batches,
    /// All events seen so far must be made durable. Holds a point in time, by the monotonic clock, such that everything completed before it is in
    /// the rings; none if unknown.
    All(Option<i64>),
}

impl Drain {
    fn record(&mut self, bytes: &[u8]) {
        self.totals.events.fetch_add(1, Relaxed);
        let Some(head) = record_at::<types::event_head>(bytes) else { return };
        let table = of_number(head.event_class.into());
        if table.and_then(|table| self.decode(table, head.cpu, bytes)).is_none() {
            let mut one = EventCounts::default();
            one.count(head.cpu, &Amounts::default());
            if let Some(table) = table {
                self.intake.losses.add(table, Cause::Undecodable, &one);
            }
            self.totals.lost.fetch_add(1, Relaxed);
        }
    }

    fn decode(&mut self, table: TableId, cpu: u16, bytes: &[u8]) -> Option<()> {
        groups::take_of(table)?(&mut self.intake, cpu, bytes)?;
        // Only a request has rows of another table.
        let share = (table == TableId::Block).then_some(TableId::Share);
        for table in [Some(table), share].into_iter().flatten() {
            if self.intake.is_full(table) {
                self.flush(table, Patience::None);
            }
        }
        Some(())
    }

    fn flush(&mut self, table: TableId, patience: Patience) {
        let rows = self.intake.builders.finish(table);
        let tally = std::mem::take(&mut self.intake.waiting[table]);
        let lost = match rows {
            Ok(None) => return,
            Ok(Some(rows)) if rows.num_rows() == 0 => return,
            Ok(Some(rows)) => self.send(patience, Batch { table, rows, tally }).err().map(|batch| batch.tally),
            Err(_) => Some(tally),
        };
        if let Some(tally) = lost {
            self.totals.lost.fetch_add(tally.events(), Relaxed);
            self.intake.losses.add(table, Cause::ChannelFull, &tally);
        }
    }

    fn send(&mut self, patience: Patience, batch: Batch) -> Result<(), Batch> {
        match patience {
            Patience::None => self.sink.offer(batch),
            Patience::UntilRoom => self.sink.put(batch),
        }
    }

    /// Before the rings are drained: requests the aggregated records that are due from the BPF programs.
    fn begin_turn(&mut self) -> Due {
        if self.handed_on.elapsed() >= self.pace.flush && !self.moments.is_asked() {
            self.moments.ask();
            self.handed_on = Instant::now();
        }
        if let Some(moment_ns) = self.moments.take() {
            let is_all = self.gathering.as_mut().is_none_or(|gathering| gathering.give(Waited::NOT));
            return Due::All(moment_ns.filter(|_| is_all));
        }
        if self.flushed.elapsed() < self.pace.batch_age {
            return Due::Nothing;
        }
        if let (Some(gathering), Some(waited)) = (&mut self.gathering, self.pace.shown) {
            gathering.give(waited);
        }
        Due::Batches
    }

    /// After the rings are drained.
    fn end_turn(&mut self, due: Due) {
        self.totals.drain.beat();
        self.thrift.look();
        self.intake.filtering.devices.iter_mut().for_each(DeviceFilter::refresh);
        if due != Due::Nothing {
            self.flush_all(Patience::None);
        }
        if let Due::All(moment_ns) = due {
            // Losses before that point are queued first: the point is valid only if they are on the disk.
            let lost_in_writing = moment_ns.and_then(|_| self.chronicle.tell_losses());
            self.make_durable(moment_ns, lost_in_writing);
        }
        // After the step that may lose something, so that this loss falls into the interval since the last check, and after the report above, so
        // that it is not done twice.
        self.chronicle.look();
    }

    fn make_durable(&mut self, moment_ns: Option<i64>, lost_in_writing: Option<u64>) {
        let whole = moment_ns.zip(lost_in_writing).map(|(moment_ns, lost_in_writing)| Whole {
            until_ns: moment_ns.saturating_add(self.intake.decoder.clock_offset_ns),
            lost_in_writing,
        });
        self.sink.make_durable(whole);
    }

    /// Hands over the rest. Everything is detached.
    fn finish(&mut self, late: &[types::block_event_parts]) -> Result<Drained> {
        let gathered = self.gathering.as_ref().map(AggregationSlots::rest).transpose()?.unwrap_or_default();
        gathered.iter().for_each(|event| self.record(bytes_of(event)));
        late.iter().for_each(|event| self.record(bytes_of(event)));
        self.flush_all(Patience::UntilRoom);
        // No operation ends any more that would become a row.
        let now_ns = clock::monotonic_ns();
        let lost_in_writing = self.chronicle.finish();
        self.make_durable(Some(now_ns), lost_in_writing);
        let unmapped = self.intake.filtering.devices.take().map(DeviceFilter::unmapped).unwrap_or_default();
        Ok(Drained { unmapped, earlier: self.intake.earlier })
    }

    fn flush_all(&mut self, patience: Patience) {
        self.flushed = Instant::now();
        self.totals.selected.store(self.intake.selected, Relaxed);
        // Frequent tables last: they leave no space for the others.
        let seldom = TableId::ALL.iter().filter(|table| !OFTEN.contains(table));
        seldom.chain(&OFTEN).for_each(|table| self.flush(*table, patience));
        self.sink.end_flush();
    }
}

/// Results of a drain thread.
#[derive(Debug, Default)]
pub struct Drained {
    /// File systems that a device filter excluded because their disk is unknown.
    pub unmapped: Vec<Unmapped>,
    /// I/O of requests that were queued before the recording began and completed during it.
    pub earlier: Amounts,
}

/// Requests that had completed by the time of detaching, without a completion event.
type Late = Vec<types::block_event_parts>;

/// A running drain thread.
pub struct Draining {
    thread: JoinHandle<Result<Drained>>,
    stop: Sender<Late>,
}

impl Draining {
    /// Starts to drain `rings`, and the records that the BPF programs aggregate, into `sink`. Returns errors of the setup.
    #[expect(clippy::too_many_arguments, reason = "all components of a drain")]
    pub fn start(
        rings: Vec<MapHandle>,
        intake: Intake,
        sink: Box<dyn Sink>,
        pace: Pace,
        (gathering, moments): (Option<AggregationSlots>, CompletenessTimes),
        chronicle: SelfTelemetry,
        thrift: MemoryTrimmer,
        totals: Arc<Totals>,
    ) -> Result<Self> {
        let (stop, stopped) = crossbeam_channel::bounded(1);
        let drain = Drain {
            intake,
            sink,
            totals,
            gathering,
            moments,
            chronicle,
            thrift,
            pace,
            flushed: Instant::now(),
            handed_on: Instant::now(),
        };
        let (ready, is_ready) = crossbeam_channel::bounded(1);
        let thread = std::thread::Builder::new()
            .name("drain".into())
            .spawn(move || run(&rings, drain, &stopped, &ready))
            .context("cannot start the drain thread")?;
        is_ready.recv().map_err(|_| anyhow!("the drain thread ended before it began"))??;
        Ok(Draining { thread, stop })
    }

    /// Drains the rings a last time, hands everything over, including the `late` requests, and ends. Call after detaching.
    pub fn finish(self, late: Late) -> Result<Drained> {
        // If the thread has ended already, the join returns the reason.
        let _ = self.stop.send(late);
        self.thread.join().map_err(|_| anyhow!("the drain thread panicked"))?
    }
}

fn run(rings: &[MapHandle], drain: Drain, stop: &Receiver<Late>, ready: &Sender<Result<()>>) -> Result<Drained> {
    let drain = RefCell::new(drain);
    let mut builder = RingBufferBuilder::new();
    for ring in rings {
        let added = builder.add(ring, |bytes| {
            drain.borrow_mut().record(bytes);
            0
        });
        if let Err(error) = added {
            let _ = ready.send(Err(anyhow!("cannot read a ring: {error:#}")));
            return Ok(Drained::default());
        }
    }
    let rings = match builder.build() {
        Ok(rings) => rings,
        Err(error) => {
            let _ = ready.send(Err(anyhow!("cannot read the rings: {error:#}")));
            return Ok(Drained::default());
        }
    };
    let _ = ready.send(Ok(()));
    let poll = drain.borrow().pace.poll;
    loop {
        let late = stop.try_recv().ok();
        if late.is_none() {
            // A signal may interrupt the sleep; the rings are read anyway.
            rings.poll_raw(poll);
        }
        let due = if late.is_none() { drain.borrow_mut().begin_turn() } else { Due::Nothing };
        // All rings, not only those that woke the thread: most never fill up enough to wake it.
        rings.consume().context("cannot read the rings")?;
        let mut drain = drain.borrow_mut();
        drain.end_turn(due);
        if let Some(late) = late {
            return drain.finish(&late);
        }
    }
}
