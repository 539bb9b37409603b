//! The device layer: requests and the parts that others have in them.

use arrow::array::RecordBatch;
use iostrata_capture::column::Reader;
use iostrata_capture::op::{Direction, Evidence, Layer, Op};
use iostrata_capture::tables::{BlockTable, ShareTable, block, share};
use iostrata_capture::view;

use super::whose::{Start, Told};
use super::{Events, Fold, bytes_of};
use crate::aggregate::flow::Step;
use crate::event::{Anomalies, Durations, Event, Phase};

view! {
    /// Block requests.
    Requests of block {
        ts_ns, dur_ns, queue_ns, insert_ns, pid, comm, cgroup_id, start_ns, evidence, owned_bytes, shared_bytes, class, file_dev, ino,
        dev, bytes, op, flags, weight
    }
}

view! {
    /// Parts of requests.
    Shares of share {
        ts_ns, dev, op, flags, pid, comm, cgroup_id, start_ns, evidence, class, file_dev, ino, bytes, weight
    }
}

/// The flag of block requests that the kernel's I/O counters leave out.
const NOT_IN_COUNTERS: i32 = 512;

impl Fold<'_> {
    fn leave_out(&mut self, view: &Requests, row: usize, weight: u64) {
        let direction = counted_direction(view.op.at(row), view.flags.at(row));
        let bytes = bytes_of(view.bytes.at(row), &mut self.partial.anomalies);
        self.partial.left_out.add(self.scan.capture, view.dev.at(row), direction, (bytes, weight));
    }
}

impl Events for BlockTable {
    const COLUMNS: &'static [&'static str] = Requests::COLUMNS;

    fn fold(batch: &RecordBatch, fold: &mut Fold) -> std::result::Result<(), String> {
        let view = Requests::new(batch)?;
        for row in 0..view.rows {
            if !fold.counts(view.ts_ns.at(row), view.dur_ns.at(row)) {
                continue;
            }
            let dev = view.dev.at(row);
            let weight = fold.weight(view.weight.at(row));
            if !fold.takes(dev) {
                fold.leave_out(&view, row, weight);
                continue;
            }
            let mut event = Event { weight, ..block_event(&view, row, &mut fold.partial.anomalies) };
            let owned = bytes_of(view.owned_bytes.at(row), &mut fold.partial.anomalies);
            let shared = bytes_of(view.shared_bytes.at(row), &mut fold.partial.anomalies);
            let class = view.class.at(row);
            let rest = event.bytes.saturating_sub(shared);
            let (direction, evidence) = (event.direction, view.evidence.at(row));
            // A request without an owner may still say its cgroup and its file.
            let told = Told {
                process: (view.pid.at(row), Start::At(view.start_ns.at(row))),
                cgroup: view.cgroup_id.at(row),
                file: view.file_dev.at(row).zip(view.ino.at(row)),
                disk: Some(dev),
                class,
            };
            let (slot, group) = fold.whose(&told, view.ts_ns.at(row), view.comm.at(row));
            event.bytes = if told.process.0.is_some() { owned.min(rest) } else { rest };
            fold.partial.system(slot).update(&event);
            fold.flow(group, (direction, Step::Device(class, evidence), event.all_bytes()));
            if rest > event.bytes {
                let bytes = (rest - event.bytes).saturating_mul(weight);
                let (slot, group) = fold.whose(&Told::nobodys(dev, class), view.ts_ns.at(row), None);
                fold.partial.system(slot).add_bytes(direction, bytes);
                fold.flow(group, (direction, Step::Device(class, Evidence::None), bytes));
            }
        }
        Ok(())
    }
}

impl Events for ShareTable {
    const COLUMNS: &'static [&'static str] = Shares::COLUMNS;

    fn fold(batch: &RecordBatch, fold: &mut Fold) -> std::result::Result<(), String> {
        let view = Shares::new(batch)?;
        for row in 0..view.rows {
            if !fold.is_whole_at(view.ts_ns.at(row)) {
                continue;
            }
            fold.partial.rows = fold.partial.rows.saturating_add(1);
            // Of a request that is left out, all bytes were counted there.
            if !fold.takes(view.dev.at(row)) {
                continue;
            }
            let class = view.class.at(row);
            let told = Told {
                process: (view.pid.at(row), Start::At(view.start_ns.at(row))),
                cgroup: view.cgroup_id.at(row),
                file: view.file_dev.at(row).zip(view.ino.at(row)),
                disk: Some(view.dev.at(row)),
                class,
            };
            let (slot, group) = fold.whose(&told, view.ts_ns.at(row), view.comm.at(row));
            let direction = counted_direction(view.op.at(row), view.flags.at(row));
            let weight = fold.weight(view.weight.at(row));
            let bytes = bytes_of(view.bytes.at(row), &mut fold.partial.anomalies).saturating_mul(weight);
            fold.partial.system(slot).add_bytes(direction, bytes);
            fold.flow(group, (direction, Step::Device(class, view.evidence.at(row)), bytes));
        }
        Ok(())
    }
}

fn block_event(view: &Requests, row: usize, anomalies: &mut Anomalies) -> Event {
    let op = view.op.at(row);
    let direction = counted_direction(op, view.flags.at(row));
    let bytes = bytes_of(view.bytes.at(row), anomalies);
    let (dur_ns, queue_ns, insert_ns) = (view.dur_ns.at(row), view.queue_ns.at(row), view.insert_ns.at(row));
    let mut durations = Durations::default();
    durations.set(Phase::Total, dur_ns, anomalies);
    durations.set(Phase::Queue, queue_ns, anomalies);
    durations.set(Phase::Insert, insert_ns, anomalies);
    durations.set(Phase::Device, device_ns(dur_ns, queue_ns, insert_ns), anomalies);
    Event { layer: Layer::Block, op, direction, bytes, durations, weight: 1 }
}

/// So that the total of all systems equals the kernel's read and write counters of the devices.
fn counted_direction(op: Op, flags: i32) -> Option<Direction> {
    op.direction().filter(|_| flags & NOT_IN_COUNTERS == 0)
}

/// D2C: what remains of the whole after the queue and the scheduler; unknown where a part of it is.
fn device_ns(dur_ns: Option<i64>, queue_ns: Option<i64>, insert_ns: Option<i64>) -> Option<i64> {
    // Sums of three 64-bit values need no more than 66 bits; a result beyond 64 is as impossible as a negative one.
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

    #[test]
    fn requests_outside_the_kernels_counters_have_no_direction() {
        assert_eq!(counted_direction(Op::Write, 1), Some(Direction::Write));
        assert_eq!(counted_direction(Op::Write, NOT_IN_COUNTERS | 1), None);
        assert_eq!(counted_direction(Op::Discard, 0), None);
        assert_eq!(counted_direction(Op::DeviceFlush, 0), None);
        assert_eq!(counted_direction(Op::Flush, 0), Some(Direction::Write));
    }
}
