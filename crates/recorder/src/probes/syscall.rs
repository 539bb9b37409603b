//! The application layer: system calls.

use iostrata_capture::op::Op;

use iostrata_capture::manifest::WITHOUT_IO_URING;

use super::{KernelFacts, Variant, required};

pub fn variants(kernel: &dyn KernelFacts) -> Result<Vec<Variant>, String> {
    let mut programs = vec![
        required(kernel, "sched_process_exit", "iostrata_exit")?,
        required(kernel, "sched_process_exec", "iostrata_exec_calls")?,
        required(kernel, "sys_exit", "iostrata_sys_exit")?,
        required(kernel, "sys_enter", "iostrata_sys_enter")?,
    ];
    let uring = io_uring(kernel);
    let without = if uring.is_none() { vec![WITHOUT_IO_URING] } else { Vec::new() };
    programs.extend(uring.into_iter().flatten().map(str::to_owned));
    Ok(vec![Variant { how: "tp_btf", programs, impossible: None, without }])
}

/// The tracepoints tell a request by its address since 6.0; completion has its members apart until they became one.
fn io_uring(kernel: &dyn KernelFacts) -> Option<[&'static str; 2]> {
    let submitted = match kernel.tracepoint_arguments("io_uring_submit_req") {
        Some(_) => "iostrata_io_uring_submit_req",
        None if kernel.tracepoint_arguments("io_uring_submit_sqe")? == 2 => "iostrata_io_uring_submit_sqe",
        None => return None,
    };
    match kernel.tracepoint_arguments("io_uring_complete")? {
        3 => Some(["iostrata_io_uring_complete", submitted]),
        7 => Some(["iostrata_io_uring_complete_apart", submitted]),
        _ => None,
    }
}

/// System call numbers of x86-64 (arch/x86/entry/syscalls/syscall_64.tbl) and the operation each is recorded as; of a
/// call between two files, the one on the file that is read.
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
