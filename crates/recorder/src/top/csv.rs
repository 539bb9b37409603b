//! CSV file of all intervals, appended.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, SecondsFormat, Utc};
use iostrata_capture::dir::Dir;
use iostrata_capture::message::tell;

use crate::hist::lines::end_of_lines;

use super::rows::{By, Interval, Row};

/// Columns.
const COLUMNS: &str = "time,interval_s,by,name,pid,requests,read_requests,write_requests,read_bytes,write_bytes,\
avg_ns,p50_ns,p99_ns,max_ns,queue_depth,in_flight,utilization\n";

/// An opened file.
pub struct Csv {
    path: PathBuf,
    file: File,
}

impl Csv {
    /// Opens a file to append to, without following a link.
    ///
    /// # Errors
    /// If it cannot be opened, or has other columns.
    pub fn open(path: &Path) -> Result<Csv> {
        let open = || {
            let (directory, name) = Dir::around(path)?;
            drop(directory.open_or_create(&name)?);
            let mut file = directory.open_to_append(&name)?;
            if file.metadata()?.len() == 0 {
                file.write_all(COLUMNS.as_bytes())?;
            } else {
                let mut head = vec![0; COLUMNS.len()];
                let read = directory.open_file(&name)?;
                let is_ours = std::os::unix::fs::FileExt::read_exact_at(&read, &mut head, 0).is_ok();
                ensure!(is_ours && head == COLUMNS.as_bytes(), "has other columns, expected a file of `iostrata top`");
                let (end, length) = (end_of_lines(&read)?, file.metadata()?.len());
                if end < length {
                    let cut = length - end;
                    tell(&format!("iostrata: {}: {cut} bytes of an incomplete last line removed\n", path.display()));
                    directory.open_to_write(&name)?.set_len(end)?;
                }
            }
            Ok(file)
        };
        let file = open().with_context(|| format!("--csv {}", path.display()))?;
        Ok(Csv { path: path.to_owned(), file })
    }

    /// Appends the rows of an interval with one call.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn add(&mut self, until: DateTime<Utc>, interval: &Interval, by: By, rows: &[Row]) -> Result<()> {
        let mut text = String::new();
        let time = until.to_rfc3339_opts(SecondsFormat::Micros, true);
        for row in rows {
            line(&mut text, &time, interval, by, row);
        }
        self.file.write_all(text.as_bytes()).with_context(|| format!("{}: cannot write", self.path.display()))
    }
}

fn quoted(text: &str) -> String {
    match text.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

fn line(text: &mut String, time: &str, interval: &Interval, by: By, row: &Row) {
    let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
    let max_ns = (row.all.requests > 0).then_some(row.all.max_ns);
    let state = row.disk.as_ref();
    let utilization = state.and_then(|disk| disk.utilization).map(|share| format!("{share:.4}"));
    let cells = [
        time.to_owned(),
        format!("{:.6}", interval.seconds),
        by.name().to_owned(),
        quoted(&row.name),
        number(row.pid.map(u64::from)),
        row.all.requests.to_string(),
        row.reads.requests.to_string(),
        row.writes.requests.to_string(),
        row.reads.bytes.to_string(),
        row.writes.bytes.to_string(),
        number(row.all.average_ns()),
        number(row.all.percentile_ns(0.5)),
        number(row.all.percentile_ns(0.99)),
        number(max_ns),
        format!("{:.4}", row.in_flight(interval.seconds)),
        number(state.and_then(|disk| disk.in_flight)),
        utilization.unwrap_or_default(),
    ];
    let _ = writeln!(text, "{}", cells.join(","));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_something_else_is_refused_and_one_of_ours_continued() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("top.csv");
        drop(Csv::open(&path).expect("a new file"));
        std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .and_then(|mut file| file.write_all(b"a cut li"))
            .expect("room");
        drop(Csv::open(&path).expect("a file of ours"));
        assert_eq!(std::fs::read_to_string(&path).expect("there"), COLUMNS);
        std::fs::write(&path, "a,b\n1,2\n").expect("room");
        let error = Csv::open(&path).err().expect("other columns");
        assert!(format!("{error:#}").contains("expected a file of `iostrata top`"), "{error:#}");
    }

    #[test]
    fn a_name_with_a_comma_is_quoted() {
        assert_eq!(quoted("a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!(quoted("/data/a b"), "/data/a b");
    }
}
