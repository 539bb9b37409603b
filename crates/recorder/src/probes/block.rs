//! The device layer.

use super::{KernelFacts, Variant, required};

struct Tracepoint {
    name: &'static str,
    /// How many arguments it has without the queue in front.
    arguments: usize,
    /// Whether the layer can do without. Merging has a tracepoint since 5.11 only; without it the entry of a merged
    /// request is overwritten by the next use of that request.
    needed: bool,
}

const fn tracepoint(name: &'static str, arguments: usize) -> Tracepoint {
    Tracepoint { name, arguments, needed: true }
}

/// In the order of attachment. Ends come last, so that what they see was seen before.
const TRACEPOINTS: [Tracepoint; 7] = [
    tracepoint("block_bio_queue", 1),
    Tracepoint { needed: false, ..tracepoint("block_split", 2) },
    tracepoint("block_bio_remap", 3),
    tracepoint("block_rq_insert", 1),
    tracepoint("block_rq_issue", 1),
    tracepoint("block_rq_requeue", 1),
    Tracepoint { needed: false, ..tracepoint("block_rq_merge", 1) },
];

/// What tells of ends, of which rows are made.
const ENDS: [&str; 2] = ["block_bio_complete", "block_rq_complete"];

pub fn variants(kernel: &dyn KernelFacts) -> Result<Vec<Variant>, String> {
    // First of all: what turns dirty before anything else is attached has no owner.
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
    Ok(vec![Variant { how: "tp_btf", programs, impossible: None, without: Vec::new() }])
}

/// The tracepoint at which a page turns dirty has a folio since 5.16.
fn dirtied(kernel: &dyn KernelFacts) -> Result<String, String> {
    required(kernel, "writeback_dirty_folio", "iostrata_dirty_folio")
        .or_else(|_| required(kernel, "writeback_dirty_page", "iostrata_dirty_page"))
}

/// The bits of `rq_flags` for "in a flush sequence" and "in the I/O counters". Where they are not in the kernel's BTF
/// they are macros, and these were their values from 4.x until they became an enum in 6.11 (include/linux/blk-mq.h).
pub fn request_flag_bits(kernel: &dyn KernelFacts) -> (u32, u32) {
    let bit = |name, macro_bit| kernel.enum_value(name).and_then(|bit| u32::try_from(bit).ok()).unwrap_or(macro_bit);
    (bit("__RQF_FLUSH_SEQ", 4), bit("__RQF_IO_STAT", 13))
}
