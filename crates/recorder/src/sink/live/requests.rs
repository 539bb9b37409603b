//! Lines of `iostrata snoop`: completed block requests with disk, file and owner, and at the end their latencies by process.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::sync::Arc;

use chrono::DateTime;
use iostrata_capture::plain;
use serde::Serialize;

use super::files::Files;
use super::format::Known;
use super::row::{More, Row};
use crate::appended::csv_cell;
use crate::groups::block_latency::bounds_us;
use crate::host::devices;

/// Output format of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A table with a header.
    Text,
    /// One JSON object per line.
    Json,
    /// CSV with a header.
    Csv,
}

/// A request. The JSON objects have these fields, in this order, and CSV these columns.
#[derive(Debug, Serialize)]
struct Request<'a> {
    /// Queueing of its first bio, since the Unix epoch.
    ts_ns: i64,
    pid: Option<i32>,
    comm: Option<&'a str>,
    disk: &'a str,
    op: &'a str,
    bytes: i64,
    offset_bytes: Option<i64>,
    /// From queueing to issue.
    q2d_ns: Option<i64>,
    /// From queueing to completion.
    lat_ns: Option<i64>,
    error: i64,
    file: Option<&'a str>,
    /// Process that queued it, where it is not the owner.
    submitter_pid: Option<i32>,
    submitter_comm: Option<&'a str>,
}

/// Columns of CSV.
const COLUMNS: &str =
    "ts_ns,pid,comm,disk,op,bytes,offset_bytes,q2d_ns,lat_ns,error,file,submitter_pid,submitter_comm\n";

/// Latencies of the requests of a process.
#[derive(Debug, Clone)]
struct Latencies {
    /// Name of the thread of the first of them, or class of the data.
    name: Arc<str>,
    requests: u64,
    sum_ns: u128,
    min_ns: u64,
    max_ns: u64,
    /// Requests by log2 of their latency in µs.
    buckets: [u64; 64],
}

impl Default for Latencies {
    fn default() -> Latencies {
        Latencies { name: Arc::from(""), requests: 0, sum_ns: 0, min_ns: 0, max_ns: 0, buckets: [0; 64] }
    }
}

impl Latencies {
    fn add(&mut self, ns: u64) {
        self.min_ns = if self.requests == 0 { ns } else { self.min_ns.min(ns) };
        self.max_ns = self.max_ns.max(ns);
        self.requests += 1;
        self.sum_ns += u128::from(ns);
        self.buckets[(ns / 1_000).max(1).ilog2() as usize] += 1;
    }

    fn combine(&mut self, other: &Latencies) {
        self.min_ns = if self.requests == 0 { other.min_ns } else { self.min_ns.min(other.min_ns) };
        self.max_ns = self.max_ns.max(other.max_ns);
        self.requests += other.requests;
        self.sum_ns += other.sum_ns;
        self.buckets.iter_mut().zip(other.buckets).for_each(|(mine, theirs)| *mine += theirs);
    }
}

/// Maximum number of processes with latencies of their own.
const MOST_PROCESSES: usize = 4_096;

/// Maximum number of processes in the summary; the others are summed.
const MOST_SHOWN: usize = 20;

/// State of the output.
pub struct Requests {
    /// Output format.
    pub shape: Shape,
    /// Whether control characters would reach a terminal.
    is_terminal: bool,
    disks: HashMap<i32, String>,
    /// Paths of files.
    pub files: Files,
    /// By process, or by class of the data of requests without an owner.
    by_process: HashMap<(Option<i32>, Arc<str>), Latencies>,
    /// Requests of further processes.
    others: Latencies,
    untimed: u64,
}

impl Requests {
    /// Starts without any request.
    pub fn new(shape: Shape) -> Requests {
        let disks = devices::all().into_iter().map(|disk| (disk.dev, disk.name)).collect();
        let (by_process, others, untimed) = Default::default();
        let is_terminal = std::io::stdout().is_terminal();
        Requests { shape, is_terminal, disks, files: Files::new(), by_process, others, untimed }
    }

    /// Appends the header before the first row.
    pub fn header(&self, out: &mut Vec<u8>) {
        match self.shape {
            Shape::Text => {
                line(out, &["TIME", "PID", "COMM", "DISK", "OP", "BYTES", "OFFSET", "Q2D(us)", "LAT(us)", "FILE"])
            }
            Shape::Csv => out.extend_from_slice(COLUMNS.as_bytes()),
            Shape::Json => {}
        }
    }

    /// Appends a row as a line, if it is a request; `system` is the class of its data if it has no owner.
    pub fn row(&mut self, row: &Row, out: &mut Vec<u8>) {
        let More::Block { dev, file_dev, ino, submitter_pid, submitter_comm, queue_ns, insert_ns, .. } = row.more
        else {
            return;
        };
        let disk = self.disks.entry(dev).or_insert_with(|| devices::name_in(&devices::all(), dev)).clone();
        let file = file_dev.zip(ino).and_then(|file| self.files.path(file, row.ts_ns));
        // Without an owner: the class of its data, in parentheses.
        let comm = row.comm.or(row.pid.is_none().then_some(row.system));
        self.count(row.pid, comm.unwrap_or_default(), row.lat_ns);
        let before_issue = queue_ns.map(|queue_ns| queue_ns.saturating_add(insert_ns.unwrap_or(0)));
        let request = Request {
            ts_ns: row.ts_ns,
            pid: row.pid,
            comm,
            disk: &disk,
            op: row.op.name(),
            bytes: row.bytes.unwrap_or(0),
            offset_bytes: row.offset_bytes,
            q2d_ns: before_issue,
            lat_ns: row.lat_ns,
            error: row.ret,
            file: file.as_deref(),
            submitter_pid: submitter_pid.filter(|_| submitter_pid != row.pid),
            submitter_comm: submitter_comm.filter(|_| submitter_pid != row.pid),
        };
        self.print(&request, out);
    }

    fn print(&self, request: &Request, out: &mut Vec<u8>) {
        match self.shape {
            Shape::Text => text(request, out),
            Shape::Json => {
                // Fails only on values without a JSON form, which a request does not have.
                let text = serde_json::to_string(request).unwrap_or_default();
                out.extend_from_slice(plain::json(&text).as_bytes());
                out.push(b'\n');
            }
            Shape::Csv => csv(request, self.is_terminal, out),
        }
    }

    fn count(&mut self, pid: Option<i32>, comm: &str, lat_ns: Option<i64>) {
        let Some(ns) = lat_ns.and_then(|ns| u64::try_from(ns).ok()) else {
            self.untimed += 1;
            return;
        };
        let process = (pid, Arc::from(if pid.is_some() { "" } else { comm }));
        let has_room = self.by_process.len() < MOST_PROCESSES || self.by_process.contains_key(&process);
        let named = || Latencies { name: comm.into(), ..Latencies::default() };
        if has_room { self.by_process.entry(process).or_insert_with(named) } else { &mut self.others }.add(ns);
    }

    /// Returns the latencies of the printed requests by process, most requests first; nothing unless the output is a table.
    pub fn summary(&self) -> String {
        let mut text = String::new();
        if self.shape != Shape::Text {
            return text;
        }
        let mut all: Vec<_> = self.by_process.iter().collect();
        all.sort_by_key(|((pid, comm), of)| (std::cmp::Reverse(of.requests), *pid, Arc::clone(comm)));
        for ((pid, _), of) in all.iter().take(MOST_SHOWN) {
            let pid = pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
            block(&mut text, &format!("pid {pid}, {}", plain::visible(&of.name)), of);
        }
        let mut others = self.others.clone();
        all.iter().skip(MOST_SHOWN).for_each(|(_, of)| others.combine(of));
        if others.requests > 0 {
            block(&mut text, "all other processes", &others);
        }
        if self.untimed > 0 {
            let _ = writeln!(text, "\n{} requests have no known latency", self.untimed);
        }
        text
    }
}

/// One line of the table.
fn line(out: &mut Vec<u8>, cells: &[&str; 10]) {
    let [time, pid, comm, disk, op, bytes, offset, queue, lat, file] = cells;
    // Writing to a vector cannot fail.
    let _ = writeln!(
        out,
        "{time:<15} {pid:>7} {comm:<15} {disk:<8} {op:<8} {bytes:>8} {offset:>13} {queue:>9} {lat:>9} {file}"
    );
}

fn text(request: &Request, out: &mut Vec<u8>) {
    let us = |ns: Option<i64>| Known(ns.map(|ns| format!("{:.1}", ns as f64 / 1e3))).to_string();
    let mut file = plain::visible(request.file.unwrap_or("-")).into_owned();
    if let Some(comm) = request.submitter_comm {
        let _ = write!(file, " (queued by {} {})", plain::visible(comm), Known(request.submitter_pid));
    }
    if request.error != 0 {
        let _ = write!(file, " (error {})", request.error);
    }
    line(
        out,
        &[
            &DateTime::from_timestamp_nanos(request.ts_ns).format("%H:%M:%S%.6f").to_string(),
            &Known(request.pid).to_string(),
            &plain::visible(request.comm.unwrap_or("-")),
            request.disk,
            request.op,
            &request.bytes.to_string(),
            &Known(request.offset_bytes).to_string(),
            &us(request.q2d_ns),
            &us(request.lat_ns),
            &file,
        ],
    );
}

/// A line of CSV (RFC 4180).
fn csv(request: &Request, is_terminal: bool, out: &mut Vec<u8>) {
    let number = |number: Option<i64>| number.map(|number| number.to_string()).unwrap_or_default();
    let text = |text: &str| csv_cell(&if is_terminal { plain::visible(text) } else { text.into() });
    let cells = [
        request.ts_ns.to_string(),
        number(request.pid.map(i64::from)),
        text(request.comm.unwrap_or_default()),
        text(request.disk),
        request.op.to_owned(),
        request.bytes.to_string(),
        number(request.offset_bytes),
        number(request.q2d_ns),
        number(request.lat_ns),
        request.error.to_string(),
        text(request.file.unwrap_or_default()),
        number(request.submitter_pid.map(i64::from)),
        text(request.submitter_comm.unwrap_or_default()),
    ];
    out.extend_from_slice(cells.join(",").as_bytes());
    out.push(b'\n');
}

/// Latencies of one process, with their histogram.
fn block(text: &mut String, name: &str, of: &Latencies) {
    let us = |ns: f64| format!("{:.1} µs", ns / 1e3);
    let average = of.sum_ns as f64 / of.requests as f64;
    let _ = writeln!(
        text,
        "\n{name}: {} requests, average {}, minimum {}, maximum {}",
        of.requests,
        us(average),
        us(of.min_ns as f64),
        us(of.max_ns as f64)
    );
    let most = of.buckets.iter().copied().max().unwrap_or(0).max(1);
    let used = |slot: &usize| of.buckets[*slot] > 0;
    let (first, last) = ((0..64).find(used).unwrap_or(0), (0..64).rev().find(used).unwrap_or(0));
    for slot in first..=last {
        let (low, high) = bounds_us(u8::try_from(slot).unwrap_or(63));
        let count = of.buckets[slot];
        let bar = "█".repeat(usize::try_from(count * 30 / most).unwrap_or(0));
        let range = format!("{low}–{high} µs");
        let _ = writeln!(text, "  {range:>24} {count:>9} {bar}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request<'static> {
        Request {
            ts_ns: 1_700_000_000_250_000_000,
            pid: Some(7),
            comm: Some("a,b"),
            disk: "sda",
            op: "write",
            bytes: 4096,
            offset_bytes: Some(8192),
            q2d_ns: Some(1_000),
            lat_ns: Some(25_300),
            error: 0,
            file: Some("/a \"b\""),
            submitter_pid: Some(9),
            submitter_comm: Some("kworker/u8:1"),
        }
    }

    fn printed(shape: Shape, request: &Request) -> String {
        let mut out = Vec::new();
        Requests::new(shape).print(request, &mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn a_request_is_a_line_in_each_form() {
        assert_eq!(
            printed(Shape::Text, &request()),
            "22:13:20.250000       7 a,b             sda      write        4096          8192       1.0      25.3 /a \"b\" (queued by kworker/u8:1 9)\n"
        );
        assert_eq!(
            printed(Shape::Csv, &request()),
            "1700000000250000000,7,\"a,b\",sda,write,4096,8192,1000,25300,0,\"/a \"\"b\"\"\",9,kworker/u8:1\n"
        );
        let json: serde_json::Value = serde_json::from_str(&printed(Shape::Json, &request())).expect("JSON");
        assert_eq!((json["lat_ns"].as_i64(), json["file"].as_str()), (Some(25_300), Some("/a \"b\"")));
        assert_eq!(COLUMNS.trim_end().split(',').count(), json.as_object().expect("an object").len());
    }

    #[test]
    fn the_summary_has_each_process_and_all_its_requests() {
        let mut requests = Requests::new(Shape::Text);
        for ns in [1_500, 33_000, 40_000] {
            requests.count(Some(7), "fio", Some(ns));
        }
        requests.count(None, "(journal)", Some(900));
        requests.count(None, "(journal)", None);
        let summary = requests.summary();
        let lines: Vec<&str> = summary.lines().collect();
        assert_eq!(lines[1], "pid 7, fio: 3 requests, average 24.8 µs, minimum 1.5 µs, maximum 40.0 µs");
        assert_eq!(lines[2].split_whitespace().collect::<Vec<_>>(), ["0–1", "µs", "1", "███████████████"]);
        assert_eq!(lines[7].split_whitespace().collect::<Vec<_>>()[..3], ["32–63", "µs", "2"]);
        assert_eq!(lines[9], "pid -, (journal): 1 requests, average 0.9 µs, minimum 0.9 µs, maximum 0.9 µs");
        assert!(summary.ends_with("\n1 requests have no known latency\n"), "{summary}");
        for number in 0..MOST_PROCESSES as i32 + 5 {
            requests.count(Some(number + 100), "many", Some(1));
        }
        assert!(
            requests.by_process.len() == MOST_PROCESSES && requests.others.requests == 7,
            "{}",
            requests.others.requests
        );
        let summary = requests.summary();
        let others = MOST_PROCESSES - MOST_SHOWN + 7;
        assert!(
            summary.contains(&format!("\nall other processes: {others} requests, ")) && summary.lines().count() < 200
        );
    }
}
