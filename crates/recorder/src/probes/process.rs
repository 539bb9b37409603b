//! Processes, and process trees for the filters that follow them.

use super::{KernelFacts, required};

/// Programs that record a process again after its exec.
pub fn told(kernel: &dyn KernelFacts) -> Result<Vec<String>, String> {
    Ok(vec![required(kernel, "sched_process_exec", "iostrata_exec")?])
}

pub fn trees(kernel: &dyn KernelFacts) -> Result<Vec<String>, String> {
    Ok(vec![
        required(kernel, "sched_process_free", "iostrata_free")?,
        required(kernel, "sched_process_fork", "iostrata_fork")?,
        required(kernel, "sched_process_exec", "iostrata_exec_command")?,
    ])
}
