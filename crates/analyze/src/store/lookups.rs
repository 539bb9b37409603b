//! Lookups that the result of some rows depends on besides these rows. The tables of processes, files and losses grow while a machine is recorded.
//! The trace of a scan records the lookups and their times, so that a later run can check whether the answers are still the same.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};

use iostrata_capture::TableId;
use serde::{Deserialize, Serialize};
use siphasher::sip128::{Hasher128, SipHasher13};

use super::Id;

use crate::scan::Scan;
use crate::scan::attribution::{RowAttribution, Start};

/// Lookups of a scan, and a hash of their answers.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct LookupTrace {
    /// Process ids.
    pids: BTreeSet<i32>,
    /// Process ids with the start of the process.
    started: BTreeSet<(i32, i64)>,
    /// Device and inode numbers.
    files: BTreeSet<(i32, i64)>,
    /// First and last time of a lookup.
    began: Option<(i64, i64)>,
    /// Last end of an operation.
    ended_ns: Option<i64>,
    /// Whether a row was excluded because the capture is not yet complete up to its end.
    leaves_out: bool,
    /// Hash of all answers for these times.
    answers: Id,
}

impl LookupTrace {
    /// Records a lookup for an operation that began at `ts_ns`.
    #[inline]
    pub fn began(&mut self, ts_ns: i64) {
        let (first, last) = self.began.get_or_insert((ts_ns, ts_ns));
        (*first, *last) = ((*first).min(ts_ns), (*last).max(ts_ns));
    }

    /// Records an operation that ended at `ns`, which may count in a loss window.
    #[inline]
    pub fn ended(&mut self, ns: i64) {
        self.ended_ns = self.ended_ns.max(Some(ns));
    }

    /// Records that a row was excluded because the capture is not yet complete up to its end.
    #[inline]
    pub fn leave_out(&mut self) {
        self.leaves_out = true;
    }

    /// Whether a row was excluded.
    pub fn leaves_out(&self) -> bool {
        self.leaves_out
    }

    /// Records the lookup of an owner.
    pub fn whose(&mut self, told: &RowAttribution) {
        match told.process {
            (Some(pid), Start::At(Some(start_ns))) => drop(self.started.insert((pid, start_ns))),
            (Some(pid), _) => drop(self.pids.insert(pid)),
            (None, _) => {}
        }
        self.files.extend(told.file);
    }

    /// Stores the hash of the current answers.
    pub fn settle(&mut self, scan: &Scan, tables: &[TableId]) {
        self.answers = self.answers(scan, tables);
    }

    /// Whether the current answers are the same.
    pub fn holds(&self, scan: &Scan, tables: &[TableId]) -> bool {
        self.answers == self.answers(scan, tables)
    }

    fn answers(&self, scan: &Scan, tables: &[TableId]) -> Id {
        let mut answers = SipHasher13::new();
        // The recorder writes the serving processes at its end.
        scan.servers.all().hash(&mut answers);
        if let Some(began) = self.began {
            for pid in &self.pids {
                scan.owners.all(*pid, began).for_each(|of| (pid, of).hash(&mut answers));
            }
            for process in &self.started {
                scan.owners.all_started(*process, began).for_each(|of| (process, of).hash(&mut answers));
            }
            for file in &self.files {
                scan.files.all(*file, began).for_each(|of| (file, of).hash(&mut answers));
            }
        }
        for (table, ended_ns) in tables.iter().zip(self.ended_ns.into_iter().cycle()) {
            let windows = scan.losses.windows(*table).map_or(&[][..], |windows| windows.until(ended_ns));
            answers.write(table.name().as_bytes());
            windows.hash(&mut answers);
        }
        Id::of(answers.finish128())
    }
}
