//! Block traces of other programs as captures that have only a block layer, so that they can be analyzed beside one's own.
//!
//! A reader ([`lines`], [`blktrace`]) makes requests of a trace ([`traced`]), which are gathered as rows ([`gathered`]); what is known
//! at the end is in the [`manifest`].

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
use iostrata_capture::author::{Author, Rows};
use iostrata_capture::manifest::WITHOUT_DURATIONS;
use iostrata_capture::tables::{ClockRow, ClockTable};

use crate::commands::Outcome;
use crate::output::{count, one_line, print};
use begun::Begun;
use gathered::{Gathered, Known};

/// What is to be made a capture of.
#[derive(Debug, Clone)]
pub struct Import {
    /// What the trace is.
    pub trace: Trace,
    /// Its files, compressed or not; `-` is standard input. Those of lines are in order of time.
    pub files: Vec<PathBuf>,
    /// Where the capture goes: a new directory, or an empty one.
    pub out: PathBuf,
}

/// What a trace is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trace {
    /// Lines of text, a request each.
    Lines(lines::Format),
    /// The records of blktrace(8).
    Blktrace,
}

impl Trace {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Trace::Lines(format) => format.name(),
            Trace::Blktrace => "blktrace",
        }
    }
}

/// A part is closed when it has so many bytes.
const PART_BYTES: u64 = 128 << 20;

/// Makes the capture.
pub fn run(import: &Import, out: &mut dyn Write) -> Result<Outcome> {
    let author = Author::create(&import.out, PART_BYTES)?.of_rows_alike();
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

/// To seconds, and what is short to a unit that it has some of.
fn rounded(ns: u64) -> Duration {
    let units = [1_000_000_000u64, 1_000_000, 1_000];
    let unit = units.into_iter().find(|unit| ns >= 10 * unit).unwrap_or(1);
    Duration::from_nanos(ns / unit * unit)
}

fn write(import: &Import, mut author: Author) -> Result<Known> {
    let mut gathered = Gathered::new(author.table(), (author.id().clone(), import.trace.name()));
    let read = read(import, &author, &mut gathered);
    let (block, known) = gathered.into_parts();
    read?;
    let parts = block.finish()?;
    let Some((first_ns, last_ns)) = known.span_ns else { bail!("there is no request in what was given") };
    author.add(parts)?;
    let mut clock: Rows<ClockTable> = author.table();
    for ts_ns in [first_ns, last_ns] {
        clock.push(ClockRow { ts_ns, wall_ns: ts_ns, boot_ns: ts_ns.saturating_sub(first_ns) })?;
    }
    author.add(clock.finish()?)?;
    author.finish(&manifest::of(import, &known, (first_ns, last_ns)))?;
    Ok(known)
}

fn read(import: &Import, author: &Author, gathered: &mut Gathered) -> Result<()> {
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

/// What is said of a file that was cut off.
fn cut_off(file: &Path, what: &str) -> String {
    format!("{}: cut off: {what}; everything complete before that was imported", file.display())
}

fn not_a_trace(file: &Path) -> String {
    format!("{}: cannot be imported", file.display())
}
