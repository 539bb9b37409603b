//! Records of file system events.

use iostrata_capture::TableId;
use iostrata_capture::op::Op;
use iostrata_capture::table::TableBuilder;
use iostrata_capture::tables::FsRow;

use crate::bpf::{record_at, types};
use crate::decode::{Decoder, comm, fd_kind, known};
use crate::intake::{Intake, file_amounts};

/// Takes the record of a file system event, or of many.
pub fn take(intake: &mut Intake, cpu: u16, bytes: &[u8]) -> Option<()> {
    let row = intake.decoder.fs(record_at(bytes)?)?;
    if intake.keeps(TableId::Fs, cpu, (Some(row.dev), row.pid)) {
        // A transaction belongs to all processes that changed something.
        intake.selected += u64::from(row.op != Op::Commit || !intake.filtering.by_owner);
        intake.waiting[TableId::Fs].count(cpu, &file_amounts(row.op, row.bytes));
        intake.builders.fs.push(row);
    }
    Some(())
}

impl Decoder {
    /// Decodes a file system event.
    pub fn fs(&self, event: &types::fs_event) -> Option<FsRow> {
        let head = &event.head;
        let op = self.op(head)?;
        Some(FsRow {
            ts_ns: head.start_ns + self.clock_offset_ns,
            dur_ns: known(event.duration_ns),
            op,
            pid: event.who.pid as i32,
            tid: event.who.tid as i32,
            comm: comm(&event.who.comm),
            cgroup_id: event.who.cgroup_id as i64,
            via: *self.vias.get(usize::from(event.via))?,
            fs: comm(&event.fs),
            fd_kind: known(event.ino).and_then(|_| fd_kind(head.fd_kind)),
            dev: event.dev,
            ino: known(event.ino),
            offset_bytes: known(event.offset_bytes),
            bytes: event.bytes as i64,
            events: event.events as i64,
            blocks: known(event.blocks),
            weight: if op.is_gathered() { self.weight(head) } else { 1 },
        })
    }
}
