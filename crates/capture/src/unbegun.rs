//! Remains of a recorder that ended before it began to record: no manifest, and no finished part.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

use crate::capture::LOCK;
use crate::dir::Dir;
use crate::error::Result;
use crate::files::temporary_name;
use crate::part::is_unfinished;
use crate::{TableId, completeness, list, manifest};

/// All files in such a directory, except for the lock.
#[derive(Debug)]
pub struct Remains {
    directory: Dir,
    files: BTreeSet<OsString>,
    /// Files by folder of a table.
    folders: BTreeMap<OsString, BTreeSet<OsString>>,
}

impl Remains {
    /// Returns the remains in `directory`, if it contains nothing else. A single file or link that no recorder creates there
    /// means that the directory belongs to somebody else.
    pub fn of(directory: &Dir) -> Option<Remains> {
        let mut remains = Remains { directory: directory.clone(), files: BTreeSet::new(), folders: BTreeMap::new() };
        let mut is_locked = false;
        for (name, found) in directory.entries().ok()? {
            let text = name.to_str()?;
            if text == LOCK && found.is_file() {
                is_locked = true;
            } else if found.is_file() && is_of_the_start(text) {
                remains.files.insert(name);
            } else if found.is_dir() && TableId::parse(text).is_some() {
                let parts = directory.sub(&name).entries().ok()?;
                if !parts.iter().all(|(name, part)| part.is_file() && name.to_str().is_some_and(is_unfinished)) {
                    return None;
                }
                remains.folders.insert(name, parts.into_iter().map(|(name, _)| name).collect());
            } else {
                return None;
            }
        }
        is_locked.then_some(remains)
    }

    /// Removes the remains, and nothing that was added since.
    ///
    /// # Errors
    /// Returns an error if something cannot be removed, such as a folder that is no longer empty.
    pub fn remove(&self) -> Result<()> {
        self.files.iter().try_for_each(|file| self.directory.remove(file))?;
        for (name, files) in &self.folders {
            let folder = self.directory.sub(name);
            files.iter().try_for_each(|file| folder.remove(file))?;
            self.directory.remove_dir(name)?;
        }
        Ok(())
    }
}

/// Whether `name` is the list of parts, the completeness file, or the temporary file of the list or the manifest.
fn is_of_the_start(name: &str) -> bool {
    let unnamed = [list::FILE_NAME, manifest::FILE_NAME].map(temporary_name);
    [list::FILE_NAME, completeness::FILE_NAME].contains(&name) || unnamed.iter().any(|unnamed| unnamed == name)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::{Path, PathBuf};

    use super::*;

    fn of(path: &Path) -> Option<Remains> {
        Remains::of(&Dir::open(path).expect("there"))
    }

    fn named(remains: &Remains, at: &Path) -> BTreeSet<PathBuf> {
        let within = |(folder, files): (&OsString, &BTreeSet<OsString>)| {
            files.iter().map(|file| at.join(folder).join(file)).chain([at.join(folder)]).collect::<Vec<_>>()
        };
        remains.files.iter().map(|file| at.join(file)).chain(remains.folders.iter().flat_map(within)).collect()
    }

    fn littered(at: &Path) -> BTreeSet<PathBuf> {
        fs::create_dir_all(at.join("block")).expect("room");
        let files = [
            "parts.jsonl",
            ".whole",
            ".manifest.json.tmp",
            "block/.part-000001.parquet.tmp",
            "block/.part-000001.parquet.groups",
        ];
        for name in [LOCK].iter().chain(&files) {
            fs::write(at.join(name), "").expect("room");
        }
        files.iter().chain(&["block"]).map(|name| at.join(name)).collect()
    }

    #[test]
    fn only_what_a_recorder_makes_before_it_records_is_taken_for_that_and_removed() {
        let place = tempfile::tempdir().expect("a directory");
        let at = |name: &str| place.path().join(name);
        let remains = littered(&at("run"));
        assert_eq!(of(&at("run")).map(|found| named(&found, &at("run"))), Some(remains));
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
            assert!(of(&at("run")).is_none(), "{name}");
            fs::remove_file(at(name)).or_else(|_| fs::remove_dir(at(name))).expect("just made");
        }
        symlink(at("run"), at("link")).expect("room");
        let linked = Dir::open(place.path()).expect("there").sub("link");
        assert!(Remains::of(&linked).is_none());

        let remains = of(&at("run")).expect("as before");
        fs::write(at("run/block/note"), "kept").expect("room");
        assert!(remains.remove().is_err() && at("run/block/note").exists());
    }

    #[test]
    fn a_folder_that_is_called_as_a_table_is_not_enough() {
        let place = tempfile::tempdir().expect("a directory");
        fs::create_dir(place.path().join("share")).expect("room");
        assert!(of(place.path()).is_none());
        fs::write(place.path().join(LOCK), "").expect("room");
        of(place.path()).expect("made by a recorder").remove().expect("nothing in the way");
        assert_eq!(fs::read_dir(place.path()).expect("there").count(), 1, "the lock");
    }
}
