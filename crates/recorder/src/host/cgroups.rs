//! Cgroups of version 2: paths for ids. The id of a cgroup is the inode number of its directory.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Directories looked at in one walk; a machine with more has its later cgroups unnamed.
const MAX_DIRECTORIES: usize = 20_000;
/// An unknown id starts a new walk only this long after the last one.
const WALK_EVERY: Duration = Duration::from_secs(1);

/// Names cgroups. Memory is bounded by the number of cgroups that exist at one moment.
pub struct Cgroups {
    root: Option<PathBuf>,
    paths: HashMap<u64, String>,
    walked: Option<Instant>,
}

impl Cgroups {
    /// Cgroups below the version 2 mount, if there is one.
    pub fn new(root: Option<String>) -> Self {
        Cgroups { root: root.map(PathBuf::from), paths: HashMap::new(), walked: None }
    }

    /// The path of a cgroup below the mount: `/` for the root.
    pub fn path_of(&mut self, id: u64) -> Option<String> {
        if let Some(path) = self.paths.get(&id) {
            return Some(path.clone());
        }
        if self.walked.is_none_or(|at| at.elapsed() >= WALK_EVERY) {
            self.walk();
        }
        self.paths.get(&id).cloned()
    }

    fn walk(&mut self) {
        use std::os::unix::fs::MetadataExt;
        self.walked = Some(Instant::now());
        self.paths.clear();
        let Some(root) = &self.root else { return };
        if let Ok(meta) = fs::metadata(root) {
            self.paths.insert(meta.ino(), "/".to_owned());
        }
        let mut waiting = vec![root.clone()];
        while let Some(directory) = waiting.pop() {
            for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
                if self.paths.len() >= MAX_DIRECTORIES || !entry.file_type().is_ok_and(|t| t.is_dir()) {
                    continue;
                }
                let path = entry.path();
                if let Ok(below) = path.strip_prefix(root) {
                    self.paths.insert(entry.ino(), format!("/{}", below.display()));
                }
                waiting.push(path);
            }
        }
    }
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
    use std::os::unix::fs::MetadataExt;
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
