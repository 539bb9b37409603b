//! Run-queue latency of threads within their calls (`--run-queue`), which is a column of `syscall`.

use super::{Attachment, RecordGroup, Variant, required};
use crate::kernel_facts::KernelFacts;

/// State changes of threads.
pub static GROUP: RecordGroup = RecordGroup {
    name: "run_queue",
    layer: None,
    has_files: false,
    variants,
    configure: |config, programs| config.run_queue = u32::from(!programs.is_empty()),
    shrink: |open| open.maps.cpu_waits.set_max_entries(1),
    // A call that waits for a CPU after these are detached would have no wait.
    attachment: |_| Attachment::Last,
};

/// Tracepoints, and the programs on them.
const TRACEPOINTS: [(&str, &str); 2] =
    [("sched_switch", "iostrata_sched_switch"), ("sched_wakeup", "iostrata_sched_wakeup")];

fn variants(kernel: &dyn KernelFacts) -> Result<Vec<Variant>, String> {
    let programs = TRACEPOINTS.iter().map(|(name, program)| required(kernel, name, program));
    Ok(vec![Variant::of_tracepoints(programs.collect::<Result<_, _>>()?)])
}
