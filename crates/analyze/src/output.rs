//! Where results go: files that appear whole or not at all, and a terminal that may go away.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// A directory for results.
#[derive(Debug)]
pub struct Directory(PathBuf);

impl Directory {
    /// The directory at `path`, created if needed. An error if something else is there.
    pub fn create(path: &Path) -> Result<Directory> {
        if path.exists() && !path.is_dir() {
            bail!("{}: not a directory, expected a directory for results", path.display());
        }
        fs::create_dir_all(path).with_context(|| format!("{}: cannot create the directory", path.display()))?;
        Ok(Directory(path.to_owned()))
    }

    /// Writes files by name. Each is complete on disk before the first takes its name, so that a full disk leaves the
    /// results of an earlier run as they were.
    pub fn write(&self, files: &[(String, Vec<u8>)]) -> Result<()> {
        let temporary = |name: &str| self.0.join(format!(".{name}.tmp"));
        for (name, bytes) in files {
            let path = temporary(name);
            let written = write_synced(&path, bytes).with_context(|| format!("{}: cannot write", path.display()));
            if written.is_err() {
                // Whatever made writing fail may also stop this; nobody takes the name for a result.
                files.iter().for_each(|(name, _)| drop(fs::remove_file(temporary(name))));
            }
            written?;
        }
        for (name, _) in files {
            let path = self.path(name);
            fs::rename(temporary(name), &path).with_context(|| format!("{}: cannot replace", path.display()))?;
        }
        Ok(())
    }

    /// The path of the file called `name`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Writes `text` to the terminal or pipe `to`. A reader that has seen enough is no error.
pub fn print(to: &mut dyn Write, text: &str) -> Result<()> {
    match to.write_all(text.as_bytes()).and_then(|()| to.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("cannot write to standard output"),
        _ => Ok(()),
    }
}

/// What went wrong, on one line. A cause that the message before it already quotes is not repeated.
pub fn message(error: &anyhow::Error) -> String {
    let mut message = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if message.is_empty() {
            message = cause;
        } else if !message.contains(&cause) {
            message = format!("{message}: {cause}");
        }
    }
    one_line(&message)
}

/// `text` on one line and without control characters: names in it were chosen by whoever ran on the recorded machine,
/// and a terminal would obey them.
pub fn one_line(text: &str) -> String {
    let printable = text.trim().chars().map(|c| match c {
        '\n' | '\t' => ' ',
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    });
    printable.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Gone(ErrorKind);

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_left_is_no_error_but_a_full_disk_is() {
        assert!(print(&mut Gone(ErrorKind::BrokenPipe), "text").is_ok());
        assert!(print(&mut Gone(ErrorKind::StorageFull), "text").is_err());
    }

    #[test]
    fn files_replace_earlier_ones_and_leave_no_temporary_behind() {
        let place = tempfile::tempdir().expect("a temporary directory");
        let directory = Directory::create(&place.path().join("a/b")).expect("writable");
        directory.write(&[("x.csv".into(), b"old".to_vec())]).expect("room");
        directory.write(&[("x.csv".into(), b"new".to_vec()), ("y.csv".into(), b"y".to_vec())]).expect("room");
        assert_eq!(fs::read(directory.path("x.csv")).expect("there"), b"new");
        assert_eq!(fs::read_dir(place.path().join("a/b")).expect("readable").count(), 2);
    }

    #[test]
    fn a_failed_write_leaves_every_earlier_result_as_it_was() {
        let place = tempfile::tempdir().expect("a temporary directory");
        let directory = Directory::create(place.path()).expect("writable");
        directory.write(&[("x.csv".into(), b"old".to_vec())]).expect("room");
        fs::create_dir(directory.path(".y.csv.tmp")).expect("room");
        let error = directory
            .write(&[("x.csv".into(), b"new".to_vec()), ("y.csv".into(), b"y".to_vec())])
            .expect_err("in the way");
        assert!(error.to_string().ends_with(".y.csv.tmp: cannot write"), "{error}");
        assert_eq!(fs::read(directory.path("x.csv")).expect("there"), b"old");
        assert!(!directory.path(".x.csv.tmp").exists());
    }

    #[test]
    fn what_a_terminal_would_obey_is_replaced() {
        assert_eq!(one_line("a\x1b[2Jb\nc\t\u{9b}"), "a\u{fffd}[2Jb c \u{fffd}");
    }
}
