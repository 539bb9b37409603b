//! Partitions: captures in folders with names as Hive writes them, `KEY=VALUE`, such as `host=db1`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::dir::Dir;
use crate::error::{Error, Result};
use crate::manifest;

/// End of the name of the folder beside a capture that has cached results of it.
pub const CACHE_SUFFIX: &str = ".partials";

/// Maximum number of keys above a capture.
const MOST_KEYS: u32 = 8;

/// Returns the captures in `directory`, in the order of their paths: itself, or those in its partitions if it has no manifest. Without either it is
/// returned as well, so that opening it states what is missing.
///
/// # Errors
/// If a directory cannot be listed, or a partition is a symbolic link.
pub fn captures(directory: &Dir) -> Result<Vec<Dir>> {
    let mut found = Vec::new();
    collect(directory, MOST_KEYS, &mut found)?;
    Ok(found)
}

fn collect(directory: &Dir, keys: u32, found: &mut Vec<Dir>) -> Result<()> {
    // Only the names: other files of a capture may disappear meanwhile.
    let names = directory.names()?;
    let is_capture = names.iter().any(|name| name == manifest::FILE_NAME);
    let mut folders = Vec::new();
    for name in names.into_iter().filter(|name| !is_capture && is_partition(name)) {
        let kind = directory.find(&name)?;
        if kind.is_link() {
            let what = "is a symbolic link, expected a directory: name its target as an argument of its own".to_owned();
            return Err(Error::Schema { path: directory.path().join(name), what });
        }
        if kind.is_dir() {
            folders.push(name);
        }
    }
    if folders.is_empty() || keys == 0 {
        found.push(directory.clone());
        return Ok(());
    }
    folders.sort_unstable();
    folders.iter().try_for_each(|name| collect(&directory.sub(name), keys - 1, found))
}

/// Whether a folder name has a key and a value, and is not that of cached results.
fn is_partition(name: &OsStr) -> bool {
    let name = name.as_bytes();
    let has_both = name.iter().position(|byte| *byte == b'=').is_some_and(|at| at > 0 && at + 1 < name.len());
    has_both && !name.ends_with(CACHE_SUFFIX.as_bytes())
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
        std::fs::create_dir(at("host=a.partials")).expect("a folder");
        assert_eq!(found(), ["host=a", "host=b/day=1", "host=b/day=2"].map(at));
        std::fs::write(at("host=b/manifest.json"), "{}").expect("room");
        assert_eq!(found(), ["host=a", "host=b"].map(at));
        std::os::unix::fs::symlink(at("host=a"), at("host=link")).expect("a link");
        let error = captures(&Dir::open(place.path()).expect("there")).expect_err("a link").to_string();
        assert!(error.contains("host=link: is a symbolic link"), "{error}");
        std::fs::write(at("manifest.json"), "{}").expect("room");
        assert_eq!(found(), [place.path()]);
    }
}
