//! What a command makes, so that it can be taken away again: a command that fails, or that a signal ends, leaves what was there before and nothing
//! else.
//!
//! A log belongs to the directory that a user named ([`Dir::begin`]). Whatever is made in it, or below it, is noted while the log is locked, together
//! with the system call that makes it: who takes it all away has the lock, so nothing is made meanwhile, and nothing afterwards.

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

/// A file or directory that was made.
#[derive(Debug)]
struct Made {
    /// Where, below the root.
    folder: PathBuf,
    name: OsString,
    /// Which one: another that has its name by now is somebody else's.
    id: Id,
    is_dir: bool,
}

/// What was made below a root, in order.
#[derive(Debug, Default)]
pub(super) struct Log(Mutex<State>);

#[derive(Debug)]
enum State {
    Noting(Vec<Made>),
    /// All of it stays, and so does what is made from now on.
    Kept,
    /// All of it was taken away, because the command failed.
    Undone,
    /// Likewise, because the program ends.
    Ending,
}

impl Default for State {
    fn default() -> State {
        State::Noting(Vec::new())
    }
}

/// The log, locked. It notes what is made until this is dropped.
#[derive(Debug, Default)]
pub(super) struct Noting<'a>(Option<MutexGuard<'a, State>>);

impl Noting<'_> {
    /// Whether what is made is noted.
    pub(super) fn is_on(&self) -> bool {
        self.0.as_ref().is_some_and(|state| matches!(**state, State::Noting(_)))
    }

    fn made(&mut self) -> Option<&mut Vec<Made>> {
        match self.0.as_deref_mut() {
            Some(State::Noting(made)) => Some(made),
            _ => None,
        }
    }

    /// `name` was made in `folder`.
    pub(super) fn add(&mut self, folder: &Path, name: &OsStr, id: Id, is_dir: bool) {
        let Some(all) = self.made() else { return };
        all.retain(|made| !made.is_at(folder, name));
        all.push(Made { folder: folder.to_owned(), name: name.to_owned(), id, is_dir });
    }

    /// What is called `from` in `folder` is called `to`. What was called so and was there before cannot be had back: the new one stays.
    pub(super) fn rename(&mut self, folder: &Path, from: &OsStr, to: &OsStr, replaces: bool) {
        let Some(all) = self.made() else { return };
        let stays = replaces && !all.iter().any(|made| made.is_at(folder, to));
        let is_settled = |made: &Made| made.is_at(folder, to) || stays && made.is_at(folder, from);
        all.retain(|made| !is_settled(made));
        all.iter_mut().filter(|made| made.is_at(folder, from)).for_each(|made| made.name = to.to_owned());
    }

    /// All that was made stays.
    pub(super) fn keep(&mut self) {
        self.0.as_deref_mut().into_iter().for_each(|state| *state = State::Kept);
    }

    /// `name` in `folder` is gone.
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

    /// Locks it for something that is made at `path`.
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

/// The program ends; whoever waits here does nothing more.
fn wait_for_the_end() -> ! {
    loop {
        thread::park();
    }
}

/// Takes away what is made in a directory, when it is dropped: the directory too, where that was made.
#[derive(Debug)]
#[must_use = "what is made is taken away at once"]
pub struct Undo(Arc<Root>);

/// All logs that something may be taken away of.
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

    /// The command has come to its end: what was made stays.
    pub fn keep(&self) {
        // Where it was taken away already nothing can be kept.
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
    /// Takes away what was made, the last first. Whatever made the command fail may also stop this.
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

/// Takes away all that can be, because the program ends. Whoever wants to make something from now on waits for that.
pub(crate) fn undo_all() {
    let all = all();
    // One that was begun later may have made something in what an earlier one made.
    all.iter().rev().filter_map(Weak::upgrade).for_each(|root| root.undo(State::Ending));
    // Nobody begins anything any more.
    mem::forget(all);
}

impl Dir {
    /// The directory at `path`, as a user named it, which is made with mode `mode` where there is none, as are those above it that are missing.
    /// Until it is kept, all of that is to be taken away again, and so is what is made in it.
    pub fn begin(path: &Path, mode: u32) -> Result<(Dir, Undo)> {
        let (above, missing) = Dir::open_above(path)?;
        let undo = above.undoable();
        Ok((above.make_missing(&missing, mode)?, undo))
    }

    /// As [`Dir::around`]; what is made there is to be taken away again until it is kept.
    pub fn begin_around(path: &Path) -> Result<(Dir, String, Undo)> {
        let (directory, name) = Dir::around(path)?;
        let undo = directory.undoable();
        Ok((directory, name, undo))
    }

    /// Has noted what is made from now on below the directory that was opened.
    pub fn undoable(&self) -> Undo {
        self.root.log.get_or_init(Log::default);
        Undo::new(&self.root)
    }
}
