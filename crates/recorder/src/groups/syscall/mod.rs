//! System call layer.

mod decode;
mod numbers;

use iostrata_capture::manifest::WITHOUT_IO_URING;
use iostrata_capture::op::Layer;

use super::{Attachment, RecordGroup, Variant, required};
use crate::bpf::types::known_opcode;
use crate::kernel_facts::KernelFacts;

pub use decode::take;
pub use numbers::configure as configure_numbers;

/// Calls, and operations of aio and io_uring.
pub static GROUP: RecordGroup = RecordGroup {
    name: "syscall",
    layer: Some(Layer::Syscall),
    has_files: true,
    variants,
    configure: |_, _| (),
    shrink: |open| {
        open.maps.calls.set_max_entries(1)?;
        open.maps.callers.set_max_entries(1)?;
        open.maps.under_way.set_max_entries(1)?;
        open.maps.crowded_async.set_max_entries(1)
    },
    attachment: |program| if program == STILL_CALLING { Attachment::Iterator } else { Attachment::Event },
};

/// Program that iterates over the threads, for the calls that began before the recording and have not returned at its stop.
const STILL_CALLING: &str = "iostrata_still_calling";

fn variants(kernel: &dyn KernelFacts) -> Result<Vec<Variant>, String> {
    let mut programs = vec![
        required(kernel, "sched_process_exit", "iostrata_exit")?,
        required(kernel, "sched_process_exec", "iostrata_exec_calls")?,
        required(kernel, "sys_exit", "iostrata_sys_exit")?,
        required(kernel, "sys_enter", "iostrata_sys_enter")?,
        STILL_CALLING.to_owned(),
    ];
    let uring = io_uring(kernel);
    let without = if uring.is_none() { vec![WITHOUT_IO_URING] } else { Vec::new() };
    programs.extend(uring.unwrap_or_default().into_iter().map(str::to_owned));
    Ok(vec![Variant { how: "tp_btf", programs, impossible: None, without }])
}

/// Since 6.0 the tracepoints identify a request by its address. The completion tracepoint of older kernels has each
/// member as an argument.
fn io_uring(kernel: &dyn KernelFacts) -> Option<Vec<&'static str>> {
    let submitted = match kernel.tracepoint_arguments("io_uring_submit_req") {
        Some(_) => "iostrata_io_uring_submit_req",
        None if kernel.tracepoint_arguments("io_uring_submit_sqe")? == 2 => "iostrata_io_uring_submit_sqe",
        None => return None,
    };
    let completed = match kernel.tracepoint_arguments("io_uring_complete")? {
        3 => "iostrata_io_uring_complete",
        7 => "iostrata_io_uring_complete_apart",
        _ => return None,
    };
    // Until 6.2 the tracepoint of a refused request also has the ring.
    let refused = match kernel.tracepoint_arguments("io_uring_req_failed")? {
        3 => "iostrata_io_uring_req_failed",
        4 => "iostrata_io_uring_req_failed_ring",
        _ => return None,
    };
    kernel.tracepoint_arguments("io_uring_cqe_overflow")?;
    Some(vec![completed, refused, "iostrata_io_uring_cqe_overflow", submitted])
}

/// Name of an io_uring operation in the kernel.
pub fn opcode_name(kernel: &dyn KernelFacts, opcode: u32) -> String {
    let members = kernel.enum_members("io_uring_op");
    let named = members.into_iter().find(|(_, value)| *value == i64::from(opcode));
    named.map_or_else(|| format!("operation {opcode}"), |(name, _)| name)
}

/// Operations of io_uring that the kernel has and the recorder does not know: their I/O has no rows.
pub fn unknown_opcodes(kernel: &dyn KernelFacts) -> Vec<String> {
    let is_unknown = |value: i64| value >= i64::from(known_opcode::FIRST_UNKNOWN_OPCODE.0);
    let members = kernel.enum_members("io_uring_op").into_iter();
    members.filter(|(name, value)| is_unknown(*value) && name != "IORING_OP_LAST").map(|(name, _)| name).collect()
}
