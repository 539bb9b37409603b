//! The directory of a capture: what is made, who it belongs to, and what must not be written to.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use iostrata_capture::capture::Lock;
use iostrata_capture::dir::{Dir, Undo};
use iostrata_capture::manifest::Manifest;
use iostrata_capture::message::tell;
use iostrata_capture::recover::{Recovered, recover};
use iostrata_capture::unbegun::Remains;
use iostrata_capture::{Error, TableId, segment};

use crate::privilege::{self, Invoker};

/// Directories are the owner's to write, the group's to read.
const MODE: u32 = 0o750;

/// Where a recording is to be written to. Nothing was touched yet.
pub struct Chosen {
    path: PathBuf,
    place: Place,
}

enum Place {
    /// A directory that is not there yet.
    New,
    /// One that is empty.
    Empty(Dir),
    /// One with what a recorder left that ended before it began to record: itself, or the last segment in it.
    Littered(Dir, Option<Dir>),
    /// A capture that is to be continued.
    Capture(Dir),
}

impl Chosen {
    /// Chooses where in `root` to write to: root itself where it is new or empty, the next segment of the capture in it where that
    /// is to be continued. Refuses what must not be written to; touches nothing.
    pub fn choose(root: &Path, resume: bool) -> Result<Chosen> {
        Ok(Chosen { path: root.to_owned(), place: Place::choose(root, resume)? })
    }

    /// Makes the directory and its folders, for nobody but whoever asked and their group, and takes it for this process. What an
    /// earlier recording left unfinished is recovered first. What is made is made by whoever asked, so that what they may not make is
    /// refused.
    pub fn make(self) -> Result<Home> {
        let Chosen { path, place } = self;
        match place {
            Place::New => {
                let writer = privilege::invoker();
                let made = privilege::acting_as(writer, || Ok(Dir::begin(&path, MODE)?));
                let (root, undo) =
                    made.with_context(|| format!("--out: cannot make {}{}", path.display(), by(writer)))?;
                let mut home = Home::of(root.clone(), root, writer);
                home.undo = Some(undo);
                home.furnished(false)
            }
            Place::Empty(root) => Home::at(root.clone(), root).furnished(false),
            Place::Littered(root, None) => Home::at(root.clone(), root).furnished(true),
            Place::Littered(root, Some(segment)) => Home::at(root, segment).following()?.furnished(true),
            Place::Capture(root) => {
                let mut home = Home::at(root.clone(), root).following()?;
                home.directory = segment::next(&home.root)?;
                home.furnished(false)
            }
        }
    }
}

impl Place {
    fn choose(root: &Path, resume: bool) -> Result<Place> {
        let shown = root.display();
        let directory = match Dir::open(root) {
            Err(Error::Io { reason, .. }) if reason.kind() == ErrorKind::NotFound => return Ok(Place::New),
            Err(Error::Schema { .. }) => bail!("--out {shown}: is a file; expected a new or empty directory"),
            directory => directory?,
        };
        if directory.names()?.is_empty() {
            return Ok(Place::Empty(directory));
        }
        if Lock::is_taken(&directory) {
            bail!("--out {shown}: another recorder writes to it");
        }
        if !resume {
            let hint = if Manifest::read(&directory).is_ok() { "; --resume continues a capture" } else { "" };
            bail!("--out {shown}: exists and is not empty; expected a new or empty directory{hint}");
        }
        if Remains::of(&directory).is_some() {
            return Ok(Place::Littered(directory, None));
        }
        Manifest::read(&directory).context("--resume: expected a capture, or a new or empty directory")?;
        let unbegun = segment::last(&directory)?.filter(|segment| Remains::of(segment).is_some());
        Ok(match unbegun {
            Some(segment) => Place::Littered(directory, Some(segment)),
            None => Place::Capture(directory),
        })
    }
}

/// Where a recording is written to; nobody else writes there while this exists. What was made for it is taken away when this is dropped,
/// unless the recording has begun.
pub struct Home {
    /// The capture's directory.
    pub root: Dir,
    locks: Vec<Lock>,
    /// Where this recording goes: the same, or a segment in it.
    pub directory: Dir,
    /// Who writes there, where that is another than this process's user.
    pub writer: Option<Invoker>,
    /// The segments before it, in order.
    pub older: Vec<Dir>,
    /// The id of the last of them.
    pub continues: Option<String>,
    /// Where the capture's directory was not there before: takes it away again, with those above it that were missing.
    undo: Option<Undo>,
    /// Whether the segment was not there before.
    is_made: bool,
    /// Whether what is in it was made for this recording.
    is_ours: bool,
    has_begun: bool,
}

impl Home {
    fn of(root: Dir, directory: Dir, writer: Option<Invoker>) -> Home {
        let (locks, older) = Default::default();
        Home {
            root,
            locks,
            directory,
            writer,
            older,
            continues: None,
            undo: None,
            is_made: false,
            is_ours: false,
            has_begun: false,
        }
    }

    fn at(root: Dir, directory: Dir) -> Home {
        let writer = privilege::writer_of(&root);
        Home::of(root, directory, writer)
    }

    /// After the segments that are there, which are recovered where they were cut off.
    fn following(mut self) -> Result<Home> {
        for directory in segment::segments(&self.root)? {
            if let Some(recovered) = self.as_writer(|| Ok(recover(&directory)?))? {
                tell_of(&directory, &recovered);
            }
            self.continues = Some(Manifest::read(&directory)?.capture_id);
            self.older.push(directory);
        }
        Ok(self)
    }

    /// With locks and folders; where it is littered, without the litter.
    fn furnished(mut self, is_littered: bool) -> Result<Home> {
        let is_root = self.root.path() == self.directory.path();
        let mut root = self.root.clone().keep()?;
        if !is_root {
            self.locks.push(self.lock(&root)?);
            if !is_littered {
                let name = self.directory.path().file_name().unwrap_or_default().to_owned();
                let made = privilege::acting_as(self.writer, || Ok(root.make_dir(&name, MODE)?));
                made.context("--out")?;
                self.is_made = true;
            }
            root = self.directory.clone().keep()?;
        }
        let lock = self.lock(&root)?;
        self.locks.push(lock);
        // Where there was something that no recorder makes, it is not removed either.
        self.is_ours = true;
        if is_littered {
            // It may have gone on since, until the lock was taken.
            let shown = root.path().display();
            let remains = Remains::of(&root);
            remains.ok_or_else(|| anyhow!("--out {shown}: another recorder has written to it"))?.remove()?;
        }
        let names = || TableId::ALL.iter().map(|table| table.name());
        // Each was not there before: what somebody else has put there meanwhile is not written to.
        let made = privilege::acting_as(self.writer, || Ok(names().try_for_each(|name| root.make_dir(name, MODE))?));
        made.context("--out")?;
        self.directory = root.keep_inside(names())?;
        Ok(self)
    }

    fn lock(&self, directory: &Dir) -> Result<Lock> {
        let lock = self.as_writer(|| Ok(Lock::take(directory)?))?;
        lock.ok_or_else(|| anyhow!("--out {}: another recorder writes to it", directory.path().display()))
    }

    /// Does it as who writes there, so that what is made is theirs; what somebody else has left there, which may not be theirs to
    /// read, as this process's user.
    fn as_writer<T>(&self, act: impl Fn() -> Result<T>) -> Result<T> {
        let outcome = privilege::acting_as(self.writer, &act);
        let is_forbidden = |error: &anyhow::Error| match error.downcast_ref() {
            Some(Error::Io { reason, .. }) => reason.kind() == ErrorKind::PermissionDenied,
            _ => false,
        };
        match outcome {
            Err(error) if self.writer.is_some() && is_forbidden(&error) => act(),
            outcome => outcome,
        }
    }

    /// The recording has begun: what there is stays.
    pub fn begin(&mut self) {
        self.has_begun = true;
        self.undo.iter().for_each(Undo::keep);
    }
}

impl Drop for Home {
    /// Whatever kept the recording from beginning may also stop this.
    fn drop(&mut self) {
        if self.has_begun {
            return;
        }
        if self.is_ours {
            if let Some(remains) = Remains::of(&self.directory) {
                let _ = remains.remove();
            }
            Lock::remove(&self.directory);
        }
        if self.is_made {
            let _ = self.directory.remove_itself();
        }
    }
}

/// By whom, in words.
fn by(writer: Option<Invoker>) -> String {
    writer.map(|Invoker { uid, .. }| format!(" as user {}, who ran sudo", uid.as_raw())).unwrap_or_default()
}

fn tell_of(directory: &Dir, recovered: &Recovered) {
    for error in &recovered.unreadable {
        tell(&format!("iostrata: left as it is: {error}\n"));
    }
    let parts = recovered.parts.len() + recovered.unlisted.len();
    let shown = directory.path().display();
    tell(&format!("iostrata: {shown}: recovered {parts} parts of a recording that was cut off\n"));
}
