//! Removal of arguments from the command lines of a finished capture.
//!
//! An interruption at any time leaves a valid capture: new parts are written beside the old ones; when all are on the disk, the
//! list of parts announces the replacement; the new parts are renamed over the old ones; the list confirms it. After an
//! interruption the redaction is run again.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray};

use crate::capture::Lock;
use crate::column::Reader;
use crate::dir::Dir;
use crate::error::{Error, Result};
use crate::list::{Entry, ListFile, Part, PartList};
use crate::manifest::{Manifest, State};
use crate::part::{PartFile, Place, Replacement, finished, incomplete, origin, others, whole_part};
use crate::table::Table;
use crate::tables::{ProcessTable, ProcessView};

/// Result for one recording.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Redacted {
    /// Number of process rows.
    pub rows: u64,
    /// Number of rows with a changed command line.
    pub changed: u64,
    /// Number of parts rewritten.
    pub parts: u64,
    /// Number of parts that had never been finished, and were removed: no reader uses them.
    pub unfinished: u64,
}

/// Recording without a writer, as long as this value exists.
#[derive(Debug)]
pub struct Finished {
    directory: Dir,
    _lock: Lock,
}

impl Finished {
    /// Locks the recording in `directory`, which is a segment of a capture.
    ///
    /// # Errors
    /// Returns an error if it is still being recorded, or if it was interrupted and not repaired.
    pub fn take(directory: &Dir) -> Result<Finished> {
        // A directory that is not a capture is not changed, not even by a lock.
        Manifest::read(directory)?;
        let Some(lock) = Lock::take(directory)? else {
            return Err(Error::manifest(directory.path(), "is being written, expected a finished capture"));
        };
        if Manifest::read(directory)?.state == State::Recording {
            return Err(Error::manifest(
                directory.path(),
                "is incomplete (recording interrupted), expected a finished capture: run `recover` first",
            ));
        }
        Ok(Finished { directory: directory.clone(), _lock: lock })
    }

    /// Keeps `words` words of each command line: the name of the executable, then unchanged arguments. With 0 the command line
    /// is removed.
    pub fn redact(&self, words: usize) -> Result<Redacted> {
        let (directory, folder) = (&self.directory, self.directory.sub(ProcessTable::NAME));
        // A file of another program contains the same command lines and is in no list.
        if let Some(name) = others(&folder)?.first() {
            let what = "was not written by the recorder and may contain command lines: remove it, or use the capture as recorded";
            return Err(Error::Schema { path: folder.path().join(name), what: what.to_owned() });
        }
        let mut list = PartList::default();
        let mut file = ListFile::open(directory, |entry| list.take(entry))?;
        let mut redacted = Redacted::default();
        let mut replaced = Vec::new();
        for (number, place) in finished(&folder)? {
            let part = PartFile::Whole(place);
            let (rows, changed) = count(&part, words)?;
            redacted.rows += rows;
            if changed > 0 {
                redacted.changed += changed;
                let written = rewrite(directory, number, &part, words);
                replaced.push(written.inspect_err(|_| drop(Replacement::remove_all(&folder)))?);
            }
        }
        redacted.parts = replaced.len() as u64;
        self.replace(&mut file, &list, &replaced)?;
        // Unfinished parts of a recorder that completed contain command lines, too.
        for number in incomplete::unfinished(&folder)? {
            incomplete::remove(&folder, number)?;
            redacted.unfinished += 1;
        }
        Replacement::remove_all(&folder)?;
        Ok(redacted)
    }

    /// Puts new parts, which are beside the old ones, in their place.
    fn replace(&self, file: &mut ListFile, list: &PartList, replaced: &[Part]) -> Result<()> {
        let mut changed = self.half_replaced(list)?;
        if replaced.is_empty() && changed.is_empty() {
            return Ok(());
        }
        // Parts that are not listed have no size in the list.
        let listed: Vec<Part> = replaced.iter().filter(|part| list.get(part.name).is_some()).cloned().collect();
        file.append(&listed.iter().cloned().map(Entry::Replacing).collect::<Vec<_>>())?;
        for part in replaced {
            Replacement::publish(&self.directory, part.name)?;
        }
        self.directory.sub(ProcessTable::NAME).sync()?;
        changed.retain(|part| listed.iter().all(|new| new.name != part.name));
        changed.extend(listed);
        file.rewrite_with(list, &changed, &[])
    }

    /// Returns the parts with an interrupted replacement as they are now: the old or the new one.
    fn half_replaced(&self, list: &PartList) -> Result<Vec<Part>> {
        let names = list.parts().filter(|(_, kept)| kept.replaced_bytes.is_some()).map(|(name, _)| name);
        names.map(|name| whole_part(&Place::of(&self.directory, name), name)).collect()
    }
}

/// Returns the redacted command line.
fn left(cmdline: Option<&str>, exe: Option<&str>, words: usize) -> Option<String> {
    let mut given = cmdline?.split(' ');
    let first = given.next().unwrap_or_default();
    let name = exe.unwrap_or(first).rsplit('/').next().unwrap_or_default();
    let kept = std::iter::once(name).chain(given).take(words);
    (words > 0).then(|| kept.collect::<Vec<_>>().join(" "))
}

fn left_in(view: &ProcessView, row: usize, words: usize) -> Option<String> {
    left(view.cmdline.at(row), view.exe.at(row), words)
}

/// Returns the number of rows of a part, and of the rows to be changed.
fn count(part: &PartFile, words: usize) -> Result<(u64, u64)> {
    let (mut rows, mut changed) = (0, 0);
    part.read::<ProcessTable>(|batch| {
        let view = ProcessView::new(batch)?;
        rows += view.rows as u64;
        let differs = |row: &usize| left_in(&view, *row, words).as_deref() != view.cmdline.at(*row);
        changed += (0..view.rows).filter(differs).count() as u64;
        Ok(())
    })?;
    Ok((rows, changed))
}

/// Writes the new part beside the old one.
fn rewrite(directory: &Dir, number: u32, part: &PartFile, words: usize) -> Result<Part> {
    let mut new = Replacement::create::<ProcessTable>(directory, number, origin(part.place())?.as_ref())?;
    let mut outcome = Ok(());
    part.read::<ProcessTable>(|batch| {
        let batch = redacted(batch, words)?;
        outcome = std::mem::replace(&mut outcome, Ok(())).and_then(|()| new.write(&batch));
        Ok(())
    })?;
    outcome?;
    new.finish()
}

fn redacted(batch: &RecordBatch, words: usize) -> std::result::Result<RecordBatch, String> {
    let view = ProcessView::new(batch)?;
    let lines: StringArray = (0..view.rows).map(|row| left_in(&view, row, words)).collect();
    let schema = ProcessTable::schema();
    let column = |field: &Arc<arrow_schema::Field>| -> std::result::Result<ArrayRef, String> {
        match field.name().as_str() {
            "cmdline" => Ok(Arc::new(lines.clone())),
            name => batch.column_by_name(name).cloned().ok_or_else(|| format!("column {name} is missing")),
        }
    };
    let columns = schema.fields().iter().map(column).collect::<std::result::Result<_, _>>()?;
    RecordBatch::try_new(schema.clone(), columns).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::Capture;
    use crate::TableId;
    use crate::capture_writer::CaptureWriter;
    use crate::column::Comm;
    use crate::part::PartName;
    use crate::tables::ProcessRow;

    fn dir(path: &Path) -> Dir {
        Dir::open(path).expect("there")
    }

    const ENVIRONMENT: &str = "/bin/cat /etc/hostname HOME=/root TOKEN=abc";

    fn manifest(state: State) -> Manifest {
        let text = format!(
            r#"{{"schema_version":1,"capture_id":"x","state":"{}","started_at":"","stopped_at":null,"stop_reason":null,
            "recorder_version":"","command_line":[],"host":{{"hostname":"","kernel":"","arch":"","boot_id":"","cpus":1}},
            "clock":{{"offset_ns":0,"pairs":[]}},"layers":{{}},"probes":[],"filters":{{}},"devices":[],"mounts":[],
            "books":{{"accounts":[],"skipped":[]}},"device_books":[]}}"#,
            if state == State::Recording { "recording" } else { "complete" }
        );
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}"))
    }

    fn process(pid: i32, exe: Option<&str>, cmdline: Option<&str>) -> ProcessRow {
        let (exe, cmdline) = (exe.map(str::to_owned), cmdline.map(str::to_owned));
        let comm = Comm::default();
        ProcessRow {
            ts_ns: pid.into(),
            pid,
            ppid: 1,
            start_ns: 0,
            comm,
            kernel_thread: false,
            cgroup_id: 1,
            exe,
            cmdline,
            cgroup: None,
        }
    }

    /// Two parts; the second one needs no change.
    fn capture() -> tempfile::TempDir {
        let place = tempfile::tempdir().expect("a place");
        let mut author = CaptureWriter::create(place.path(), 1).expect("an empty directory");
        let mut rows = author.table::<ProcessTable>();
        for pid in 0..8192 {
            let line = Some(ENVIRONMENT).filter(|_| pid % 2 == 0);
            rows.push(process(pid, Some("/usr/bin/cat"), line)).expect("room");
        }
        rows.push(process(9000, None, Some("tool"))).expect("room");
        author.add(rows.finish().expect("room")).expect("room");
        author.finish(&manifest(State::Complete)).expect("room");
        place
    }

    fn lines(place: &Path) -> Vec<Option<String>> {
        let capture = Capture::open(&dir(place)).expect("whole");
        let mut lines = Vec::new();
        for part in capture.parts::<ProcessTable>().expect("readable") {
            let take = |batch: &RecordBatch| {
                let view = ProcessView::new(batch)?;
                lines.extend((0..view.rows).map(|row| view.cmdline.at(row).map(str::to_owned)));
                Ok(())
            };
            part.read::<ProcessTable>(take).expect("readable");
        }
        lines
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .expect("a folder")
            .map(|e| e.expect("a name").file_name().to_string_lossy().into())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn names_of_programs_are_left_and_it_may_be_done_twice() {
        let place = capture();
        let before = fs::metadata(place.path().join("process/part-000002.parquet")).expect("there").len();
        let redacted = Finished::take(&dir(place.path())).expect("free").redact(1).expect("room");
        assert_eq!(redacted, Redacted { rows: 8193, changed: 4096, parts: 1, unfinished: 0 });
        let found = lines(place.path());
        assert_eq!(
            (found[0].as_deref(), found[1].as_deref(), found[8192].as_deref()),
            (Some("cat"), None, Some("tool"))
        );
        assert!(found.iter().flatten().all(|line| !line.contains("TOKEN")));
        let list = fs::read_to_string(place.path().join("parts.jsonl")).expect("a list");
        assert!(!list.contains("replacing") && list.contains(&format!("\"bytes\":{before}")), "{list}");
        assert_eq!(names(&place.path().join("process")), ["part-000001.parquet", "part-000002.parquet"]);
        let again = Finished::take(&dir(place.path())).expect("free").redact(1).expect("nothing to do");
        assert_eq!(again, Redacted { rows: 8193, ..Redacted::default() });
        assert_eq!(fs::read_to_string(place.path().join("parts.jsonl")).expect("a list"), list);
        let none = Finished::take(&dir(place.path())).expect("free").redact(0).expect("room");
        assert_eq!((none.changed, none.parts), (4097, 2));
        assert!(lines(place.path()).iter().all(Option::is_none));
    }

    #[test]
    fn as_many_words_are_left_as_are_asked_for() {
        assert_eq!(left(Some(ENVIRONMENT), Some("/usr/bin/cat"), 2).as_deref(), Some("cat /etc/hostname"));
        assert_eq!(left(Some(ENVIRONMENT), None, 1).as_deref(), Some("cat"));
        assert_eq!(left(Some(ENVIRONMENT), Some("/usr/bin/cat"), 0), None);
        assert_eq!(left(None, Some("/usr/bin/cat"), 3), None);
    }

    #[test]
    fn cut_off_at_any_moment_it_is_a_capture_and_goes_on() {
        for steps in 0..4 {
            let place = capture();
            let at = place.path();
            let part = PartFile::Whole(Place::of(&dir(at), PartName { table: TableId::Process, number: 1 }));
            let new = rewrite(&dir(at), 1, &part, 1).expect("room");
            assert_eq!(names(&at.join("process"))[0], ".part-000001.parquet.new");
            let mut list = PartList::default();
            let mut file = ListFile::open(&dir(at), |entry| list.take(entry)).expect("a list");
            if steps > 0 {
                file.append(&[Entry::Replacing(new.clone())]).expect("room");
            }
            if steps > 1 {
                Replacement::publish(&dir(at), new.name).expect("room");
            }
            if steps > 2 {
                file.rewrite_with(&list, std::slice::from_ref(&new), &[]).expect("room");
            }
            let changed = if steps > 1 { 0 } else { 4096 };
            assert_eq!(lines(at)[0].as_deref(), Some(if steps > 1 { "cat" } else { ENVIRONMENT }), "{steps}");
            let redacted = Finished::take(&dir(at)).expect("free").redact(1).expect("room");
            assert_eq!((redacted.rows, redacted.changed), (8193, changed), "{steps}");
            assert_eq!(lines(at)[0].as_deref(), Some("cat"), "{steps}");
            assert_eq!(names(&at.join("process")), ["part-000001.parquet", "part-000002.parquet"]);
            let list = fs::read_to_string(at.join("parts.jsonl")).expect("a list");
            let parts = list.lines().filter(|line| line.contains("\"table\":\"process\""));
            assert_eq!((parts.count(), list.contains("replacing")), (2, false), "{list}");
        }
    }

    #[test]
    fn a_capture_that_is_written_to_or_was_cut_off_is_refused() {
        let place = capture();
        let held = Finished::take(&dir(place.path())).expect("free");
        let error = Finished::take(&dir(place.path())).expect_err("taken").to_string();
        assert!(error.ends_with("is being written, expected a finished capture"), "{error}");
        drop(held);
        manifest(State::Recording).write(&dir(place.path())).expect("room");
        let error = Finished::take(&dir(place.path())).expect_err("cut off").to_string();
        assert!(
            error.ends_with("is incomplete (recording interrupted), expected a finished capture: run `recover` first"),
            "{error}"
        );
    }

    #[test]
    fn what_was_never_finished_goes() {
        let place = capture();
        fs::write(place.path().join("process/.part-000003.parquet.tmp"), ENVIRONMENT).expect("room");
        let redacted = Finished::take(&dir(place.path())).expect("free").redact(1).expect("room");
        assert_eq!(redacted.unfinished, 1);
        assert_eq!(names(&place.path().join("process")), ["part-000001.parquet", "part-000002.parquet"]);
    }
}
