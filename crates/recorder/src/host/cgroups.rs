//! Cgroups of version 2. Their names come from the kernel side, which has them while their processes still run.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The id of a cgroup: the inode number of its directory.
pub fn id_of(directory: &Path) -> Option<u64> {
    fs::metadata(directory).ok().map(|found| found.ino())
}

/// A cgroup to filter by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup {
    /// Path below the mount.
    pub path: String,
    /// Its id.
    pub id: u64,
    /// Its depth: the root is 0.
    pub level: u32,
}

/// The cgroup that the user named, as a path below the mount or with the mount.
pub fn named(root: &Path, given: &str) -> Result<Cgroup, String> {
    let full = if Path::new(given).starts_with(root) {
        PathBuf::from(given)
    } else {
        root.join(given.trim_start_matches('/'))
    };
    let full = full.canonicalize().map_err(|_| format!("--cgroup {given}: there is no {}", full.display()))?;
    let below = full
        .strip_prefix(root)
        .map_err(|_| format!("--cgroup {given}: not below {}, the cgroup v2 mount", root.display()))?;
    let meta = fs::metadata(&full).map_err(|e| format!("--cgroup {given}: {e}"))?;
    Ok(Cgroup { path: format!("/{}", below.display()), id: meta.ino(), level: below.components().count() as u32 })
}
