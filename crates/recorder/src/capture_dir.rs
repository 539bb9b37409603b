//! Directory of a capture: creation, ownership, and protection of existing files.

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

/// Directories are writable for the owner and readable for the group.
const MODE: u32 = 0o750;

/// Target of a recording, selected but not touched yet.
pub struct Chosen {
    path: PathBuf,
    place: Place,
}

enum Place {
    /// A directory that does not exist yet.
    New,
    /// An empty directory.
    Empty(Dir),
    /// A directory with the leftovers of an aborted recorder: the directory itself, or the last segment in it.
    Littered(Dir, Option<Dir>),
    /// A capture to be continued.
    Capture(Dir),
}

impl Chosen {
    /// Selects the directory to write to: `root` itself if it is new or empty, or the next segment of a capture to be continued. Refuses
    /// directories that must not be written to; changes nothing.
    pub fn choose(root: &Path, resume: bool) -> Result<Chosen> {
        Ok(Chosen { path: root.to_owned(), place: Place::choose(root, resume)? })
    }

    /// Creates the directory and the folders of `tables`, accessible only to the invoking user and group, and locks it for this process. Recovers an
    /// interrupted recording first. Everything is created as the invoking user, so that the kernel refuses what that user may not
    /// create.
    pub fn make(self, tables: &[TableId]) -> Result<Home> {
        let Chosen { path, place } = self;
        match place {
            Place::New => {
                let writer = privilege::invoker();
                let made = privilege::acting_as(writer, || Ok(Dir::begin(&path, MODE)?));
                let (root, undo) =
                    made.with_context(|| format!("--out: cannot make {}{}", path.display(), by(writer)))?;
                let mut home = Home::of(root.clone(), root, writer);
                home.undo = Some(undo);
                home.furnished(tables, false)
            }
            Place::Empty(root) => Home::at(root.clone(), root).furnished(tables, false),
            Place::Littered(root, None) => Home::at(root.clone(), root).furnished(tables, true),
            Place::Littered(root, Some(segment)) => Home::at(root, segment).following()?.furnished(tables, true),
            Place::Capture(root) => {
                let mut home = Home::at(root.clone(), root).following()?;
                home.directory = segment::next(&home.root)?;
                home.furnished(tables, false)
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

/// Locked directory of a recording; no other recorder writes there while this exists. Dropping it removes everything created for the
/// recording, unless the recording has begun.
pub struct Home {
    /// Directory of the capture.
    pub root: Dir,
    locks: Vec<Lock>,
    /// Directory of this recording: the capture's, or a segment in it.
    pub directory: Dir,
    /// User that writes there, if different from this process's user.
    pub writer: Option<Invoker>,
    /// Previous segments, in order.
    pub older: Vec<Dir>,
    /// Id of the last previous segment.
    pub continues: Option<String>,
    /// Set if the capture's directory is new: removes it again, with any parents that were missing.
    undo: Option<Undo>,
    /// Whether the segment is new.
    is_made: bool,
    /// Whether the contents were created for this recording.
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

    /// Continues after the existing segments, and recovers interrupted ones.
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

    /// Adds locks and the folders of `tables`; removes the leftovers of an aborted recorder first.
    fn furnished(mut self, tables: &[TableId], is_littered: bool) -> Result<Home> {
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
        // Files that no recorder creates are not removed either.
        self.is_ours = true;
        if is_littered {
            // The other recorder may have continued before the lock was taken.
            let shown = root.path().display();
            let remains = Remains::of(&root);
            remains.ok_or_else(|| anyhow!("--out {shown}: another recorder has written to it"))?.remove()?;
        }
        let names = || tables.iter().map(|table| table.name());
        // Each folder must be new: folders that another process created meanwhile are not written to.
        let made = privilege::acting_as(self.writer, || Ok(names().try_for_each(|name| root.make_dir(name, MODE))?));
        made.context("--out")?;
        self.directory = root.keep_inside(names())?;
        Ok(self)
    }

    fn lock(&self, directory: &Dir) -> Result<Lock> {
        let lock = self.as_writer(|| Ok(Lock::take(directory)?))?;
        lock.ok_or_else(|| anyhow!("--out {}: another recorder writes to it", directory.path().display()))
    }

    /// Runs `act` as the writing user, so that new files belong to that user. Runs it as this process's user if the writing user may not
    /// read files that another user left there.
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

    /// Marks the recording as begun: its files stay.
    pub fn begin(&mut self) {
        self.has_begun = true;
        self.undo.iter().for_each(Undo::keep);
    }
}

impl Drop for Home {
    /// The reason that kept the recording from beginning may also make this fail.
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

/// Phrase for the writing user.
fn by(writer: Option<Invoker>) -> String {
    writer.map(|Invoker { uid, .. }| format!(" as user {}, who ran sudo", uid.as_raw())).unwrap_or_default()
}

fn tell_of(directory: &Dir, recovered: &Recovered) {
    for error in &recovered.unreadable {
        tell(&format!("iostrata: not recovered, left unchanged: {error}\n"));
    }
    let parts = recovered.parts.len() + recovered.unlisted.len();
    let shown = directory.path().display();
    tell(&format!("iostrata: {shown}: recovered {parts} parts of an interrupted recording\n"));
}
