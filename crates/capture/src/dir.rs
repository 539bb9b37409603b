//! Directories as handles: what is below one is found from there, and never by way of a link.
//!
//! A capture may lie in a directory that somebody else may change, while this process may do more than they. A path that is looked up
//! anew each time leads wherever they point it meanwhile: a folder of a table that has become a link would have parts made, replaced and
//! deleted elsewhere. So the directory that a user named is opened once, and everything in it is found from that handle, within it and without
//! links (`openat2` with `RESOLVE_BENEATH` and `RESOLVE_NO_SYMLINKS`). Files are opened in the folder that was found so, by a name of one
//! word. One that is written to has no other name, for that may be elsewhere.
//!
//! A folder that is written to over time is kept ([`Dir::keep`]): should its name come to mean another directory, that is an error
//! and not the place where the rest goes.

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

/// Of directories that are made where nothing else was asked for: as far as the umask allows.
pub const FOLDER_MODE: u32 = 0o777;

/// Files are the owner's to write, the group's to read.
const FILE_MODE: u32 = 0o640;

/// A directory.
#[derive(Debug, Clone)]
pub struct Dir {
    root: Arc<Root>,
    /// Where it is below the root; empty, where it is that.
    below: PathBuf,
    /// What it is called in messages.
    path: PathBuf,
    /// Which directory it has to be.
    kept: Option<Arc<Kept>>,
    /// Directories in it that are kept.
    inside: Arc<Vec<Dir>>,
}

/// The directory that a user named.
#[derive(Debug)]
struct Root {
    handle: OwnedFd,
    id: Id,
    path: PathBuf,
    /// What was made below it, where that may have to be taken away again.
    log: OnceLock<Log>,
}

/// A directory that cannot become another one, because it is held open.
#[derive(Debug)]
struct Kept {
    handle: OwnedFd,
    id: Id,
}

impl Dir {
    /// The directory at `path`, as a user named it: links on the way to it are followed.
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

    /// The directory that the file at `path` is in, and what it is called there.
    pub fn around(path: &Path) -> Result<(Dir, String)> {
        let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok((Dir::open(above)?, name))
    }

    /// The lowest directory on the way to `path` that is there, and the names that are missing below it.
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

    /// The directory `name` in this one, which need not be there. It is looked for each time it is used, unless it is kept.
    pub fn sub(&self, name: impl AsRef<OsStr>) -> Dir {
        let name = name.as_ref();
        if let Some(kept) = self.inside.iter().find(|kept| kept.path.file_name() == Some(name)) {
            return kept.clone();
        }
        let root = Arc::clone(&self.root);
        Dir { root, below: self.below.join(name), path: self.path.join(name), kept: None, inside: Arc::default() }
    }

    /// This one, which from now on has to be the directory that it is now, and to be found where it is now.
    pub fn keep(mut self) -> Result<Dir> {
        let handle = self.handle()?;
        let id = Id::of(&handle).map_err(|e| refused(&self.path, e))?;
        self.kept = Some(Arc::new(Kept { handle, id }));
        Ok(self)
    }

    /// This one, of which likewise those called `names` are kept.
    pub fn keep_inside(mut self, names: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<Dir> {
        self.inside = Arc::new(names.into_iter().map(|name| self.sub(name).keep()).collect::<Result<_>>()?);
        Ok(self)
    }

    /// What it is called in messages. Nothing is to be opened by it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Which directory it is.
    pub fn id(&self) -> Result<Id> {
        Id::of(self.handle()?).map_err(|e| refused(&self.path, e))
    }

    /// Whether there is such a directory.
    pub fn is_there(&self) -> bool {
        self.handle().is_ok()
    }

    /// Its owner.
    pub fn owner(&self) -> Result<(u32, u32)> {
        let stat = rustix::fs::fstat(self.handle()?).map_err(|e| refused(&self.path, e))?;
        Ok((stat.st_uid, stat.st_gid))
    }

    /// How large its file system is, and how much of that is free for this process; of one that cannot be asked, nothing. Where it is
    /// kept, that costs one system call.
    pub fn space(&self) -> Option<(u64, u64)> {
        let space = match &self.kept {
            Some(kept) => rustix::fs::fstatvfs(&kept.handle),
            None => rustix::fs::fstatvfs(self.handle().ok()?),
        };
        let space = space.ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(space.f_frsize);
        Some((bytes(space.f_blocks), bytes(space.f_bavail)))
    }

    /// A handle of it that what is in it is found from.
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
                let what = "is another directory than it was, expected the one that was there at the start".to_owned();
                return Err(Error::Schema { path: self.path.clone(), what });
            }
        }
        Ok(handle)
    }

    /// The path of a file or directory in it, which is called by a word.
    fn within(&self, name: &OsStr) -> Result<PathBuf> {
        let mut words = Path::new(name).components();
        match (words.next(), words.next()) {
            (Some(Component::Normal(word)), None) if word == name => Ok(self.path.join(name)),
            _ => Err(Error::io(&self.path.join(name), "find", ErrorKind::InvalidInput.into())),
        }
    }

    /// Opens the regular file `name` to be read.
    pub fn open_file(&self, name: impl AsRef<OsStr>) -> Result<File> {
        self.regular(name.as_ref(), OFlags::RDONLY, "open")
    }

    /// Opens the regular file `name` to be written to.
    pub fn open_to_write(&self, name: impl AsRef<OsStr>) -> Result<File> {
        self.regular(name.as_ref(), OFlags::WRONLY, "open")
    }

    /// Opens the regular file `name` to be appended to.
    pub fn open_to_append(&self, name: impl AsRef<OsStr>) -> Result<File> {
        self.regular(name.as_ref(), OFlags::WRONLY | OFlags::APPEND, "open")
    }

    /// Opens the regular file `name` to be written to, which is made where there is none.
    pub fn open_or_create(&self, name: impl AsRef<OsStr>) -> Result<File> {
        self.regular(name.as_ref(), OFlags::WRONLY | OFlags::CREATE, "create")
    }

    fn regular(&self, name: &OsStr, flags: OFlags, action: &'static str) -> Result<File> {
        let path = self.within(name)?;
        let mode = if flags.contains(OFlags::CREATE) { Mode::from_raw_mode(FILE_MODE) } else { Mode::empty() };
        // Opening a pipe waits for its other end, unless it is told not to.
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
            // A link; a pipe without a reader, or a socket.
            Err(Errno::LOOP | Errno::NXIO) => return Err(irregular(&path)),
            file => file.map_err(|e| Error::io(&path, action, e.into()))?,
        };
        let stat = rustix::fs::fstat(&file).map_err(|e| Error::io(&path, "stat", e.into()))?;
        noting.add(&self.below, name, Id::from(&stat), false);
        if !Found::of(&stat).is_file() {
            return Err(irregular(&path));
        }
        if flags.contains(OFlags::WRONLY) && stat.st_nlink > 1 {
            let what = "has other names (hard links), expected a file that is nowhere else".to_owned();
            return Err(Error::Schema { path, what });
        }
        Ok(file.into())
    }

    /// What there is under `name`.
    pub fn find(&self, name: impl AsRef<OsStr>) -> Result<Found> {
        let name = name.as_ref();
        let path = self.within(name)?;
        let stat = rustix::fs::statat(self.handle()?, name, AtFlags::SYMLINK_NOFOLLOW);
        stat.map(|stat| Found::of(&stat)).map_err(|e| Error::io(&path, "find", e.into()))
    }

    /// The names of all that is in it.
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

    /// All that is in it.
    pub fn entries(&self) -> Result<Vec<(OsString, Found)>> {
        self.names()?.into_iter().map(|name| self.find(&name).map(|found| (name, found))).collect()
    }
}

impl Root {
    /// What the path that the user named leads to now.
    fn id_by_path(&self) -> Result<Id> {
        let stat = rustix::fs::stat(&self.path).map_err(|e| refused(&self.path, e))?;
        Ok(Id::from(&stat))
    }
}

fn refused(path: &Path, error: Errno) -> Error {
    match error {
        Errno::LOOP | Errno::NOTDIR | Errno::XDEV => {
            let what = "is a link or no directory, expected a directory".to_owned();
            Error::Schema { path: path.to_owned(), what }
        }
        error => Error::io(path, "open", error.into()),
    }
}

/// Of what is not a file that has an end.
pub(crate) fn irregular(path: &Path) -> Error {
    Error::Schema { path: path.to_owned(), what: "is not a regular file, expected one".to_owned() }
}
