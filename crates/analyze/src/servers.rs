//! Processes that serve the calls of others: the I/O of a FUSE daemon on files serves the calls on its own file system.
//!
//! Totals count these bytes once, for the application that requested them. The table `file` shows whether calls of applications were recorded. If a
//! filter excluded the calls on such a file system, those of its daemon are the uppermost that were recorded, and count.

use std::collections::HashSet;

use anyhow::Result;
use foldhash::fast::RandomState;
use iostrata_capture::Capture;
use iostrata_capture::column::Reader;
use iostrata_capture::manifest::Server;
use iostrata_capture::tables::{FileTable, file};
use iostrata_capture::view;

use crate::memory::Budget;

view! {
    /// File systems of files, and the processes that first used the files.
    Met of file { fs, pid }
}

/// Types of FUSE file systems in /proc/filesystems.
const SERVED: [&str; 2] = ["fuse", "fuseblk"];

/// Serving processes of a capture; their calls are in no total.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Servers(HashSet<Server, RandomState>);

impl Servers {
    /// Loads those of `capture`; none if no other process used their file systems. Reads no table if the capture has no servers.
    pub fn load(capture: &Capture, memory: Budget) -> Result<Servers> {
        let servers = &capture.manifest.servers;
        let mut is_used = false;
        for part in if servers.is_empty() { Vec::new() } else { capture.parts::<FileTable>()? } {
            part.read_unless::<FileTable>(
                || memory.refusal(),
                |batch| {
                    let view = Met::new(batch)?;
                    let by_others = |row: usize| !servers.iter().any(|server| server.pid == view.pid.at(row));
                    is_used |= (0..view.rows)
                        .any(|row| SERVED.contains(&view.fs.at(row).unwrap_or_default()) && by_others(row));
                    Ok(())
                },
            )?;
        }
        Ok(Servers(if is_used { servers.iter().copied().collect() } else { HashSet::default() }))
    }

    /// Whether there is no serving process.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the process with this id and start is one.
    pub fn has(&self, pid: i32, start_ns: i64) -> bool {
        self.0.contains(&Server { pid, start_ns })
    }

    /// Returns all of them, in order.
    pub fn all(&self) -> Vec<(i32, i64)> {
        let mut all: Vec<(i32, i64)> = self.0.iter().map(|server| (server.pid, server.start_ns)).collect();
        all.sort_unstable();
        all
    }
}
