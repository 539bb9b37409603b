//! Where results go: files that appear whole or not at all, and a terminal that may go away.

use std::fs::File;
use std::io::{BufWriter, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use iostrata_capture::dir::{Dir, FOLDER_MODE, Undo};
use iostrata_capture::plain;

/// A directory for results, which may be one that others may write to: no link in it is followed.
#[derive(Debug)]
pub struct Directory {
    dir: Dir,
    _undo: Undo,
}

impl Directory {
    /// The directory at `path`, created if needed. An error if something else is there. Until the files of it are finished what is made is taken
    /// away again.
    pub fn create(path: &Path) -> Result<Directory> {
        if path.exists() && !path.is_dir() {
            bail!("{}: not a directory, expected a directory for results", path.display());
        }
        let (dir, undo) = Dir::begin(path, FOLDER_MODE)?;
        Ok(Directory { dir, _undo: undo })
    }

    /// Files that are to appear in it, none yet.
    pub fn files(&self) -> Files<'_> {
        Files { directory: self, names: Vec::new() }
    }

    /// What the file called `name` is called in messages.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What is in the file called `name`, if it can be read.
    pub fn read(&self, name: &str) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        self.dir.open_file(name).ok()?.read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }
}

/// Files that are being written. Each is complete on disk before the first takes its name, so that a full disk leaves the results of an earlier
/// run as they were.
#[derive(Debug)]
pub struct Files<'a> {
    directory: &'a Directory,
    names: Vec<String>,
}

impl Files<'_> {
    /// Writes one.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn add(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        self.add_with(name, |to| Ok(to.write_all(bytes)?))
    }

    /// Writes one that need never be in memory as a whole.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn add_with(&mut self, name: &str, write: impl FnOnce(&mut BufWriter<File>) -> Result<()>) -> Result<()> {
        let temporary = temporary(name);
        self.names.push(name.to_owned());
        let file = self.directory.dir.create_file_for(&temporary, name)?;
        let written = || -> Result<()> {
            let mut to = BufWriter::new(file);
            write(&mut to)?;
            Ok(to.into_inner().map_err(|error| error.into_error())?.sync_all()?)
        };
        // Not as what it is called until then, which nobody asked for.
        written().with_context(|| format!("{}: cannot write", self.directory.path(name).display()))
    }

    /// Their names, in the order in which they were written.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Gives them their names.
    ///
    /// # Errors
    /// Where one of these is taken by what no file can replace; then none has its name.
    pub fn finish(mut self) -> Result<()> {
        let names: Vec<_> = self.names.iter().map(|name| (temporary(name), name.clone())).collect();
        self.directory.dir.rename_all(&names)?;
        self.names.clear();
        Ok(())
    }
}

fn temporary(name: &str) -> String {
    format!(".{name}.tmp")
}

impl Drop for Files<'_> {
    /// Whatever made writing fail may also stop this; nobody takes the names for results.
    fn drop(&mut self) {
        self.names.iter().for_each(|name| drop(self.directory.dir.remove(temporary(name))));
    }
}

/// Writes `text` to the terminal or pipe `to`. A reader that has seen enough is no error.
pub fn print(to: &mut dyn Write, text: &str) -> Result<()> {
    match to.write_all(plain::lines(text).as_bytes()).and_then(|()| to.flush()) {
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

/// `1 row`, `2 rows`.
pub fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// `text` on one line, with what a terminal would obey or not show as [`plain::visible`] has it.
pub fn one_line(text: &str) -> String {
    plain::visible(&text.trim().replace(['\n', '\t'], " ")).into_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct Gone(ErrorKind);

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_left_is_no_error_but_a_full_disk_is() {
        assert!(print(&mut Gone(ErrorKind::BrokenPipe), "text").is_ok());
        assert!(print(&mut Gone(ErrorKind::StorageFull), "text").is_err());
    }

    fn write(directory: &Directory, contents: &[(&str, &str)]) -> Result<()> {
        let mut files = directory.files();
        contents.iter().try_for_each(|(name, text)| files.add(name, text.as_bytes()))?;
        files.finish()
    }

    #[test]
    fn files_replace_earlier_ones_and_leave_no_temporary_behind() {
        let place = tempfile::tempdir().expect("a temporary directory");
        let directory = Directory::create(&place.path().join("a/b")).expect("writable");
        write(&directory, &[("x.csv", "old")]).expect("room");
        write(&directory, &[("x.csv", "new"), ("y.csv", "y")]).expect("room");
        assert_eq!(fs::read(directory.path("x.csv")).expect("there"), b"new");
        assert_eq!(fs::read_dir(place.path().join("a/b")).expect("readable").count(), 2);
    }

    #[test]
    fn a_failed_write_leaves_every_earlier_result_as_it_was() {
        let place = tempfile::tempdir().expect("a temporary directory");
        let directory = Directory::create(place.path()).expect("writable");
        write(&directory, &[("x.csv", "old")]).expect("room");
        fs::create_dir(directory.path(".y.csv.tmp")).expect("room");
        let error = write(&directory, &[("x.csv", "new"), ("y.csv", "y")]).expect_err("in the way");
        assert!(error.to_string().ends_with("/y.csv: cannot create: Is a directory (os error 21)"), "{error}");
        assert_eq!(fs::read(directory.path("x.csv")).expect("there"), b"old");
        assert!(!directory.path(".x.csv.tmp").exists());
        let refused = directory.files().add_with("z.csv", |_| bail!("there is no memory")).expect_err("refused");
        assert!(message(&refused).ends_with("/z.csv: cannot write: there is no memory"), "{refused:#}");
    }

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        assert_eq!(one_line("a\x1b[2Jb\nc\t\u{9b}\u{202e}"), "a\\x1b[2Jb c \\u{9b}\\u{202e}");
        let mut printed = Vec::new();
        print(&mut printed, "a\x1b\nb\u{2066}\n").expect("room");
        assert_eq!(String::from_utf8(printed).expect("text"), "a\\x1b\nb\\u{2066}\n");
    }
}
