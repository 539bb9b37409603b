//! Portions of block requests.

use crate::column::Comm;
use crate::op::{Evidence, IoClass, Op};
use crate::table::table;

table! {
    /// Portion of a block request with another owner, class or file than the row in `block`. Rows of one request share its
    /// `ts_ns`, `dev` and `sector`.
    ShareTable of Share, row ShareRow, builder ShareBuilder, view ShareView {
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
