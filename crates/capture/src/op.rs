//! Layers, operations and file kinds: the words that rows are written in.

use serde::{Deserialize, Serialize};

/// Declares an enum of words: the variant, the word on disk, its meaning. Everything else derives from it.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[doc = $doc:literal])+ $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[repr(u8)]
        pub enum $name {
            $($(#[doc = $doc])+ #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// Every word, in order of declaration.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];

            /// The word as it stands on disk.
            pub const fn name(self) -> &'static str {
                match self { $($name::$variant => $word,)+ }
            }

            /// The word's meaning.
            pub const fn doc(self) -> &'static str {
                match self { $($name::$variant => concat!($($doc,)+).trim_ascii(),)+ }
            }

            /// The variant that `word` names.
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
    /// A layer of the I/O stack that is recorded.
    Layer {
        /// The application: system calls.
        Syscall = "syscall",
        /// The operating system: the virtual file system.
        Vfs = "vfs",
        /// The file system: page cache, writeback, journal, sync.
        Fs = "fs",
        /// The device: block requests.
        Block = "block",
    }
}

words! {
    /// What one row did.
    Op {
        /// `read`, of any layer.
        Read = "read",
        /// `write`, of any layer.
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
        /// `fsync`; in the VFS also what `fdatasync` and `O_SYNC` writes come to.
        Fsync = "fsync",
        /// `fdatasync`.
        Fdatasync = "fdatasync",
        /// `sync_file_range`.
        SyncFileRange = "sync_file_range",
        /// `sync`, of every file system.
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
        /// A request without data that asks the device to empty its write cache, as the submitter waits for it. The
        /// kernel's counters call it a write of no bytes.
        Flush = "flush",
        /// The flush command that the block layer sends to the device on behalf of one or several requests.
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
        /// A driver's own command towards the host (`REQ_OP_DRV_IN`).
        DriverIn = "driver_in",
        /// A driver's own command towards the device (`REQ_OP_DRV_OUT`).
        DriverOut = "driver_out",
        /// `sendfile`, reading the file that it sends.
        SendfileIn = "sendfile_in",
        /// `sendfile`, writing to a file.
        SendfileOut = "sendfile_out",
        /// `copy_file_range`, reading.
        CopyFileRangeIn = "copy_file_range_in",
        /// `copy_file_range`, writing.
        CopyFileRangeOut = "copy_file_range_out",
        /// `splice` from a file.
        SpliceIn = "splice_in",
        /// `splice` to a file.
        SpliceOut = "splice_out",
        /// `fallocate`.
        Fallocate = "fallocate",
        /// `ftruncate`; the offset is the new size.
        Ftruncate = "ftruncate",
        /// `truncate`. Of what names its file by a path the file is not known.
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
        /// A read of Linux aio, from `io_submit` until the program learns of its end (`io_getevents`).
        AioRead = "aio_read",
        /// A write of Linux aio.
        AioWrite = "aio_write",
        /// An fsync or fdatasync of Linux aio.
        AioFsync = "aio_fsync",
        /// A read of io_uring, from submission to completion.
        UringRead = "io_uring_read",
        /// A write of io_uring.
        UringWrite = "io_uring_write",
        /// An fsync or fdatasync of io_uring.
        UringFsync = "io_uring_fsync",
        /// `sync_file_range` by io_uring.
        UringSyncFileRange = "io_uring_sync_file_range",
        /// `fallocate` by io_uring.
        UringFallocate = "io_uring_fallocate",
        /// Pages that entered the page cache to be read: what a read or a page fault did not find there, and readahead.
        Fill = "fill",
        /// Pages that entered the page cache within a call that writes to their file, or for blocks that a journal writes.
        FillWrite = "fill_write",
        /// Major page faults of a mapped file that started to fill the page cache; `bytes` are the pages that were asked
        /// for.
        Fault = "fault",
        /// Folios that turned from clean to dirty, of which less may have been written.
        Dirty = "dirty",
        /// An inode written back, by a flusher or a sync of the whole file system.
        Writeback = "writeback",
        /// A commit of a jbd2 journal (ext4): `blocks` were logged, its descriptor and the commit itself among them.
        Commit = "commit",
        /// An fsync of a file, as the file system does it. XFS and btrfs do not tell when it ends.
        SyncFile = "sync_file",
        /// A sync of a file system (ext4, btrfs), which do not tell when it ends.
        SyncFs = "sync_fs",
        /// A splice of io_uring from a file.
        UringSpliceIn = "io_uring_splice_in",
        /// A splice of io_uring to a file.
        UringSpliceOut = "io_uring_splice_out",
    }
}

words! {
    /// What kind of file a system call or VFS operation was on.
    FdKind {
        /// A regular file on a file system that stores.
        Regular = "regular",
        /// A block device.
        Block = "block",
        /// A regular file that lives in memory (tmpfs, ramfs, hugetlbfs): its bytes never reach a device of its own.
        Memory = "memory",
        /// A directory (opened to be synced).
        Directory = "directory",
    }
}

words! {
    /// What a block request carries.
    IoClass {
        /// Contents of files, or of a block device that is used without a file system.
        Data = "data",
        /// What a file system keeps about its files.
        Metadata = "metadata",
        /// A journal or log of a file system.
        Journal = "journal",
        /// Data that nobody has asked for yet.
        Readahead = "readahead",
        /// Memory moved to or from swap space.
        Swap = "swap",
        /// No data: an order to empty the device's write cache.
        Flush = "flush",
        /// No data: blocks that are not needed any more.
        Discard = "discard",
    }
}

words! {
    /// Where the path of a file begins.
    PathOrigin {
        /// At the root of the mount namespace of the process that had it open.
        Namespace = "namespace",
        /// At the root of its file system: where that is mounted the path does not say.
        Filesystem = "filesystem",
        /// Somewhere below: it is too long or too deep, and the names in front are missing.
        Cut = "cut",
    }
}

words! {
    /// How a process came to touch a page of a file.
    Via {
        /// Within a system call.
        Call = "call",
        /// By a page fault of a mapping of the file.
        Mapping = "mapping",
    }
}

words! {
    /// How the owner of a block request is known.
    Evidence {
        /// The owner submitted it itself, in its own context.
        Direct = "direct",
        /// The owner was the last to write its page; other pages of that inode were written by other processes.
        Page = "page",
        /// The owner was the last that was seen to change its page or the folio that it is in; other processes changed the same, or may
        /// have done so unseen.
        Folio = "folio",
        /// Its inode's dirty pages are the owner's alone.
        Inode = "inode",
        /// Only the cgroup that the block layer charges is known.
        Cgroup = "cgroup",
        /// Not known.
        None = "none",
    }
}

/// Which way bytes went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Direction {
    /// Towards the application.
    Read,
    /// Towards the device.
    Write,
}

impl Op {
    /// Whether a row of this operation is of many events, gathered over a while, so that its duration is nobody's.
    pub const fn is_gathered(self) -> bool {
        matches!(self, Op::Fill | Op::FillWrite | Op::Fault | Op::Dirty)
    }

    /// The direction of operations that move data between application and device; `None` for all others.
    ///
    /// `write_zeroes`, `zone_append` and the empty `flush` request are writes because the kernel's `write I/Os`
    /// counter has them (`op_stat_group()`); discards, secure erases and device flushes have counters of their own.
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
