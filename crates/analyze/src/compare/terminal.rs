//! Table of `compare`.

use crate::compare::Compared;
use crate::terminal::{Cell, duration, table as drawn, throughput};
use bytesize::ByteSize;

/// Maximum number of rows.
const SHOWN: usize = 30;

/// Builds the table of the metrics that changed significantly.
pub fn table(compared: &[Compared], confidence_percent: f64) -> String {
    let differs = |row: &&Compared| row.marks.iter().any(|mark| ["worse", "better", "changed"].contains(mark));
    let has_intervals = compared.iter().any(|row| row.intervals.is_some());
    let mut rows: Vec<&Compared> = compared.iter().filter(|row| !has_intervals || differs(row)).collect();
    let change = |row: &Compared| (row.means[0] > 0.0).then(|| row.means[1] / row.means[0] - 1.0);
    let by = |row: &&Compared| (!row.marks.contains(&"worse"), -change(row).unwrap_or(f64::MAX).abs());
    rows.sort_by(|one, other| by(one).partial_cmp(&by(other)).unwrap_or(std::cmp::Ordering::Equal));
    let with_intervals = compared.iter().filter(|row| row.intervals.is_some()).count();
    let (all, differing) = (if has_intervals { with_intervals } else { compared.len() }, rows.len());
    let cells = rows.iter().take(SHOWN).map(|row| {
        let percent = |share: f64| format!("{:+.1} %", share * 100.0);
        let interval =
            row.intervals.and_then(|of| of.change).map(|of| format!("{} … {}", percent(of.low), percent(of.high)));
        let texts = [
            row.metric.table.to_owned(),
            if row.metric.row.is_empty() { "-".into() } else { crate::output::one_line(&row.metric.row) },
            row.metric.column.clone(),
            value(&row.metric.column, row.means[0]),
            value(&row.metric.column, row.means[1]),
            change(row).map_or("-".into(), percent),
            interval.unwrap_or_else(|| "-".into()),
            row.marks.join(" "),
        ];
        texts.into_iter().map(|text| Cell { text, is_marked: false }).collect()
    });
    let header = ["TABLE", "ROW", "METRIC", "BEFORE", "AFTER", "CHANGE", "INTERVAL", "MARKS"];
    let shown = drawn(&header, cells.collect(), 3, 0);
    let summary = match (has_intervals, differing) {
        (true, _) => format!(
            "{differing} of {all} metrics changed significantly ({confidence_percent} % confidence, uncorrected; expect up to about {:.0} false positives)",
            all as f64 * (1.0 - confidence_percent / 100.0)
        ),
        (false, _) => format!(
            "{all} metrics; one capture on each side gives no confidence intervals: record repeats (--before, --after)"
        ),
    };
    let more = if differing > SHOWN {
        format!("; the first {SHOWN} are shown, all are in compare.csv (--out)")
    } else {
        String::new()
    };
    let table = if differing > 0 { format!("{}\n", shown.text) } else { String::new() };
    format!("{table}{summary}{more}\n")
}

fn value(column: &str, value: f64) -> String {
    let whole = value.max(0.0).round() as u64;
    match column {
        _ if column.ends_with("_ns") => duration(whole),
        _ if column.ends_with("bytes_per_s") => throughput(value),
        _ if column.ends_with("bytes") && !column.contains("amp") => ByteSize(whole).display().iec().to_string(),
        _ if column.ends_with("_share") => format!("{:.1} %", value * 100.0),
        _ => format!("{value:.2}"),
    }
}
