//! File names.

use crate::column::Comm;
use crate::op::{FdKind, PathOrigin};
use crate::table::table;

table! {
    /// Name of a file at its first access in the recording, and again at an access under another name or when its inode
    /// number belongs to another file. An event belongs to the row of its `dev` and `ino` with the maximum `ts_ns` that is
    /// not later than the event, or else to the first one.
    FileTable of File, row FileRow, builder FileBuilder, view FileView {
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
