//! File system layer.

mod decode;

use iostrata_capture::manifest::WITHOUT_MAPPINGS;
use iostrata_capture::op::Layer;

use super::{Attachment, RecordGroup, Variant, required};
use crate::kernel_facts::KernelFacts;

pub use decode::take;

/// Page cache, writeback, journals and syncs. Pages are attributed to the call that touched them, so calls are followed too.
pub static GROUP: RecordGroup = RecordGroup {
    name: "fs",
    layer: Some(Layer::Fs),
    has_files: true,
    variants,
    configure: |config, programs| config.follows_calls = u32::from(!programs.is_empty()),
    shrink: |open| {
        open.maps.fs_slots.set_max_entries(1)?;
        open.maps.fs_calls.set_max_entries(1)?;
        open.maps.last_faults.set_max_entries(1)
    },
    attachment: |program| if program == GIVE { Attachment::ByRecorder } else { Attachment::Event },
};

/// Program with which the recorder takes the aggregated records.
pub const GIVE: &str = "iostrata_fs_give";

/// A tracepoint of one file system. It is skipped if that file system is absent.
struct Told {
    /// Kernel module, if it is one.
    module: &'static str,
    tracepoint: &'static str,
    program: &'static str,
}

const fn told(module: &'static str, tracepoint: &'static str, program: &'static str) -> Told {
    Told { module, tracepoint, program }
}

const TOLD: [Told; 8] = [
    told("ext4", "ext4_sync_file_enter", "iostrata_ext4_sync_file_enter"),
    told("ext4", "ext4_sync_file_exit", "iostrata_ext4_sync_file_exit"),
    told("ext4", "ext4_sync_fs", "iostrata_ext4_sync_fs"),
    told("xfs", "xfs_file_fsync", "iostrata_xfs_file_fsync"),
    told("btrfs", "btrfs_sync_file", "iostrata_btrfs_sync_file"),
    told("btrfs", "btrfs_sync_fs", "iostrata_btrfs_sync_fs"),
    told("jbd2", "jbd2_start_commit", "iostrata_jbd2_start_commit"),
    told("jbd2", "jbd2_run_stats", "iostrata_jbd2_run_stats"),
];

fn variants(kernel: &dyn KernelFacts) -> Result<Vec<Variant>, String> {
    let folios = kernel.tracepoint_arguments("writeback_dirty_folio").is_some();
    let fill = if folios { "iostrata_fs_fill" } else { "iostrata_fs_fill_page" };
    let (dirty, dirtied) = if folios {
        ("writeback_dirty_folio", "iostrata_fs_dirty")
    } else {
        ("writeback_dirty_page", "iostrata_fs_dirty_page")
    };
    let programs = vec![
        required(kernel, "mm_filemap_add_to_page_cache", fill)?,
        required(kernel, dirty, dirtied)?,
        required(kernel, "writeback_single_inode_start", "iostrata_fs_writeback_start")?,
        required(kernel, "writeback_single_inode", "iostrata_fs_writeback")?,
        GIVE.to_owned(),
    ];
    // Helper that distinguishes a page fault from a call (5.15).
    let tells_faults = kernel.enum_value("BPF_FUNC_task_pt_regs").is_some();
    let without = if tells_faults { Vec::new() } else { vec![WITHOUT_MAPPINGS] };
    let mut own = Variant { how: "tp_btf", programs, impossible: None, without };
    let mut of_modules = Vec::new();
    for Told { module, tracepoint, program } in TOLD {
        if kernel.tracepoint_arguments(tracepoint).is_some() {
            own.programs.push(program.to_owned());
        } else if kernel.has_module(module) {
            if kernel.module_has_tracepoint(module, tracepoint) {
                of_modules.push(program.to_owned());
            }
            if !own.without.contains(&module) {
                own.without.push(module);
            }
        }
    }
    // If the kernel refuses the programs of a module, the others still work.
    let mut all = own.clone();
    all.without.retain(|module| !of_modules.iter().any(|program| program.contains(module)));
    all.programs.append(&mut of_modules);
    Ok(if all == own { vec![own] } else { vec![all, own] })
}
