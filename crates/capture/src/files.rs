//! Reading a complete file of a capture, and replacing one atomically.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::os::unix::fs::fchown;
use std::path::Path;

use crate::dir::Dir;
use crate::error::{Error, Result};

/// Gives `new`, which replaces the file `name`, the owner of the old file, as far as this process is permitted.
pub(crate) fn keep_owner(directory: &Dir, name: &str, new: &File) {
    if let Ok(old) = directory.find(name) {
        let (user, group) = old.owner();
        let _ = fchown(new, Some(user), Some(group));
    }
}

/// Returns the temporary name of a file that is to be called `name`.
pub(crate) fn temporary_name(name: &str) -> String {
    format!(".{name}.tmp")
}

/// Complete file on disk that still has its temporary name.
#[derive(Debug)]
pub struct Unnamed {
    directory: Dir,
    name: String,
}

impl Unnamed {
    /// Gives the file its final name, durably.
    pub fn publish(self) -> Result<()> {
        self.directory.rename(temporary_name(&self.name), &self.name)?;
        self.directory.sync()
    }
}

/// Replaces the file `name` in `directory` atomically: a reader finds either the old or the new one, complete.
pub(crate) fn replace(directory: &Dir, name: &str, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    prepare(directory, name, write)?.publish()
}

/// Writes the future file `name` in `directory` under its temporary name.
pub(crate) fn prepare(
    directory: &Dir,
    name: &str,
    write: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<Unnamed> {
    let temporary = temporary_name(name);
    let path = directory.path().join(name);
    let file = directory.create_file_for(&temporary, name)?;
    let written = || {
        let mut file = BufWriter::new(file);
        write(&mut file)?;
        let file = file.into_inner().map_err(|e| Error::io(&path, "write", e.into_error()))?;
        keep_owner(directory, name, &file);
        file.sync_all().map_err(|e| Error::io(&path, "sync", e))
    };
    // On an error the old file is unchanged, and the temporary one is removed.
    written().inspect_err(|_| drop(directory.remove(&temporary)))?;
    Ok(Unnamed { directory: directory.clone(), name: name.to_owned() })
}

/// Reads the file `name`; an error if it has more than `most` bytes.
pub(crate) fn read(directory: &Dir, name: &str, most: u64) -> Result<Vec<u8>> {
    read_all(&directory.path().join(name), directory.open_file(name)?, most)
}

/// Reads `file`, which is at `path`; an error if it has more than `most` bytes.
pub(crate) fn read_all(path: &Path, file: File, most: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(|e| Error::io(path, "read", e))?;
    if bytes.len() as u64 > most {
        let what = format!("has more than {most} bytes, expected less");
        return Err(Error::Schema { path: path.to_owned(), what });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn none_that_is_too_large_is_read() {
        let place = tempfile::tempdir().expect("a temporary directory");
        fs::write(place.path().join("file"), "12345").expect("room");
        let directory = Dir::open(place.path()).expect("there");
        assert_eq!(read(&directory, "file", 5).expect("not larger"), b"12345");
        let error = read(&directory, "file", 4).expect_err("larger").to_string();
        assert!(error.ends_with("/file: has more than 4 bytes, expected less"), "{error}");
        assert!(read(&Dir::open(Path::new("/dev")).expect("there"), "zero", 4).is_err());
    }
}
