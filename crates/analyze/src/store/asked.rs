//! What the result of some rows depends on beside these rows: tables of processes, files and losses, which go on growing while a machine is
//! recorded. It is kept which of their answers a scan asked for, and when these held, so that it can be told whether they still do.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};

use iostrata_capture::TableId;
use serde::{Deserialize, Serialize};
use siphasher::sip128::{Hasher128, SipHasher13};

use super::Id;

use crate::scan::Scan;
use crate::scan::told::{Start, Told};

/// What was asked, and what the answers were.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Asked {
    /// Process ids.
    pids: BTreeSet<i32>,
    /// Process ids with the start of the process.
    started: BTreeSet<(i32, i64)>,
    /// Device and inode numbers.
    files: BTreeSet<(i32, i64)>,
    /// The first and the last moment that was asked about.
    began: Option<(i64, i64)>,
    /// The last moment at which something ended.
    ended_ns: Option<i64>,
    /// Whether something was left out because, as the capture is now, not all is there of when it ended.
    leaves_out: bool,
    /// All answers in these times.
    answers: Id,
}

impl Asked {
    /// Something is asked of what began then.
    #[inline]
    pub fn began(&mut self, ts_ns: i64) {
        let (first, last) = self.began.get_or_insert((ts_ns, ts_ns));
        (*first, *last) = ((*first).min(ts_ns), (*last).max(ts_ns));
    }

    /// Something ended then, which may be counted in the time of a loss.
    #[inline]
    pub fn ended(&mut self, ns: i64) {
        self.ended_ns = self.ended_ns.max(Some(ns));
    }

    /// Something was left out because not all is there of when it ended.
    #[inline]
    pub fn leave_out(&mut self) {
        self.leaves_out = true;
    }

    /// Whether something was.
    pub fn leaves_out(&self) -> bool {
        self.leaves_out
    }

    /// It is asked whose this is.
    pub fn whose(&mut self, told: &Told) {
        match told.process {
            (Some(pid), Start::At(Some(start_ns))) => drop(self.started.insert((pid, start_ns))),
            (Some(pid), _) => drop(self.pids.insert(pid)),
            (None, _) => {}
        }
        self.files.extend(told.file);
    }

    /// Keeps the answers, which are those of now.
    pub fn settle(&mut self, scan: &Scan, tables: &[TableId]) {
        self.answers = self.answers(scan, tables);
    }

    /// Whether the answers are still the same.
    pub fn holds(&self, scan: &Scan, tables: &[TableId]) -> bool {
        self.answers == self.answers(scan, tables)
    }

    fn answers(&self, scan: &Scan, tables: &[TableId]) -> Id {
        let mut answers = SipHasher13::new();
        // The recorder tells at its end who served others.
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
