//! File system layer: page cache and other file system operations.

use arrow_array::RecordBatch;
use iostrata_capture::column::Reader;
use iostrata_capture::op::{Direction, FdKind, Layer, Op, Via};
use iostrata_capture::tables::{FsTable, fs};
use iostrata_capture::view;

use super::attribution::RowAttribution;
use super::chunk::OpAmounts;
use super::kind::{Counted, Kind};
use super::{Events, Fold, Inclusion, Reach};
use crate::aggregate::flow::{Path, Step};
use crate::event::{PHASES, UNKNOWN};

view! {
    /// File system operations.
    Doings of fs { ts_ns, dur_ns, op, pid, comm, cgroup_id, via, fd_kind, dev, ino, bytes, blocks, weight }
}

impl Events for FsTable {
    const COLUMNS: &'static [&'static str] = Doings::COLUMNS;
    const OF_CROSSING: &'static [&'static str] = super::crossing::Commits::COLUMNS;
    const REACH: Reach = Reach::Ends;

    fn fold(batch: &RecordBatch, fold: &mut Fold) -> std::result::Result<(), String> {
        let view = Doings::new(batch)?;
        fold.rows((Layer::Fs, view.rows), |row| view.comm.at(row), |fold, row| fold.doing(&view, row));
        Ok(())
    }

    fn cross(batch: &RecordBatch, fold: &mut Fold) -> std::result::Result<(), String> {
        fold.cross_commits(batch)
    }
}

impl Fold<'_> {
    fn doing(&mut self, view: &Doings, row: usize) {
        let (ts_ns, dur_ns, op) = (view.ts_ns.at(row), view.dur_ns.at(row), view.op.at(row));
        if self.counts(ts_ns, dur_ns) != Inclusion::Whole {
            return;
        }
        let ops = self.weight(view.weight.at(row));
        let checked = &mut self.partial.checked;
        let total = checked.duration(ts_ns, dur_ns.filter(|_| !op.is_gathered())).unwrap_or(UNKNOWN);
        let bytes = checked.bytes(view.bytes.at(row)).saturating_mul(u64::from(ops));
        // Checked because `sync` sums the blocks.
        checked.bytes(view.blocks.at(row).unwrap_or(0));
        let entities = self.settings.entities;
        let file = if entities { (Some(view.dev.at(row)), view.ino.at(row)) } else { (None, None) };
        let kind = Kind { layer: Layer::Fs, direction: op.direction(), counted: Counted::Whole(None) };
        let mut told = RowAttribution::done((view.pid.at(row), entities.then(|| view.cgroup_id.at(row))), file, kind);
        let (file_kind, via) = (view.fd_kind.at(row), view.via.at(row));
        if file_kind == Some(FdKind::Block) {
            // Requests of a block device have no file.
            told.file = None;
        }
        if let Some(direction) = mapped(op, file_kind, via) {
            let counted = Counted::Way(Step::Application(Path::Mapping));
            let told = RowAttribution { kind: Kind { layer: Layer::Fs, direction: Some(direction), counted }, ..told };
            let done = OpAmounts::part(bytes, op, None);
            self.chunk.push(Layer::Fs, (row, ts_ns), &told, done, &[UNKNOWN; PHASES]);
        }
        if file_kind == Some(FdKind::Regular) {
            let mapped = op == Op::Fill && via == Some(Via::Mapping);
            told.kind.counted = Counted::Whole(Some(Step::Cache { mapped }));
        }
        let durations = [total, UNKNOWN, UNKNOWN, UNKNOWN];
        self.chunk.push(
            Layer::Fs,
            (row, ts_ns),
            &told,
            OpAmounts { ops, ..OpAmounts::part(bytes, op, op.direction()) },
            &durations,
        );
    }
}

/// Returns the direction in which an application moves the bytes of a row through a mapping, if it does. A program can map a device, but
/// no inode that a file system has for internal use.
fn mapped(op: Op, file_kind: Option<FdKind>, via: Option<Via>) -> Option<Direction> {
    let can_be_mapped = matches!(file_kind, Some(FdKind::Regular | FdKind::Block));
    let direction = match (op, via) {
        (Op::Fault, _) => Direction::Read,
        (Op::Dirty, Some(Via::Mapping)) => Direction::Write,
        _ => return None,
    };
    can_be_mapped.then_some(direction)
}
