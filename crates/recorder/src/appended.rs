//! Files to which lines are appended, by several runs one after the other.
//!
//! A crash of the machine or a full disk can leave a part of the last line, which the next run removes.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::Result;
use iostrata_capture::dir::Dir;
use iostrata_capture::message::tell;

/// An opened file, and how it is found.
pub struct Appended {
    directory: Dir,
    name: String,
    /// To append to.
    pub file: File,
}

impl Appended {
    /// Opens a file, without following a link; creates it if needed.
    ///
    /// # Errors
    /// If it cannot be opened, or is no regular file.
    pub fn open(path: &Path) -> Result<Appended> {
        let (directory, name) = Dir::around(path)?;
        drop(directory.open_or_create(&name)?);
        let file = directory.open_to_append(&name)?;
        Ok(Appended { directory, name, file })
    }

    /// Opens it to read.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open_to_read(&self) -> Result<File> {
        Ok(self.directory.open_file(&self.name)?)
    }

    /// Removes an incomplete last line, and says so. `check` gets it first, up to `most` bytes of it.
    ///
    /// # Errors
    /// If the file cannot be changed, or `check` refuses it.
    pub fn remove_incomplete_line(
        &self,
        path: &Path,
        most: usize,
        check: impl FnOnce(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let read = self.open_to_read()?;
        let (end, length) = (end_of_lines(&read)?, self.file.metadata()?.len());
        let cut = length.saturating_sub(end);
        if cut == 0 {
            return Ok(());
        }
        let mut begin = vec![0; most.min(usize::try_from(cut).unwrap_or(most))];
        read.read_exact_at(&mut begin, end)?;
        check(&begin)?;
        tell(&format!("iostrata: {}: {cut} bytes of an incomplete last line removed\n", path.display()));
        Ok(self.directory.open_to_write(&self.name)?.set_len(end)?)
    }
}

/// Returns the position after the last complete line.
fn end_of_lines(file: &File) -> Result<u64> {
    let mut end = file.metadata()?.len();
    let mut piece = [0; 4096];
    while end > 0 {
        let bytes = piece.len().min(usize::try_from(end).unwrap_or(piece.len()));
        let begin = end - bytes as u64;
        file.read_exact_at(&mut piece[..bytes], begin)?;
        if let Some(at) = piece[..bytes].iter().rposition(|byte| *byte == b'\n') {
            return Ok(begin + at as u64 + 1);
        }
        end = begin;
    }
    Ok(0)
}

/// A text as a cell of CSV (RFC 4180).
pub fn csv_cell(text: &str) -> String {
    match text.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_with_a_comma_is_quoted() {
        assert_eq!(csv_cell("a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!(csv_cell("/data/a b"), "/data/a b");
    }
}
