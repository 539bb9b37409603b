//! `iostrata stat`: records a command, has the capture analyzed and removes it.
//!
//! Analysis is in a separate program, `iostrata-analyze`, which is started here.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Error, Result, anyhow, bail};
use iostrata_capture::TableId;
use iostrata_capture::dir::Dir;
use iostrata_capture::exit::INCOMPLETE;
use iostrata_capture::ledger::Account;
use iostrata_capture::message::tell;

use crate::command::exit_code;
use crate::options::Record;
use crate::record::{self, Outcome};

/// Name of the analyzer.
const ANALYZER: &str = "iostrata-analyze";

/// Options of `iostrata stat`.
pub struct Stat {
    /// Recording of the command.
    pub record: Record,
    /// Directory of the capture.
    pub out: PathBuf,
    /// Whether the capture is kept.
    pub is_kept: bool,
    /// Path of the analyzer.
    pub analyzer: PathBuf,
}

/// Finds the analyzer: beside this program, or in `PATH`.
///
/// # Errors
/// If it is in neither place.
pub fn analyzer() -> Result<PathBuf> {
    let beside = std::env::current_exe().ok().and_then(|this| Some(this.parent()?.to_owned()));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = beside.into_iter().chain(std::env::split_paths(&path));
    let found = places.map(|place| place.join(ANALYZER)).find(|program| program.is_file());
    match found {
        Some(program) => Ok(program),
        None => bail!(
            "stat: {ANALYZER} is neither beside iostrata nor in PATH, expected it there; `iostrata record` works without it"
        ),
    }
}

/// Records the command, prints the results and removes the capture, unless it is kept. Returns the exit code.
///
/// # Errors
/// If the command cannot be recorded, or the capture not analyzed. A capture that cannot be analyzed is kept.
pub fn run(options: &Stat) -> Result<u8> {
    let outcome = match record::run(&options.record) {
        Ok(outcome) => outcome,
        Err(error) => {
            // The first error is that of the recording.
            let _ = clean(options);
            return Err(error);
        }
    };
    let kept = |error: Error| anyhow!("{error:#}; the capture is kept: {}", options.out.display());
    let code = analyzed(options, &outcome).map_err(kept)?;
    clean(options)?;
    Ok(code)
}

/// Removes the capture, unless it is kept.
fn clean(options: &Stat) -> Result<()> {
    if options.is_kept {
        return Ok(());
    }
    remove(&options.out).with_context(|| format!("stat: cannot remove the capture {}", options.out.display()))
}

/// Prints the results of a recording. Returns the exit code.
fn analyzed(options: &Stat, Outcome { manifest, command, error, .. }: &Outcome) -> Result<u8> {
    if let Some(error) = error {
        bail!("stat: {error}");
    }
    let command = command.unwrap_or(0);
    if command != 0 {
        tell(&format!("iostrata: the command ended with code {command}\n"));
    }
    if let Some(reason) = manifest.stop_reason.as_deref().filter(|reason| *reason != "the command ended") {
        tell(&format!("iostrata: {reason}\n"));
    }
    let is_operation =
        |account: &&Account| [TableId::Syscall, TableId::Block].iter().any(|table| table.name() == account.class);
    if manifest.books.accounts.iter().filter(is_operation).all(|account| account.seen == 0) {
        tell("iostrata: no I/O of the command was recorded\n");
        return Ok(command);
    }
    match (command, print(&options.analyzer, &options.out)?) {
        (0, code @ (0 | INCOMPLETE)) => Ok(code),
        (command, 0 | INCOMPLETE) => Ok(command),
        (_, code) => bail!("stat: {} ended with code {code}", options.analyzer.display()),
    }
}

/// Prints the results of a capture on standard error: the command has standard output.
fn print(analyzer: &Path, capture: &Path) -> Result<u8> {
    let cannot = || format!("stat: cannot run {}", analyzer.display());
    #[allow(clippy::disallowed_methods, reason = "only its descriptor is used")]
    let output = std::io::stderr().as_fd().try_clone_to_owned().context("standard error")?;
    let status = Command::new(analyzer)
        .arg("stat")
        .arg(capture)
        .stdin(Stdio::null())
        .stdout(Stdio::from(output))
        .status()
        .with_context(cannot)?;
    Ok(exit_code(status))
}

/// Removes the capture, if there is one.
fn remove(capture: &Path) -> Result<()> {
    let (parent, name) = Dir::around(capture)?;
    let directory = parent.sub(&name);
    if !directory.is_there() {
        return Ok(());
    }
    remove_contents(&directory)?;
    Ok(parent.remove_dir(&name)?)
}

fn remove_contents(directory: &Dir) -> Result<()> {
    for (name, found) in directory.entries()? {
        if found.is_dir() {
            remove_contents(&directory.sub(&name))?;
            directory.remove_dir(&name)?;
        } else {
            directory.remove(&name)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capture_is_removed_with_its_tables_and_nothing_behind_its_links() {
        let place = tempfile::tempdir().expect("a directory");
        let (capture, other) = (place.path().join("capture"), place.path().join("other"));
        std::fs::create_dir_all(capture.join("block")).expect("room");
        std::fs::create_dir(&other).expect("room");
        std::fs::write(other.join("kept"), "x").expect("room");
        std::fs::write(capture.join("block/part-1.parquet"), "x").expect("room");
        std::os::unix::fs::symlink(&other, capture.join("link")).expect("room");
        remove(&capture).expect("removed");
        assert!(!capture.exists() && other.join("kept").exists());
        remove(&capture).expect("nothing to remove");
    }
}
