//! The operating-system layer: functions of the VFS.

use super::{KernelFacts, Variant};

/// Functions, and whether the layer can do without: some kernels inline these, or have them do what another one does.
const FUNCTIONS: [(&str, bool); 7] = [
    ("vfs_read", true),
    ("vfs_write", true),
    ("vfs_readv", false),
    ("vfs_writev", false),
    ("vfs_iter_read", false),
    ("vfs_iter_write", false),
    ("vfs_fsync_range", true),
];

pub fn variants(kernel: &dyn KernelFacts) -> Result<Vec<Variant>, String> {
    let mut present = Vec::new();
    for (name, needed) in FUNCTIONS {
        match (kernel.has_function(name), needed) {
            (true, _) => present.push(name),
            (false, true) => return Err(format!("the kernel has no function {name}")),
            (false, false) => {}
        }
    }
    // A return is attached before its entry: an entry without its return would stay in the table of operations.
    let programs = |entry: &str, ret: &str| {
        present.iter().flat_map(|name| [format!("iostrata_{name}{ret}"), format!("iostrata_{name}{entry}")]).collect()
    };
    Ok(vec![
        Variant { how: "fentry/fexit", programs: programs("", "_ret"), impossible: None, without: Vec::new() },
        Variant {
            how: "kprobe/kretprobe",
            programs: programs("_kp", "_krp"),
            impossible: (!kernel.has_kprobes()).then_some("the kernel has no kprobes"),
            without: Vec::new(),
        },
    ])
}
