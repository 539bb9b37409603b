//! Tables one below the other, for logs.

use std::fmt::Write;

use chrono::{DateTime, SecondsFormat, Utc};

use super::columns::table;
use super::rows::{By, Interval, Row, Sort};

/// Prints an interval in 80 columns, or `width`.
pub fn text(until: DateTime<Utc>, interval: &Interval, (by, sort): (By, Sort), rows: &[Row], width: usize) -> String {
    let time = until.to_rfc3339_opts(SecondsFormat::Secs, true).replace('T', " ");
    let mut text = format!("{time}  {:.1} s\n", interval.seconds);
    let table = table(interval, by, sort, rows, width);
    let line = |cells: Vec<&str>| cells.join(" ").trim_end().to_owned();
    let _ = writeln!(text, "{}", line(table.heads.iter().map(|(head, _, _)| head.as_str()).collect()));
    for row in &table.rows {
        let _ = writeln!(text, "{}", line(row.iter().map(String::as_str).collect()));
    }
    text.push('\n');
    text
}
