//! Block layer.

mod decode;
pub mod makers;

use iostrata_capture::op::Layer;

use super::{RecordGroup, Variant, required, to_events};
use crate::bpf::types;
use crate::kernel_facts::KernelFacts;

pub use decode::take;
pub use makers::configure as configure_makers;

/// Requests, and the owners of dirty pages.
pub static GROUP: RecordGroup = RecordGroup {
    name: "block",
    layer: Some(Layer::Block),
    has_files: false,
    variants,
    configure: |config, programs| config.told_writes = told_writes(programs),
    shrink: |open| {
        open.maps.part_lists.set_max_entries(1)?;
        open.maps.requests.set_max_entries(1)?;
        open.maps.places.set_max_entries(1)?;
        open.maps.crowded.set_max_entries(1)?;
        open.maps.inode_owners.set_max_entries(1)?;
        open.maps.page_owners.set_max_entries(1)?;
        open.maps.writers.set_max_entries(1)?;
        open.maps.queued.set_max_entries(1)?;
        open.maps.bios.set_max_entries(1)
    },
    attachment: to_events,
};

struct Tracepoint {
    name: &'static str,
    /// Number of arguments without a leading queue.
    arguments: usize,
    /// Whether the layer requires it. Merges have a tracepoint only since 5.11; without it, the entry of a merged
    /// request is overwritten by the next use of that request.
    needed: bool,
}

const fn tracepoint(name: &'static str, arguments: usize) -> Tracepoint {
    Tracepoint { name, arguments, needed: true }
}

/// In the order of attachment. Completions come last, so that the start of what they see was seen.
const TRACEPOINTS: [Tracepoint; 7] = [
    tracepoint("block_bio_queue", 1),
    Tracepoint { needed: false, ..tracepoint("block_split", 2) },
    tracepoint("block_bio_remap", 3),
    tracepoint("block_rq_insert", 1),
    tracepoint("block_rq_issue", 1),
    tracepoint("block_rq_requeue", 1),
    Tracepoint { needed: false, ..tracepoint("block_rq_merge", 1) },
];

/// Tracepoints of completions, which emit the rows.
const ENDS: [&str; 2] = ["block_bio_complete", "block_rq_complete"];

/// Tracepoints of each write of a file system: nothing else reports a write to a page that is already dirty.
struct Writes {
    /// Kernel module, if it is one.
    module: &'static str,
    /// Name of the part that is not captured without it.
    without: &'static str,
    /// Tracepoints, the number of arguments of each, and the programs on them.
    programs: &'static [(&'static str, usize, &'static str)],
}

const WRITES: [Writes; 2] = [
    Writes {
        module: "ext4",
        without: "writes of ext4",
        programs: &[
            ("ext4_da_write_end", 4, "iostrata_ext4_da_write_end"),
            ("ext4_write_end", 4, "iostrata_ext4_write_end"),
            ("ext4_journalled_write_end", 4, "iostrata_ext4_journalled_write_end"),
        ],
    },
    Writes {
        module: "xfs",
        without: "writes of xfs",
        programs: &[("xfs_file_buffered_write", 2, "iostrata_xfs_buffered_write")],
    },
];

/// File systems with a program for each write, as bits of `enum told_writes`.
fn told_writes(programs: &[&str]) -> u32 {
    let has = |part: &str| programs.iter().any(|program| program.contains(part));
    let bit = |there: bool, bit: types::told_writes| if there { bit.0 } else { 0 };
    bit(has("ext4_da_write_end"), types::told_writes::TOLD_WRITES_EXT4)
        | bit(has("xfs_buffered_write"), types::told_writes::TOLD_WRITES_XFS)
}

fn variants(kernel: &dyn KernelFacts) -> Result<Vec<Variant>, String> {
    // First of all: a page dirtied before this program is attached has no owner.
    let mut programs = vec![dirtied(kernel)?];
    for Tracepoint { name, arguments, needed } in TRACEPOINTS {
        match kernel.tracepoint_arguments(name) {
            Some(found) if found > arguments => programs.push(format!("iostrata_{name}_q")),
            Some(_) => programs.push(format!("iostrata_{name}")),
            None if needed => return Err(format!("the kernel has no tracepoint {name}")),
            None => {}
        }
    }
    for end in ENDS {
        programs.push(required(kernel, end, &format!("iostrata_{end}"))?);
    }
    let mut own = Variant { how: "tp_btf", programs, impossible: None, without: Vec::new() };
    let mut all = own.clone();
    for Writes { module, without, programs } in &WRITES {
        // In front, with the other programs that determine page owners.
        let names = programs.iter().map(|(_, _, program)| (*program).to_owned());
        let is_there = |(tracepoint, arguments, _): &(&str, usize, &str)| {
            kernel.tracepoint_arguments(tracepoint) == Some(*arguments)
        };
        let in_module = |(tracepoint, _, _): &(&str, usize, &str)| kernel.module_has_tracepoint(module, tracepoint);
        if programs.iter().all(is_there) {
            all.programs.splice(1..1, names.clone());
            own.programs.splice(1..1, names);
        } else if kernel.has_module(module) {
            own.without.push(without);
            if programs.iter().all(in_module) {
                all.programs.splice(1..1, names);
            } else {
                all.without.push(without);
            }
        }
    }
    // If the kernel refuses the programs of a module, the others still work.
    Ok(if all == own { vec![own] } else { vec![all, own] })
}

/// The tracepoint for dirtied pages has a folio since 5.16.
fn dirtied(kernel: &dyn KernelFacts) -> Result<String, String> {
    required(kernel, "writeback_dirty_folio", "iostrata_dirty_folio")
        .or_else(|_| required(kernel, "writeback_dirty_page", "iostrata_dirty_page"))
}

/// Bits of `rq_flags` for "in a flush sequence" and "in the I/O counters". They were macros, with these values, from
/// 4.x until they became an enum in 6.11 (include/linux/blk-mq.h). The kernel's BTF has only the enum.
pub fn request_flag_bits(kernel: &dyn KernelFacts) -> (u32, u32) {
    let bit = |name, macro_bit| kernel.enum_value(name).and_then(|bit| u32::try_from(bit).ok()).unwrap_or(macro_bit);
    (bit("__RQF_FLUSH_SEQ", 4), bit("__RQF_IO_STAT", 13))
}
