//! What is found under a name.

use std::os::fd::AsFd;

use rustix::fs::{FileType, Stat};

/// What tells a directory from all others: its file system, and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Id {
    /// The file system's device number, as stat(2) has it.
    pub dev: u64,
    /// The inode number.
    pub ino: u64,
}

/// What there is under a name.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    kind: FileType,
    /// Its size.
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

    /// Whether it is a directory, and not a link to one.
    pub fn is_dir(&self) -> bool {
        self.kind == FileType::Directory
    }

    /// Its user and its group.
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
