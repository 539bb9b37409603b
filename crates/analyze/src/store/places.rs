//! Files of partial results: those that a user names, and the cache beside a capture.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use iostrata_capture::dir::{Dir, FOLDER_MODE, Undo};
use iostrata_capture::partitions::CACHE_SUFFIX;

use super::Id;
use super::bundle::{Bundle, Writer};

/// Undo steps of created files and directories. They run in reverse order, because a later one may lie within an earlier one.
#[derive(Debug)]
pub struct Undos(pub Vec<Undo>);

impl Drop for Undos {
    fn drop(&mut self) {
        while self.0.pop().is_some() {}
    }
}

/// Output file of partial results.
#[derive(Debug)]
pub struct Target {
    /// Directory of the file.
    pub directory: Dir,
    /// Name of the file in it.
    pub name: String,
}

impl Target {
    /// Returns its path.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join(&self.name)
    }

    /// Creates it.
    pub fn create(&self, tool: Id) -> Result<Writer> {
        Writer::within(&self.directory, &self.name, tool)
    }
}

/// Opens files that a user gave.
pub fn opened(files: &[PathBuf], tool: Id) -> Result<Vec<Bundle>> {
    let open = |file: &PathBuf| {
        let bundle = Bundle::open(file)?;
        if bundle.tool != tool {
            bail!("{}: written by another build of iostrata-analyze, expected one of this build", file.display());
        }
        Ok(bundle)
    };
    files.iter().map(open).collect()
}

/// Returns the cache directory beside a capture; creates it if needed.
pub fn beside(capture: &Path) -> Result<(Dir, Undo)> {
    let whole = capture.canonicalize().with_context(|| format!("{}: cannot be found", capture.display()))?;
    let Some(name) = whole.file_name() else {
        bail!("{}: has no name, expected a named directory to cache results beside it", capture.display());
    };
    // The owner of the parent directory may put anything there: links are not followed.
    let above = Dir::open(whole.parent().unwrap_or(Path::new("/")))?;
    let cache = format!("{}{CACHE_SUFFIX}", name.to_string_lossy());
    let undo = above.undoable();
    above.make_dir_unless_there(&cache, FOLDER_MODE)?;
    Ok((above.sub(cache), undo))
}

/// Opens the cache files of the program `tool`. Files of other builds are removed: this build cannot use them.
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

/// Returns a number that no file there has.
pub fn unused(cache: &Dir) -> Result<u64> {
    Ok(numbers(cache)?.last().map_or(1, |last| last.saturating_add(1)))
}
