//! System call layer.

use iostrata_capture::op::Op;

use iostrata_capture::manifest::WITHOUT_IO_URING;

use super::{KernelFacts, Variant, required};
use crate::bpf::types::known_opcode;
use crate::session::STILL_CALLING;

pub fn variants(kernel: &dyn KernelFacts) -> Result<Vec<Variant>, String> {
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
/// later one.
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

/// System call numbers of x86-64 (arch/x86/entry/syscalls/syscall_64.tbl) and their recorded operations. A call between
/// two files is recorded on the file that is read.
pub fn operations() -> Vec<(u16, Op)> {
    vec![
        (0, Op::Read),
        (1, Op::Write),
        (17, Op::Pread),
        (18, Op::Pwrite),
        (19, Op::Readv),
        (20, Op::Writev),
        (295, Op::Preadv),
        (296, Op::Pwritev),
        (327, Op::Preadv2),
        (328, Op::Pwritev2),
        (74, Op::Fsync),
        (75, Op::Fdatasync),
        (277, Op::SyncFileRange),
        (162, Op::Sync),
        (306, Op::Syncfs),
        (2, Op::Open),
        (257, Op::Openat),
        (437, Op::Openat2),
        (85, Op::Creat),
        (304, Op::OpenByHandleAt),
        (3, Op::Close),
        (40, Op::SendfileIn),
        (326, Op::CopyFileRangeIn),
        (275, Op::SpliceIn),
        (285, Op::Fallocate),
        (77, Op::Ftruncate),
        (76, Op::Truncate),
        (87, Op::Unlink),
        (263, Op::Unlinkat),
        (82, Op::Rename),
        (264, Op::Renameat),
        (316, Op::Renameat2),
        (26, Op::Msync),
    ]
}

/// System call numbers of 32-bit programs (arch/x86/entry/syscalls/syscall_32.tbl), with the operation that each would
/// be recorded as. Submissions of aio have that of their reads. These calls are only counted.
pub fn compat_operations() -> Vec<(u16, Op)> {
    vec![
        (3, Op::Read),
        (4, Op::Write),
        (5, Op::Open),
        (6, Op::Close),
        (8, Op::Creat),
        (10, Op::Unlink),
        (36, Op::Sync),
        (38, Op::Rename),
        (92, Op::Truncate),
        (93, Op::Ftruncate),
        (118, Op::Fsync),
        (144, Op::Msync),
        (145, Op::Readv),
        (146, Op::Writev),
        (148, Op::Fdatasync),
        (180, Op::Pread),
        (181, Op::Pwrite),
        (187, Op::SendfileIn),
        (193, Op::Truncate),
        (194, Op::Ftruncate),
        (239, Op::SendfileIn),
        (248, Op::AioRead),
        (295, Op::Openat),
        (301, Op::Unlinkat),
        (302, Op::Renameat),
        (313, Op::SpliceIn),
        (314, Op::SyncFileRange),
        (324, Op::Fallocate),
        (333, Op::Preadv),
        (334, Op::Pwritev),
        (344, Op::Syncfs),
        (353, Op::Renameat2),
        (377, Op::CopyFileRangeIn),
        (378, Op::Preadv2),
        (379, Op::Pwritev2),
        (437, Op::Openat2),
    ]
}
