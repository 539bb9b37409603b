//! Layers, operations and file types: the enum values in rows.

use serde::{Deserialize, Serialize};

/// Declares an enum: variants, their names on disk, their documentation. Everything else derives from it.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[doc = $doc:literal])+ $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[repr(u8)]
        pub enum $name {
            $($(#[doc = $doc])+ #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// Variants, in order of declaration.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];

            /// Returns the name on disk.
            pub const fn name(self) -> &'static str {
                match self { $($name::$variant => $word,)+ }
            }

            /// Returns the documentation of the variant.
            pub const fn doc(self) -> &'static str {
                match self { $($name::$variant => concat!($($doc,)+).trim_ascii(),)+ }
            }

            /// Returns the variant with the name `word`.
            pub fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some($name::$variant),)+ _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }
    };
}

pub(crate) use words;

words! {
    /// Recorded layer of the I/O stack.
    Layer {
        /// System calls of applications.
        Syscall = "syscall",
        /// Virtual file system of the kernel.
        Vfs = "vfs",
        /// File system: page cache, writeback, journal, sync.
        Fs = "fs",
        /// Block requests to devices.
        Block = "block",
    }
}

words! {
    /// Operation of one row.
    Op {
        /// `read` of any layer.
        Read = "read",
        /// `write` of any layer.
        Write = "write",
        /// `pread64`.
        Pread = "pread64",
        /// `pwrite64`.
        Pwrite = "pwrite64",
        /// `readv`.
        Readv = "readv",
        /// `writev`.
        Writev = "writev",
        /// `preadv`.
        Preadv = "preadv",
        /// `pwritev`.
        Pwritev = "pwritev",
        /// `preadv2`.
        Preadv2 = "preadv2",
        /// `pwritev2`.
        Pwritev2 = "pwritev2",
        /// `fsync`; in the VFS also `fdatasync` and the sync of `O_SYNC` writes.
        Fsync = "fsync",
        /// `fdatasync`.
        Fdatasync = "fdatasync",
        /// `sync_file_range`.
        SyncFileRange = "sync_file_range",
        /// `sync` of all file systems.
        Sync = "sync",
        /// `syncfs`.
        Syncfs = "syncfs",
        /// `open`.
        Open = "open",
        /// `openat`.
        Openat = "openat",
        /// `openat2`.
        Openat2 = "openat2",
        /// `creat`.
        Creat = "creat",
        /// `open_by_handle_at`.
        OpenByHandleAt = "open_by_handle_at",
        /// `close`.
        Close = "close",
        /// Request without data for a flush of the device's write cache, as seen by its submitter. The kernel's
        /// counters count it as a write of 0 bytes.
        Flush = "flush",
        /// Flush command that the block layer sends to the device on behalf of one or several requests.
        DeviceFlush = "device_flush",
        /// `REQ_OP_DISCARD`.
        Discard = "discard",
        /// `REQ_OP_SECURE_ERASE`.
        SecureErase = "secure_erase",
        /// `REQ_OP_WRITE_ZEROES`.
        WriteZeroes = "write_zeroes",
        /// `REQ_OP_ZONE_APPEND`.
        ZoneAppend = "zone_append",
        /// Zone open, close, finish and reset.
        ZoneManagement = "zone_management",
        /// Driver-specific command, device to host (`REQ_OP_DRV_IN`).
        DriverIn = "driver_in",
        /// Driver-specific command, host to device (`REQ_OP_DRV_OUT`).
        DriverOut = "driver_out",
        /// `sendfile`, read of the source file.
        SendfileIn = "sendfile_in",
        /// `sendfile`, write to a file.
        SendfileOut = "sendfile_out",
        /// `copy_file_range`, read.
        CopyFileRangeIn = "copy_file_range_in",
        /// `copy_file_range`, write.
        CopyFileRangeOut = "copy_file_range_out",
        /// `splice` from a file.
        SpliceIn = "splice_in",
        /// `splice` to a file.
        SpliceOut = "splice_out",
        /// `fallocate`.
        Fallocate = "fallocate",
        /// `ftruncate`; the offset is the new size.
        Ftruncate = "ftruncate",
        /// `truncate`. Calls that name their file by path have no file in the row.
        Truncate = "truncate",
        /// `unlink`.
        Unlink = "unlink",
        /// `unlinkat`.
        Unlinkat = "unlinkat",
        /// `rename`.
        Rename = "rename",
        /// `renameat`.
        Renameat = "renameat",
        /// `renameat2`.
        Renameat2 = "renameat2",
        /// `msync`.
        Msync = "msync",
        /// Read of Linux aio, from `io_submit` until the program receives the completion (`io_getevents`).
        AioRead = "aio_read",
        /// Write of Linux aio.
        AioWrite = "aio_write",
        /// fsync or fdatasync of Linux aio.
        AioFsync = "aio_fsync",
        /// Read of io_uring, from submission to completion.
        UringRead = "io_uring_read",
        /// Write of io_uring.
        UringWrite = "io_uring_write",
        /// fsync or fdatasync of io_uring.
        UringFsync = "io_uring_fsync",
        /// `sync_file_range` of io_uring.
        UringSyncFileRange = "io_uring_sync_file_range",
        /// `fallocate` of io_uring.
        UringFallocate = "io_uring_fallocate",
        /// Pages that entered the page cache for reading: misses of reads and page faults, and readahead.
        Fill = "fill",
        /// Pages that entered the page cache during a call that writes to their file, or for blocks that a journal writes.
        FillWrite = "fill_write",
        /// Major page faults of a mapped file that started to fill the page cache; `bytes` are the pages requested.
        Fault = "fault",
        /// Folios that turned from clean to dirty; the bytes written may be fewer.
        Dirty = "dirty",
        /// Writeback of an inode, by a flusher or a sync of the whole file system.
        Writeback = "writeback",
        /// Commit of a jbd2 journal (ext4): `blocks` were logged, including descriptor and commit blocks.
        Commit = "commit",
        /// fsync of a file in the file system. XFS and btrfs do not report its end.
        SyncFile = "sync_file",
        /// Sync of a file system (ext4, btrfs), without a reported end.
        SyncFs = "sync_fs",
        /// Splice of io_uring from a file.
        UringSpliceIn = "io_uring_splice_in",
        /// Splice of io_uring to a file.
        UringSpliceOut = "io_uring_splice_out",
    }
}

words! {
    /// Type of the file of a system call or VFS operation.
    FdKind {
        /// Regular file on a file system with storage.
        Regular = "regular",
        /// Block device.
        Block = "block",
        /// Regular file in memory (tmpfs, ramfs, hugetlbfs): its bytes never reach a device of its own.
        Memory = "memory",
        /// Directory (opened for a sync).
        Directory = "directory",
    }
}

words! {
    /// Class of the content of a block request.
    IoClass {
        /// Contents of files, or of a block device without a file system.
        Data = "data",
        /// Metadata of a file system.
        Metadata = "metadata",
        /// Journal or log of a file system.
        Journal = "journal",
        /// Data read ahead of any request for it.
        Readahead = "readahead",
        /// Memory moved to or from swap space.
        Swap = "swap",
        /// No data: flush of the device's write cache.
        Flush = "flush",
        /// No data: blocks that are no longer in use.
        Discard = "discard",
    }
}

words! {
    /// Root of a file's path.
    PathOrigin {
        /// Root of the mount namespace of the process that had the file open.
        Namespace = "namespace",
        /// Root of the file system; the path does not include the mount point.
        Filesystem = "filesystem",
        /// Unknown directory below the root: the path is too long or too deep, and its leading names are missing.
        Cut = "cut",
    }
}

words! {
    /// Access path of a process to a page of a file.
    Via {
        /// System call.
        Call = "call",
        /// Page fault of a mapping of the file.
        Mapping = "mapping",
    }
}

words! {
    /// Basis on which a block request is attributed to its owner.
    Evidence {
        /// The owner submitted the request itself, in its own context.
        Direct = "direct",
        /// The owner was the last writer of the page; other processes wrote other pages of the inode.
        Page = "page",
        /// The owner was the last process seen to change the page or its folio; other processes changed the same, or may
        /// have done so unseen.
        Folio = "folio",
        /// All dirty pages of the inode belong to the owner.
        Inode = "inode",
        /// Only the cgroup that the block layer charges is known.
        Cgroup = "cgroup",
        /// Unattributed.
        None = "none",
    }
}

/// Direction of a data transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Direction {
    /// To the application.
    Read,
    /// To the device.
    Write,
}

impl Op {
    /// Whether a row of this operation aggregates events over a period, so that its duration is that of no single event.
    pub const fn is_gathered(self) -> bool {
        matches!(self, Op::Fill | Op::FillWrite | Op::Fault | Op::Dirty)
    }

    /// Returns the direction of operations that move data between application and device; `None` for all others.
    ///
    /// `write_zeroes`, `zone_append` and the empty `flush` request are writes because the kernel's `write I/Os` counter
    /// includes them (`op_stat_group()`); discards, secure erases and device flushes have separate counters.
    pub const fn direction(self) -> Option<Direction> {
        match self {
            Op::Read
            | Op::Pread
            | Op::Readv
            | Op::Preadv
            | Op::Preadv2
            | Op::SendfileIn
            | Op::CopyFileRangeIn
            | Op::SpliceIn
            | Op::AioRead
            | Op::UringRead
            | Op::UringSpliceIn
            | Op::Fill => Some(Direction::Read),
            Op::Write
            | Op::Pwrite
            | Op::Writev
            | Op::Pwritev
            | Op::Pwritev2
            | Op::SendfileOut
            | Op::CopyFileRangeOut
            | Op::SpliceOut
            | Op::AioWrite
            | Op::UringWrite
            | Op::UringSpliceOut
            | Op::Flush
            | Op::WriteZeroes
            | Op::ZoneAppend
            | Op::Dirty => Some(Direction::Write),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_parses_back_to_itself() {
        for op in Op::ALL {
            assert_eq!(Op::parse(op.name()), Some(*op));
            assert!(!op.doc().is_empty());
        }
        for kind in FdKind::ALL {
            assert_eq!(FdKind::parse(kind.name()), Some(*kind));
        }
        assert_eq!(Op::parse("READ"), None);
    }
}
