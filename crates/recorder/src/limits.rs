//! Limits of the process (`ulimit`): those that a recording would run into are raised or refused before it begins.

use std::fs;
use std::sync::OnceLock;

use anyhow::{Error, Result, anyhow, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use iostrata_capture::TableId;

/// The soft limit of open files that the process was started with; none: unlimited.
static FILES_BEFORE: OnceLock<Option<u64>> = OnceLock::new();

/// Descriptors that a recording opens after it has attached: for each table a part, its log and a directory, while an older part
/// is closed; and what threads, sockets and readings of /proc take.
const FILES_LATER: u64 = 6 * TableId::COUNT as u64 + 16;

/// Raises the soft limit of open files to the hard one: rings, maps and programs are descriptors. The command gets its own back.
pub fn raise_files() {
    let limit = getrlimit(Resource::Nofile);
    let _ = FILES_BEFORE.set(limit.current);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // Where it is refused, check_files() says what is missing.
    let _ = setrlimit(Resource::Nofile, raised);
}

/// What [`restore_files`] takes.
pub fn files_before() -> String {
    let before = FILES_BEFORE.get().copied().unwrap_or_else(|| getrlimit(Resource::Nofile).current);
    before.map_or("unlimited".to_owned(), |files| files.to_string())
}

/// Sets the soft limit of open files, as [`files_before`] told it.
pub fn restore_files(files: &str) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    // Lowering is never refused.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: files.parse().ok(), maximum });
}

/// Whether `why`, which the kernel or libbpf gave, is that no more descriptors may be opened.
pub fn is_about_files(why: &str) -> bool {
    ["Too many open files", "-EMFILE", "os error 24"].iter().any(|text| why.contains(text))
}

/// Says which limit it is where `error` is about the number of open files.
pub fn explain(error: Error) -> Error {
    let limit = getrlimit(Resource::Nofile).current;
    match limit {
        Some(limit) if is_about_files(&format!("{error:#}")) => {
            anyhow!("the limit of open files is {limit} (ulimit -Hn): not enough to attach the programs")
        }
        _ => error,
    }
}

/// An error where the limit of open files is too low for what is still to be opened. To be asked when all is attached.
pub fn check_files() -> Result<()> {
    let Some(limit) = getrlimit(Resource::Nofile).current else { return Ok(()) };
    let open = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count) as u64;
    let needed = open + FILES_LATER;
    if needed > limit {
        bail!("the limit of open files is {limit} (ulimit -Hn); expected at least {needed}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_about_open_files_names_the_limit() {
        let explained = explain(anyhow!("cannot attach iostrata_free: Too many open files (os error 24)")).to_string();
        assert!(
            explained.starts_with("the limit of open files is ") && explained.contains("ulimit -Hn"),
            "{explained}"
        );
        assert_eq!(explain(anyhow!("no such program")).to_string(), "no such program");
    }
}
