//! Creating, renaming and removing in a directory.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::undo::{Log, Noting};
use super::{Dir, FILE_MODE, FOLDER_MODE, Id};
use crate::error::{Error, Result};

impl Dir {
    /// Creates a directory at `path`, which must not exist, with mode `mode`, and its missing parents.
    pub fn create(path: &Path, mode: u32) -> Result<Dir> {
        let (above, missing) = Dir::open_above(path)?;
        if missing.is_empty() {
            return Err(Error::io(path, "create", ErrorKind::AlreadyExists.into()));
        }
        above.make_missing(&missing, mode)
    }

    /// Creates nested directories with these names, the first in this one. The last, which must be new, gets mode `mode`.
    pub(super) fn make_missing(self, names: &[OsString], mode: u32) -> Result<Dir> {
        let Some((last, between)) = names.split_last() else { return Ok(self) };
        let mut directory = self;
        for name in between {
            directory.make_dir_unless_there(name, FOLDER_MODE)?;
            directory = directory.sub(name);
        }
        directory.make_dir(last, mode)?;
        Ok(directory.sub(last))
    }

    /// Creates a new file. A file left by an earlier writer under the same name is replaced; a link is not followed.
    pub fn create_file(&self, name: impl AsRef<OsStr>) -> Result<File> {
        self.create_file_for(name.as_ref(), name.as_ref())
    }

    /// Creates a file called `name` until it is complete, and to be renamed to `wanted` then. Errors quote `wanted`, because
    /// the user did not request the temporary name.
    pub fn create_file_for(&self, name: impl AsRef<OsStr>, wanted: impl AsRef<OsStr>) -> Result<File> {
        let name = name.as_ref();
        self.within(name)?;
        let path = self.within(wanted.as_ref())?;
        let mut noting = self.note(&path)?;
        let handle = self.handle()?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let new = || rustix::fs::openat(&handle, name, flags, Mode::from_raw_mode(FILE_MODE));
        let made = match new() {
            Err(Errno::EXIST) => rustix::fs::unlinkat(&handle, name, AtFlags::empty()).and_then(|()| new()),
            made => made,
        };
        let made = made.and_then(|file| Ok((Id::of(&file)?, file))).map_err(|e| Error::io(&path, "create", e.into()));
        let (id, file) = made?;
        noting.add(&self.below, name, id, false);
        Ok(file.into())
    }

    /// Locks the log of what is created in the directory, for the creation of something at `path`.
    pub(super) fn note(&self, path: &Path) -> Result<Noting<'_>> {
        Log::note(self.root.log.get(), path)
    }

    /// Renames the file `from` to `to`, replacing an existing file.
    pub fn rename(&self, from: impl AsRef<OsStr>, to: impl AsRef<OsStr>) -> Result<()> {
        let path = self.within(to.as_ref())?;
        self.rename_noted(&mut self.note(&path)?, from.as_ref(), to.as_ref())
    }

    /// Renames several files, or none unless each can be renamed, and then keeps everything that was created. No signal ends
    /// the program in between.
    pub fn rename_all<N: AsRef<OsStr>>(&self, names: &[(N, N)]) -> Result<()> {
        let mut noting = self.note(&self.path)?;
        for (_, to) in names {
            let path = self.within(to.as_ref())?;
            if self.find(to).is_ok_and(|found| found.is_dir()) {
                return Err(Error::io(&path, "replace", ErrorKind::IsADirectory.into()));
            }
        }
        names.iter().try_for_each(|(from, to)| self.rename_noted(&mut noting, from.as_ref(), to.as_ref()))?;
        noting.keep();
        Ok(())
    }

    fn rename_noted(&self, noting: &mut Noting, from: &OsStr, to: &OsStr) -> Result<()> {
        self.within(from)?;
        let path = self.within(to)?;
        let handle = self.handle()?;
        let replaces = noting.is_on() && rustix::fs::statat(&handle, to, AtFlags::SYMLINK_NOFOLLOW).is_ok();
        let renamed = rustix::fs::renameat(&handle, from, &handle, to);
        renamed.map_err(|e| Error::io(&path, "rename to", e.into()))?;
        noting.rename(&self.below, from, to, replaces);
        Ok(())
    }

    /// Removes the file or link `name`. A missing one is not an error.
    pub fn remove(&self, name: impl AsRef<OsStr>) -> Result<()> {
        self.unlink(name.as_ref(), AtFlags::empty())
    }

    /// Removes the directory `name`, which must be empty. A missing one is not an error.
    pub fn remove_dir(&self, name: impl AsRef<OsStr>) -> Result<()> {
        self.unlink(name.as_ref(), AtFlags::REMOVEDIR)
    }

    fn unlink(&self, name: &OsStr, flags: AtFlags) -> Result<()> {
        let path = self.within(name)?;
        let mut noting = self.note(&path)?;
        match rustix::fs::unlinkat(self.handle()?, name, flags) {
            Ok(()) | Err(Errno::NOENT) => {
                noting.remove(&self.below, name);
                Ok(())
            }
            Err(e) => Err(Error::io(&path, "remove", e.into())),
        }
    }

    /// Removes the directory itself, which must be empty and below the one that was opened.
    pub fn remove_itself(&self) -> Result<()> {
        let (Some(above), Some(name)) = (self.below.parent(), self.below.file_name()) else {
            return Err(Error::io(&self.path, "remove", ErrorKind::InvalidInput.into()));
        };
        let path = self.path.parent().unwrap_or(&self.path).to_owned();
        let root = Arc::clone(&self.root);
        Dir { root, below: above.to_owned(), path, kept: None, inside: Arc::default() }.remove_dir(name)
    }

    /// Creates the directory `name` with mode `mode`; nothing with this name may exist.
    pub fn make_dir(&self, name: impl AsRef<OsStr>, mode: u32) -> Result<()> {
        let name = name.as_ref();
        let path = self.within(name)?;
        let mut noting = self.note(&path)?;
        let handle = self.handle()?;
        let made = rustix::fs::mkdirat(&handle, name, Mode::from_raw_mode(mode));
        made.map_err(|e| Error::io(&path, "create", e.into()))?;
        if noting.is_on() {
            let stat = rustix::fs::statat(&handle, name, AtFlags::SYMLINK_NOFOLLOW);
            noting.add(&self.below, name, Id::from(&stat.map_err(|e| Error::io(&path, "find", e.into()))?), true);
        }
        Ok(())
    }

    /// Creates the directory `name` unless something with this name exists. Whether that is a directory is checked at its use.
    pub fn make_dir_unless_there(&self, name: impl AsRef<OsStr>, mode: u32) -> Result<()> {
        match self.make_dir(name, mode) {
            Err(Error::Io { reason, .. }) if reason.kind() == ErrorKind::AlreadyExists => Ok(()),
            made => made,
        }
    }

    /// Makes renames in the directory durable.
    pub fn sync(&self) -> Result<()> {
        let handle = self.enter(OFlags::RDONLY)?;
        rustix::fs::fsync(handle).map_err(|e| Error::io(&self.path, "sync", e.into()))
    }
}
