//! Device layer: block requests, and the parts that belong to other owners.

use arrow_array::RecordBatch;
use iostrata_capture::column::Reader;
use iostrata_capture::op::{Direction, Evidence, IoClass, Layer, Op};
use iostrata_capture::tables::{BlockTable, ShareTable, block, share};
use iostrata_capture::view;

use super::attribution::{Disk, RowAttribution, Start};
use super::chunk::OpAmounts;
use super::kind::{Counted, Kind};
use super::{Events, Fold, Inclusion, Reach};
use crate::aggregate::flow::Step;
use crate::event::{Durations, PHASES, Phase, UNKNOWN};
use crate::valid::Checked;

view! {
    /// Block requests.
    Requests of block {
        ts_ns, dur_ns, queue_ns, insert_ns, pid, comm, start_ns, evidence, owned_bytes, shared_bytes, class, dev, bytes, op, weight
    }
}

view! {
    /// Entities of block requests besides the process.
    RequestEntities of block { cgroup_id, file_dev, ino }
}

view! {
    /// Bios after merging.
    Merged of block { bios }
}

view! {
    /// Offsets of requests.
    Places of block { sector }
}

view! {
    /// Parts of requests.
    Shares of share {
        ts_ns, dev, sector, op, pid, comm, cgroup_id, start_ns, evidence, class, file_dev, ino, bytes, weight
    }
}

/// Size of a sector in bytes, whatever the block size of the device.
const SECTOR_BYTES: i64 = 512;

impl Events for BlockTable {
    const COLUMNS: &'static [&'static str] = Requests::COLUMNS;
    const OF_ENTITIES: &'static [&'static str] = RequestEntities::COLUMNS;
    const OF_SIZES: &'static [&'static str] = Merged::COLUMNS;
    const OF_PLACES: &'static [&'static str] = Places::COLUMNS;
    const OF_CROSSING: &'static [&'static str] = super::crossing::Requests::COLUMNS;
    const HAS_ORDER: bool = true;
    const REACH: Reach = Reach::Begin;

    fn fold(batch: &RecordBatch, fold: &mut Fold) -> std::result::Result<(), String> {
        let view = Requests::new(batch)?;
        let entities = fold.settings.entities.then(|| RequestEntities::new(batch)).transpose()?;
        let merged = fold.settings.bios().then(|| Merged::new(batch)).transpose()?;
        let places = fold.settings.positions().then(|| Places::new(batch)).transpose()?;
        let bios = |row| merged.as_ref().map_or(0, |merged| u32::try_from(merged.bios.at(row)).unwrap_or(0));
        let sector = |row| places.as_ref().and_then(|places| places.sector.at(row));
        let take = |fold: &mut Fold, row| fold.request((&view, entities.as_ref()), row, (bios(row), sector(row)));
        fold.rows((Layer::Block, view.rows), |row| view.comm.at(row), take);
        Ok(())
    }

    fn cross(batch: &RecordBatch, fold: &mut Fold) -> std::result::Result<(), String> {
        fold.cross_requests(batch)
    }
}

impl Events for ShareTable {
    const COLUMNS: &'static [&'static str] = Shares::COLUMNS;
    const OF_CROSSING: &'static [&'static str] = super::crossing::Shares::COLUMNS;
    const HAS_ENDS: bool = false;
    const REACH: Reach = Reach::Begin;

    fn fold(batch: &RecordBatch, fold: &mut Fold) -> std::result::Result<(), String> {
        let view = Shares::new(batch)?;
        fold.rows((Layer::Block, view.rows), |row| view.comm.at(row), |fold, row| fold.share(&view, row));
        Ok(())
    }

    fn cross(batch: &RecordBatch, fold: &mut Fold) -> std::result::Result<(), String> {
        fold.cross_shares(batch)
    }
}

/// Returns the kind of requests, and of parts of them, in one direction.
const fn kind(direction: Option<Direction>, class: IoClass, evidence: Evidence) -> Kind {
    Kind { layer: Layer::Block, direction, counted: Counted::Whole(Some(Step::Device(class, evidence))) }
}

impl Fold<'_> {
    #[inline]
    fn request(
        &mut self,
        (view, entities): (&Requests, Option<&RequestEntities>),
        row: usize,
        (bios, sector): (u32, Option<i64>),
    ) {
        let (ts_ns, dur_ns) = (view.ts_ns.at(row), view.dur_ns.at(row));
        let taken = self.counts(ts_ns, dur_ns);
        if taken == Inclusion::Nothing {
            return;
        }
        let (dev, op, class) = (view.dev.at(row), view.op.at(row), view.class.at(row));
        let direction = op.direction();
        let takes = self.takes(dev);
        // A request without an owner may still have its cgroup and its file.
        let told = RowAttribution {
            process: (view.pid.at(row), Start::At(view.start_ns.at(row))),
            cgroup: entities.and_then(|entities| entities.cgroup_id.at(row)),
            file: entities.and_then(|entities| entities.file_dev.at(row).zip(entities.ino.at(row))),
            disk: Disk::Is(dev),
            class,
            kind: kind(direction, class, view.evidence.at(row)),
        };
        if taken == Inclusion::End {
            // Without queueing times the total duration is unknown, so the begin is not counted in flight either.
            return if takes && !self.scan.begins_late {
                self.end(Layer::Block, (row, ts_ns), &told, (op, dur_ns))
            };
        }
        let ops = self.weight(view.weight.at(row));
        let checked = &mut self.partial.checked;
        let all = checked.bytes(view.bytes.at(row));
        if !takes {
            let kind = Kind { layer: Layer::Block, direction, counted: Counted::LeftOut };
            let told = RowAttribution::nobodys(dev, class, kind);
            let done = OpAmounts { ops, ..OpAmounts::part(all.saturating_mul(u64::from(ops)), op, direction) };
            return self.chunk.push(Layer::Block, (row, ts_ns), &told, done, &NOT_TIMED);
        }
        let mut durations = durations(ts_ns, (dur_ns, view.queue_ns.at(row), view.insert_ns.at(row)), checked);
        if self.scan.begins_late {
            // The duration excludes the queueing time, which is unknown.
            let device_ns = device_ns(dur_ns, Some(0), view.insert_ns.at(row));
            durations[Phase::Device as usize] = checked.duration(ts_ns, device_ns).unwrap_or(UNKNOWN);
            durations[Phase::Total as usize] = UNKNOWN;
        }
        let owned = checked.bytes(view.owned_bytes.at(row));
        let rest = all.saturating_sub(checked.bytes(view.shared_bytes.at(row)));
        let owned = if told.process.0.is_some() { owned.min(rest) } else { rest };
        // A zone append has the offset of its data only after completion. Until then the sector is the first of its zone.
        let sector = sector.filter(|_| op != Op::ZoneAppend);
        let position = sector.and_then(|sector| sector.checked_mul(SECTOR_BYTES)).filter(|position| *position >= 0);
        let done =
            OpAmounts { bytes: owned.saturating_mul(u64::from(ops)), ops, op, direction, bios, size: all, position };
        self.chunk.push(Layer::Block, (row, ts_ns), &told, done, &durations);
        if rest > owned {
            let told = RowAttribution::nobodys(dev, class, kind(direction, class, Evidence::None));
            let bytes = (rest - owned).saturating_mul(u64::from(ops));
            self.chunk.push(Layer::Block, (row, ts_ns), &told, OpAmounts::part(bytes, op, direction), &NOT_TIMED);
        }
    }

    #[inline]
    fn share(&mut self, view: &Shares, row: usize) {
        let ts_ns = view.ts_ns.at(row);
        let is_beyond = self.scan.tail.leaves_out_part(ts_ns, view.dev.at(row), view.sector.at(row));
        if !self.is_looked_at(ts_ns) || !self.is_within(ts_ns) || self.note_beyond(is_beyond) {
            return;
        }
        self.partial.rows = self.partial.rows.saturating_add(1);
        // All bytes of an excluded request were counted with the request.
        if !self.takes(view.dev.at(row)) {
            return;
        }
        let (op, class) = (view.op.at(row), view.class.at(row));
        let direction = op.direction();
        let entities = self.settings.entities;
        let told = RowAttribution {
            process: (view.pid.at(row), Start::At(view.start_ns.at(row))),
            cgroup: view.cgroup_id.at(row).filter(|_| entities),
            file: view.file_dev.at(row).zip(view.ino.at(row)).filter(|_| entities),
            disk: Disk::Is(view.dev.at(row)),
            class,
            kind: kind(direction, class, view.evidence.at(row)),
        };
        let weight = self.weight(view.weight.at(row));
        let bytes = self.partial.checked.bytes(view.bytes.at(row)).saturating_mul(u64::from(weight));
        self.chunk.push(Layer::Block, (row, ts_ns), &told, OpAmounts::part(bytes, op, direction), &NOT_TIMED);
    }
}

/// Durations of bytes that are not an operation.
const NOT_TIMED: Durations = [UNKNOWN; PHASES];

/// Returns the durations by phase, from those of the whole request, of the queue and of the scheduler.
#[inline]
fn durations(
    ts_ns: i64,
    (dur_ns, queue_ns, insert_ns): (Option<i64>, Option<i64>, Option<i64>),
    checked: &mut Checked,
) -> Durations {
    [dur_ns, queue_ns, insert_ns, device_ns(dur_ns, queue_ns, insert_ns)]
        .map(|ns| checked.duration(ts_ns, ns).unwrap_or(UNKNOWN))
}

/// Returns D2C: the whole minus the queue and the scheduler. `None` if the whole or the queue is unknown; an unknown scheduler time is 0.
fn device_ns(dur_ns: Option<i64>, queue_ns: Option<i64>, insert_ns: Option<i64>) -> Option<i64> {
    // Sums of three 64-bit values need at most 66 bits. A result of more than 64 bits is as invalid as a negative one.
    let left = i128::from(dur_ns?) - i128::from(queue_ns?) - i128::from(insert_ns.unwrap_or(0));
    Some(i64::try_from(left).unwrap_or(i64::MIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_device_phase_is_what_queue_and_scheduler_leave() {
        assert_eq!(device_ns(Some(10), Some(3), Some(2)), Some(5));
        assert_eq!(device_ns(Some(10), Some(3), None), Some(7));
        assert_eq!(device_ns(None, Some(3), Some(2)), None);
        assert_eq!(device_ns(Some(10), None, Some(2)), None);
        assert_eq!(device_ns(Some(i64::MIN), Some(i64::MAX), Some(i64::MAX)), Some(i64::MIN));
    }
}
