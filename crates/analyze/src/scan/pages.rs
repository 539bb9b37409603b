//! The file system layer: pages of the cache, and what else a file system tells.

use arrow::array::RecordBatch;
use iostrata_capture::column::Reader;
use iostrata_capture::op::{Direction, FdKind, Layer, Op, Via};
use iostrata_capture::tables::{FsTable, fs};
use iostrata_capture::view;

use super::{Events, Fold, bytes_of};
use crate::aggregate::flow::{Path, Step};
use crate::event::{Durations, Event, Phase};

view! {
    /// What file systems do.
    Doings of fs { ts_ns, dur_ns, op, pid, comm, cgroup_id, via, fd_kind, dev, ino, bytes, weight }
}

impl Events for FsTable {
    const COLUMNS: &'static [&'static str] = Doings::COLUMNS;

    fn fold(batch: &RecordBatch, fold: &mut Fold) -> std::result::Result<(), String> {
        let view = Doings::new(batch)?;
        for row in 0..view.rows {
            if !fold.counts(view.ts_ns.at(row), view.dur_ns.at(row)) {
                continue;
            }
            let op = view.op.at(row);
            let weight = fold.weight(view.weight.at(row));
            let anomalies = &mut fold.partial.anomalies;
            let (direction, durations) = (op.direction(), Durations::default());
            let mut event = Event { layer: Layer::Fs, op, direction, bytes: 0, durations, weight };
            if !op.is_gathered() {
                event.durations.set(Phase::Total, view.dur_ns.at(row), anomalies);
            }
            event.bytes = bytes_of(view.bytes.at(row), anomalies);
            let slot = fold.pages(&view, row, event.all_bytes());
            fold.partial.system(slot).update(&event);
        }
        Ok(())
    }
}

impl Fold<'_> {
    /// Pages of files in the cache, and those that an application touches through a mapping. The slot of the row's system.
    fn pages(&mut self, view: &Doings, row: usize, bytes: u64) -> usize {
        let (op, via, kind) = (view.op.at(row), view.via.at(row), view.fd_kind.at(row));
        let (ts_ns, pid, comm) = (view.ts_ns.at(row), view.pid.at(row), view.comm.at(row));
        // A program may map a device; what a file system keeps in inodes of its own, none can.
        if !matches!(kind, Some(FdKind::Regular | FdKind::Block)) {
            return self.whose.caller(&mut self.partial, pid, ts_ns, comm);
        }
        let file = (Some(view.dev.at(row)), view.ino.at(row), kind);
        let told = self.whose.done((pid, view.cgroup_id.at(row)), file);
        let (slot, group) = self.whose(&told, ts_ns, comm);
        if kind == Some(FdKind::Regular) {
            let mapped = op == Op::Fill && via == Some(Via::Mapping);
            self.flow(group, (op.direction(), Step::Cache { mapped }, bytes));
        }
        let mapping = Step::Application(Path::Mapping);
        match (op, via) {
            (Op::Fault, _) => self.flow(group, (Some(Direction::Read), mapping, bytes)),
            (Op::Dirty, Some(Via::Mapping)) => self.flow(group, (Some(Direction::Write), mapping, bytes)),
            _ => {}
        }
        slot
    }
}
