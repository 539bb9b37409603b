//! What a recorder leaves in its directory that ended before it began to record: no manifest, and no part that was finished.

use std::collections::BTreeSet;
use std::fs::{self, DirEntry};
use std::path::{Path, PathBuf};

use crate::capture::LOCK;
use crate::error::{Error, Result};
use crate::files::temporary_name;
use crate::part::is_unfinished;
use crate::{list, manifest, tables};

/// All that there is in such a directory, but the lock.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Remains {
    files: BTreeSet<PathBuf>,
    folders: BTreeSet<PathBuf>,
}

impl Remains {
    /// What there is in `directory`, if it is nothing but that: a single file or link that no recorder makes there, and it is
    /// somebody else's.
    pub fn of(directory: &Path) -> Option<Remains> {
        let mut remains = Remains::default();
        let mut is_locked = false;
        for entry in entries(directory)? {
            let (name, kind, path) = (entry.file_name(), entry.file_type().ok()?, entry.path());
            let name = name.to_str()?;
            if name == LOCK && kind.is_file() {
                is_locked = true;
            } else if kind.is_file() && is_of_the_start(name) {
                remains.files.insert(path);
            } else if kind.is_dir() && tables::all().iter().any(|table| table.name == name) {
                for part in entries(&path)? {
                    let is_part = part.file_type().ok()?.is_file() && is_unfinished(part.file_name().to_str()?);
                    remains.files.insert(is_part.then(|| part.path())?);
                }
                remains.folders.insert(path);
            } else {
                return None;
            }
        }
        is_locked.then_some(remains)
    }

    /// Removes it, and nothing that has come since.
    ///
    /// # Errors
    /// Where something cannot be removed, as a folder that is not empty any more.
    pub fn remove(&self) -> Result<()> {
        for file in &self.files {
            fs::remove_file(file).map_err(|e| Error::io(file, "remove", e))?;
        }
        for folder in &self.folders {
            fs::remove_dir(folder).map_err(|e| Error::io(folder, "remove", e))?;
        }
        Ok(())
    }
}

/// Of a directory itself, not of one that a link leads to.
fn entries(directory: &Path) -> Option<Vec<DirEntry>> {
    let is_directory = fs::symlink_metadata(directory).is_ok_and(|found| found.is_dir());
    fs::read_dir(directory).ok().filter(|_| is_directory)?.collect::<std::io::Result<_>>().ok()
}

/// The list of parts, and what is written before the list or the manifest gets its name.
fn is_of_the_start(name: &str) -> bool {
    let unnamed = [list::FILE_NAME, manifest::FILE_NAME].map(temporary_name);
    name == list::FILE_NAME || unnamed.iter().any(|unnamed| unnamed == name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn littered(at: &Path) -> Remains {
        fs::create_dir_all(at.join("block")).expect("room");
        let files = [
            "parts.jsonl",
            ".manifest.json.tmp",
            "block/.part-000001.parquet.tmp",
            "block/.part-000001.parquet.groups",
        ];
        for name in [LOCK].iter().chain(&files) {
            fs::write(at.join(name), "").expect("room");
        }
        Remains { files: files.map(|name| at.join(name)).into(), folders: [at.join("block")].into() }
    }

    #[test]
    fn only_what_a_recorder_makes_before_it_records_is_taken_for_that_and_removed() {
        let place = tempfile::tempdir().expect("a directory");
        let at = |name: &str| place.path().join(name);
        let remains = littered(&at("run"));
        assert_eq!(Remains::of(&at("run")), Some(remains));
        type Make = fn(&Path);
        let others: [(&str, Make); 6] = [
            ("run/note", |path| fs::write(path, "").expect("room")),
            ("run/block/note", |path| fs::write(path, "").expect("room")),
            ("run/block/part-000001.parquet", |path| fs::write(path, "").expect("room")),
            ("run/block/.part-000002.parquet.tmp", |path| symlink("/etc/hostname", path).expect("room")),
            ("run/share", |path| symlink("/", path).expect("room")),
            ("run/home", |path| fs::create_dir(path).expect("room")),
        ];
        for (name, make) in others {
            make(&at(name));
            assert_eq!(Remains::of(&at("run")), None, "{name}");
            fs::remove_file(at(name)).or_else(|_| fs::remove_dir(at(name))).expect("just made");
        }
        symlink(at("run"), at("link")).expect("room");
        assert_eq!(Remains::of(&at("link")), None);

        let remains = Remains::of(&at("run")).expect("as before");
        fs::write(at("run/block/note"), "kept").expect("room");
        assert!(remains.remove().is_err() && at("run/block/note").exists());
    }

    #[test]
    fn a_folder_that_is_called_as_a_table_is_not_enough() {
        let place = tempfile::tempdir().expect("a directory");
        fs::create_dir(place.path().join("share")).expect("room");
        assert_eq!(Remains::of(place.path()), None);
        fs::write(place.path().join(LOCK), "").expect("room");
        Remains::of(place.path()).expect("made by a recorder").remove().expect("nothing in the way");
        assert_eq!(fs::read_dir(place.path()).expect("there").count(), 1, "the lock");
    }
}
