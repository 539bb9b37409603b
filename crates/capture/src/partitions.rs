//! Partitions: captures in folders with names as Hive writes them, `KEY=VALUE`, such as `host=db1`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::dir::Dir;
use crate::error::Result;
use crate::manifest;

/// Maximum number of keys above a capture.
const MOST_KEYS: u32 = 8;

/// Returns the captures in `directory`, in the order of their paths: itself, or those in its partitions if it has no manifest. Without either it is
/// returned as well, so that opening it states what is missing.
///
/// # Errors
/// If a directory cannot be listed.
pub fn captures(directory: &Dir) -> Result<Vec<Dir>> {
    let mut found = Vec::new();
    collect(directory, MOST_KEYS, &mut found)?;
    Ok(found)
}

fn collect(directory: &Dir, keys: u32, found: &mut Vec<Dir>) -> Result<()> {
    let entries = directory.entries()?;
    let is_capture = entries.iter().any(|(name, _)| name == manifest::FILE_NAME);
    let mut folders: Vec<_> =
        entries.into_iter().filter(|(name, kind)| kind.is_dir() && is_partition(name)).map(|(name, _)| name).collect();
    if is_capture || folders.is_empty() || keys == 0 {
        found.push(directory.clone());
        return Ok(());
    }
    folders.sort_unstable();
    folders.iter().try_for_each(|name| collect(&directory.sub(name), keys - 1, found))
}

/// Whether a folder name has a key and a value.
fn is_partition(name: &OsStr) -> bool {
    let name = name.as_bytes();
    name.iter().position(|byte| *byte == b'=').is_some_and(|at| at > 0 && at + 1 < name.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captures_are_in_partitions_of_directories_without_a_manifest() {
        let place = tempfile::tempdir().expect("a directory");
        let at = |name: &str| place.path().join(name);
        let found = || -> Vec<_> {
            let directory = Dir::open(place.path()).expect("there");
            captures(&directory).expect("listed").iter().map(|found| found.path().to_owned()).collect()
        };
        assert_eq!(found(), [place.path()]);
        for name in ["host=b/day=2", "host=b/day=1", "host=a/block", "host=", "=x", "block"] {
            std::fs::create_dir_all(at(name)).expect("a folder");
        }
        std::fs::write(at("file=x"), "").expect("room");
        std::os::unix::fs::symlink(at("host=a"), at("host=link")).expect("a link");
        assert_eq!(found(), ["host=a", "host=b/day=1", "host=b/day=2"].map(at));
        std::fs::write(at("host=b/manifest.json"), "{}").expect("room");
        assert_eq!(found(), ["host=a", "host=b"].map(at));
        std::fs::write(at("manifest.json"), "{}").expect("room");
        assert_eq!(found(), [place.path()]);
    }
}
