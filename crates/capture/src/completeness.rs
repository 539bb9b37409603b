//! Completeness time of a capture that is being recorded, or of an interrupted recording.
//!
//! Rows of different tables and CPUs reach the disk at different times. At the end of an interrupted capture there is a period
//! of which some rows exist and others do not. With each flush the recorder therefore writes a time up to which every event
//! that had ended, on all CPUs and in all tables, is on the disk or counted as lost. Readers exclude events that ended later.
//!
//! The file `.whole` has two slots that are written alternately, so that one of them is valid whenever the machine stops. A
//! slot is a line with the time, on the clock of `ts_ns`, and a checksum of the time and of the capture's ID, so that the file
//! of another capture is ignored. Overwriting a slot costs one sync, whatever the length of the recording. The file is removed
//! when the recording is complete or repaired.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use crate::dir::Dir;
use crate::error::{Error, Result};
use crate::files;

/// Name of the file in the capture directory.
pub const FILE_NAME: &str = ".whole";

/// Offset of the second slot: a disk write does not split a page of the page cache.
const SECOND: u64 = 4096;

/// Digits and sign of a time, its checksum, and the separators.
const LINE_BYTES: usize = 20 + 1 + 8 + 1;

/// Maximum size of the file.
const MOST_BYTES: u64 = SECOND + LINE_BYTES as u64;

/// The file, during writing.
#[derive(Debug)]
pub struct CompletenessFile {
    path: PathBuf,
    file: File,
    capture_id: String,
    until_ns: i64,
    is_second_next: bool,
}

impl CompletenessFile {
    /// Creates the file in `directory`, for the capture with `capture_id` in its parts and no event before `since_ns`.
    pub fn create(directory: &Dir, capture_id: &str, since_ns: i64) -> Result<CompletenessFile> {
        let path = directory.path().join(FILE_NAME);
        let file = directory.create_file(FILE_NAME)?;
        // Both slots, so that space for either is allocated from now on.
        let written = [0, SECOND].iter().try_for_each(|place| file.write_all_at(&line(capture_id, since_ns), *place));
        let written = written.and_then(|()| file.sync_all());
        written.map_err(|e| Error::io(&path, "write", e))?;
        Ok(CompletenessFile { path, file, capture_id: capture_id.to_owned(), until_ns: since_ns, is_second_next: true })
    }

    /// Writes, durably, that everything that had ended at `until_ns` is on the disk. A time before the last one written is
    /// ignored.
    pub fn tell(&mut self, until_ns: i64) -> Result<()> {
        if until_ns <= self.until_ns {
            return Ok(());
        }
        let place = if self.is_second_next { SECOND } else { 0 };
        let written =
            self.file.write_all_at(&line(&self.capture_id, until_ns), place).and_then(|()| self.file.sync_data());
        written.map_err(|e| Error::io(&self.path, "write", e))?;
        (self.until_ns, self.is_second_next) = (until_ns, !self.is_second_next);
        Ok(())
    }
}

fn line(capture_id: &str, until_ns: i64) -> [u8; LINE_BYTES] {
    let digits = format!("{until_ns:020}");
    let text = format!("{digits} {:08x}\n", crc32fast::hash(format!("{capture_id} {digits}").as_bytes()));
    let mut line = [b' '; LINE_BYTES];
    line.iter_mut().zip(text.bytes()).for_each(|(to, from)| *to = from);
    line
}

/// Returns the time in a line; `None` if the line is invalid or of another capture.
fn told(capture_id: &str, line: &[u8]) -> Option<i64> {
    let digits = std::str::from_utf8(line.get(..20)?).ok()?;
    let until_ns = digits.parse().ok()?;
    (self::line(capture_id, until_ns) == *line.get(..LINE_BYTES)?).then_some(until_ns)
}

/// Returns the time up to which the capture in `directory` with `capture_id` in its parts is complete, according to its file.
/// `None` if it is complete, if its recorder did not know the time, or if the file is invalid or unreadable. The completeness
/// is unknown then, which every use of the capture reports; its rows can still be read.
pub fn read(directory: &Dir, capture_id: Option<&str>) -> Option<i64> {
    let bytes = files::read(directory, FILE_NAME, MOST_BYTES).ok()?;
    let told = |place: u64| bytes.get(place as usize..).and_then(|line| told(capture_id.unwrap_or_default(), line));
    told(0).max(told(SECOND))
}

/// Removes the file of a capture that no longer needs it. In a complete capture a remaining file has no effect.
pub fn remove(directory: &Dir) {
    let _ = directory.remove(FILE_NAME);
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    const ID: &str = "0123456789abcdef";

    #[test]
    fn the_last_moment_that_was_told_is_read() {
        let place = tempfile::tempdir().expect("a directory");
        let directory = Dir::open(place.path()).expect("there");
        assert_eq!(read(&directory, Some(ID)), None);
        let mut file = CompletenessFile::create(&directory, ID, 100).expect("room");
        assert_eq!(read(&directory, Some(ID)), Some(100));
        for (until_ns, last) in [(200, 200), (i64::MAX - 1, i64::MAX - 1), (300, i64::MAX - 1), (i64::MAX, i64::MAX)] {
            file.tell(until_ns).expect("room");
            assert_eq!(read(&directory, Some(ID)), Some(last));
        }
        remove(&directory);
        assert_eq!(read(&directory, Some(ID)), None);
    }

    #[test]
    fn one_that_was_cut_off_while_it_was_written_leaves_the_one_before() {
        let place = tempfile::tempdir().expect("a directory");
        let directory = Dir::open(place.path()).expect("there");
        let path = place.path().join(FILE_NAME);
        let mut file = CompletenessFile::create(&directory, ID, -5).expect("room");
        file.tell(1_000).expect("room");
        file.tell(2_000).expect("room");
        let whole = fs::read(&path).expect("a file");
        for (begin, before) in [(0, 1_000), (SECOND as usize, 2_000)] {
            for byte in begin..begin + LINE_BYTES - 1 {
                let mut torn = whole.clone();
                torn[byte] ^= 1;
                fs::write(&path, &torn).expect("room");
                assert_eq!(read(&directory, Some(ID)), Some(before), "byte {byte}");
            }
        }
        fs::write(&path, &whole[..7]).expect("room");
        assert_eq!(read(&directory, Some(ID)), None);
        fs::write(&path, vec![b'0'; 1 << 20]).expect("room");
        assert_eq!(read(&directory, Some(ID)), None);
    }

    #[test]
    fn that_of_another_capture_and_what_is_no_such_file_say_nothing() {
        let place = tempfile::tempdir().expect("a directory");
        let directory = Dir::open(place.path()).expect("there");
        let path = place.path().join(FILE_NAME);
        CompletenessFile::create(&directory, ID, 100).expect("room").tell(200).expect("room");
        assert_eq!(read(&directory, Some(ID)), Some(200));
        for other in [None, Some(""), Some("0123456789abcdee")] {
            assert_eq!(read(&directory, other), None, "{other:?}");
        }
        let elsewhere = place.path().join("elsewhere");
        fs::rename(&path, &elsewhere).expect("room");
        symlink(&elsewhere, &path).expect("room");
        assert_eq!(read(&directory, Some(ID)), None, "a link");
        fs::remove_file(&path).expect("there");
        fs::create_dir(&path).expect("room");
        assert_eq!(read(&directory, Some(ID)), None, "a directory");
        fs::remove_dir(&path).expect("empty");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR).expect("room");
        assert_eq!(read(&directory, Some(ID)), None, "a pipe");
    }
}
