//! Files of partial results: those that a user names, and the cache beside a capture.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use iostrata_capture::dir::{Dir, FOLDER_MODE, Undo};
use iostrata_capture::partitions::CACHE_SUFFIX;

use super::bundle::{Bundle, Header, Writer};

/// Undo steps of created files and directories. They run in reverse order, because a later one may lie within an earlier one.
#[derive(Debug)]
pub struct Undos(pub Vec<Undo>);

impl Drop for Undos {
    fn drop(&mut self) {
        while self.0.pop().is_some() {}
    }
}

/// Path that stands for the standard input or output.
pub const STANDARD: &str = "-";

/// Output file of partial results.
#[derive(Debug)]
pub enum Target {
    /// Standard output.
    Output,
    /// Directory of the file, and its name there.
    File(Dir, String),
}

impl Target {
    /// Returns its path.
    pub fn path(&self) -> PathBuf {
        match self {
            Target::Output => PathBuf::from(STANDARD),
            Target::File(directory, name) => directory.path().join(name),
        }
    }

    /// Creates it.
    pub fn create(&self, header: &Header) -> Result<Writer> {
        match self {
            Target::Output => Writer::output(header),
            Target::File(directory, name) => Writer::within(directory, name, header),
        }
    }
}

/// Opens files that a user gave. They may be of another build with the same versions of all states that both know: the id of a partial result has the
/// versions of what it contains.
pub fn opened(files: &[PathBuf], header: &Header) -> Result<Vec<Bundle>> {
    let open = |file: &PathBuf| {
        let bundle = if file.as_os_str() == STANDARD { Bundle::read_input()? } else { Bundle::open(file)? };
        let other = bundle
            .header
            .states
            .iter()
            .find(|(name, version)| header.states.get(*name).is_some_and(|own| own != *version));
        if let Some((name, version)) = other {
            let (path, expected, by) = (bundle.path(), header.states[name], &bundle.header.program_version);
            let file = path.display();
            bail!(
                "{file}: version {version} of `{name}`, written by iostrata-analyze {by}; expected version {expected}"
            );
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

/// Opens the cache files of this build. Those of other builds are removed: nobody looks at a cache, so a result that another build computed
/// otherwise, without another version, would stay unnoticed.
pub fn cached(cache: &Dir, header: &Header) -> Result<Vec<Bundle>> {
    let mut bundles = Vec::new();
    for number in numbers(cache)? {
        let name = format!("{number}.partial");
        match Bundle::within(cache, &name) {
            Ok(bundle) if bundle.header == *header => bundles.push(bundle),
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
