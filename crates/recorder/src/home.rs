//! The directory of a capture: what is made, who it belongs to, and what must not be written to.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use iostrata_capture::capture::{LOCK, Lock};
use iostrata_capture::manifest::{self, Manifest};
use iostrata_capture::recover::recover;
use iostrata_capture::unbegun::Remains;
use iostrata_capture::{list, segment, tables};

use crate::privilege::{self, Invoker};
use crate::report::tell;

/// Where a recording is written to; nobody else writes there while this exists.
pub struct Home {
    /// The capture's directory.
    pub root: PathBuf,
    locks: Vec<Lock>,
    /// Where this recording goes: the same, or a segment in it.
    pub directory: PathBuf,
    /// The segments before it, in order.
    pub older: Vec<PathBuf>,
    /// The id of the last of them.
    pub continues: Option<String>,
    /// There is what a recorder left that ended before it began to record.
    is_littered: bool,
}

impl Home {
    /// Chooses where in `root` to write to: root itself where it is new or empty, the next segment of the capture in it where that
    /// is to be continued. Refuses what must not be written to; touches nothing.
    pub fn choose(root: &Path, resume: bool) -> Result<Home> {
        let shown = root.display();
        let mut home = Home {
            root: root.to_owned(),
            locks: Vec::new(),
            directory: root.to_owned(),
            older: Vec::new(),
            continues: None,
            is_littered: false,
        };
        if root.exists() && !root.is_dir() {
            bail!("--out {shown}: is a file; expected a new or empty directory");
        }
        if fs::read_dir(root).is_ok_and(|mut entries| entries.next().is_some()) {
            if Lock::is_taken(root) {
                bail!("--out {shown}: another recorder writes to it");
            }
            if !resume {
                let hint = if Manifest::read(root).is_ok() { "; --resume continues a capture" } else { "" };
                bail!("--out {shown}: exists and is not empty; expected a new or empty directory{hint}");
            }
            if Remains::of(root).is_some() {
                home.is_littered = true;
                return Ok(home);
            }
            Manifest::read(root).context("--resume: expected a capture, or a new or empty directory")?;
            let unbegun = segment::last(root)?.filter(|segment| Remains::of(segment).is_some());
            home.is_littered = unbegun.is_some();
            home.directory = unbegun.map_or_else(|| segment::next(root), Ok)?;
        }
        Ok(home)
    }

    /// Makes the directory and its folders, for nobody but whoever asked and their group, and takes it for this process. What an
    /// earlier recording left unfinished is recovered first.
    pub fn make(&mut self) -> Result<()> {
        let root = &self.root;
        if self.directory != *root {
            for directory in segment::segments(root)? {
                if let Some(recovered) = recover(&directory)? {
                    for name in [manifest::FILE_NAME, list::FILE_NAME] {
                        give_to(&directory.join(name), privilege::writer_of(root))?;
                    }
                    for part in &recovered.filled {
                        give_to(&part.name.path(&directory), privilege::writer_of(root))?;
                    }
                    for error in &recovered.unreadable {
                        tell(&format!("iostrata: left as it is: {error}\n"));
                    }
                    let parts = recovered.parts.len() + recovered.unlisted.len();
                    tell(&format!(
                        "iostrata: {}: recovered {parts} parts of a recording that was cut off\n",
                        directory.display()
                    ));
                }
                self.continues = Some(Manifest::read(&directory)?.capture_id);
                self.older.push(directory);
            }
        } else if !root.exists() {
            root.parent()
                .map_or(Ok(()), fs::create_dir_all)
                .with_context(|| format!("--out: cannot make {}", root.display()))?;
            make_folder(root, privilege::invoker())?;
        }
        let writer = privilege::writer_of(root);
        self.locks.push(take(root, writer)?);
        if self.directory != *root {
            if !self.is_littered {
                make_folder(&self.directory, writer)?;
            }
            self.locks.push(take(&self.directory, writer)?);
        }
        if self.is_littered {
            // It may have gone on since, until the lock was taken.
            let remains = Remains::of(&self.directory);
            let shown = self.directory.display();
            remains.ok_or_else(|| anyhow!("--out {shown}: another recorder has written to it"))?.remove()?;
        }
        for table in tables::all() {
            make_folder(&self.directory.join(table.name), writer)?;
        }
        Ok(())
    }

    /// Takes away what was made, so that a recording that could not start leaves nothing.
    pub fn remove(&self) {
        for table in tables::all() {
            let _ = fs::remove_dir(self.directory.join(table.name));
        }
        let _ = fs::remove_file(self.directory.join(list::FILE_NAME));
        Lock::remove(&self.directory);
        let _ = fs::remove_dir(&self.directory);
    }
}

fn take(directory: &Path, owner: Option<Invoker>) -> Result<Lock> {
    let lock = Lock::take(directory)?;
    let lock = lock.ok_or_else(|| anyhow!("--out {}: another recorder writes to it", directory.display()))?;
    give_to(&directory.join(LOCK), owner)?;
    Ok(lock)
}

/// One that was not there before: what somebody else has put there meanwhile is not written to.
fn make_folder(folder: &Path, owner: Option<Invoker>) -> Result<()> {
    let made = fs::DirBuilder::new().mode(0o750).create(folder);
    made.with_context(|| format!("--out: cannot make {}", folder.display()))?;
    give_to(folder, owner)
}

fn give_to(path: &Path, owner: Option<Invoker>) -> Result<()> {
    privilege::give_to(path, owner).with_context(|| format!("cannot change the owner of {}", path.display()))
}
