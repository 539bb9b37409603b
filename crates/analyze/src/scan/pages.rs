//! The file system layer: pages of the cache, and what else a file system tells.

use arrow::array::RecordBatch;
use iostrata_capture::column::Reader;
use iostrata_capture::op::{Direction, FdKind, IoClass, Layer, Op, Via};
use iostrata_capture::tables::{FsTable, FsView};

use super::{Events, Fold, bytes_of};
use crate::aggregate::flow::{Path, Step};
use crate::event::{Durations, Event, Phase};

impl Events for FsTable {
    fn fold(batch: &RecordBatch, fold: &mut Fold) -> std::result::Result<(), String> {
        let view = FsView::new(batch)?;
        for row in 0..view.rows {
            if !fold.is_whole_at(view.ts_ns.at(row)) {
                continue;
            }
            fold.partial.rows = fold.partial.rows.saturating_add(1);
            fold.count_end(view.ts_ns.at(row), view.dur_ns.at(row));
            let op = view.op.at(row);
            let weight = fold.weight(view.weight.at(row));
            let anomalies = &mut fold.partial.anomalies;
            let (direction, durations) = (op.direction(), Durations::default());
            let mut event = Event { layer: Layer::Fs, op, direction, bytes: 0, durations, weight };
            if !op.is_gathered() {
                event.durations.set(Phase::Total, view.dur_ns.at(row), anomalies);
            }
            event.bytes = bytes_of(view.bytes.at(row), anomalies);
            let slot = fold.slot(view.pid.at(row), view.ts_ns.at(row), view.comm.at(row));
            fold.partial.system(slot).update(&event);
            fold.pages(&view, row, slot, event.all_bytes());
        }
        Ok(())
    }
}

impl Fold<'_> {
    /// Pages of files in the cache, and those that an application touches through a mapping.
    fn pages(&mut self, view: &FsView, row: usize, slot: usize, bytes: u64) {
        let (op, via) = (view.op.at(row), view.via.at(row));
        let dev = Some(view.dev.at(row));
        let file = self.file(dev, view.ino.at(row), view.ts_ns.at(row), view.fd_kind.at(row));
        let belongs = self.belongs(view.pid.at(row), view.ts_ns.at(row), view.cgroup_id.at(row), dev, file);
        let mapping = Step::Application(Path::Mapping);
        match view.fd_kind.at(row) {
            Some(FdKind::Regular) => {
                let mapped = op == Op::Fill && via == Some(Via::Mapping);
                self.flow(slot, belongs, IoClass::Data, (op.direction(), Step::Cache { mapped }, bytes));
            }
            // A program may map a device; what a file system keeps in inodes of its own, none can.
            Some(FdKind::Block) => {}
            _ => return,
        }
        match (op, via) {
            (Op::Fault, _) => self.flow(slot, belongs, IoClass::Data, (Some(Direction::Read), mapping, bytes)),
            (Op::Dirty, Some(Via::Mapping)) => {
                self.flow(slot, belongs, IoClass::Data, (Some(Direction::Write), mapping, bytes));
            }
            _ => {}
        }
    }
}
