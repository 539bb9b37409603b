//! Removal of what a command created: a command that fails, or that a signal ends, leaves only what existed before.
//!
//! A log belongs to the directory that a user named ([`Dir::begin`]). Everything created in it, or below it, is logged while the
//! log is locked, together with the system call that creates it. The removal holds the lock, so nothing is created during it or
//! afterwards.

use std::ffi::{OsStr, OsString};
use std::mem;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;

use rustix::fs::{AtFlags, OFlags, statat, unlinkat};

use super::beneath::beneath;
use super::{Dir, Id, Root};
use crate::error::{Error, Result};

/// File or directory that was created.
#[derive(Debug)]
struct Made {
    /// Folder, relative to the root.
    folder: PathBuf,
    name: OsString,
    /// Identity: another file that has its name by now belongs to somebody else.
    id: Id,
    is_dir: bool,
}

/// Log of what was created below a root, in order.
#[derive(Debug, Default)]
pub(super) struct Log(Mutex<State>);

#[derive(Debug)]
enum State {
    Noting(Vec<Made>),
    /// Everything stays, and so does what is created from now on.
    Kept,
    /// Everything was removed, because the command failed.
    Undone,
    /// Everything was removed, because the program ends.
    Ending,
}

impl Default for State {
    fn default() -> State {
        State::Noting(Vec::new())
    }
}

/// Locked log. It records creations until dropped.
#[derive(Debug, Default)]
pub(super) struct Noting<'a>(Option<MutexGuard<'a, State>>);

impl Noting<'_> {
    /// Whether creations are recorded.
    pub(super) fn is_on(&self) -> bool {
        self.0.as_ref().is_some_and(|state| matches!(**state, State::Noting(_)))
    }

    fn made(&mut self) -> Option<&mut Vec<Made>> {
        match self.0.as_deref_mut() {
            Some(State::Noting(made)) => Some(made),
            _ => None,
        }
    }

    /// Records that `name` was created in `folder`.
    pub(super) fn add(&mut self, folder: &Path, name: &OsStr, id: Id, is_dir: bool) {
        let Some(all) = self.made() else { return };
        all.retain(|made| !made.is_at(folder, name));
        all.push(Made { folder: folder.to_owned(), name: name.to_owned(), id, is_dir });
    }

    /// Records that `from` in `folder` was renamed to `to`. A file that existed before and was replaced cannot be restored: the new
    /// one stays.
    pub(super) fn rename(&mut self, folder: &Path, from: &OsStr, to: &OsStr, replaces: bool) {
        let Some(all) = self.made() else { return };
        let stays = replaces && !all.iter().any(|made| made.is_at(folder, to));
        let is_settled = |made: &Made| made.is_at(folder, to) || stays && made.is_at(folder, from);
        all.retain(|made| !is_settled(made));
        all.iter_mut().filter(|made| made.is_at(folder, from)).for_each(|made| made.name = to.to_owned());
    }

    /// Keeps everything that was created.
    pub(super) fn keep(&mut self) {
        self.0.as_deref_mut().into_iter().for_each(|state| *state = State::Kept);
    }

    /// Records that `name` in `folder` was removed.
    pub(super) fn remove(&mut self, folder: &Path, name: &OsStr) {
        self.made().into_iter().for_each(|all| all.retain(|made| !made.is_at(folder, name)));
    }
}

impl Made {
    fn is_at(&self, folder: &Path, name: &OsStr) -> bool {
        self.name == name && self.folder == folder
    }
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the log for a creation at `path`.
    pub(super) fn note<'a>(log: Option<&'a Log>, path: &Path) -> Result<Noting<'a>> {
        let Some(log) = log else { return Ok(Noting(None)) };
        let state = log.lock();
        match *state {
            State::Noting(_) | State::Kept => Ok(Noting(Some(state))),
            State::Undone => {
                let what = "not created: the command has already failed".to_owned();
                Err(Error::Schema { path: path.to_owned(), what })
            }
            State::Ending => {
                drop(state);
                wait_for_the_end()
            }
        }
    }
}

/// Blocks forever, because the program ends.
fn wait_for_the_end() -> ! {
    loop {
        thread::park();
    }
}

/// Removes what is created in a directory when dropped, including the directory itself if it was created.
#[derive(Debug)]
#[must_use = "dropping it removes what was created"]
pub struct Undo(Arc<Root>);

/// All logs with something that may have to be removed.
static ALL: Mutex<Vec<Weak<Root>>> = Mutex::new(Vec::new());

fn all() -> MutexGuard<'static, Vec<Weak<Root>>> {
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Undo {
    fn new(root: &Arc<Root>) -> Undo {
        let mut all = all();
        all.retain(|root| root.strong_count() > 0);
        all.push(Arc::downgrade(root));
        Undo(Arc::clone(root))
    }

    /// Keeps what was created: the command has completed.
    pub fn keep(&self) {
        // After a removal nothing can be kept.
        if let Ok(mut noting) = Log::note(self.0.log.get(), &self.0.path) {
            noting.keep();
        }
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        self.0.undo(State::Undone);
    }
}

impl Root {
    /// Removes what was created, the last first. The cause of the command's failure may also stop the removal.
    fn undo(&self, then: State) {
        let Some(log) = self.log.get() else { return };
        let mut state = log.lock();
        if !matches!(*state, State::Noting(_)) {
            return;
        }
        let State::Noting(made) = mem::replace(&mut *state, then) else { return };
        for Made { folder, name, id, is_dir } in made.iter().rev() {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            let Ok(folder) = beneath(self.handle.as_fd(), folder, OFlags::PATH | OFlags::DIRECTORY) else { continue };
            let is_it = statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| Id::from(&stat) == *id);
            if is_it {
                let flags = if *is_dir { AtFlags::REMOVEDIR } else { AtFlags::empty() };
                let _ = unlinkat(&folder, name, flags);
            }
        }
    }
}

/// Removes everything that can be removed, because the program ends. Later creations block until then.
pub(crate) fn undo_all() {
    let all = all();
    // A later one may have created something in a directory of an earlier one.
    all.iter().rev().filter_map(Weak::upgrade).for_each(|root| root.undo(State::Ending));
    // No new log is started from now on.
    mem::forget(all);
}

impl Dir {
    /// Opens the directory at `path`, as a user named it, and creates it with mode `mode`, including missing parents, if it does
    /// not exist. Until it is kept, all of these, and everything created in it, are to be removed again.
    pub fn begin(path: &Path, mode: u32) -> Result<(Dir, Undo)> {
        let (above, missing) = Dir::open_above(path)?;
        let undo = above.undoable();
        Ok((above.make_missing(&missing, mode)?, undo))
    }

    /// As [`Dir::around`]; everything created there is to be removed again until it is kept.
    pub fn begin_around(path: &Path) -> Result<(Dir, String, Undo)> {
        let (directory, name) = Dir::around(path)?;
        let undo = directory.undoable();
        Ok((directory, name, undo))
    }

    /// Logs what is created from now on below the directory that was opened.
    pub fn undoable(&self) -> Undo {
        self.root.log.get_or_init(Log::default);
        Undo::new(&self.root)
    }
}
