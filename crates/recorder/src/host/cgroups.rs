//! Cgroups, version 2. The BPF programs provide their names, while their processes still run.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Id of a cgroup: the inode number of its directory.
pub fn id_of(directory: &Path) -> Option<u64> {
    fs::metadata(directory).ok().map(|found| found.ino())
}

/// A cgroup to filter by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup {
    /// Path below the mount.
    pub path: String,
    /// Id of the cgroup.
    pub id: u64,
    /// Depth below the mount.
    pub below: u32,
}

/// Depth of a path: one down for each name, one up for each `..`.
fn depth(path: &str) -> i64 {
    path.split('/').filter(|name| !name.is_empty()).map(|name| if name == ".." { -1 } else { 1 }).sum()
}

/// Depth of the mount's root in the kernel's own hierarchy. Paths are relative to the root of the cgroup namespace. The depth of that root
/// follows from this process: `own_level` in the hierarchy and `own_path` (/proc/self/cgroup) in the namespace. `mount_root`: from
/// mountinfo.
fn level_of_mount(own_level: u32, own_path: &str, mount_root: &str) -> Option<u32> {
    u32::try_from(i64::from(own_level) - depth(own_path) + depth(mount_root)).ok()
}

impl Cgroup {
    /// Depth in the kernel's own hierarchy, with the root at 0. `own_level`: that of this process.
    pub fn level(&self, own_level: u32) -> Result<u32, String> {
        let unknown = || format!("--cgroup {}: cannot determine the depth of this cgroup namespace", self.path);
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let own = own.lines().find_map(|line| line.strip_prefix("0::")).ok_or_else(unknown)?;
        let mount = super::mounts::cgroup2_entry().ok_or_else(unknown)?;
        let level = level_of_mount(own_level, own, &mount.root).ok_or_else(unknown)? + self.below;
        if level == 0 {
            return Err(format!(
                "--cgroup {}: is the root, which contains every process; expected a cgroup below it, or no --cgroup",
                self.path
            ));
        }
        Ok(level)
    }
}

/// Returns the cgroup that the user named, as a path below the mount or with the mount.
pub fn named(root: &Path, given: &str) -> Result<Cgroup, String> {
    if given.is_empty() {
        return Err("--cgroup: expected the path of a cgroup, got an empty one".to_owned());
    }
    let full = if Path::new(given).starts_with(root) {
        PathBuf::from(given)
    } else {
        root.join(given.trim_start_matches('/'))
    };
    let full = full.canonicalize().map_err(|_| format!("--cgroup {given}: {} does not exist", full.display()))?;
    let below = full
        .strip_prefix(root)
        .map_err(|_| format!("--cgroup {given}: not below {}, the cgroup v2 mount", root.display()))?;
    let meta = fs::metadata(&full).map_err(|e| format!("--cgroup {given}: {e}"))?;
    Ok(Cgroup { path: format!("/{}", below.display()), id: meta.ino(), below: below.components().count() as u32 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_those_of_the_kernel_whatever_the_namespace() {
        assert_eq!(level_of_mount(2, "/a/b", "/"), Some(0), "the initial namespace");
        assert_eq!(level_of_mount(2, "/", "/"), Some(2), "a namespace of the own cgroup");
        assert_eq!(level_of_mount(2, "/", "/../.."), Some(0), "a mount older than the namespace");
        assert_eq!(level_of_mount(3, "/../x/y", "/"), Some(2), "a process moved out of its namespace's root");
        assert_eq!(level_of_mount(0, "/a", "/"), None);
    }

    #[test]
    fn an_empty_path_is_none() {
        assert!(named(Path::new("/proc"), "").is_err());
    }
}
