//! VFS layer.

mod decode;

use iostrata_capture::op::Layer;

use super::{Attachment, RecordGroup, Variant, required};
use crate::kernel_facts::KernelFacts;

pub use decode::take;

/// Reads, writes and syncs of the VFS.
pub static GROUP: RecordGroup = RecordGroup {
    name: "vfs",
    layer: Some(Layer::Vfs),
    has_files: true,
    variants,
    configure: |config, programs| config.misses_returns = u32::from(misses_returns(programs)),
    shrink: |open| open.maps.vfs_ops.set_max_entries(1),
    attachment: |program| if is_return(program) { Attachment::Last } else { Attachment::Event },
};

/// Name suffixes that distinguish the entry and return programs of a function (`VFS_FUNCTION` in bpf/vfs/vfs.bpf.h).
const FENTRY: &str = "";
const FEXIT: &str = "_ret";
const KPROBE: &str = "_kp";
const KRETPROBE: &str = "_krp";

/// Functions, and whether the layer requires them: some kernels inline these, or implement them by another one.
const FUNCTIONS: [(&str, bool); 7] = [
    ("vfs_read", true),
    ("vfs_write", true),
    ("vfs_readv", false),
    ("vfs_writev", false),
    ("vfs_iter_read", false),
    ("vfs_iter_write", false),
    ("vfs_fsync_range", true),
];

fn variants(kernel: &dyn KernelFacts) -> Result<Vec<Variant>, String> {
    let mut present = Vec::new();
    for (name, needed) in FUNCTIONS {
        match (kernel.has_function(name), needed) {
            (true, _) => present.push(name),
            (false, true) => return Err(format!("the kernel has no function {name}")),
            (false, false) => {}
        }
    }
    let ends = [
        required(kernel, "sched_process_exit", "iostrata_vfs_exit")?,
        required(kernel, "sched_process_exec", "iostrata_vfs_exec")?,
    ];
    // A return program is attached before its entry program: an entry without its return would count as missed.
    let variant = |how, (entry, ret): (&str, &str), impossible: Option<&'static str>| {
        let of_function = |name: &&str| [format!("iostrata_{name}{ret}"), format!("iostrata_{name}{entry}")];
        let programs = present.iter().flat_map(of_function).chain(ends.clone()).collect();
        Variant { how, programs, impossible, without: Vec::new() }
    };
    let no_kprobes = (!kernel.has_kprobes()).then_some("the kernel has no kprobes");
    // Before this structure existed, detaching fexit freed the code that a sleeping function returns to
    // (bpf_tramp_image_put()).
    let unsafe_fexit = (!kernel.has_struct("bpf_tramp_image")).then_some("the kernel's fexit is not safe to detach");
    Ok(vec![
        variant("fentry/fexit", (FENTRY, FEXIT), unsafe_fexit),
        variant("kprobe/fexit", (KPROBE, FEXIT), no_kprobes.or(unsafe_fexit)),
        variant("kprobe/kretprobe", (KPROBE, KRETPROBE), no_kprobes),
    ])
}

/// Whether `program` runs at the return of a VFS function.
fn is_return(program: &str) -> bool {
    program.ends_with(FEXIT) || program.ends_with(KRETPROBE)
}

/// Whether the kernel may skip returns for one of `programs`: the number of kretprobes in use at a time is limited.
fn misses_returns(programs: &[&str]) -> bool {
    programs.iter().any(|program| program.ends_with(KRETPROBE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::groups::tests::Host;

    #[test]
    fn returns_are_told_from_entries_by_name() {
        for variant in variants(&Host::complete()).expect("everything is there") {
            let programs: Vec<&str> = variant.programs.iter().map(String::as_str).collect();
            assert_eq!(programs.iter().filter(|program| is_return(program)).count(), 7, "{}", variant.how);
            assert_eq!(misses_returns(&programs), variant.how == "kprobe/kretprobe");
        }
    }
}
