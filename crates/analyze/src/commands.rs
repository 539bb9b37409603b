//! What the program does: each command from options to output.

use std::collections::HashMap;
use std::io::Write;

use anyhow::{Result, bail};
use iostrata_capture::Capture;
use iostrata_capture::guard::reading;
use iostrata_capture::op::{Direction, IoClass, Layer};
use iostrata_capture::segment::{segments, unbegun};
use iostrata_capture::system::{Systems, without_owner};
use polars::prelude::{DataFrame, PolarsResult};

use crate::aggregate::Settings;
use crate::amplification::Names;
use crate::disks::{Disks, disks as disks_of};
use crate::files::Files;
use crate::levels::{self, Choice};
use crate::loss::{Losses, report as lost};
use crate::options::{Command, Summary};
use crate::output::{Directory, one_line, print};
use crate::owners::Owners;
use crate::parallel::{Work, scan_all};
use crate::partial::{Finished, Sampled};
use crate::scan::{Scan, Source};
use crate::trust::Trust;
use crate::{amplification, frame, latency, recover, schema, summary, terminal};

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// With all there is to know.
    Complete,
    /// With a result that lacks something that the recorder saw.
    Incomplete,
}

/// Runs `command`; results go to `out`, warnings to `err`.
pub fn run(command: &Command, out: &mut dyn Write, err: &mut dyn Write) -> Result<Outcome> {
    match command {
        Command::Summary(options) => summarize(options, out, err),
        Command::Recover(captures) => recover::run(captures, out, err),
        Command::Schema => print(out, &schema::markdown()).map(|()| Outcome::Complete),
    }
}

/// What is read of captures before their events, in their order.
struct Known<'a> {
    owners: Vec<Owners<'a>>,
    files: Vec<Files>,
    disks: Vec<Disks>,
    losses: Vec<Losses>,
}

/// The tables of a summary, and what to know about them.
struct Report {
    summary: DataFrame,
    total: DataFrame,
    amplification: DataFrame,
    latency: DataFrame,
    loss: DataFrame,
    /// What was lost when, a line each.
    episodes: Vec<String>,
    /// What to know of the percentiles, which are in files only.
    percentiles: Option<String>,
}

fn summarize(options: &Summary, out: &mut dyn Write, err: &mut dyn Write) -> Result<Outcome> {
    let rules = match &options.rules {
        Some(file) => Systems::with_file(file)?,
        None => Systems::built_in()?,
    };
    let captures = open(options, err)?;
    let directory = options.out.as_deref().map(Directory::create).transpose()?;
    let losses: Vec<Losses> = captures.iter().map(Losses::load).collect::<Result<_>>()?;
    let mut trust = Trust::of(&captures, &losses);
    let choice = choose(&captures, options, &trust)?;
    let known = Known {
        owners: captures.iter().map(|capture| Owners::load(capture, &rules)).collect::<Result<_>>()?,
        files: captures.iter().map(Files::load).collect::<Result<_>>()?,
        disks: disks(&captures, &choice),
        losses,
    };
    let finished = scan(&captures, &known, &choice, options, &trust)?;
    // Nothing instead of a zero.
    trust.captured[Layer::Block as usize] &= choice.is_whole();
    // Of one that was cut off only its rows say it.
    trust.sampled |= finished.sampled.rows > 0;
    let mut report = report(&captures, &known, &finished, &trust)?;

    let mut text = terminal::table(&report.summary, &report.total)?;
    let notes = notes(&captures, &choice, &finished, &trust, &report)?;
    if !notes.is_empty() {
        text.push('\n');
        notes.iter().for_each(|note| text.extend([one_line(note), "\n".to_owned()]));
    }
    if let Some(directory) = &directory {
        let files = [
            ("summary.csv", frame::csv(&mut report.summary)?),
            ("amplification.csv", frame::csv(&mut report.amplification)?),
            ("latency.csv", frame::csv(&mut report.latency)?),
            ("loss.csv", frame::csv(&mut report.loss)?),
        ];
        directory.write(&files)?;
        let [summary, amplification, latency, loss] = files.each_ref().map(|(name, _)| directory.path(name));
        let [summary, amplification, latency] = [summary.display(), amplification.display(), latency.display()];
        text.push_str(&format!("\nWrote {summary}, {amplification}, {latency} and {}.\n", loss.display()));
        text.extend(report.percentiles.iter().map(|note| format!("{note}\n")));
    }
    for warning in &trust.warnings {
        print(err, &format!("{}\n", one_line(warning)))?;
    }
    print(out, &text)?;
    Ok(if trust.complete { Outcome::Complete } else { Outcome::Incomplete })
}

fn open(options: &Summary, err: &mut dyn Write) -> Result<Vec<Capture>> {
    let mut captures: Vec<Capture> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    let mut directories = Vec::new();
    for given in &options.captures {
        if !given.is_dir() {
            bail!("{}: no such directory, expected the directory of a capture", given.display());
        }
        directories.extend(segments(given)?);
        for segment in unbegun(given)? {
            let what = "has no manifest: its recorder ended before it began to record; left out";
            print(err, &format!("{}\n", one_line(&format!("warning: {}: {what}", segment.display()))))?;
        }
    }
    for directory in &directories {
        let capture = reading(directory, || Capture::open(directory))?;
        if let Some(first) = known.insert(capture.manifest.capture_id.clone(), captures.len()) {
            let first = captures[first].directory.display();
            bail!("{}: the same capture as {first}, which would count twice", directory.display());
        }
        captures.push(capture);
    }
    Ok(captures)
}

/// The level that totals are of. Where requests were not captured there is none to choose.
fn choose(captures: &[Capture], options: &Summary, trust: &Trust) -> Result<Choice> {
    let captured = captures.iter().filter(|_| trust.captured[Layer::Block as usize]);
    Choice::of(captured.map(levels::seen).collect::<Result<_>>()?, options.level)
}

fn disks(captures: &[Capture], choice: &Choice) -> Vec<Disks> {
    let of = |(number, capture): (usize, &Capture)| disks_of(&capture.manifest, &|dev| choice.takes(number, dev));
    captures.iter().enumerate().map(of).collect()
}

fn scan(captures: &[Capture], known: &Known, choice: &Choice, options: &Summary, trust: &Trust) -> Result<Finished> {
    let settings = Settings { precision: options.precision };
    let scan = |capture: usize| {
        let (owners, files) = (&known.owners[capture], &known.files[capture]);
        let (disks, losses) = (&known.disks[capture], &known.losses[capture]);
        let removed_until_ns = captures[capture].list.removed_until_ns();
        Scan { capture, owners, files, disks, choice, losses, removed_until_ns }
    };
    let scans: Vec<Scan> = (0..captures.len()).map(scan).collect();
    let mut work = Vec::new();
    for (capture, scan) in captures.iter().zip(&scans) {
        for source in Source::ALL.iter().filter(|source| trust.captured[source.layer() as usize]) {
            let parts = source.parts(capture)?;
            work.extend(parts.into_iter().map(|part| Work { scan, source: *source, part }));
        }
    }
    let finished = scan_all(&work, settings, options.threads)?.finish(&trust.missing.map(|missing| missing.at_least));
    if finished.rows == 0 {
        bail!("{}: {}", names(captures), nothing(trust));
    }
    Ok(finished)
}

fn names(captures: &[Capture]) -> String {
    captures.iter().map(|c| c.directory.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn nothing(trust: &Trust) -> String {
    let captured = Layer::ALL.iter().filter(|layer| trust.captured[**layer as usize]);
    let captured: Vec<&str> = captured.map(|layer| layer.name()).collect();
    match captured.as_slice() {
        [] => "nothing to analyze: no layer was captured".to_owned(),
        layers => format!(
            "nothing to analyze: there is not a single row of {}; expected I/O while it was recorded",
            layers.join(", ")
        ),
    }
}

fn report(captures: &[Capture], known: &Known, finished: &Finished, trust: &Trust) -> PolarsResult<Report> {
    let names = Names::new(captures, &known.owners, &known.files, &known.disks);
    let columns = summary::columns(trust.lost_io);
    let (latencies, episodes) = (latency::rows(finished, trust), lost::rows(captures, &known.losses, finished, trust));
    Ok(Report {
        summary: frame::frame(&columns, &summary::rows(finished, trust))?,
        total: frame::frame(&columns, &[summary::total(finished, trust)])?,
        amplification: frame::frame(&amplification::columns(), &amplification::rows(finished, &names, trust))?,
        latency: frame::frame(&latency::columns(), &latencies)?,
        loss: frame::frame(&lost::columns(), &episodes)?,
        episodes: lost::notes(captures, &known.losses, &episodes),
        percentiles: latency::note(&latencies),
    })
}

/// The lines below the table.
fn notes(
    captures: &[Capture],
    choice: &Choice,
    finished: &Finished,
    trust: &Trust,
    report: &Report,
) -> PolarsResult<Vec<String>> {
    let mut notes = trust.notes.clone();
    notes.extend(report.episodes.iter().cloned());
    notes.extend(terminal::legend(&[&report.summary, &report.total], trust.sampled)?);
    if !trust.complete
        && let Some(bounds) = terminal::bounds(&report.total)?
    {
        notes.push(format!("with what is missing, the total lies within: {bounds}"));
    }
    notes.extend(choice.notes(captures, &finished.left_out));
    notes.extend(memory_note(finished, trust));
    notes.extend(writeback_note(finished, trust));
    notes.extend(sampled_note(finished));
    notes.extend(anomalies_note(finished));
    Ok(notes)
}

/// One layer's view of it: the same bytes pass the VFS again.
fn memory_note(finished: &Finished, trust: &Trust) -> Option<String> {
    let layer = *[Layer::Syscall, Layer::Vfs].iter().find(|layer| trust.captured[**layer as usize])?;
    let rows = finished.memory.ops(layer);
    let moved = |direction| finished.memory.moved(layer, direction).bytes;
    let bytes = moved(Direction::Read).saturating_add(moved(Direction::Write));
    (rows > 0).then(|| {
        let operations = if rows == 1 { "operation" } else { "operations" };
        format!("left out: {rows} {layer} {operations} ({bytes} bytes) on files in memory, which reach no device")
    })
}

fn writeback_note(finished: &Finished, trust: &Trust) -> Option<String> {
    if !trust.captured[Layer::Syscall as usize] {
        return None;
    }
    let written = |system: &crate::partial::FinishedSystem| system.counts.moved(Layer::Block, Direction::Write).bytes;
    let unowned: Vec<String> = finished
        .systems
        .iter()
        .filter(|system| IoClass::ALL.iter().any(|class| system.name == without_owner(*class)) && written(system) > 0)
        .map(|system| format!("{} {}", written(system), system.name))
        .collect();
    (!unowned.is_empty()).then(|| {
        format!(
            "bytes written to devices that no one process caused: {}; they are in W_AMP of the total row only",
            unowned.join(", ")
        )
    })
}

fn sampled_note(finished: &Finished) -> Option<String> {
    let Sampled { rows, greatest } = finished.sampled;
    (rows > 0).then(|| {
        format!(
            "sampled: {rows} of {} rows stand for up to {greatest} events each (--cpu-limit): operations, bytes, ratios and \
             percentiles are estimates",
            finished.rows
        )
    })
}

fn anomalies_note(finished: &Finished) -> Option<String> {
    let anomalies = finished.anomalies;
    (anomalies != Default::default()).then(|| {
        format!(
            "ignored: {} durations and {} byte counts below zero and {} weights, which cannot be true",
            anomalies.negative_durations, anomalies.negative_bytes, anomalies.bad_weights
        )
    })
}
