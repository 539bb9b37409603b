//! The tables of a capture. This is the one declaration of every column.
//!
//! `ts_ns` is nanoseconds since the Unix epoch: the monotonic clock plus one offset fixed at the start of the
//! recording, so that differences are exact. Device numbers are `major << 20 | minor`, as in the kernel. Integers are
//! signed because unsigned 64-bit columns break Spark. `null` means not known or not applicable, never zero.

use crate::TableId;
use crate::column::Comm;
use crate::op::{Evidence, FdKind, IoClass, Op, PathOrigin, Via};
use crate::part::PartWriter;
use crate::table::{Column, Table, table};

table! {
    /// One I/O system call on a regular file or a block device, when it has returned.
    SyscallTable of Syscall, columns syscall, row SyscallRow, builder SyscallBuilder, view SyscallView {
        /// When the call was entered.
        ts_ns: i64 => Delta,
        /// Entry to return.
        dur_ns: i64 => Split,
        /// Process (thread group) id, as the initial pid namespace has it.
        pid: i32 => Delta,
        /// Thread id.
        tid: i32 => Split,
        /// The thread's command name.
        comm: Comm => Dictionary,
        /// The cgroup v2 id (inode number of its directory).
        cgroup_id: i64 => Delta,
        /// The system call.
        op: Op => Dictionary,
        /// What kind of file it was on; null for `sync` and for an open that failed.
        fd_kind: Option<FdKind> => Dictionary,
        /// Device that holds the file; for a block device, the device itself.
        dev: Option<i32> => Delta,
        /// Inode number of the file.
        ino: Option<i64> => Delta,
        /// Where in the file it began: the argument, or the file position for read and write. Null where that is not certain: for an
        /// append of Linux aio, and where others moved the position meanwhile.
        offset_bytes: Option<i64> => Split,
        /// Bytes asked for; null where the call asks for none or the vector was too long to add up.
        requested_bytes: Option<i64> => Split,
        /// For how long of `dur_ns` its thread was runnable and on no CPU: it was preempted, or had been woken (on kernels that stop
        /// a thread within a call whose cgroup has used up its quota of CPU time, that counts too). Null unless it was asked for (`record --run-queue`); of aio and io_uring; of calls that a signal
        /// interrupted and the kernel began anew; and where the kernel did not tell each change, which is counted
        /// (`unmeasured_calls` in the manifest).
        runnable_ns: Option<i64> => Delta added,
        /// What the call returned: bytes done, a descriptor, 0, or a negative errno.
        ret: i64 => Delta,
        /// Open flags of the file (`O_DIRECT`, `O_SYNC`, `O_APPEND`, …), as in fcntl.h; null where there is no file.
        flags: Option<i32> => Delta,
        /// For how many events the row stands: 1, or more where `--cpu-limit` let only some moments be recorded. Sums over rows
        /// are estimates then, and each row is to be multiplied by this.
        weight: i32 => Delta,
    }
}

table! {
    /// One read, write or sync in the virtual file system, when it has returned.
    VfsTable of Vfs, columns vfs, row VfsRow, builder VfsBuilder, view VfsView {
        /// When the function was entered.
        ts_ns: i64 => Delta,
        /// Entry to return.
        dur_ns: i64 => Split,
        /// Process (thread group) id, as the initial pid namespace has it.
        pid: i32 => Delta,
        /// Thread id.
        tid: i32 => Split,
        /// The thread's command name.
        comm: Comm => Dictionary,
        /// The cgroup v2 id (inode number of its directory).
        cgroup_id: i64 => Delta,
        /// `read`, `write` or `fsync`.
        op: Op => Dictionary,
        /// What kind of file it was on.
        fd_kind: Option<FdKind> => Dictionary,
        /// Device that holds the file; for a block device, the device itself.
        dev: Option<i32> => Delta,
        /// Inode number of the file.
        ino: Option<i64> => Delta,
        /// Where in the file it began.
        offset_bytes: Option<i64> => Split,
        /// Bytes asked for.
        requested_bytes: Option<i64> => Split,
        /// Bytes done, 0, or a negative errno.
        ret: i64 => Delta,
        /// For how many events the row stands: 1, or more where `--cpu-limit` let only some moments be recorded. Sums over rows
        /// are estimates then, and each row is to be multiplied by this.
        weight: i32 => Delta,
    }
}

table! {
    /// Something in a file system. Pages that enter the page cache or turn dirty are gathered: a row is of all that one
    /// process did to one file in one way, on one CPU, within a second.
    FsTable of Fs, columns fs, row FsRow, builder FsBuilder, view FsView {
        /// When it began.
        ts_ns: i64 => Split,
        /// How long it took; of what is gathered, from the first to the last. Null where the kernel does not tell.
        dur_ns: Option<i64> => Split,
        /// What happened.
        op: Op => Dictionary,
        /// Process (thread group) id, as the initial pid namespace has it: the one in whose context it happened.
        pid: i32 => Split,
        /// Thread id, of the first event.
        tid: i32 => Split,
        /// The thread's command name.
        comm: Comm => Dictionary,
        /// The cgroup v2 id (inode number of its directory).
        cgroup_id: i64 => Delta,
        /// How the process came to it; null for threads of the kernel, and before Linux 5.15, which does not tell.
        via: Option<Via> => Dictionary,
        /// The type of the file system, as in /proc/filesystems; `bdev` for a block device itself; null for a journal.
        fs: Comm => Dictionary,
        /// What kind of file it is: `block` has what a file system keeps in the cache of its device; null is an inode that it
        /// keeps for itself (ext4's block groups, btrfs's trees).
        fd_kind: Option<FdKind> => Dictionary,
        /// Device that holds the file; for a block device, the device itself.
        dev: i32 => Delta,
        /// Inode number of the file; null for a journal or a file system as a whole.
        ino: Option<i64> => Split,
        /// Where in the file; of what is gathered, the lowest.
        offset_bytes: Option<i64> => Split,
        /// Bytes of the pages or, of a commit, of the blocks.
        bytes: i64 => Split,
        /// How many events the row is: folios, faults, or 1.
        events: i64 => Delta,
        /// Blocks that a commit logged.
        blocks: Option<i64> => Delta,
        /// For how many events the row stands: 1, or more where `--cpu-limit` let only some moments be recorded. Sums over rows
        /// are estimates then, and each row is to be multiplied by this.
        weight: i32 => Delta,
    }
}

table! {
    /// One block request, from the queueing of its first bio to its completion; of a device that makes no requests (dm, md, zram) one bio.
    BlockTable of Block, columns block, row BlockRow, builder BlockBuilder, view BlockView {
        /// When its first bio was queued (Q). Where that was not seen, when the request was allocated; where neither is
        /// known, when it completed.
        ts_ns: i64 => Delta,
        /// Q2C: queueing to completion; null where the start or the end was not seen.
        dur_ns: Option<i64> => Split,
        /// Queueing to the first of insertion into the scheduler and issue: allocation, throttling, plugging, merging.
        queue_ns: Option<i64> => Split,
        /// I2D: insertion into the scheduler to issue; null for a request that went to the driver directly. The time in
        /// the driver and device (D2C) is `dur_ns - queue_ns - coalesce(insert_ns, 0)`.
        insert_ns: Option<i64> => Split,
        /// The owner: the process whose I/O it is, as `evidence` says; null where that is not known.
        pid: Option<i32> => Delta,
        /// The owner's thread: the one that submitted it, dirtied the inode first or wrote the page last.
        tid: Option<i32> => Split,
        /// The command name of that thread at that time.
        comm: Comm => Dictionary,
        /// The owner's cgroup v2 id; where only the cgroup is known, that cgroup.
        cgroup_id: Option<i64> => Delta,
        /// When the owner's process started; with `pid` this names one process of the whole capture.
        start_ns: Option<i64> => Delta,
        /// How the owner is known.
        evidence: Evidence => Dictionary,
        /// What of `bytes` is the owner's, and of this class and file: less than all where bios of several owners were
        /// merged, or where one carries pages of several.
        owned_bytes: i64 => Delta,
        /// What of `bytes` is in rows of `share`. What is neither there nor in `owned_bytes` is nobody's, and of this
        /// class.
        shared_bytes: i64 => Delta,
        /// The process that queued the first bio; null where that is the owner, or was not seen.
        submitter_pid: Option<i32> => Delta,
        /// The command name of the thread that queued the first bio, where that is not the owner.
        submitter_comm: Comm => Dictionary,
        /// What it carries.
        class: IoClass => Dictionary,
        /// Device number of the file system of the file whose pages the owner's are, or that direct I/O is on; null where
        /// that is not told, or where there are more files than could be told apart.
        file_dev: Option<i32> => Delta,
        /// The file's inode number.
        ino: Option<i64> => Delta,
        /// The whole disk.
        dev: i32 => Delta,
        /// How many disks `dev` stands on, one on the other: 0 for one that stands on no other, 1 for a loop device on a file
        /// of such a disk. The same bytes may show at every level: add only rows of one. Null where it is not known.
        level: Option<i32> => Delta,
        /// First sector, in units of 512 bytes; null for a request without a place.
        sector: Option<i64> => Split,
        /// Bytes completed.
        bytes: i64 => Delta,
        /// What was asked of the device.
        op: Op => Dictionary,
        /// Request flags: 1 sync, 2 metadata, 4 priority, 8 FUA, 16 preflush, 32 readahead, 64 background, 128 nowait,
        /// 256 swap, 512 not in the kernel's I/O counters.
        flags: i32 => Delta,
        /// 0, or the negative errno it completed with.
        error: i32 => Delta,
        /// Bios in the request; merges are one less.
        bios: i32 => Delta,
        /// How often the driver handed it back; 255 is so often or more.
        requeues: i32 => Delta,
        /// For how many events the row stands: 1, or more where `--cpu-limit` let only some moments be recorded. Sums over rows
        /// are estimates then, and each row is to be multiplied by this.
        weight: i32 => Delta,
    }
}

table! {
    /// A part of a block request that is not its owner's, or not of its class or file. Parts of one request have its
    /// `ts_ns`, `dev` and `sector`.
    ShareTable of Share, columns share, row ShareRow, builder ShareBuilder, view ShareView {
        /// The `ts_ns` of the request.
        ts_ns: i64 => Delta,
        /// The disk of the request.
        dev: i32 => Delta,
        /// The first sector of the request.
        sector: Option<i64> => Split,
        /// What was asked of the device.
        op: Op => Dictionary,
        /// Flags of the request, as in `block`.
        flags: i32 => Delta,
        /// Whose part it is; null where that is not known.
        pid: Option<i32> => Delta,
        /// The owner's thread.
        tid: Option<i32> => Split,
        /// The command name of that thread.
        comm: Comm => Dictionary,
        /// The owner's cgroup v2 id.
        cgroup_id: Option<i64> => Delta,
        /// When the owner's process started.
        start_ns: Option<i64> => Delta,
        /// How the owner is known.
        evidence: Evidence => Dictionary,
        /// What it carries.
        class: IoClass => Dictionary,
        /// Device number of the file system of the file.
        file_dev: Option<i32> => Delta,
        /// The file's inode number.
        ino: Option<i64> => Delta,
        /// Bytes completed.
        bytes: i64 => Delta,
        /// The `weight` of the request.
        weight: i32 => Delta,
    }
}

table! {
    /// A process as it was at its first recorded I/O, again after each exec, and in each cgroup in which it does any. An event belongs
    /// to the row of its pid with the greatest `ts_ns` that is not after it. One that does I/O within an exec, which may be the
    /// reading of its program, has a row for that without a command line, and a nanosecond later the one that counts.
    ProcessTable of Process, columns process, row ProcessRow, builder ProcessBuilder, view ProcessView {
        /// When it was seen.
        ts_ns: i64 => Delta,
        /// Process (thread group) id, as the initial pid namespace has it.
        pid: i32 => Delta,
        /// Process id of the parent.
        ppid: i32 => Delta,
        /// When the process started; with `pid` this names one process of the whole capture.
        start_ns: i64 => Delta,
        /// The command name of the process, which is that of its first thread.
        comm: Comm => Dictionary,
        /// Whether it is a thread of the kernel.
        kernel_thread: bool => Plain,
        /// The cgroup v2 id (inode number of its directory).
        cgroup_id: i64 => Delta,
        /// The executable's path, from the root of the mount namespace that the process is in; without a `/` in front it is the
        /// end of one (longer than 512 bytes, or more than 64 names and mounts deep).
        exe: Option<String> => Plain,
        /// The command line, arguments separated by spaces. Of one longer than 768 bytes the first 512 and the last 256, with ` … `
        /// between them. Null also where the process was seen only before its arguments were there, and of threads of the kernel.
        cmdline: Option<String> => Plain,
        /// Path of the cgroup below the cgroup v2 mount. Null of one that is not below it, or whose path has more than 512 bytes.
        cgroup: Option<String> => Plain,
    }
}

table! {
    /// The name of a file when it was first met in the recording, and again when it is met under another name or its inode
    /// number is another file's. An event belongs to the row of its `dev` and `ino` with the greatest `ts_ns` that is not
    /// after it, or else to the first one.
    FileTable of File, columns file, row FileRow, builder FileBuilder, view FileView {
        /// When it was met: the start of the operation.
        ts_ns: i64 => Delta,
        /// Device that holds the file; for a block device, the device itself.
        dev: i32 => Delta,
        /// Inode number of the file.
        ino: i64 => Delta,
        /// Which of the files that have had this inode number, one after the other (`i_generation`): files that differ in it are
        /// not the same one.
        generation: i64 => Delta,
        /// The path, as `path_origin` says. Null where it has none, or none that could be read.
        path: Option<String> => Plain,
        /// Where the path begins.
        path_origin: Option<PathOrigin> => Dictionary,
        /// The mount namespace that the path is of, by the inode number of /proc/PID/ns/mnt; null where it is of none. A
        /// container has one of its own, in which the same file may have another path.
        mount_namespace: Option<i64> => Delta,
        /// Whether no directory had it any more when it was met; the path is where it was last.
        deleted: bool => Plain,
        /// What kind of file it is.
        fd_kind: Option<FdKind> => Dictionary,
        /// The type of the file system, as in /proc/filesystems; of a block device, of the one that has its node.
        fs: Comm => Dictionary,
        /// The process (thread group) id that met it, as the initial pid namespace has it. With `path_origin` `filesystem`
        /// it may be any process that touched its pages, a kernel worker too.
        pid: i32 => Delta,
    }
}

table! {
    /// Both clocks at one moment, and the one that goes on while the machine sleeps; one row every ten seconds, and one at
    /// once (a tenth of a second) where wall time has moved by a step. `wall_ns - ts_ns` is how far it has since the start of the
    /// recording; it holds until the next row.
    ClockTable of Clock, columns clock, row ClockRow, builder ClockBuilder, view ClockView {
        /// When they were read, in the time of the capture: never set back, and no faster or slower than the kernel's stamps.
        ts_ns: i64 => Delta,
        /// The wall clock (`CLOCK_REALTIME`), nanoseconds since the Unix epoch.
        wall_ns: i64 => Delta,
        /// The time since boot (`CLOCK_BOOTTIME`). Where it goes ahead of `ts_ns`, the machine was asleep.
        boot_ns: i64 => Delta,
    }
}

table! {
    /// Events that were seen and lost between two moments, at most a second apart unless the recording was paused. Nothing was lost
    /// where there is no row. The books in the manifest have the sums.
    LossTable of Loss, columns loss, row LossRow, builder LossBuilder, view LossView {
        /// Until when.
        ts_ns: i64 => Delta,
        /// Since when: the look before.
        since_ns: i64 => Delta,
        /// The table that the events belong to.
        class: Comm => Dictionary,
        /// The CPU on which they completed.
        cpu: i32 => Delta,
        /// Why, as in the books: `ring_full`, `inflight_full`, `missed_return`, `channel_full`, `write_failed`, `disk_full`, `undecodable`, `unseen_end`.
        cause: Comm => Dictionary,
        /// How many.
        events: i64 => Delta,
    }
}

/// A table's declaration as data.
#[derive(Clone, Copy)]
pub struct Declared {
    /// The table.
    pub id: TableId,
    /// What one row is.
    pub doc: &'static str,
    /// The columns, in order.
    pub columns: fn() -> Vec<Column>,
    /// Opens a part of it: [`PartWriter::create`].
    pub create_part: fn(&crate::dir::Dir, u32, Option<&str>) -> crate::error::Result<PartWriter>,
}

const fn declared<T: Table>() -> Declared {
    Declared { id: T::ID, doc: T::DOC, columns: T::columns, create_part: PartWriter::create::<T> }
}

/// Every table of a capture, in the order of [`TableId`].
static ALL: [Declared; TableId::COUNT] = [
    declared::<SyscallTable>(),
    declared::<VfsTable>(),
    declared::<FsTable>(),
    declared::<BlockTable>(),
    declared::<ShareTable>(),
    declared::<ProcessTable>(),
    declared::<FileTable>(),
    declared::<ClockTable>(),
    declared::<LossTable>(),
];

impl TableId {
    /// How it is declared.
    pub fn declared(self) -> &'static Declared {
        &ALL[self as usize]
    }
}

#[cfg(test)]
mod tests;
