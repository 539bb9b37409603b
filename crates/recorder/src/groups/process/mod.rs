//! Processes, and process trees for the filters that follow them.

mod decode;
mod record;

use super::{RecordGroup, Variant, required, to_events};

pub use decode::take;

/// Processes, which other groups name at their first I/O; again after an exec. Always needed.
pub static GROUP: RecordGroup = RecordGroup {
    name: "process",
    layer: None,
    has_files: false,
    variants: |kernel| one(vec![required(kernel, "sched_process_exec", "iostrata_exec")?]),
    configure: |_, _| (),
    shrink: |_| Ok(()),
    attachment: to_events,
};

/// Process trees, for filters on processes.
pub static TREES: RecordGroup = RecordGroup {
    variants: |kernel| {
        one(vec![
            required(kernel, "sched_process_free", "iostrata_free")?,
            required(kernel, "sched_process_fork", "iostrata_fork")?,
            required(kernel, "sched_process_exec", "iostrata_exec_command")?,
        ])
    },
    shrink: |open| open.maps.tree.set_max_entries(1),
    ..GROUP
};

#[allow(clippy::unnecessary_wraps, reason = "the result of a group's variants")]
fn one(programs: Vec<String>) -> Result<Vec<Variant>, String> {
    Ok(vec![Variant::of_tracepoints(programs)])
}
