//! Output of results: files that appear complete or not at all, and terminals that may close.

use std::fs::File;
use std::io::{BufWriter, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use iostrata_capture::dir::{Dir, FOLDER_MODE, Undo};
use iostrata_capture::plain;

/// Directory for results. Others may have write access to it: no link in it is followed.
#[derive(Debug)]
pub struct Directory {
    dir: Dir,
    _undo: Undo,
}

impl Directory {
    /// Opens the directory at `path`; creates it if needed. It is an error if something else is there. New directories are removed again unless the
    /// files are finished.
    pub fn create(path: &Path) -> Result<Directory> {
        if path.exists() && !path.is_dir() {
            bail!("{}: not a directory, expected a directory for results", path.display());
        }
        let (dir, undo) = Dir::begin(path, FOLDER_MODE)?;
        Ok(Directory { dir, _undo: undo })
    }

    /// Starts a set of files in it.
    pub fn files(&self) -> Files<'_> {
        Files { directory: self, names: Vec::new() }
    }

    /// Returns the path of the file `name` for messages.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Returns the content of the file `name`, if it can be read.
    pub fn read(&self, name: &str) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        self.dir.open_file(name).ok()?.read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }
}

/// Files that are being written. All are complete on disk before the first gets its name, so that a full disk leaves earlier results unchanged.
#[derive(Debug)]
pub struct Files<'a> {
    directory: &'a Directory,
    names: Vec<String>,
}

impl Files<'_> {
    /// Writes a file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn add(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        self.add_with(name, |to| Ok(to.write_all(bytes)?))
    }

    /// Writes a file that need not be in memory as a whole.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn add_with(&mut self, name: &str, write: impl FnOnce(&mut BufWriter<File>) -> Result<()>) -> Result<()> {
        let temporary = temporary(name);
        self.names.push(name.to_owned());
        let file = self.directory.dir.create_file_for(&temporary, name)?;
        let written = || -> Result<()> {
            let mut to = BufWriter::new(file);
            write(&mut to)?;
            Ok(to.into_inner().map_err(|error| error.into_error())?.sync_all()?)
        };
        // Messages name the final file, not the temporary one.
        written().with_context(|| format!("{}: cannot write", self.directory.path(name).display()))
    }

    /// Returns the names of the files, in the order of writing.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Renames the files to their final names.
    ///
    /// # Errors
    /// If one of these names belongs to something that a file cannot replace; then no file is renamed.
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
    /// The cause of a failed write may also make this fail; the temporary names are not mistaken for results.
    fn drop(&mut self) {
        self.names.iter().for_each(|name| drop(self.directory.dir.remove(temporary(name))));
    }
}

/// Writes `text` to the terminal or pipe `to`. A reader that closes early is no error.
pub fn print(to: &mut dyn Write, text: &str) -> Result<()> {
    pass_on(to, plain::lines(text).as_bytes())
}

/// Writes the bytes of a table to the pipe `to`. A reader that closes early is no error.
pub fn pass_on(to: &mut dyn Write, bytes: &[u8]) -> Result<()> {
    match to.write_all(bytes).and_then(|()| to.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("cannot write to standard output"),
        _ => Ok(()),
    }
}

/// Formats an error on one line. A cause that the previous message already quotes is not repeated.
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

/// Formats a number with a noun: `1 row`, `2 rows`.
pub fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Returns `text` on one line; control and invisible characters are escaped by [`plain::visible`].
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
