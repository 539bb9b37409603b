//! CSV file of all intervals, appended.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::appended::{Appended, csv_cell};
use anyhow::{Context, Result, ensure};
use chrono::{DateTime, SecondsFormat, Utc};

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
            let mut appended = Appended::open(path)?;
            if appended.file.metadata()?.len() == 0 {
                appended.file.write_all(COLUMNS.as_bytes())?;
                return Ok(appended.file);
            }
            let mut head = vec![0; COLUMNS.len()];
            let is_ours = appended.open_to_read()?.read_exact_at(&mut head, 0).is_ok() && head == COLUMNS.as_bytes();
            ensure!(is_ours, "has other columns, expected a file of `iostrata top`");
            appended.remove_incomplete_line(path, 0, |_| Ok(()))?;
            Ok(appended.file)
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

fn line(text: &mut String, time: &str, interval: &Interval, by: By, row: &Row) {
    let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
    let max_ns = (row.all.requests > 0).then_some(row.all.max_ns);
    let state = row.disk.as_ref();
    let utilization = state.and_then(|disk| disk.utilization).map(|share| format!("{share:.4}"));
    let cells = [
        time.to_owned(),
        format!("{:.6}", interval.seconds),
        by.name().to_owned(),
        csv_cell(&row.name),
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
}
