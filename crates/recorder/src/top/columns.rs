//! Columns of the rows: as many as fit the width.

use ratatui::text::Span;

use super::rows::{By, Interval, Row, Sort};

/// Width from which reads and writes have columns of their own.
const WIDE: usize = 100;

/// Space between columns.
const GAP: usize = 1;

/// A column.
struct Column {
    head: &'static str,
    width: usize,
    /// Order that it shows.
    sort: Option<Sort>,
    cell: fn(&Row, f64) -> String,
}

/// Table of a view, at most as wide as asked for.
pub struct Table {
    /// Heads, each with its width and whether the rows are sorted by it. The first one is that of the names.
    pub heads: Vec<(String, usize, bool)>,
    /// Cells of the rows, each padded to its width.
    pub rows: Vec<Vec<String>>,
}

/// Cell without a value.
const NONE: &str = "-";

/// A number of three significant digits, in at most seven characters.
fn number(value: f64) -> String {
    match value {
        _ if value <= 0.0 => "0".to_owned(),
        _ if value < 10.0 => format!("{value:.2}"),
        _ if value < 100.0 => format!("{value:.1}"),
        _ if value < 1e7 => format!("{value:.0}"),
        _ => format!("{value:.1e}"),
    }
}

/// A latency in at most six characters.
pub fn latency(ns: Option<u64>) -> String {
    let Some(ns) = ns else { return NONE.to_owned() };
    let (value, unit) = match ns {
        0..1_000_000 => (ns as f64 / 1e3, "µs"),
        1_000_000..1_000_000_000 => (ns as f64 / 1e6, "ms"),
        _ => (ns as f64 / 1e9, "s"),
    };
    let digits = if value < 9.95 { 1 } else { 0 };
    format!("{value:.digits$}{unit}")
}

fn rate(count: u64, seconds: f64) -> String {
    number(count as f64 / seconds)
}

fn megabytes(bytes: u64, seconds: f64) -> String {
    number(bytes as f64 / 1e6 / seconds)
}

/// Share of reads among the bytes read and written.
fn share_of_reads(row: &Row) -> String {
    match row.reads.bytes + row.writes.bytes {
        0 => NONE.to_owned(),
        bytes => format!("{:.0}", 100.0 * row.reads.bytes as f64 / bytes as f64),
    }
}

const PID: Column =
    Column { head: "PID", width: 7, sort: None, cell: |row, _| row.pid.map_or(NONE.to_owned(), |pid| pid.to_string()) };

const NARROW_RATES: [Column; 3] = [
    Column { head: "IOPS", width: 7, sort: Some(Sort::Iops), cell: |row, s| rate(row.all.requests, s) },
    Column {
        head: "MB/s",
        width: 7,
        sort: Some(Sort::Bytes),
        cell: |row, s| megabytes(row.reads.bytes + row.writes.bytes, s),
    },
    Column { head: "%RD", width: 3, sort: None, cell: |row, _| share_of_reads(row) },
];

const WIDE_RATES: [Column; 5] = [
    Column { head: "IOPS", width: 7, sort: Some(Sort::Iops), cell: |row, s| rate(row.all.requests, s) },
    Column { head: "r/s", width: 7, sort: None, cell: |row, s| rate(row.reads.requests, s) },
    Column { head: "w/s", width: 7, sort: None, cell: |row, s| rate(row.writes.requests, s) },
    Column { head: "rMB/s", width: 7, sort: Some(Sort::Bytes), cell: |row, s| megabytes(row.reads.bytes, s) },
    Column { head: "wMB/s", width: 7, sort: Some(Sort::Bytes), cell: |row, s| megabytes(row.writes.bytes, s) },
];

const LATENCIES: [Column; 4] = [
    Column { head: "AVG", width: 6, sort: Some(Sort::Average), cell: |row, _| latency(row.all.average_ns()) },
    Column { head: "P50", width: 6, sort: Some(Sort::P50), cell: |row, _| latency(row.all.percentile_ns(0.5)) },
    Column { head: "P99", width: 6, sort: Some(Sort::P99), cell: |row, _| latency(row.all.percentile_ns(0.99)) },
    Column {
        head: "MAX",
        width: 6,
        sort: Some(Sort::Max),
        cell: |row, _| latency((row.all.requests > 0).then_some(row.all.max_ns)),
    },
];

const QUEUE: Column =
    Column { head: "QD", width: 5, sort: Some(Sort::InFlight), cell: |row, s| number(row.in_flight(s)) };

const DISK: [Column; 2] = [
    Column {
        head: "INFL",
        width: 4,
        sort: None,
        cell: |row, _| {
            let state = row.disk.as_ref().and_then(|disk| disk.in_flight);
            state.map_or(NONE.to_owned(), |count| count.to_string())
        },
    },
    Column {
        head: "%UTIL",
        width: 5,
        sort: None,
        cell: |row, _| {
            let share = row.disk.as_ref().and_then(|disk| disk.utilization);
            share.map_or(NONE.to_owned(), |share| format!("{:.0}", 100.0 * share))
        },
    },
];

/// Cuts or pads a name to a width. Of a path the end is kept.
fn fit(name: &str, width: usize, keeps_end: bool) -> String {
    let pad = |text: String| format!("{text}{}", " ".repeat(width.saturating_sub(cells(&text))));
    if cells(name) <= width {
        return pad(name.to_owned());
    }
    let mut room = width.saturating_sub(1);
    let mut takes = |letter: &char| {
        let left = room.checked_sub(cells(letter.encode_utf8(&mut [0; 4])));
        left.inspect(|left| room = *left).is_some()
    };
    match keeps_end {
        true => {
            let end: Vec<char> = name.chars().rev().take_while(&mut takes).collect();
            pad(format!("…{}", end.into_iter().rev().collect::<String>()))
        }
        false => pad(format!("{}…", name.chars().take_while(takes).collect::<String>())),
    }
}

/// Width on the terminal. Some characters are two columns wide.
fn cells(text: &str) -> usize {
    Span::raw(text).width()
}

/// Lays out rows of a view in `width` columns.
pub fn table(interval: &Interval, by: By, sort: Sort, rows: &[Row], width: usize) -> Table {
    let mut columns: Vec<&Column> = Vec::new();
    if by == By::Process {
        columns.push(&PID);
    }
    columns.extend(if width >= WIDE { &WIDE_RATES[..] } else { &NARROW_RATES[..] });
    columns.extend(&LATENCIES);
    columns.push(&QUEUE);
    if by == By::Disk {
        columns.extend(&DISK);
    }
    let others: usize = columns.iter().map(|column| column.width + GAP).sum();
    let name_width = width.saturating_sub(others).max(8);
    let mut heads = vec![(fit(&by.name().to_uppercase(), name_width, false), name_width, sort == Sort::Name)];
    heads.extend(columns.iter().map(|column| {
        let head = format!("{:>1$}", column.head, column.width);
        (head, column.width, column.sort == Some(sort))
    }));
    let cells = |row: &Row| {
        let name = iostrata_capture::plain::visible(&row.name);
        let name = fit(&name, name_width, matches!(by, By::File | By::Cgroup));
        let numbers =
            columns.iter().map(|column| format!("{:>1$}", (column.cell)(row, interval.seconds), column.width));
        std::iter::once(name).chain(numbers).collect()
    };
    Table { heads, rows: rows.iter().map(cells).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_latencies_fit_their_columns() {
        for value in [0.0, 0.001, 1.234, 12.34, 123.4, 9_999_999.0, 1e7, 1e12] {
            assert!(number(value).len() <= 7, "{}", number(value));
        }
        let texts = [999, 9_949, 9_950, 999_999, 1_000_000, 43_000_000_000].map(|ns| latency(Some(ns)));
        assert_eq!(texts, ["1.0µs", "9.9µs", "10µs", "1000µs", "1.0ms", "43s"]);
        assert_eq!(latency(None), "-");
    }

    #[test]
    fn a_name_is_cut_at_its_end_and_a_path_at_its_begin() {
        assert_eq!(fit("postgres", 10, false), "postgres  ");
        assert_eq!(fit("postgres", 5, false), "post…");
        assert_eq!(fit("/var/lib/data", 5, true), "…data");
        assert_eq!(
            (fit("/日本語日本", 6, true), fit("日本語", 8, false)),
            ("…日本 ".to_owned(), "日本語  ".to_owned())
        );
        assert_eq!(fit("日本語", 4, false), "日… ");
    }
}
