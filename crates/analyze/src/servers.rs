//! Processes whose calls serve those of others: what a daemon of a FUSE file system does to files, it does for calls on its own.
//!
//! In totals these bytes are counted where an application asked for them, once. Whether it did is told by the table `file`: where a filter
//! left calls on such a file system out, those of its daemon are the uppermost that were recorded, and count.

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
    /// On what file systems files are, and who met them.
    Met of file { fs, pid }
}

/// What /proc/filesystems calls them.
const SERVED: [&str; 2] = ["fuse", "fuseblk"];

/// Those of a capture whose calls are in no total.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Servers(HashSet<Server, RandomState>);

impl Servers {
    /// Those of `capture`; none where nobody else used a file system of theirs. Reads no table of a capture that has none.
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

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the process that started then is one.
    pub fn has(&self, pid: i32, start_ns: i64) -> bool {
        self.0.contains(&Server { pid, start_ns })
    }

    /// All of them, in order.
    pub fn all(&self) -> Vec<(i32, i64)> {
        let mut all: Vec<(i32, i64)> = self.0.iter().map(|server| (server.pid, server.start_ns)).collect();
        all.sort_unstable();
        all
    }
}
