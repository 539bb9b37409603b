//! Records of calls.

use iostrata_capture::TableId;
use iostrata_capture::table::TableBuilder;
use iostrata_capture::tables::SyscallRow;

use crate::bpf::{record_at, types};
use crate::decode::{Decoder, comm, fd_kind, known, result_of};
use crate::intake::{Intake, file_amounts};

/// Takes the record of a call.
pub fn take(intake: &mut Intake, cpu: u16, bytes: &[u8]) -> Option<()> {
    let row = intake.decoder.syscall(record_at(bytes)?, record_at(bytes))?;
    if intake.keeps(TableId::Syscall, cpu, (row.dev, row.pid)) {
        intake.selected += 1;
        intake.waiting[TableId::Syscall].count(cpu, &file_amounts(row.op, row.ret));
        intake.builders.syscall.push(row);
    }
    Some(())
}

impl Decoder {
    /// Decodes a system call, or an operation of aio or io_uring. `call` is set if the record has the run-queue latency.
    #[inline]
    pub fn syscall(&self, event: &types::file_event, call: Option<&types::call_event>) -> Option<SyscallRow> {
        let head = &event.head;
        Some(SyscallRow {
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
            runnable_ns: call.and_then(|call| known(call.runnable_ns)),
            ret: result_of(event.ret),
            flags: (event.open_flags >= 0).then_some(event.open_flags),
            weight: self.weight(head),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpf::bytes_of;
    use crate::decode::MISSING;
    use crate::decode::tests::decoder;

    #[test]
    fn how_long_a_call_waited_for_a_cpu_is_null_where_it_was_not_measured_or_is_not_known() {
        let mut call = types::call_event { runnable_ns: 30, ..Default::default() };
        call.file.head.op = 2;
        let runnable = |bytes: &[u8]| {
            let event = record_at(bytes).expect("a whole record");
            decoder().syscall(event, record_at(bytes)).expect("a known operation").runnable_ns
        };
        assert_eq!(runnable(bytes_of(&call)), Some(30));
        assert_eq!(runnable(bytes_of(&types::call_event { runnable_ns: MISSING, ..call })), None);
        assert_eq!(runnable(bytes_of(&call.file)), None);
    }
}
