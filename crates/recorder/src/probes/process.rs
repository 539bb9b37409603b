//! Process trees, for filters that follow them.

use super::{KernelFacts, required};

pub fn programs(kernel: &dyn KernelFacts) -> Result<Vec<String>, String> {
    Ok(vec![
        required(kernel, "sched_process_free", "iostrata_free")?,
        required(kernel, "sched_process_fork", "iostrata_fork")?,
    ])
}
