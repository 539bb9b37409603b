//! The writer thread: encodes, flushes, rotates, keeps the list of parts, and stays within what disk and memory it may take.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anyhow::Result;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use iostrata_capture::list::Part;
use iostrata_capture::part::{PartWriter, empty};
use iostrata_capture::whole::WholeFile;

use super::courtesy::Courtesy;
use super::parquet::{Sent, Settings, Written};
use super::room::{Room, Verdict};
use super::shelf::Shelf;
use super::{Batch, Totals};
use crate::books::Tally;
use crate::classes::{CLASSES, Class, OWN_CLASSES, open_part, table_of};
use crate::heap::Thrift;
use crate::losses::{Cause, Losses};
use crate::report::tell;

/// How long a class is left alone after it could not be written.
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
    open: Vec<Option<Open>>,
    numbers: Vec<u32>,
    /// By class: when it could not be written.
    failed_at: Vec<Option<Instant>>,
    /// By class: events whose rows are in finished parts.
    written: Vec<Tally>,
    /// The segments before this recording, in order, where parts of them may have to go, and its own.
    older: Vec<Shelf>,
    shelf: Shelf,
    /// Until when all is on the disk.
    whole: WholeFile,
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
            whole: WholeFile::create(&settings.directory, settings.began_ns)?,
            settings,
            totals,
            losses,
            open: (0..CLASSES).map(|_| None).collect(),
            numbers: vec![0; CLASSES],
            failed_at: vec![None; CLASSES],
            written: vec![Tally::default(); CLASSES],
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
            let mut whole_until_ns = None;
            match sent.recv_timeout(self.settings.tick) {
                Ok(Sent::Batch(batch)) => {
                    self.take(&batch);
                    self.totals.queued_bytes.fetch_sub(batch.bytes(), Relaxed);
                }
                Ok(Sent::Durable(until_ns)) => (is_due, whole_until_ns) = (true, until_ns),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let is_durable = self.rotate_and_flush(is_due);
            self.save();
            if let Some(until_ns) = whole_until_ns.filter(|_| is_durable) {
                let told = self.whole.tell(until_ns).map_err(Into::into);
                self.note(told);
            }
            thrift.look();
        }
        self.close_all();
        self.save();
        self.fill_in();
        Written { size: self.shelf.size(), written: self.written, error: self.totals.error.get().cloned() }
    }

    fn take(&mut self, batch: &Batch) {
        let class = batch.class;
        let needed = batch.bytes();
        self.stay_within(needed);
        // The recorder's own tables are a few hundred bytes now and then, which the room asked for has to spare.
        if !OWN_CLASSES.contains(&class) && !self.has_room(needed) {
            self.losses.add(class, Cause::DiskFull, &batch.tally);
            self.totals.lost.fetch_add(batch.tally.events(), Relaxed);
        } else if self.failed_at[class].is_some_and(|at| at.elapsed() < RETRY) {
            self.lose(class, &batch.tally);
        } else {
            self.write(batch);
        }
    }

    /// Removes the oldest parts until there is room within `--max-disk`, and beside `--min-free`, for `needed` bytes more.
    fn stay_within(&mut self, needed: u64) {
        let Some(most) = self.settings.max_disk_bytes else { return };
        let mut taken = false;
        while self.bytes() + needed > most {
            if self.take_off_oldest(most) {
                taken = true;
            } else if self.open.iter().any(Option::is_some) {
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
        let open = self.open.iter().flatten().map(|open| open.part.on_disk_bytes() + open.part.unwritten_bytes());
        open.chain(self.older.iter().chain([&self.shelf]).map(Shelf::bytes)).sum()
    }

    /// What open parts, the manifest and the list may still take.
    fn unwritten_bytes(&self) -> u64 {
        let open = self.open.iter().flatten().map(|open| open.part.unwritten_bytes());
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
        let class = batch.class;
        if self.open[class].is_none()
            && let Err(error) = self.open_part(class)
        {
            self.failed_at[class] = Some(Instant::now());
            self.lose(class, &batch.tally);
            self.note(Err(error));
            return;
        }
        let Some(open) = self.open[class].as_mut() else { return };
        match open.write(batch) {
            Ok(()) if self.is_due(class) => drop(self.close(class)),
            Ok(()) => self.stay_small(),
            Err(error) => self.give_up(class, error.into()),
        }
    }

    /// Whether a part is to be closed: it is as large as it may be, or as old, or has as many row groups. One that is small stays open where
    /// parts may have to go again, of each of which something is known, and there are many.
    fn is_due(&self, class: Class) -> bool {
        let Some(Open { part, since, .. }) = &self.open[class] else { return false };
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
        let parts = self.open.iter().enumerate().filter_map(|(class, open)| Some((class, open.as_ref()?)));
        let sizes: Vec<(u64, Class)> = parts.map(|(class, open)| (open.part.memory_bytes(), class)).collect();
        if sizes.iter().map(|(bytes, _)| bytes).sum::<u64>() <= self.settings.memory.parts_bytes {
            return;
        }
        let Some((_, class)) = sizes.into_iter().max() else { return };
        let Some(open) = self.open[class].as_mut() else { return };
        match open.part.end_group() {
            Ok(()) if open.part.is_full() => drop(self.close(class)),
            Ok(()) => {}
            Err(error) => self.give_up(class, error.into()),
        }
    }

    fn open_part(&mut self, class: Class) -> Result<()> {
        let number = self.numbers[class] + 1;
        let part = open_part(class, &self.settings.directory, number, &self.settings.capture_id)?;
        self.numbers[class] = number;
        self.failed_at[class] = None;
        let now = Instant::now();
        let (flushed, pending) = Default::default();
        self.open[class] = Some(Open { part, flushed, pending, since: now, flushed_at: now });
        Ok(())
    }

    /// Gives every table that has no part one without rows, so that it can be queried.
    fn fill_in(&mut self) {
        for class in 0..CLASSES {
            let filled = empty::is_without_parts(&self.settings.directory, table_of(class));
            let filled = filled.map_err(anyhow::Error::from);
            let filled = filled.and_then(|is_without| if is_without { self.open_part(class) } else { Ok(()) });
            self.note(filled);
            self.close(class);
        }
        self.save();
    }

    /// Closes parts that are due, and makes durable what is in the others, where that is. Whether nothing was lost of what was.
    fn rotate_and_flush(&mut self, is_wanted: bool) -> bool {
        let mut is_whole = true;
        if self.totals.rotate.swap(false, Relaxed) {
            is_whole &= self.close_all();
        }
        for class in 0..CLASSES {
            if self.is_due(class) {
                is_whole &= self.close(class);
            }
            let Some(open) = self.open[class].as_mut() else { continue };
            if is_wanted || open.flushed_at.elapsed() >= self.settings.flush_interval {
                match open.flush() {
                    Ok(()) if open.part.is_full() => is_whole &= self.close(class),
                    Ok(()) => {}
                    Err(error) => {
                        self.give_up(class, error.into());
                        is_whole = false;
                    }
                }
            }
        }
        is_whole
    }

    fn close_all(&mut self) -> bool {
        let mut is_whole = true;
        for class in 0..CLASSES {
            is_whole &= self.close(class);
        }
        is_whole
    }

    /// Finishes the part of a class, if there is one. Whether nothing of it was lost.
    fn close(&mut self, class: Class) -> bool {
        let Some(open) = self.open[class].as_mut() else { return true };
        // All of it on the disk first, so that what goes wrong with the last rows does not cost the others.
        if let Err(error) = open.flush() {
            self.give_up(class, error.into());
            return false;
        }
        let Some(open) = self.open[class].take() else { return true };
        match open.part.finish() {
            Ok(part) => {
                self.keep(class, part, &open.flushed);
                true
            }
            Err(error) => {
                self.lose(class, &open.flushed);
                self.note(Err(error.into()));
                false
            }
        }
    }

    fn keep(&mut self, class: Class, part: Part, tally: &Tally) {
        self.totals.bytes.fetch_add(part.bytes, Relaxed);
        self.totals.parts.fetch_add(1, Relaxed);
        self.shelf.add(part);
        self.written[class].add(tally);
    }

    /// The part cannot be written any further: what is on the disk is kept, the rest is lost.
    fn give_up(&mut self, class: Class, error: anyhow::Error) {
        let Some(open) = self.open[class].take() else { return };
        self.failed_at[class] = Some(Instant::now());
        self.lose(class, &open.pending);
        self.note(Err(error));
        match open.part.salvage() {
            Ok(Some(part)) => self.keep(class, part, &open.flushed),
            _ => self.lose(class, &open.flushed),
        }
    }

    fn lose(&mut self, class: Class, tally: &Tally) {
        self.losses.add(class, Cause::WriteFailed, tally);
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
