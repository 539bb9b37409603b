//! Command names of threads, which a trace has once for each thread.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::RandomState;
use iostrata_capture::column::Comm;

use crate::import::traced::Submitter;

/// Maximum number of names. The oldest are evicted first.
const MOST_NAMES: usize = 1 << 18;

/// Names by thread number.
#[derive(Debug, Default)]
pub struct Names {
    names: HashMap<u32, Comm, RandomState>,
    told: VecDeque<u32>,
}

impl Names {
    /// Sets the name of a thread.
    pub fn learn(&mut self, pid: u32, comm: Comm) {
        if self.names.insert(pid, comm).is_some() {
            return;
        }
        self.told.push_back(pid);
        if self.told.len() > MOST_NAMES
            && let Some(first) = self.told.pop_front()
        {
            self.names.remove(&first);
        }
    }

    /// Returns the thread as a submitter.
    pub fn submitter(&self, pid: u32) -> Submitter {
        Submitter { pid: pid as i32, comm: self.names.get(&pid).copied().unwrap_or_default() }
    }
}
