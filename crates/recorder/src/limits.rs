//! Process limits (`ulimit`) that would stop a recording: raised, or refused before it begins.

use std::fs;
use std::sync::OnceLock;

use anyhow::{Error, Result, anyhow, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use iostrata_capture::TableId;

/// Soft limit of open files at the start of the process; none: unlimited.
static FILES_BEFORE: OnceLock<Option<u64>> = OnceLock::new();

/// Descriptors that a recording opens after attaching: for each table a part, its log and a directory, while an older part is
/// being closed; and those of threads, sockets and readings of /proc.
const FILES_LATER: u64 = 6 * TableId::COUNT as u64 + 16;

/// Raises the soft limit of open files to the hard one: rings, maps and programs are descriptors. The recorded command gets the
/// original limit.
pub fn raise_files() {
    let limit = getrlimit(Resource::Nofile);
    let _ = FILES_BEFORE.set(limit.current);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // If this is refused, check_files() reports the missing number.
    let _ = setrlimit(Resource::Nofile, raised);
}

/// Argument for [`restore_files`].
pub fn files_before() -> String {
    let before = FILES_BEFORE.get().copied().unwrap_or_else(|| getrlimit(Resource::Nofile).current);
    before.map_or("unlimited".to_owned(), |files| files.to_string())
}

/// Sets the soft limit of open files to the value of [`files_before`].
pub fn restore_files(files: &str) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    // The kernel always permits lowering.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: files.parse().ok(), maximum });
}

/// Whether `why`, an error of the kernel or libbpf, is about the limit of open files.
pub fn is_about_files(why: &str) -> bool {
    ["Too many open files", "-EMFILE", "os error 24"].iter().any(|text| why.contains(text))
}

/// Adds the limit to `error` if it is about the number of open files.
pub fn explain(error: Error) -> Error {
    let limit = getrlimit(Resource::Nofile).current;
    match limit {
        Some(limit) if is_about_files(&format!("{error:#}")) => {
            anyhow!("the limit of open files is {limit} (ulimit -Hn): not enough to attach the programs")
        }
        _ => error,
    }
}

/// Returns an error if the limit of open files is too low for the rest of the recording. Call when all is attached.
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
