//! The device layer.

use super::{KernelFacts, Variant, required};

/// Tracepoints in the order of attachment, how many arguments they have without the queue in front, and whether the
/// layer can do without. Completion comes last, so that what it sees was seen before. Merging has a tracepoint since
/// 5.11 only; without it the entry of a merged request is overwritten by the next use of that request.
const TRACEPOINTS: [(&str, usize, bool); 6] = [
    ("block_bio_queue", 1, true),
    ("block_split", 2, false),
    ("block_rq_insert", 1, true),
    ("block_rq_issue", 1, true),
    ("block_rq_requeue", 1, true),
    ("block_rq_merge", 1, false),
];

pub fn variants(kernel: &dyn KernelFacts) -> Result<Vec<Variant>, String> {
    let mut programs = Vec::new();
    for (name, arguments, needed) in TRACEPOINTS {
        match kernel.tracepoint_arguments(name) {
            Some(found) if found > arguments => programs.push(format!("iostrata_{name}_q")),
            Some(_) => programs.push(format!("iostrata_{name}")),
            None if needed => return Err(format!("the kernel has no tracepoint {name}")),
            None => {}
        }
    }
    programs.push(required(kernel, "block_rq_complete", "iostrata_block_rq_complete")?);
    Ok(vec![Variant { how: "tp_btf", programs }])
}

/// The bits of `rq_flags` for "in a flush sequence" and "in the I/O counters". Where they are not in the kernel's BTF
/// they are macros, and these were their values from 4.x until they became an enum in 6.11 (include/linux/blk-mq.h).
pub fn request_flag_bits(kernel: &dyn KernelFacts) -> (u32, u32) {
    let bit = |name, macro_bit| kernel.enum_value(name).and_then(|bit| u32::try_from(bit).ok()).unwrap_or(macro_bit);
    (bit("__RQF_FLUSH_SEQ", 4), bit("__RQF_IO_STAT", 13))
}
