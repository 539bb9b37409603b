//! Writer thread: encodes, flushes, rotates, maintains the list of parts, and stays within the disk and memory limits.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anyhow::Result;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use iostrata_capture::list::Part;
use iostrata_capture::message::tell;
use iostrata_capture::part::{PartWriter, empty};
use iostrata_capture::table_id::Kind;
use iostrata_capture::{ByTable, TableId};

use super::completeness::Completeness;
use super::free_space::{FreeSpace, Verdict};
use super::parquet::{Sent, Settings, Written};
use super::part_catalog::PartCatalog;
use super::priority::Priority;
use super::{Batch, Totals};
use crate::books::EventCounts;
use crate::heap::MemoryTrimmer;
use crate::losses::{Cause, Losses};

/// Interval before a table is written again after an error.
const RETRY: Duration = Duration::from_secs(1);

/// A part being written, with the events in it.
struct Open {
    part: PartWriter,
    /// Events with rows on the disk.
    flushed: EventCounts,
    /// Events with rows that may not be on the disk.
    pending: EventCounts,
    since: Instant,
    flushed_at: Instant,
}

impl Open {
    fn write(&mut self, batch: &Batch) -> iostrata_capture::Result<()> {
        self.pending.add(&batch.tally);
        self.part.write(&batch.rows)
    }

    fn flush(&mut self) -> iostrata_capture::Result<()> {
        self.flushed_at = Instant::now();
        self.part.flush()?;
        self.flushed.add(&std::mem::take(&mut self.pending));
        Ok(())
    }
}

/// State of the thread.
pub struct Writer {
    settings: Settings,
    totals: Arc<Totals>,
    losses: Arc<Losses>,
    room: FreeSpace,
    open: ByTable<Option<Open>>,
    numbers: ByTable<u32>,
    /// Time of the last error, by table.
    failed_at: ByTable<Option<Instant>>,
    /// Events with rows in finished parts, by table.
    written: ByTable<EventCounts>,
    /// Segments before this recording, in order, if their parts may be removed; and this recording's own.
    older: Vec<PartCatalog>,
    shelf: PartCatalog,
    /// Completeness time.
    complete: Completeness,
}

impl Writer {
    /// Creates the writer for a recording with empty folders, and starts the list of its parts.
    pub fn new(mut settings: Settings, (totals, losses): (Arc<Totals>, Arc<Losses>)) -> Result<Writer> {
        // Small enough that the oldest part is a small share of the capture.
        let most = settings.max_disk_bytes.map_or(u64::MAX, |most| most / 16);
        settings.rotate_bytes = settings.rotate_bytes.min(most);
        let is_ring = settings.max_disk_bytes.is_some();
        let older = settings.older.iter().filter(|_| is_ring);
        Ok(Writer {
            room: FreeSpace::new(settings.directory.clone(), settings.min_free),
            older: older.map(PartCatalog::open).collect::<Result<_>>()?,
            shelf: PartCatalog::create(&settings.directory, is_ring)?,
            complete: Completeness::begin(&settings.directory, &settings.capture_id, settings.began_ns)?,
            settings,
            totals,
            losses,
            open: ByTable::default(),
            numbers: ByTable::default(),
            failed_at: ByTable::default(),
            written: ByTable::default(),
        })
    }

    /// Writes everything that arrives until all senders are dropped.
    pub fn run(mut self, sent: &Receiver<Sent>) -> Written {
        // The part of the queue that is available to frequent tables.
        let mut courtesy = Priority::new(self.settings.memory.often_queue_bytes());
        let thrift = MemoryTrimmer::beyond(self.settings.memory.thrift_bytes);
        loop {
            self.totals.writer.beat();
            courtesy.adapt(self.totals.queued_bytes.load(Relaxed));
            let mut is_due = false;
            let mut whole = None;
            match sent.recv_timeout(self.settings.tick) {
                Ok(Sent::Batch(batch)) => {
                    self.take(&batch);
                    self.totals.queued_bytes.fetch_sub(batch.bytes(), Relaxed);
                }
                Ok(Sent::Durable(told)) => (is_due, whole) = (true, told),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if self.totals.paused.load(Relaxed) {
                // Nothing may arrive until the pause ends.
                self.has_room(0);
            }
            self.write_missing_losses();
            let is_durable = self.rotate_and_flush(is_due);
            self.save();
            if let Some(whole) = whole.filter(|_| is_durable) {
                let told = self.complete.tell(whole, self.losses.in_writing());
                self.note(told);
            }
            thrift.look();
        }
        self.failed_at[TableId::Loss] = None;
        self.write_missing_losses();
        self.close_all();
        self.save();
        self.fill_in();
        Written { size: self.shelf.size(), written: self.written, error: self.totals.error.get().cloned() }
    }

    fn take(&mut self, batch: &Batch) {
        let table = batch.table;
        let needed = batch.bytes();
        self.stay_within(needed);
        if !self.complete.came(batch) {
            return;
        }
        // The tables that describe the recording are a few hundred bytes now and then, which the free-space margin covers.
        if table.kind() != Kind::Recording && !self.has_room(needed) {
            self.losses.add(table, Cause::DiskFull, &batch.tally);
            self.totals.lost.fetch_add(batch.tally.events(), Relaxed);
        } else if self.failed_at[table].is_some_and(|at| at.elapsed() < RETRY) {
            self.lose(table, &batch.tally);
        } else {
            self.write(batch);
        }
    }

    /// Writes the rows of `loss` again that could not be written.
    fn write_missing_losses(&mut self) {
        if self.failed_at[TableId::Loss].is_none_or(|at| at.elapsed() >= RETRY) {
            let missing = self.complete.missing();
            missing.iter().for_each(|batch| self.take(batch));
        }
    }

    /// Removes the oldest parts until `needed` more bytes fit into `--max-disk`, and leave `--min-free`.
    fn stay_within(&mut self, needed: u64) {
        let Some(most) = self.settings.max_disk_bytes else { return };
        let mut taken = false;
        while self.bytes() + needed > most {
            if self.take_off_oldest(most) {
                taken = true;
            } else if self.open.values().any(Option::is_some) {
                // All data is in open parts.
                self.close_all();
            } else {
                break;
            }
        }
        if taken {
            self.save();
        }
        while self.room.lacks(self.unwritten_bytes() + needed) && self.take_off_oldest(most) {
            self.save();
        }
    }

    fn take_off_oldest(&mut self, most: u64) -> bool {
        let mut shelves = self.older.iter_mut().chain([&mut self.shelf]);
        shelves.any(|shelf| shelf.take_off_oldest(most / 2))
    }

    /// Size of the capture, with all data still to be written.
    fn bytes(&self) -> u64 {
        let open = self.open.values().flatten().map(|open| open.part.on_disk_bytes() + open.part.unwritten_bytes());
        open.chain(self.older.iter().chain([&self.shelf]).map(PartCatalog::bytes)).sum()
    }

    /// Maximum size still to be written for open parts, the manifest and the list.
    fn unwritten_bytes(&self) -> u64 {
        let open = self.open.values().flatten().map(|open| open.part.unwritten_bytes());
        open.sum::<u64>() + self.shelf.unwritten_bytes()
    }

    fn save(&mut self) {
        let shelves = self.older.iter_mut().chain([&mut self.shelf]);
        let outcomes: Vec<Result<()>> = shelves.map(PartCatalog::save).collect();
        outcomes.into_iter().for_each(|outcome| self.note(outcome));
    }

    /// Whether there is space for `needed` bytes in addition to all data still to be written. Closes the parts when the space ends, while
    /// they still fit.
    fn has_room(&mut self, needed: u64) -> bool {
        let verdict = self.room.check(self.unwritten_bytes() + needed);
        self.totals.paused.store(matches!(verdict, Verdict::Full { .. } | Verdict::StillFull), Relaxed);
        match verdict {
            Verdict::FreeSpace => true,
            Verdict::RoomAgain => {
                tell("iostrata: there is enough free space on the disk again; the recording continues\n");
                true
            }
            Verdict::StillFull => false,
            Verdict::Full { free_bytes, least_bytes } => {
                let [free, least] = [free_bytes, least_bytes].map(indicatif::HumanBytes);
                let directory = self.settings.directory.path().display();
                tell(&format!(
                    "iostrata: {directory}: {free} are free on the disk and --min-free is {least}: the recording pauses, new \
                     events are counted as lost\n"
                ));
                self.close_all();
                false
            }
        }
    }

    fn write(&mut self, batch: &Batch) {
        let table = batch.table;
        if self.open[table].is_none()
            && let Err(error) = self.open_part(table)
        {
            self.failed_at[table] = Some(Instant::now());
            self.lose(table, &batch.tally);
            self.note(Err(error));
            return;
        }
        let Some(open) = self.open[table].as_mut() else { return };
        match open.write(batch) {
            Ok(()) if self.is_due(table) => drop(self.close(table)),
            Ok(()) => self.stay_small(),
            Err(error) => self.give_up(table, error.into()),
        }
    }

    /// Whether a part must be closed: it has the maximum size, age, or number of row groups. A small part stays open longer if parts may be
    /// removed later, because each one takes memory, and if there are many.
    fn is_due(&self, table: TableId) -> bool {
        let Some(Open { part, since, .. }) = &self.open[table] else { return false };
        let Settings { rotate_bytes, rotate_interval, .. } = self.settings;
        let is_due = part.bytes() >= rotate_bytes || since.elapsed() >= rotate_interval;
        part.is_full() || is_due && part.bytes() >= self.least_bytes()
    }

    /// Minimum size of a part that is closed for its size or age.
    fn least_bytes(&self) -> u64 {
        let parts: u64 = self.older.iter().chain([&self.shelf]).map(|shelf| shelf.size().parts).sum();
        let small_parts = self.settings.memory.small_parts.max(1);
        self.settings.max_disk_bytes.filter(|_| parts >= small_parts).map_or(0, |most| most / small_parts)
    }

    /// Ends the largest row group if the row groups being encoded exceed their memory limit.
    fn stay_small(&mut self) {
        let parts = self.open.iter().filter_map(|(table, open)| Some((table, open.as_ref()?)));
        let sizes: Vec<(u64, TableId)> = parts.map(|(table, open)| (open.part.memory_bytes(), table)).collect();
        if sizes.iter().map(|(bytes, _)| bytes).sum::<u64>() <= self.settings.memory.parts_bytes {
            return;
        }
        let Some((_, table)) = sizes.into_iter().max() else { return };
        let Some(open) = self.open[table].as_mut() else { return };
        match open.part.end_group() {
            Ok(()) if open.part.is_full() => drop(self.close(table)),
            Ok(()) => {}
            Err(error) => self.give_up(table, error.into()),
        }
    }

    fn open_part(&mut self, table: TableId) -> Result<()> {
        let number = self.numbers[table] + 1;
        let part = (table.declared().create_part)(&self.settings.directory, number, Some(&self.settings.capture_id))?;
        self.numbers[table] = number;
        self.failed_at[table] = None;
        let now = Instant::now();
        let (flushed, pending) = Default::default();
        self.open[table] = Some(Open { part, flushed, pending, since: now, flushed_at: now });
        Ok(())
    }

    /// Creates an empty part for every table without one, so that it can be queried.
    fn fill_in(&mut self) {
        for table in TableId::ALL.iter().copied() {
            let filled = empty::lacks_part(&self.settings.directory, table);
            let filled = filled.map_err(anyhow::Error::from);
            let filled = filled.and_then(|lacks| if lacks { self.open_part(table) } else { Ok(()) });
            self.note(filled);
            self.close(table);
        }
        self.save();
    }

    /// Closes the parts that are due, and makes the others durable if requested. Returns whether no data was lost.
    fn rotate_and_flush(&mut self, is_wanted: bool) -> bool {
        let mut is_whole = true;
        if self.totals.rotate.swap(false, Relaxed) {
            is_whole &= self.close_all();
        }
        for table in TableId::ALL.iter().copied() {
            if self.is_due(table) {
                is_whole &= self.close(table);
            }
            let Some(open) = self.open[table].as_mut() else { continue };
            if is_wanted || open.flushed_at.elapsed() >= self.settings.flush_interval {
                let flushed = open.flush();
                let is_full = open.part.is_full();
                match flushed {
                    Ok(()) => {
                        self.complete.synced(table);
                        if is_full {
                            is_whole &= self.close(table);
                        }
                    }
                    Err(error) => {
                        self.give_up(table, error.into());
                        is_whole = false;
                    }
                }
            }
        }
        is_whole
    }

    fn close_all(&mut self) -> bool {
        TableId::ALL.iter().filter(|table| !self.close(**table)).count() == 0
    }

    /// Finishes the part of a table, if there is one. Returns whether none of it was lost.
    fn close(&mut self, table: TableId) -> bool {
        let Some(open) = self.open[table].as_mut() else { return true };
        // Flushes everything first, so that an error in the last rows does not cost the others.
        if let Err(error) = open.flush() {
            self.give_up(table, error.into());
            return false;
        }
        self.complete.synced(table);
        let Some(open) = self.open[table].take() else { return true };
        match open.part.finish() {
            Ok(part) => {
                self.keep(table, part, &open.flushed);
                true
            }
            Err(error) => {
                self.lose(table, &open.flushed);
                self.complete.gone(table);
                self.note(Err(error.into()));
                false
            }
        }
    }

    fn keep(&mut self, table: TableId, part: Part, tally: &EventCounts) {
        self.totals.bytes.fetch_add(part.bytes, Relaxed);
        self.totals.parts.fetch_add(1, Relaxed);
        self.shelf.add(part);
        self.written[table].add(tally);
    }

    /// Abandons a part that cannot be written any further: keeps the data on the disk; the rest is lost.
    fn give_up(&mut self, table: TableId, error: anyhow::Error) {
        let Some(open) = self.open[table].take() else { return };
        self.failed_at[table] = Some(Instant::now());
        self.lose(table, &open.pending);
        self.note(Err(error));
        match open.part.salvage() {
            Ok(Some(part)) => self.keep(table, part, &open.flushed),
            // No data was on the disk.
            Ok(None) => self.lose(table, &open.flushed),
            Err(_) => {
                self.lose(table, &open.flushed);
                self.complete.gone(table);
            }
        }
    }

    fn lose(&mut self, table: TableId, tally: &EventCounts) {
        self.complete.missed(table);
        self.losses.add(table, Cause::WriteFailed, tally);
        self.totals.lost.fetch_add(tally.events(), Relaxed);
    }

    /// Reports the first error at once, so that the user can still free space.
    fn note(&mut self, outcome: Result<()>) {
        if let Err(error) = outcome
            && self.totals.error.set(format!("{error:#}")).is_ok()
        {
            tell(&format!("iostrata: {error:#}; events that cannot be written are counted as lost\n"));
        }
    }
}

#[cfg(test)]
mod tests;
