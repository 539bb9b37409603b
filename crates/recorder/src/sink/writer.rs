//! The writer thread: encodes, flushes, rotates, keeps the list of parts, and stays within what disk and memory it may take.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anyhow::Result;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use iostrata_capture::list::Part;
use iostrata_capture::message::tell;
use iostrata_capture::part::{PartWriter, empty};
use iostrata_capture::{ByTable, TableId};

use super::completeness::Completeness;
use super::courtesy::Courtesy;
use super::parquet::{Sent, Settings, Written};
use super::room::{Room, Verdict};
use super::shelf::Shelf;
use super::{Batch, Totals};
use crate::books::Tally;
use crate::heap::Thrift;
use crate::losses::{Cause, Losses};

/// How long a table is left alone after it could not be written.
const RETRY: Duration = Duration::from_secs(1);

/// A part that is being written, with the events in it.
struct Open {
    part: PartWriter,
    /// Events whose rows are on the disk.
    flushed: Tally,
    /// Events whose rows may not be.
    pending: Tally,
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

/// What the thread has.
pub struct Writer {
    settings: Settings,
    totals: Arc<Totals>,
    losses: Arc<Losses>,
    room: Room,
    open: ByTable<Option<Open>>,
    numbers: ByTable<u32>,
    /// By table: when it could not be written.
    failed_at: ByTable<Option<Instant>>,
    /// By table: events whose rows are in finished parts.
    written: ByTable<Tally>,
    /// The segments before this recording, in order, where parts of them may have to go, and its own.
    older: Vec<Shelf>,
    shelf: Shelf,
    /// Until when all is on the disk.
    complete: Completeness,
}

impl Writer {
    /// For a recording whose folders exist and hold nothing. Begins the list of its parts.
    pub fn new(mut settings: Settings, (totals, losses): (Arc<Totals>, Arc<Losses>)) -> Result<Writer> {
        // Small enough for the oldest part to be a small part of all.
        let most = settings.max_disk_bytes.map_or(u64::MAX, |most| most / 16);
        settings.rotate_bytes = settings.rotate_bytes.min(most);
        let is_ring = settings.max_disk_bytes.is_some();
        let older = settings.older.iter().filter(|_| is_ring);
        Ok(Writer {
            room: Room::new(settings.directory.clone(), settings.min_free),
            older: older.map(Shelf::open).collect::<Result<_>>()?,
            shelf: Shelf::create(&settings.directory, is_ring)?,
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

    /// Writes what comes until nobody is left to send.
    pub fn run(mut self, sent: &Receiver<Sent>) -> Written {
        // Of the part of the queue that what comes often may have.
        let mut courtesy = Courtesy::new(self.settings.memory.often_queue_bytes());
        let thrift = Thrift::beyond(self.settings.memory.thrift_bytes);
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
        // The recorder's own tables are a few hundred bytes now and then, which the room asked for has to spare.
        if !table.is_recorders() && !self.has_room(needed) {
            self.losses.add(table, Cause::DiskFull, &batch.tally);
            self.totals.lost.fetch_add(batch.tally.events(), Relaxed);
        } else if self.failed_at[table].is_some_and(|at| at.elapsed() < RETRY) {
            self.lose(table, &batch.tally);
        } else {
            self.write(batch);
        }
    }

    /// Writes rows of `loss` again that could not be written.
    fn write_missing_losses(&mut self) {
        if self.failed_at[TableId::Loss].is_none_or(|at| at.elapsed() >= RETRY) {
            let missing = self.complete.missing();
            missing.iter().for_each(|batch| self.take(batch));
        }
    }

    /// Removes the oldest parts until there is room within `--max-disk`, and beside `--min-free`, for `needed` bytes more.
    fn stay_within(&mut self, needed: u64) {
        let Some(most) = self.settings.max_disk_bytes else { return };
        let mut taken = false;
        while self.bytes() + needed > most {
            if self.take_off_oldest(most) {
                taken = true;
            } else if self.open.values().any(Option::is_some) {
                // All of it is in parts that are open.
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

    /// What the capture takes with all that is still to be written.
    fn bytes(&self) -> u64 {
        let open = self.open.values().flatten().map(|open| open.part.on_disk_bytes() + open.part.unwritten_bytes());
        open.chain(self.older.iter().chain([&self.shelf]).map(Shelf::bytes)).sum()
    }

    /// What open parts, the manifest and the list may still take.
    fn unwritten_bytes(&self) -> u64 {
        let open = self.open.values().flatten().map(|open| open.part.unwritten_bytes());
        open.sum::<u64>() + self.shelf.unwritten_bytes()
    }

    fn save(&mut self) {
        let shelves = self.older.iter_mut().chain([&mut self.shelf]);
        let outcomes: Vec<Result<()>> = shelves.map(Shelf::save).collect();
        outcomes.into_iter().for_each(|outcome| self.note(outcome));
    }

    /// Whether there is room for `needed` bytes beside all that is still to be written. Where there is none any more, parts are
    /// closed while there is.
    fn has_room(&mut self, needed: u64) -> bool {
        let verdict = self.room.check(self.unwritten_bytes() + needed);
        self.totals.paused.store(matches!(verdict, Verdict::Full { .. } | Verdict::StillFull), Relaxed);
        match verdict {
            Verdict::Room => true,
            Verdict::RoomAgain => {
                tell("iostrata: there is room on the disk again; the recording goes on\n");
                true
            }
            Verdict::StillFull => false,
            Verdict::Full { free_bytes, least_bytes } => {
                let [free, least] = [free_bytes, least_bytes].map(indicatif::HumanBytes);
                let directory = self.settings.directory.path().display();
                tell(&format!(
                    "iostrata: {directory}: {free} are free on the disk and --min-free leaves {least}: the recording pauses, what \
                     comes is counted as lost\n"
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

    /// Whether a part is to be closed: it is as large as it may be, or as old, or has as many row groups. One that is small stays open where
    /// parts may have to go again, of each of which something is known, and there are many.
    fn is_due(&self, table: TableId) -> bool {
        let Some(Open { part, since, .. }) = &self.open[table] else { return false };
        let Settings { rotate_bytes, rotate_interval, .. } = self.settings;
        let is_due = part.bytes() >= rotate_bytes || since.elapsed() >= rotate_interval;
        part.is_full() || is_due && part.bytes() >= self.least_bytes()
    }

    /// What a part has at least that is closed for its size or age.
    fn least_bytes(&self) -> u64 {
        let parts: u64 = self.older.iter().chain([&self.shelf]).map(|shelf| shelf.size().parts).sum();
        let small_parts = self.settings.memory.small_parts.max(1);
        self.settings.max_disk_bytes.filter(|_| parts >= small_parts).map_or(0, |most| most / small_parts)
    }

    /// Ends the largest row group where those that are being encoded have come to take more than they may.
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

    /// Gives every table that has no part one without rows, so that it can be queried.
    fn fill_in(&mut self) {
        for table in TableId::ALL.iter().copied() {
            let filled = empty::is_without_parts(&self.settings.directory, table);
            let filled = filled.map_err(anyhow::Error::from);
            let filled = filled.and_then(|is_without| if is_without { self.open_part(table) } else { Ok(()) });
            self.note(filled);
            self.close(table);
        }
        self.save();
    }

    /// Closes parts that are due, and makes durable what is in the others, where that is. Whether nothing was lost of what was.
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

    /// Finishes the part of a table, if there is one. Whether nothing of it was lost.
    fn close(&mut self, table: TableId) -> bool {
        let Some(open) = self.open[table].as_mut() else { return true };
        // All of it on the disk first, so that what goes wrong with the last rows does not cost the others.
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

    fn keep(&mut self, table: TableId, part: Part, tally: &Tally) {
        self.totals.bytes.fetch_add(part.bytes, Relaxed);
        self.totals.parts.fetch_add(1, Relaxed);
        self.shelf.add(part);
        self.written[table].add(tally);
    }

    /// The part cannot be written any further: what is on the disk is kept, the rest is lost.
    fn give_up(&mut self, table: TableId, error: anyhow::Error) {
        let Some(open) = self.open[table].take() else { return };
        self.failed_at[table] = Some(Instant::now());
        self.lose(table, &open.pending);
        self.note(Err(error));
        match open.part.salvage() {
            Ok(Some(part)) => self.keep(table, part, &open.flushed),
            // Nothing was on the disk.
            Ok(None) => self.lose(table, &open.flushed),
            Err(_) => {
                self.lose(table, &open.flushed);
                self.complete.gone(table);
            }
        }
    }

    fn lose(&mut self, table: TableId, tally: &Tally) {
        self.complete.missed(table);
        self.losses.add(table, Cause::WriteFailed, tally);
        self.totals.lost.fetch_add(tally.events(), Relaxed);
    }

    /// The first error is told at once: whoever watches can still make room.
    fn note(&mut self, outcome: Result<()>) {
        if let Err(error) = outcome
            && self.totals.error.set(format!("{error:#}")).is_ok()
        {
            tell(&format!("iostrata: {error:#}; what cannot be written is counted as lost\n"));
        }
    }
}

#[cfg(test)]
mod tests;
