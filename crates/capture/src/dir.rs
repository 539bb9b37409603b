//! Directory handles: everything below a directory is found from its handle, and never through a symbolic link.
//!
//! A capture may be in a directory that another user can change, while this process has more privileges. A path that is
//! resolved again each time leads wherever that user points it: a table folder replaced by a link would make this process
//! create, replace and delete parts elsewhere. The directory that a user named is therefore opened once, and everything in it
//! is found from that handle, below it and without links (`openat2` with `RESOLVE_BENEATH` and `RESOLVE_NO_SYMLINKS`). Files
//! are opened in the folder found like this, by a single-component name. A file that is written to must have no other hard link,
//! because that may be elsewhere.
//!
//! A folder that is written to over time is pinned ([`Dir::keep`]): if its name comes to refer to another directory, this is an
//! error, and nothing is written there.

mod beneath;
mod change;
mod found;
#[cfg(test)]
mod tests;
pub(crate) mod undo;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Error, Result};
use beneath::beneath;
use undo::{Log, Noting};

pub use found::{Found, Id};
pub use undo::Undo;

/// Mode of directories that are created without a requested mode: limited by the umask.
pub const FOLDER_MODE: u32 = 0o777;

/// Mode of files: writable by the owner, readable by the group.
const FILE_MODE: u32 = 0o640;

/// Directory.
#[derive(Debug, Clone)]
pub struct Dir {
    root: Arc<Root>,
    /// Path below the root; empty for the root itself.
    below: PathBuf,
    /// Path for messages.
    path: PathBuf,
    /// Directory that this one must be.
    kept: Option<Arc<Kept>>,
    /// Pinned directories in it.
    inside: Arc<Vec<Dir>>,
}

/// Directory that the user named.
#[derive(Debug)]
struct Root {
    handle: OwnedFd,
    id: Id,
    path: PathBuf,
    /// Log of what was created below it, if that may have to be removed again.
    log: OnceLock<Log>,
}

/// Directory that cannot become another one, because it is held open.
#[derive(Debug)]
struct Kept {
    handle: OwnedFd,
    id: Id,
}

impl Dir {
    /// Opens the directory at `path`, as a user named it: links on the path are followed.
    pub fn open(path: &Path) -> Result<Dir> {
        Dir::open_as(path, path)
    }

    fn open_as(path: &Path, shown: &Path) -> Result<Dir> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(path, flags, Mode::empty()).and_then(|handle| Ok((Id::of(&handle)?, handle)));
        let (id, handle) = opened.map_err(|e| refused(shown, e))?;
        let root = Root { handle, id, path: path.to_owned(), log: OnceLock::new() };
        Ok(Dir {
            root: Arc::new(root),
            below: PathBuf::new(),
            path: shown.to_owned(),
            kept: None,
            inside: Arc::default(),
        })
    }

    /// Returns the directory of the file at `path`, and the file's name in it.
    pub fn around(path: &Path) -> Result<(Dir, String)> {
        let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok((Dir::open(above)?, name))
    }

    /// Returns the lowest existing directory on `path`, and the names that are missing below it.
    fn open_above(path: &Path) -> Result<(Dir, Vec<OsString>)> {
        let (mut at, mut missing) = (path, Vec::new());
        loop {
            let opened = match at.as_os_str().is_empty() {
                true => Dir::open_as(Path::new("."), at),
                false => Dir::open(at),
            };
            match (opened, at.parent(), at.file_name()) {
                (Err(Error::Io { reason, .. }), Some(above), Some(name)) if reason.kind() == ErrorKind::NotFound => {
                    missing.insert(0, name.to_owned());
                    at = above;
                }
                (opened, ..) => return Ok((opened?, missing)),
            }
        }
    }

    /// Returns the directory `name` in this one, which need not exist. It is looked up at each use, unless it is pinned.
    pub fn sub(&self, name: impl AsRef<OsStr>) -> Dir {
        let name = name.as_ref();
        if let Some(kept) = self.inside.iter().find(|kept| kept.path.file_name() == Some(name)) {
            return kept.clone();
        }
        let root = Arc::clone(&self.root);
        Dir { root, below: self.below.join(name), path: self.path.join(name), kept: None, inside: Arc::default() }
    }

    /// Pins this directory: from now on its path must lead to the directory that it leads to now.
    pub fn keep(mut self) -> Result<Dir> {
        let handle = self.handle()?;
        let id = Id::of(&handle).map_err(|e| refused(&self.path, e))?;
        self.kept = Some(Arc::new(Kept { handle, id }));
        Ok(self)
    }

    /// Pins the directories `names` in this one in the same manner.
    pub fn keep_inside(mut self, names: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<Dir> {
        self.inside = Arc::new(names.into_iter().map(|name| self.sub(name).keep()).collect::<Result<_>>()?);
        Ok(self)
    }

    /// Returns the path for messages. Nothing is opened by it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the identity of the directory.
    pub fn id(&self) -> Result<Id> {
        Id::of(self.handle()?).map_err(|e| refused(&self.path, e))
    }

    /// Whether the directory exists.
    pub fn is_there(&self) -> bool {
        self.handle().is_ok()
    }

    /// Returns its user and group.
    pub fn owner(&self) -> Result<(u32, u32)> {
        let stat = rustix::fs::fstat(self.handle()?).map_err(|e| refused(&self.path, e))?;
        Ok((stat.st_uid, stat.st_gid))
    }

    /// Returns the size of its file system and the free space available to this process; `None` if unknown. For a pinned
    /// directory this costs one system call.
    pub fn space(&self) -> Option<(u64, u64)> {
        let space = match &self.kept {
            Some(kept) => rustix::fs::fstatvfs(&kept.handle),
            None => rustix::fs::fstatvfs(self.handle().ok()?),
        };
        let space = space.ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(space.f_frsize);
        Some((bytes(space.f_blocks), bytes(space.f_bavail)))
    }

    /// Returns a handle from which its contents are found.
    fn handle(&self) -> Result<OwnedFd> {
        self.enter(OFlags::PATH)
    }

    fn enter(&self, flags: OFlags) -> Result<OwnedFd> {
        let below = if self.below.as_os_str().is_empty() { Path::new(".") } else { &self.below };
        let opened = beneath(self.root.handle.as_fd(), below, flags | OFlags::DIRECTORY);
        let handle = opened.map_err(|e| refused(&self.path, e))?;
        if let Some(kept) = &self.kept {
            let is_it = Id::of(&handle).map_err(|e| refused(&self.path, e))? == kept.id;
            if !is_it || self.root.id_by_path()? != self.root.id {
                let what = "is another directory than at the start, expected the same one".to_owned();
                return Err(Error::Schema { path: self.path.clone(), what });
            }
        }
        Ok(handle)
    }

    /// Returns the path of a file or directory in it, given by a single-component name.
    fn within(&self, name: &OsStr) -> Result<PathBuf> {
        let mut words = Path::new(name).components();
        match (words.next(), words.next()) {
            (Some(Component::Normal(word)), None) if word == name => Ok(self.path.join(name)),
            _ => Err(Error::io(&self.path.join(name), "find", ErrorKind::InvalidInput.into())),
        }
    }

    /// Opens the regular file `name` for reading.
    pub fn open_file(&self, name: impl AsRef<OsStr>) -> Result<File> {
        self.regular(name.as_ref(), OFlags::RDONLY, "open")
    }

    /// Opens the regular file `name` for writing.
    pub fn open_to_write(&self, name: impl AsRef<OsStr>) -> Result<File> {
        self.regular(name.as_ref(), OFlags::WRONLY, "open")
    }

    /// Opens the regular file `name` for appending.
    pub fn open_to_append(&self, name: impl AsRef<OsStr>) -> Result<File> {
        self.regular(name.as_ref(), OFlags::WRONLY | OFlags::APPEND, "open")
    }

    /// Opens the regular file `name` for writing, and creates it if it does not exist.
    pub fn open_or_create(&self, name: impl AsRef<OsStr>) -> Result<File> {
        self.regular(name.as_ref(), OFlags::WRONLY | OFlags::CREATE, "create")
    }

    fn regular(&self, name: &OsStr, flags: OFlags, action: &'static str) -> Result<File> {
        let path = self.within(name)?;
        let mode = if flags.contains(OFlags::CREATE) { Mode::from_raw_mode(FILE_MODE) } else { Mode::empty() };
        // Without O_NONBLOCK, opening a pipe waits for its other end.
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut noting = if flags.contains(OFlags::CREATE) { self.note(&path)? } else { Noting::default() };
        let handle = self.handle()?;
        let open = |more| rustix::fs::openat(&handle, name, flags | more, mode);
        let file = match open(if noting.is_on() { OFlags::EXCL } else { OFlags::empty() }) {
            Err(Errno::EXIST) => {
                noting = Noting::default();
                open(OFlags::empty())
            }
            file => file,
        };
        let file = match file {
            // A symbolic link; a pipe without a reader, or a socket.
            Err(Errno::LOOP | Errno::NXIO) => return Err(irregular(&path)),
            file => file.map_err(|e| Error::io(&path, action, e.into()))?,
        };
        let stat = rustix::fs::fstat(&file).map_err(|e| Error::io(&path, "stat", e.into()))?;
        noting.add(&self.below, name, Id::from(&stat), false);
        if !Found::of(&stat).is_file() {
            return Err(irregular(&path));
        }
        if flags.contains(OFlags::WRONLY) && stat.st_nlink > 1 {
            let what = "has other hard links, expected a file with one".to_owned();
            return Err(Error::Schema { path, what });
        }
        Ok(file.into())
    }

    /// Returns the type, size and owner of `name`.
    pub fn find(&self, name: impl AsRef<OsStr>) -> Result<Found> {
        let name = name.as_ref();
        let path = self.within(name)?;
        let stat = rustix::fs::statat(self.handle()?, name, AtFlags::SYMLINK_NOFOLLOW);
        stat.map(|stat| Found::of(&stat)).map_err(|e| Error::io(&path, "find", e.into()))
    }

    /// Returns the names of its entries.
    pub fn names(&self) -> Result<Vec<OsString>> {
        let error = |e: Errno| Error::io(&self.path, "list", e.into());
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::new(self.enter(OFlags::RDONLY)?).map_err(error)? {
            let entry = entry.map_err(error)?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// Returns its entries.
    pub fn entries(&self) -> Result<Vec<(OsString, Found)>> {
        self.names()?.into_iter().map(|name| self.find(&name).map(|found| (name, found))).collect()
    }
}

impl Root {
    /// Returns the identity of the directory to which the user's path leads now.
    fn id_by_path(&self) -> Result<Id> {
        let stat = rustix::fs::stat(&self.path).map_err(|e| refused(&self.path, e))?;
        Ok(Id::from(&stat))
    }
}

fn refused(path: &Path, error: Errno) -> Error {
    match error {
        Errno::LOOP | Errno::NOTDIR | Errno::XDEV => {
            let what = "is a symbolic link or not a directory, expected a directory".to_owned();
            Error::Schema { path: path.to_owned(), what }
        }
        error => Error::io(path, "open", error.into()),
    }
}

/// Creates the error for a file that is not regular, and may have no end.
pub(crate) fn irregular(path: &Path) -> Error {
    Error::Schema { path: path.to_owned(), what: "is not a regular file, expected one".to_owned() }
}
