//! Records of processes.

use iostrata_capture::TableId;
use iostrata_capture::ledger::Amounts;
use iostrata_capture::op::PathOrigin;
use iostrata_capture::table::TableBuilder;
use iostrata_capture::tables::ProcessRow;

use super::record::ProcessRecord;
use crate::decode::{Decoder, comm};
use crate::intake::Intake;

/// Takes the record of a process.
pub fn take(intake: &mut Intake, cpu: u16, bytes: &[u8]) -> Option<()> {
    let row = intake.decoder.process(&ProcessRecord::at(bytes)?);
    intake.waiting[TableId::Process].count(cpu, &Amounts::default());
    intake.builders.process.push(row);
    Some(())
}

impl Decoder {
    /// Decodes a process.
    pub fn process(&self, portrait: &ProcessRecord) -> ProcessRow {
        let process = portrait.process;
        let who = &process.who;
        let exe = self.path(portrait.exe, process.exe_components, process.exe_origin);
        let cgroup = self.path(portrait.cgroup, process.cgroup_components, process.cgroup_origin);
        ProcessRow {
            ts_ns: process.head.start_ns + self.clock_offset_ns,
            pid: who.pid as i32,
            ppid: process.ppid as i32,
            start_ns: process.process_start_ns as i64 + self.clock_offset_ns,
            comm: comm(&who.comm),
            kernel_thread: process.kernel_thread != 0,
            cgroup_id: who.cgroup_id as i64,
            exe: exe.and_then(|(path, _)| self.veil.executable(path)),
            cmdline: portrait.cmdline().and_then(|line| self.veil.command_line(line)),
            // A truncated path does not identify the cgroup.
            cgroup: cgroup.filter(|(_, origin)| *origin != PathOrigin::Cut).map(|(path, _)| path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpf::{bytes_of, types};
    use crate::decode::tests::decoder;

    fn write(to: &mut [i8], bytes: &[u8]) {
        to.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from as i8);
    }

    #[test]
    fn a_process_is_read_from_a_record_of_either_kind() {
        let process = types::process_head {
            exe_origin: 1,
            exe_components: 2,
            cgroup_origin: 2,
            cgroup_components: 1,
            cmdline_length: 10,
            ..Default::default()
        };
        let mut short = types::process_event_short { process, ..Default::default() };
        write(&mut short.exe, b"dd\0bin\0junk");
        write(&mut short.cgroup, b"job-1\0");
        write(&mut short.cmdline, b"dd\0if=a\0\0\0TOKEN=left over");
        let row = decoder().process(&ProcessRecord::at(bytes_of(&short)).expect("a whole record"));
        assert_eq!((row.exe.as_deref(), row.cgroup.as_deref()), (Some("/bin/dd"), Some("/job-1")));
        assert_eq!(row.cmdline.as_deref(), Some("dd if=a"));

        let mut long = types::process_event_long { process: short.process, ..Default::default() };
        (long.process.cgroup_origin, long.process.cgroup_components) = (3, 1);
        write(&mut long.cgroup, b"below-what\0");
        write(&mut long.cmdline, &[b'a'; 512]);
        write(&mut long.cmdline_tail, b"b\0Main\0");
        (long.process.cmdline_length, long.process.cmdline_tail_length) = (512, 7);
        let cmdline = |long: &types::process_event_long| {
            let row = decoder().process(&ProcessRecord::at(bytes_of(long)).expect("a whole record"));
            assert_eq!(row.cgroup, None, "the cgroup is unknown");
            row.cmdline.expect("a command line")
        };
        assert_eq!(cmdline(&long), format!("{}b Main", "a".repeat(512)));
        long.process.cmdline_cut = 1;
        assert_eq!(cmdline(&long), format!("{} … b Main", "a".repeat(512)));
        assert!(ProcessRecord::at(&bytes_of(&short)[..80]).is_none());
    }
}
