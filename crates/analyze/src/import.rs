//! Import of block traces of other programs as captures with only a block layer, so that they can be analyzed together with recorded captures.
//!
//! A reader ([`lines`], [`blktrace`]) makes requests of a trace ([`traced`]), which are collected as rows ([`gathered`]). The [`manifest`]
//! describes the result.

mod begun;
mod blktrace;
mod disks;
mod gathered;
pub mod lines;
mod manifest;
mod traced;
mod unpacked;
mod xz;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use indicatif::HumanCount;
use iostrata_capture::capture_writer::{CaptureWriter, Rows};
use iostrata_capture::manifest::WITHOUT_DURATIONS;
use iostrata_capture::tables::{ClockRow, ClockTable};

use crate::commands::Outcome;
use crate::output::{count, one_line, print};
use begun::Begun;
use gathered::{Gathered, Known};

/// Options of an import.
#[derive(Debug, Clone)]
pub struct Import {
    /// Format of the trace.
    pub trace: Trace,
    /// Trace files, compressed or not; `-` is standard input. Text files are in time order.
    pub files: Vec<PathBuf>,
    /// Output directory, new or empty.
    pub out: PathBuf,
}

/// Kind of trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trace {
    /// Lines of text, one request each.
    Lines(lines::Format),
    /// Records of blktrace(8).
    Blktrace,
}

impl Trace {
    /// Returns its name.
    pub const fn name(self) -> &'static str {
        match self {
            Trace::Lines(format) => format.name(),
            Trace::Blktrace => "blktrace",
        }
    }
}

/// Size in bytes at which a part is closed.
const PART_BYTES: u64 = 128 << 20;

/// Runs the import.
pub fn run(import: &Import, out: &mut dyn Write) -> Result<Outcome> {
    let author = CaptureWriter::create(&import.out, PART_BYTES)?.of_rows_alike();
    let known = write(import, author)?;
    let (first, last) = known.span_ns.unwrap_or_default();
    let (rows, disks) = (HumanCount(known.rows), count(known.disks.count() as u64, "disk"));
    let requests = if known.rows == 1 { "request" } else { "requests" };
    let time = humantime::format_duration(rounded(last.abs_diff(first)));
    let mut text = format!("{rows} {requests} of {disks} in {time}: {}\n", one_line(&import.out.display().to_string()));
    known.remarks.iter().for_each(|remark| text.push_str(&format!("{}\n", one_line(remark))));
    print(out, &text)?;
    Ok(if known.incomplete || known.is_cut_off { Outcome::Incomplete } else { Outcome::Complete })
}

/// Rounds to seconds; short times are rounded to a smaller unit.
fn rounded(ns: u64) -> Duration {
    let units = [1_000_000_000u64, 1_000_000, 1_000];
    let unit = units.into_iter().find(|unit| ns >= 10 * unit).unwrap_or(1);
    Duration::from_nanos(ns / unit * unit)
}

fn write(import: &Import, mut author: CaptureWriter) -> Result<Known> {
    let mut gathered = Gathered::new(author.table(), (author.id().clone(), import.trace.name()));
    let read = read(import, &author, &mut gathered);
    let (block, known) = gathered.into_parts();
    read?;
    let parts = block.finish()?;
    let Some((first_ns, last_ns)) = known.span_ns else {
        bail!("the trace files have no requests, expected at least one")
    };
    author.add(parts)?;
    let mut clock: Rows<ClockTable> = author.table();
    for ts_ns in [first_ns, last_ns] {
        clock.push(ClockRow { ts_ns, wall_ns: ts_ns, boot_ns: ts_ns.saturating_sub(first_ns) })?;
    }
    author.add(clock.finish()?)?;
    author.finish(&manifest::of(import, &known, (first_ns, last_ns)))?;
    Ok(known)
}

fn read(import: &Import, author: &CaptureWriter, gathered: &mut Gathered) -> Result<()> {
    let Trace::Lines(format) = import.trace else {
        return blktrace::read(&import.files, author.directory(), gathered);
    };
    if !format.tells_durations() {
        gathered.known.without.push(WITHOUT_DURATIONS);
        gathered.known.remarks.push("the trace has no durations".to_owned());
    }
    let mut begun = Begun::default();
    for file in &import.files {
        lines::read(format, file, &mut begun, gathered).with_context(|| not_a_trace(file))?;
    }
    Ok(())
}

/// Returns the message about a truncated file.
fn cut_off(file: &Path, what: &str) -> String {
    format!("{}: truncated: {what}; everything complete before that was imported", file.display())
}

fn not_a_trace(file: &Path) -> String {
    format!("{}: cannot be imported", file.display())
}
