//! System call numbers of x86-64 and of its 32-bit programs.

use iostrata_capture::op::Op;

use crate::bpf::types;

/// Writes the recorded operation of each system call into the configuration. `op_words` are the names of the operations by their code.
pub fn configure(config: &mut types::config, op_words: &[String]) {
    let code = |op: Op| op_words.iter().position(|word| word == op.name()).unwrap_or(0) as u8;
    for (number, op) in operations() {
        config.syscall_op[usize::from(number)] = code(op);
    }
    for (number, op) in compat_operations() {
        config.compat_op[usize::from(number)] = code(op);
    }
}

/// System call numbers of x86-64 (arch/x86/entry/syscalls/syscall_64.tbl) and their recorded operations. A call between
/// two files is recorded on the file that is read.
fn operations() -> Vec<(u16, Op)> {
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
fn compat_operations() -> Vec<(u16, Op)> {
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
