//! Run-queue latency of threads.

use super::{KernelFacts, required};

/// Tracepoints, and the programs on them.
const TRACEPOINTS: [(&str, &str); 2] =
    [("sched_switch", "iostrata_sched_switch"), ("sched_wakeup", "iostrata_sched_wakeup")];

pub fn told(kernel: &dyn KernelFacts) -> Result<Vec<String>, String> {
    TRACEPOINTS.iter().map(|(name, program)| required(kernel, name, program)).collect()
}

/// Whether `program` belongs to this group.
pub fn is_one(program: &str) -> bool {
    TRACEPOINTS.iter().any(|(_, one)| *one == program)
}
