//! Records of VFS operations.

use iostrata_capture::TableId;
use iostrata_capture::table::TableBuilder;
use iostrata_capture::tables::VfsRow;

use crate::bpf::{record_at, types};
use crate::decode::{Decoder, comm, fd_kind, known, result_of};
use crate::intake::{Intake, file_amounts};

/// Takes the record of a VFS operation.
pub fn take(intake: &mut Intake, cpu: u16, bytes: &[u8]) -> Option<()> {
    let row = intake.decoder.vfs(record_at(bytes)?)?;
    if intake.keeps(TableId::Vfs, cpu, (row.dev, row.pid)) {
        intake.selected += 1;
        intake.waiting[TableId::Vfs].count(cpu, &file_amounts(row.op, row.ret));
        intake.builders.vfs.push(row);
    }
    Some(())
}

impl Decoder {
    /// Decodes a VFS operation.
    #[inline]
    pub fn vfs(&self, event: &types::file_event) -> Option<VfsRow> {
        let head = &event.head;
        Some(VfsRow {
            ts_ns: head.start_ns + self.clock_offset_ns,
            dur_ns: event.duration_ns,
            pid: event.who.pid as i32,
            tid: event.who.tid as i32,
            comm: comm(&event.who.comm),
            cgroup_id: event.who.cgroup_id as i64,
            op: self.op(head)?,
            fd_kind: fd_kind(head.fd_kind),
            dev: (event.dev >= 0).then_some(event.dev),
            ino: known(event.ino),
            offset_bytes: known(event.offset_bytes),
            requested_bytes: known(event.requested_bytes),
            ret: result_of(event.ret),
            weight: self.weight(head),
        })
    }
}
