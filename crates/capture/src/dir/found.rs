//! Directory entries and their identity.

use std::os::fd::AsFd;

use rustix::fs::{FileType, Stat};

/// Identity of a directory: its file system and its inode number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Id {
    /// Device number of the file system, as in stat(2).
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
}

/// Type, size and owner of a directory entry.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    kind: FileType,
    /// Size in bytes.
    pub bytes: u64,
    owner: (u32, u32),
}

impl Found {
    pub(super) fn of(stat: &Stat) -> Found {
        let bytes = u64::try_from(stat.st_size).unwrap_or(0);
        Found { kind: FileType::from_raw_mode(stat.st_mode), bytes, owner: (stat.st_uid, stat.st_gid) }
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.kind == FileType::RegularFile
    }

    /// Whether it is a symbolic link.
    pub fn is_link(&self) -> bool {
        self.kind == FileType::Symlink
    }

    /// Whether it is a directory, and not a link to one.
    pub fn is_dir(&self) -> bool {
        self.kind == FileType::Directory
    }

    /// Returns its user and group.
    pub fn owner(&self) -> (u32, u32) {
        self.owner
    }
}

impl Id {
    pub(super) fn of(handle: impl AsFd) -> rustix::io::Result<Id> {
        rustix::fs::fstat(handle).map(|stat| Id::from(&stat))
    }
}

impl From<&Stat> for Id {
    fn from(stat: &Stat) -> Id {
        Id { dev: stat.st_dev, ino: stat.st_ino }
    }
}
