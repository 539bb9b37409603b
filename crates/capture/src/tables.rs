//! Tables of a capture: the one declaration of every column.
//!
//! `ts_ns` is nanoseconds since the Unix epoch: the monotonic clock plus one offset fixed at the start of the recording, so
//! differences are exact. Device numbers are `major << 20 | minor`, as in the kernel. Integers are signed because unsigned
//! 64-bit columns break Spark. `null` means unknown or not applicable, never zero.

use crate::TableId;
use crate::column::Comm;
use crate::op::{Evidence, FdKind, IoClass, Op, PathOrigin, Via};
use crate::part::PartWriter;
use crate::table::{Column, Table, table};

table! {
    /// One I/O system call on a regular file or a block device, recorded at its return.
    SyscallTable of Syscall, columns syscall, row SyscallRow, builder SyscallBuilder, view SyscallView {
        /// Time of entry into the call, in ns.
        ts_ns: i64 => Delta,
        /// Time from entry to return in ns.
        dur_ns: i64 => Split,
        /// Process (thread group) ID in the initial PID namespace.
        pid: i32 => Delta,
        /// Thread ID.
        tid: i32 => Split,
        /// Command name of the thread.
        comm: Comm => Dictionary,
        /// Cgroup v2 ID (inode number of the cgroup directory).
        cgroup_id: i64 => Delta,
        /// System call.
        op: Op => Dictionary,
        /// File type; null for `sync` and for a failed open.
        fd_kind: Option<FdKind> => Dictionary,
        /// Device number of the file's file system; for a block device, its own device number.
        dev: Option<i32> => Delta,
        /// Inode number of the file.
        ino: Option<i64> => Delta,
        /// File offset in bytes at which the operation began: the argument, or the file position for read and write. Null
        /// where it is uncertain: for Linux aio appends, and where the file position was moved concurrently.
        offset_bytes: Option<i64> => Split,
        /// Bytes requested; null where the call requests none or the vector was too long to sum.
        requested_bytes: Option<i64> => Split,
        /// Part of `dur_ns` in which the thread was runnable but not running (run-queue latency), in ns: it was preempted,
        /// or woken and waiting for a CPU. On kernels that stop a thread inside a call once its cgroup has used up its CPU
        /// quota, this time is included. Null without `record --run-queue`, for aio and io_uring, for calls that a signal
        /// interrupted and the kernel restarted, and where the kernel did not report every state change (counted in
        /// `unmeasured_calls` in the manifest).
        runnable_ns: Option<i64> => Delta added,
        /// Return value of the call: bytes transferred, a descriptor, 0, or a negative errno.
        ret: i64 => Delta,
        /// Open flags of the file (`O_DIRECT`, `O_SYNC`, `O_APPEND`, …), as in fcntl.h; null without a file.
        flags: Option<i32> => Delta,
        /// Number of events that the row represents: 1, or more where `--cpu-limit` recorded only a sample of time slices.
        /// Sums over rows are then estimates; multiply each row by its weight.
        weight: i32 => Delta,
    }
}

table! {
    /// One read, write or sync in the virtual file system (VFS), recorded at its return.
    VfsTable of Vfs, columns vfs, row VfsRow, builder VfsBuilder, view VfsView {
        /// Time of entry into the VFS function, in ns.
        ts_ns: i64 => Delta,
        /// Time from entry to return in ns.
        dur_ns: i64 => Split,
        /// Process (thread group) ID in the initial PID namespace.
        pid: i32 => Delta,
        /// Thread ID.
        tid: i32 => Split,
        /// Command name of the thread.
        comm: Comm => Dictionary,
        /// Cgroup v2 ID (inode number of the cgroup directory).
        cgroup_id: i64 => Delta,
        /// `read`, `write` or `fsync`.
        op: Op => Dictionary,
        /// File type.
        fd_kind: Option<FdKind> => Dictionary,
        /// Device number of the file's file system; for a block device, its own device number.
        dev: Option<i32> => Delta,
        /// Inode number of the file.
        ino: Option<i64> => Delta,
        /// File offset in bytes at which the operation began.
        offset_bytes: Option<i64> => Split,
        /// Bytes requested.
        requested_bytes: Option<i64> => Split,
        /// Bytes transferred, 0, or a negative errno.
        ret: i64 => Delta,
        /// Number of events that the row represents: 1, or more where `--cpu-limit` recorded only a sample of time slices.
        /// Sums over rows are then estimates; multiply each row by its weight.
        weight: i32 => Delta,
    }
}

table! {
    /// One file system event. Pages that enter the page cache or become dirty are aggregated: one row per process, file,
    /// operation, access path (`via`) and CPU, for at most one second.
    FsTable of Fs, columns fs, row FsRow, builder FsBuilder, view FsView {
        /// Time at which the event began, in ns.
        ts_ns: i64 => Split,
        /// Duration in ns; for aggregated rows, the time from the first event to the last. Null where the kernel does not
        /// report it.
        dur_ns: Option<i64> => Split,
        /// Operation.
        op: Op => Dictionary,
        /// Process (thread group) ID, in the initial PID namespace, of the process that was current at the event.
        pid: i32 => Split,
        /// Thread ID of the first event.
        tid: i32 => Split,
        /// Command name of the thread.
        comm: Comm => Dictionary,
        /// Cgroup v2 ID (inode number of the cgroup directory).
        cgroup_id: i64 => Delta,
        /// Access path of the process to the page: system call or mapping. Null for kernel threads, and before Linux 5.15,
        /// which does not report it.
        via: Option<Via> => Dictionary,
        /// File system type, as in /proc/filesystems; `bdev` for a block device itself; null for a journal.
        fs: Comm => Dictionary,
        /// File type. `block` includes blocks that a file system keeps in the page cache of its device. Null for an
        /// internal inode of the file system (ext4's block groups, btrfs's trees).
        fd_kind: Option<FdKind> => Dictionary,
        /// Device number of the file's file system; for a block device, its own device number.
        dev: i32 => Delta,
        /// Inode number of the file; null for a journal or a whole file system.
        ino: Option<i64> => Split,
        /// File offset in bytes; for aggregated rows, the lowest.
        offset_bytes: Option<i64> => Split,
        /// Bytes of the pages; for a commit, bytes of the blocks.
        bytes: i64 => Split,
        /// Number of events in the row: folios or page faults; 1 where nothing is aggregated.
        events: i64 => Delta,
        /// Number of blocks that a commit logged.
        blocks: Option<i64> => Delta,
        /// Number of events that the row represents: 1, or more where `--cpu-limit` recorded only a sample of time slices.
        /// Sums over rows are then estimates; multiply each row by its weight.
        weight: i32 => Delta,
    }
}

table! {
    /// One block request, from queueing of its first bio to completion; on devices without requests (dm, md, zram), one
    /// bio.
    BlockTable of Block, columns block, row BlockRow, builder BlockBuilder, view BlockView {
        /// Time at which the first bio was queued (Q), in ns. If that was not captured, the allocation time of the request;
        /// if neither was, its completion time.
        ts_ns: i64 => Delta,
        /// Time from queueing to completion (Q2C) in ns; null if the start or the end was not captured.
        dur_ns: Option<i64> => Split,
        /// Time from queueing to scheduler insertion or issue, whichever came first, in ns: allocation, throttling,
        /// plugging, merging.
        queue_ns: Option<i64> => Split,
        /// Time from scheduler insertion to issue (I2D) in ns; null for a request that went to the driver directly. The
        /// time in driver and device (D2C) is `dur_ns - queue_ns - coalesce(insert_ns, 0)`.
        insert_ns: Option<i64> => Split,
        /// Process ID of the owner, the process to which the I/O is attributed on the basis given in `evidence`; null if
        /// unattributed.
        pid: Option<i32> => Delta,
        /// Thread ID of the owner: the thread that submitted the I/O, dirtied the inode first or wrote the page last.
        tid: Option<i32> => Split,
        /// Command name of that thread at that time.
        comm: Comm => Dictionary,
        /// Cgroup v2 ID of the owner; set also where only the cgroup is known.
        cgroup_id: Option<i64> => Delta,
        /// Start time of the owner process in ns; with `pid` it identifies one process within the capture.
        start_ns: Option<i64> => Delta,
        /// Basis of the attribution.
        evidence: Evidence => Dictionary,
        /// Portion of `bytes` that is attributed to the owner, in this class and file. It is less than `bytes` where bios
        /// of several owners were merged, or where one bio carries pages of several owners.
        owned_bytes: i64 => Delta,
        /// Portion of `bytes` in rows of `share`. The rest (`bytes - owned_bytes - shared_bytes`) is unattributed and of
        /// this class.
        shared_bytes: i64 => Delta,
        /// Process that queued the first bio; null if it is the owner or was not captured.
        submitter_pid: Option<i32> => Delta,
        /// Command name of the thread that queued the first bio; null if that is the owner.
        submitter_comm: Comm => Dictionary,
        /// Class of the content.
        class: IoClass => Dictionary,
        /// Device number of the file system of the file that the owner's pages belong to, or that direct I/O accesses; null
        /// if unknown, or if the request covers more files than could be distinguished.
        file_dev: Option<i32> => Delta,
        /// Inode number of that file.
        ino: Option<i64> => Delta,
        /// Device number of the whole disk.
        dev: i32 => Delta,
        /// Stacking depth: number of levels of disks below `dev`. 0 is a disk that is not stacked, 1 a loop device on a
        /// file of such a disk. The same bytes can appear at every level: sum rows of one level only. Null if unknown.
        level: Option<i32> => Delta,
        /// First sector, in units of 512 bytes; null for a request without a location.
        sector: Option<i64> => Split,
        /// Bytes completed.
        bytes: i64 => Delta,
        /// Operation requested from the device.
        op: Op => Dictionary,
        /// Request flags: 1 sync, 2 metadata, 4 priority, 8 FUA, 16 preflush, 32 readahead, 64 background, 128 nowait, 256
        /// swap, 512 not counted in the kernel's I/O statistics.
        flags: i32 => Delta,
        /// Completion status: 0 or a negative errno.
        error: i32 => Delta,
        /// Number of bios in the request; the number of merges is one less.
        bios: i32 => Delta,
        /// Number of times the driver requeued the request; 255 means 255 or more.
        requeues: i32 => Delta,
        /// Number of events that the row represents: 1, or more where `--cpu-limit` recorded only a sample of time slices.
        /// Sums over rows are then estimates; multiply each row by its weight.
        weight: i32 => Delta,
    }
}

table! {
    /// Portion of a block request with another owner, class or file than the row in `block`. Rows of one request share its
    /// `ts_ns`, `dev` and `sector`.
    ShareTable of Share, columns share, row ShareRow, builder ShareBuilder, view ShareView {
        /// `ts_ns` of the request.
        ts_ns: i64 => Delta,
        /// Device number of the request's disk.
        dev: i32 => Delta,
        /// First sector of the request, in units of 512 bytes.
        sector: Option<i64> => Split,
        /// Operation requested from the device.
        op: Op => Dictionary,
        /// Flags of the request, as in `block`.
        flags: i32 => Delta,
        /// Process ID of the owner of the portion; null if unattributed.
        pid: Option<i32> => Delta,
        /// Thread ID of the owner.
        tid: Option<i32> => Split,
        /// Command name of that thread.
        comm: Comm => Dictionary,
        /// Cgroup v2 ID of the owner.
        cgroup_id: Option<i64> => Delta,
        /// Start time of the owner process in ns.
        start_ns: Option<i64> => Delta,
        /// Basis of the attribution.
        evidence: Evidence => Dictionary,
        /// Class of the content.
        class: IoClass => Dictionary,
        /// Device number of the file's file system.
        file_dev: Option<i32> => Delta,
        /// Inode number of the file.
        ino: Option<i64> => Delta,
        /// Bytes completed, of this portion.
        bytes: i64 => Delta,
        /// `weight` of the request.
        weight: i32 => Delta,
    }
}

table! {
    /// A process at its first recorded I/O, again after each exec, and once in each cgroup in which it does I/O. An event
    /// belongs to the row of its `pid` with the maximum `ts_ns` that is not later than the event. A process that does I/O
    /// during exec, such as reading its own program, has a row for that without a command line, and one nanosecond later
    /// the row that applies.
    ProcessTable of Process, columns process, row ProcessRow, builder ProcessBuilder, view ProcessView {
        /// Time of the observation, in ns.
        ts_ns: i64 => Delta,
        /// Process (thread group) ID in the initial PID namespace.
        pid: i32 => Delta,
        /// Process ID of the parent.
        ppid: i32 => Delta,
        /// Start time of the process in ns; with `pid` it identifies one process within the capture.
        start_ns: i64 => Delta,
        /// Command name of the process, which is that of its first thread.
        comm: Comm => Dictionary,
        /// True for a kernel thread.
        kernel_thread: bool => Plain,
        /// Cgroup v2 ID (inode number of the cgroup directory).
        cgroup_id: i64 => Delta,
        /// Path of the executable from the root of the process's mount namespace. Without a leading `/` only the end of the
        /// path is known (longer than 512 bytes, or more than 64 names and mounts deep).
        exe: Option<String> => Plain,
        /// Command line, arguments separated by spaces. If longer than 768 bytes, the first 512 and the last 256 bytes with
        /// ` … ` between them. Null also if the process was seen only before its arguments were set, and for kernel
        /// threads.
        cmdline: Option<String> => Plain,
        /// Path of the cgroup below the cgroup v2 mount. Null if the cgroup is not below it, or if the path is longer than
        /// 512 bytes.
        cgroup: Option<String> => Plain,
    }
}

table! {
    /// Name of a file at its first access in the recording, and again at an access under another name or when its inode
    /// number belongs to another file. An event belongs to the row of its `dev` and `ino` with the maximum `ts_ns` that is
    /// not later than the event, or else to the first one.
    FileTable of File, columns file, row FileRow, builder FileBuilder, view FileView {
        /// Time of the access in ns: the start of the operation.
        ts_ns: i64 => Delta,
        /// Device number of the file's file system; for a block device, its own device number.
        dev: i32 => Delta,
        /// Inode number of the file.
        ino: i64 => Delta,
        /// Inode generation (`i_generation`): distinguishes files that had the same inode number one after another.
        generation: i64 => Delta,
        /// Path, relative to the root given in `path_origin`. Null if the file has no path or none could be read.
        path: Option<String> => Plain,
        /// Root of the path.
        path_origin: Option<PathOrigin> => Dictionary,
        /// Mount namespace of the path, as the inode number of /proc/PID/ns/mnt; null if the path belongs to none. A
        /// container has its own mount namespace, in which the same file can have another path.
        mount_namespace: Option<i64> => Delta,
        /// True if no directory contained the file any more at the access; `path` is then its last path.
        deleted: bool => Plain,
        /// File type.
        fd_kind: Option<FdKind> => Dictionary,
        /// File system type, as in /proc/filesystems; for a block device, the type of the file system with its device node.
        fs: Comm => Dictionary,
        /// Process (thread group) ID, in the initial PID namespace, of the process that accessed the file. With
        /// `path_origin` `filesystem` it can be any process that touched the file's pages, including a kernel worker.
        pid: i32 => Delta,
    }
}

table! {
    /// Monotonic clock, wall clock and boot clock, read at the same time. One row every ten seconds, and one within a tenth
    /// of a second of a step of the wall clock. `wall_ns - ts_ns` is the change of the wall clock, by steps and drift,
    /// since the start of the recording; it applies until the next row.
    ClockTable of Clock, columns clock, row ClockRow, builder ClockBuilder, view ClockView {
        /// Time of the reading in ns of capture time: never set back, and at the same rate as the kernel's timestamps.
        ts_ns: i64 => Delta,
        /// Wall clock (`CLOCK_REALTIME`) in ns since the Unix epoch.
        wall_ns: i64 => Delta,
        /// Time since boot (`CLOCK_BOOTTIME`) in ns. Where it advances faster than `ts_ns`, the machine was suspended.
        boot_ns: i64 => Delta,
    }
}

table! {
    /// Events that were seen and lost in one interval, of at most one second unless the recording was paused. No row means
    /// no loss. `books` in the manifest has the sums.
    LossTable of Loss, columns loss, row LossRow, builder LossBuilder, view LossView {
        /// End of the interval, in ns.
        ts_ns: i64 => Delta,
        /// Start of the interval, in ns: the previous reading of the counters.
        since_ns: i64 => Delta,
        /// Table that the events belong to.
        class: Comm => Dictionary,
        /// CPU on which the events completed.
        cpu: i32 => Delta,
        /// Cause of the loss, as in `books`: `ring_full`, `inflight_full`, `missed_return`, `channel_full`, `write_failed`,
        /// `disk_full`, `undecodable`, `unseen_end`.
        cause: Comm => Dictionary,
        /// Number of events lost.
        events: i64 => Delta,
    }
}

/// Declaration of a table as data.
#[derive(Clone, Copy)]
pub struct Declared {
    /// Table ID.
    pub id: TableId,
    /// Description of one row.
    pub doc: &'static str,
    /// Columns, in order.
    pub columns: fn() -> Vec<Column>,
    /// Function that opens a part of the table: [`PartWriter::create`].
    pub create_part: fn(&crate::dir::Dir, u32, Option<&str>) -> crate::error::Result<PartWriter>,
}

const fn declared<T: Table>() -> Declared {
    Declared { id: T::ID, doc: T::DOC, columns: T::columns, create_part: PartWriter::create::<T> }
}

/// Tables of a capture, in the order of [`TableId`].
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
    /// Returns the declaration of the table.
    pub fn declared(self) -> &'static Declared {
        &ALL[self as usize]
    }
}

#[cfg(test)]
mod tests;
