//! Making and opening the files of a capture. It may come from elsewhere: a link would lead out of it, a pipe or a device has no end.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::error::{Error, Result};

/// The owner's to write, the group's to read.
const MODE: u32 = 0o640;

/// Options for a file that is written to.
pub(crate) fn writable() -> OpenOptions {
    let mut options = File::options();
    options.write(true).mode(MODE);
    options
}

/// Makes a new file in the place of what an earlier writer may have left there under the same name, and of nothing that this leads to.
pub(crate) fn create(path: &Path) -> Result<File> {
    let new = || writable().create_new(true).open(path);
    let made = match new() {
        Err(e) if e.kind() == ErrorKind::AlreadyExists => fs::remove_file(path).and_then(|()| new()),
        made => made,
    };
    made.map_err(|e| Error::io(path, "create", e))
}

/// Gives `new`, which takes the place of the file at `path`, to who has that, as far as this process may.
pub(crate) fn keep_owner(path: &Path, new: &File) {
    if let Ok(old) = fs::symlink_metadata(path) {
        let _ = fchown(new, Some(old.uid()), Some(old.gid()));
    }
}

/// What a file is called until it gets its name.
pub(crate) fn temporary_name(name: &str) -> String {
    format!(".{name}.tmp")
}

/// Writes the file `name` in `directory` anew, so that a reader finds either the old one or this one, whole.
pub(crate) fn replace(directory: &Path, name: &str, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let (path, temporary) = (directory.join(name), directory.join(temporary_name(name)));
    let mut file = BufWriter::new(create(&temporary)?);
    write(&mut file)?;
    let file = file.into_inner().map_err(|e| Error::io(&temporary, "write", e.into_error()))?;
    keep_owner(&path, &file);
    file.sync_all().map_err(|e| Error::io(&temporary, "sync", e))?;
    fs::rename(&temporary, &path).map_err(|e| Error::io(&path, "rename to", e))?;
    sync_dir(directory)
}

/// Makes renames in `directory` durable.
pub(crate) fn sync_dir(directory: &Path) -> Result<()> {
    File::open(directory).and_then(|d| d.sync_all()).map_err(|e| Error::io(directory, "sync", e))
}

/// Opens the file at `path` to be read.
pub(crate) fn open(path: &Path) -> Result<File> {
    open_with(path, OpenOptions::new().read(true), "open")
}

/// Opens the file at `path` to be written to, as `options` say.
pub(crate) fn open_with(path: &Path, options: &mut OpenOptions, action: &'static str) -> Result<File> {
    // Opening a pipe waits for its other end, unless it is told not to.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = match options.custom_flags(flags.bits() as i32).open(path) {
        // A link; a pipe without a reader, or a socket.
        Err(e) if [Errno::LOOP, Errno::NXIO].map(Errno::raw_os_error).map(Some).contains(&e.raw_os_error()) => {
            return Err(irregular(path));
        }
        file => file.map_err(|e| Error::io(path, action, e))?,
    };
    let is_file = file.metadata().map_err(|e| Error::io(path, "stat", e))?.is_file();
    if is_file { Ok(file) } else { Err(irregular(path)) }
}

/// Of what is not a file that has an end.
pub(crate) fn irregular(path: &Path) -> Error {
    Error::Schema { path: path.to_owned(), what: "is not a regular file, expected one".to_owned() }
}

/// What is in the file at `path`, unless that is more than `most` bytes.
pub(crate) fn read(path: &Path, most: u64) -> Result<Vec<u8>> {
    read_all(path, open(path)?, most)
}

/// What is in `file`, which is at `path`, unless that is more than `most` bytes.
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
    fn only_regular_files_are_opened_and_none_that_are_too_large_read() {
        let place = tempfile::tempdir().expect("a temporary directory");
        let at = |name: &str| place.path().join(name);
        fs::write(at("file"), "12345").expect("room");
        std::os::unix::fs::symlink(at("file"), at("link")).expect("room");
        rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe"), rustix::fs::Mode::RWXU).expect("room");
        for name in ["link", "pipe", "."] {
            let error = open(&at(name)).expect_err("not a file").to_string();
            assert!(error.ends_with(": is not a regular file, expected one"), "{error}");
        }
        let write = |name| open_with(&at(name), OpenOptions::new().write(true), "open").map(drop);
        assert!(write("file").is_ok() && write("link").is_err() && write("pipe").is_err());
        assert_eq!(read(&at("file"), 5).expect("not larger"), b"12345");
        let error = read(&at("file"), 4).expect_err("larger").to_string();
        assert!(error.ends_with("/file: has more than 4 bytes, expected less"), "{error}");
        assert!(read(Path::new("/dev/zero"), 4).is_err());
    }

    #[test]
    fn what_a_symbolic_link_points_to_is_not_touched() {
        let directory = tempfile::tempdir().expect("a directory");
        let (secret, link) = (directory.path().join("secret"), directory.path().join("part"));
        fs::write(&secret, "kept").expect("a file");
        std::os::unix::fs::symlink(&secret, &link).expect("a link");
        assert!(open_with(&link, writable().create(true).truncate(false), "create").is_err());
        assert!(create(&link).expect("a new file").metadata().is_ok_and(|made| made.len() == 0));
        assert_eq!(fs::read_to_string(&secret).expect("still there"), "kept");
        assert!(fs::symlink_metadata(&link).expect("the new file").is_file());
    }
}
