//! First lines of text files, to detect a file that is given twice: it would count twice. A truncated copy is detected too.

use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// Number of lines that are compared with those of other files.
const LINES: usize = 1_000;

/// First lines of the files so far; the last file is being read.
#[derive(Debug, Default)]
pub struct Begun {
    files: Vec<File>,
}

/// A file.
#[derive(Debug)]
struct File {
    path: PathBuf,
    so_far: DefaultHasher,
    /// Hash of the first lines, up to each of them.
    sums: Vec<u64>,
}

impl Begun {
    /// Begins the file at `path`.
    pub fn file(&mut self, path: &Path) {
        self.files.push(File { path: path.to_owned(), so_far: DefaultHasher::new(), sums: Vec::new() });
    }

    /// Adds its next line with a request.
    ///
    /// # Errors
    /// If it begins with the same lines as another file.
    pub fn line(&mut self, text: &[u8]) -> Result<()> {
        let Some(file) = self.files.last_mut().filter(|file| file.sums.len() < LINES) else { return Ok(()) };
        file.so_far.write_usize(text.len());
        file.so_far.write(text);
        file.sums.push(file.so_far.finish());
        if file.sums.len() == LINES { self.compare() } else { Ok(()) }
    }

    /// Ends it.
    ///
    /// # Errors
    /// As for [`Begun::line`].
    pub fn end(&mut self) -> Result<()> {
        self.compare()
    }

    fn compare(&self) -> Result<()> {
        let Some((last, others)) = self.files.split_last() else { return Ok(()) };
        for other in others {
            let common = last.sums.len().min(other.sums.len());
            if common > 0 && last.sums[common - 1] == other.sums[common - 1] {
                let first = if common == 1 { "request is".to_owned() } else { format!("{common} requests are") };
                bail!(
                    "its first {first} also the first of {}, expected each file once: it would count twice",
                    other.path.display()
                );
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(files: &[&[&str]]) -> Result<()> {
        let mut begun = Begun::default();
        for (number, lines) in files.iter().enumerate() {
            begun.file(Path::new(&format!("{number}.csv")));
            lines.iter().try_for_each(|line| begun.line(line.as_bytes()))?;
            begun.end()?;
        }
        Ok(())
    }

    #[test]
    fn a_file_or_the_begin_of_it_that_was_there_before_is_known() {
        taken(&[&["a", "b"], &["b", "a"], &[], &[], &["ab"], &["b", "b"]]).expect("all of them differ");
        let error = taken(&[&["x"], &["a", "b", "c"], &["a", "b"]]).expect_err("the begin").to_string();
        assert_eq!(
            error,
            "its first 2 requests are also the first of 1.csv, expected each file once: it would count twice"
        );
        assert!(taken(&[&["a"], &["a", "b", "c"]]).is_err());
        let lines: Vec<String> = (0..3 * LINES).map(|line| line.to_string()).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        assert!(taken(&[&lines, &lines]).is_err() && taken(&[&lines, &lines[..LINES + 1]]).is_err());
        taken(&[&lines, &lines[1..]]).expect("another begin");
    }
}
