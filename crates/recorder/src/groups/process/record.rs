//! Records of processes. Most of them have space for short texts only.

use iostrata_capture::program::CUT;

use crate::bpf::{record_at, types};

/// Process data from a record of either size.
pub struct ProcessRecord<'a> {
    pub(super) process: &'a types::process_head,
    pub(super) exe: &'a [i8],
    pub(super) cgroup: &'a [i8],
    cmdline: &'a [i8],
    cmdline_tail: &'a [i8],
}

impl<'a> ProcessRecord<'a> {
    /// Parses the record at the front of `bytes`; `None` if `bytes` is too short.
    pub fn at(bytes: &'a [u8]) -> Option<ProcessRecord<'a>> {
        if let Some(event) = record_at::<types::process_event_long>(bytes) {
            let types::process_event_long { process, exe, cgroup, cmdline, cmdline_tail } = event;
            return Some(ProcessRecord { process, exe, cgroup, cmdline, cmdline_tail });
        }
        let types::process_event_short { process, exe, cgroup, cmdline } = record_at(bytes)?;
        Some(ProcessRecord { process, exe, cgroup, cmdline, cmdline_tail: &[] })
    }

    /// Arguments, separated by spaces. The record has the start of a long command line and its end.
    pub(super) fn cmdline(&self) -> Option<String> {
        let piece =
            |chars: &[i8], length: u16| chars.iter().take(usize::from(length)).map(|c| *c as u8).collect::<Vec<u8>>();
        let mut bytes = piece(self.cmdline, self.process.cmdline_length);
        let tail = piece(self.cmdline_tail, self.process.cmdline_tail_length);
        if self.process.cmdline_cut != 0 && !tail.is_empty() {
            bytes.extend(format!("\0{CUT}\0").into_bytes());
        }
        bytes.extend(tail);
        let text = String::from_utf8_lossy(&bytes).trim_end_matches('\0').replace('\0', " ");
        (!text.is_empty()).then_some(text)
    }
}
