//! `iostrata hist`: latency histograms and requests in flight of each disk at an interval, counted in the kernel.
//!
//! The probe group `block_latency` counts, or `block_activity` where owners matter. A snapshot is the difference of two readings, or what came into a
//! table until it was exchanged, on the terminal and as a line of a file: no request is missed between two snapshots.

pub mod lines;
mod rotate;
pub mod snapshot;
mod source;
pub mod terminal;

use std::time::{Duration, Instant};

use anyhow::Result;
use chrono::Utc;
use clap::ValueEnum;
use crossbeam_channel::Receiver;
use iostrata_capture::message::tell;

use crate::clock;
use crate::groups::block_latency::Latency;
use crate::groups::readings::Lost;
use crate::live_tool::{self, missing};
use crate::options::Filter;
use crate::privilege;
use crate::signals::Told;
use lines::{Lines, Offered, WriterThread, Writing};
use snapshot::Snapshot;
use source::Source;

/// Key by which the requests of a disk are divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// Operation: read, write, discard, flush and others.
    Op,
    /// Process that wrote or asked for the data.
    Process,
}

/// Options of `iostrata hist`.
#[derive(Debug, Clone)]
pub struct Hist {
    /// Time between two snapshots.
    pub interval: Duration,
    /// End after this time.
    pub duration: Option<Duration>,
    /// Requests that are counted.
    pub filter: Filter,
    /// Latency that is counted.
    pub latency: Latency,
    /// Division of the requests of a disk.
    pub by: Option<By>,
    /// Output file; none if no file is written.
    pub output: Option<Writing>,
    /// Whether bounds on the terminal are in ms.
    pub in_ms: bool,
}

/// State between two snapshots.
struct View<'a> {
    options: &'a Hist,
    source: Source,
    /// Time of the last snapshot that was shown.
    since: Instant,
    /// Requests of the shown intervals that are in no histogram.
    lost: Lost,
    writer: Option<WriterThread>,
    is_extended: bool,
}

impl View<'_> {
    /// Takes a snapshot of the time since the last one that was shown.
    fn take(&mut self) -> Result<(Snapshot, Lost, Instant)> {
        let (rows, lost) = self.source.read(self.options.by)?;
        let (until, at) = (Utc::now(), Instant::now());
        let disks = self.options.filter.disks();
        let interval_s = (at - self.since).as_secs_f64();
        let interval_s = (interval_s * 1e6).round() / 1e6;
        Ok((Snapshot::of((until, interval_s), &rows, &disks, self.options.by), lost, at))
    }

    /// Shows the snapshot of an interval. Returns whether there is still a reader.
    fn step(&mut self) -> Result<bool> {
        let (snapshot, lost, at) = self.take()?;
        match self.writer.as_ref().map(|writer| writer.offer(snapshot.clone())) {
            Some(Offered::Ended) => return Ok(false),
            Some(Offered::Full) => {
                if !std::mem::replace(&mut self.is_extended, true) {
                    tell("iostrata: hist: the output is slow; an interval is extended until there is room\n");
                }
                return Ok(true);
            }
            Some(Offered::Taken) | None => {}
        }
        self.source.keep();
        self.since = at;
        self.lost.add(lost);
        self.draw(&snapshot)
    }

    /// Draws a snapshot. Returns whether there is still a reader.
    fn draw(&self, snapshot: &Snapshot) -> Result<bool> {
        let is_output = self.options.output.as_ref().is_some_and(|writing| writing.path.as_os_str() == lines::STANDARD);
        if is_output {
            return Ok(true);
        }
        live_tool::show(&terminal::draw(snapshot, self.options.in_ms))
    }
}

/// Waits until `due`. Returns whether to continue.
fn waited(told: &Receiver<Told>, due: Instant) -> bool {
    loop {
        match told.recv_deadline(due) {
            // SIGHUP: the terminal is gone.
            Ok(Told::Stop(_) | Told::Rotate) => return false,
            Ok(_) => {}
            Err(_) => return true,
        }
    }
}

/// Counts until the duration or a signal. Returns whether all requests are in a histogram.
///
/// # Errors
/// If the kernel cannot count, or the output cannot be written.
pub fn run(options: &Hist) -> Result<bool> {
    let prepared = live_tool::prepare()?;
    let mut source = Source::start(options, &prepared)?;
    let invoker = privilege::invoker();
    // As the invoking user: the kernel refuses what that user may not write, and the file belongs to that user.
    let lines =
        options.output.clone().map(|writing| privilege::acting_as(invoker, || Lines::open(writing))).transpose()?;
    privilege::give_up(invoker, None, false)?;
    let (_teller, told) = prepared.caught.listen()?;
    let writer = lines.map(WriterThread::start).transpose()?;
    source.begin()?;
    let since = Instant::now();
    let mut view = View { options, source, since, lost: Lost::default(), writer, is_extended: false };
    let end = options.duration.map(|duration| since + duration);
    let mut due = since + options.interval;
    let shown = loop {
        let next = end.map_or(due, |end| due.min(end));
        if !waited(&told, next) || end.is_some_and(|end| Instant::now() >= end) {
            break Ok(true);
        }
        match view.step() {
            Ok(true) => {}
            ended => break ended,
        }
        due = clock::next_due(due, options.interval);
    };
    // The rest of the last interval. Whatever failed, the file gets everything that was counted.
    let (last, lost, _) = view.take()?;
    view.lost.add(lost);
    let shown = shown.and_then(|has_reader| if has_reader { view.draw(&last) } else { Ok(false) });
    let missing = missing(view.lost, "histogram");
    if let Some(writer) = view.writer {
        writer.finish(last)?;
    }
    shown?;
    missing.iter().for_each(|line| tell(&format!("iostrata: hist: {line}\n")));
    Ok(missing.is_none())
}
