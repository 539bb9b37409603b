//! The command names of threads, of which a trace tells once for each.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::RandomState;
use iostrata_capture::column::Comm;

use crate::import::traced::Submitter;

/// As many are remembered; those that were told of first go first.
const MOST_NAMES: usize = 1 << 18;

/// Names by the number of the thread.
#[derive(Debug, Default)]
pub struct Names {
    names: HashMap<u32, Comm, RandomState>,
    told: VecDeque<u32>,
}

impl Names {
    /// From now on this thread has this name.
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

    /// Who a thread is.
    pub fn submitter(&self, pid: u32) -> Submitter {
        Submitter { pid: pid as i32, comm: self.names.get(&pid).copied().unwrap_or_default() }
    }
}
