//! The application layer: system calls.

use iostrata_capture::op::Op;

use super::{KernelFacts, Variant, required};

pub fn variants(kernel: &dyn KernelFacts) -> Result<Vec<Variant>, String> {
    let programs = vec![
        required(kernel, "sched_process_exit", "iostrata_exit")?,
        required(kernel, "sys_exit", "iostrata_sys_exit")?,
        required(kernel, "sys_enter", "iostrata_sys_enter")?,
    ];
    Ok(vec![Variant { how: "tp_btf", programs, impossible: None }])
}

/// System call numbers of x86-64 (arch/x86/entry/syscalls/syscall_64.tbl) and the operation each is recorded as.
pub fn operations() -> [(u16, Op); 19] {
    [
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
        (3, Op::Close),
    ]
}
