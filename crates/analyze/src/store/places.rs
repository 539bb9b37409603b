//! Files of partials: those that a user names, and those that are kept beside a capture.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use iostrata_capture::dir::{Dir, FOLDER_MODE, Undo};

use super::Id;
use super::bundle::{Bundle, Writer};

/// What takes away what was made, the last first: it may lie in what was made before it.
#[derive(Debug)]
pub struct Undos(pub Vec<Undo>);

impl Drop for Undos {
    fn drop(&mut self) {
        while self.0.pop().is_some() {}
    }
}

/// A file that partials go to.
#[derive(Debug)]
pub struct Target {
    /// Its directory.
    pub directory: Dir,
    /// Its name there.
    pub name: String,
}

impl Target {
    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join(&self.name)
    }

    /// Begins it.
    pub fn create(&self, tool: Id) -> Result<Writer> {
        Writer::within(&self.directory, &self.name, tool)
    }
}

/// What is in files that a user gave.
pub fn opened(files: &[PathBuf], tool: Id) -> Result<Vec<Bundle>> {
    let open = |file: &PathBuf| {
        let bundle = Bundle::open(file)?;
        if bundle.tool != tool {
            bail!("{}: written by another build of iostrata-analyze, expected one by this", file.display());
        }
        Ok(bundle)
    };
    files.iter().map(open).collect()
}

/// The directory beside a capture in which its partials are kept, which is made if needed.
pub fn beside(capture: &Path) -> Result<(Dir, Undo)> {
    let whole = capture.canonicalize().with_context(|| format!("{}: cannot be found", capture.display()))?;
    let Some(name) = whole.file_name() else {
        bail!("{}: has no name, so nothing can be kept beside it", capture.display());
    };
    // Whoever owns the directory above may put anything there: a link leads nowhere.
    let above = Dir::open(whole.parent().unwrap_or(Path::new("/")))?;
    let cache = format!("{}.partials", name.to_string_lossy());
    let undo = above.undoable();
    above.make_dir_unless_there(&cache, FOLDER_MODE)?;
    Ok((above.sub(cache), undo))
}

/// What is kept there by the program `tool`. What others left is removed: this one cannot use it.
pub fn cached(cache: &Dir, tool: Id) -> Result<Vec<Bundle>> {
    let mut bundles = Vec::new();
    for number in numbers(cache)? {
        let name = format!("{number}.partial");
        match Bundle::within(cache, &name) {
            Ok(bundle) if bundle.tool == tool => bundles.push(bundle),
            _ => cache.remove(&name)?,
        }
    }
    Ok(bundles)
}

fn numbers(cache: &Dir) -> Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for name in cache.names()? {
        numbers.extend(name.to_string_lossy().strip_suffix(".partial").and_then(|number| number.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// A number that no file there has.
pub fn unused(cache: &Dir) -> Result<u64> {
    Ok(numbers(cache)?.last().map_or(1, |last| last.saturating_add(1)))
}
