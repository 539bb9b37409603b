//! Block requests.

use crate::column::Comm;
use crate::op::{Evidence, IoClass, Op};
use crate::table::table;

table! {
    /// One block request, from queueing of its first bio to completion; on devices without requests (dm, md, zram), one
    /// bio.
    BlockTable of Block, row BlockRow, builder BlockBuilder, view BlockView {
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
