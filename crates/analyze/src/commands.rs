//! What the program does: each command from options to output.

use std::io::Write;
use std::time::Duration;

use anyhow::{Result, bail};
use iostrata_capture::Capture;
use iostrata_capture::op::Layer;
use iostrata_capture::system::Systems;
use polars::prelude::{DataFrame, PolarsResult};

use crate::aggregate::count::Counts;
use crate::aggregate::timeline::MOST_WINDOWS;
use crate::aggregate::{Ordered, Settings};
use crate::levels::Choice;
use crate::load::{Known, choose, open};
use crate::loss::Losses;
use crate::names::Names;
use crate::options::{Analysis, Analyze, Command};
use crate::output::{Directory, one_line, print};
use crate::partial::Partial;
use crate::scan::{Scan, Source};
use crate::select::Window;
use crate::tables::{Results, Table, latency, loss as lost, quality, summary};
use crate::terminal::{self, Shown};
use crate::trust::Trust;
use crate::work::{Work, scan_all};
use crate::{about, compare, frame, import, notes, page, recover, schema, trace};

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
        Command::Analyze(options) => analyze(options, out, err),
        Command::Compare(options) => compare::run(options, out, err),
        Command::Import(import) => import::run(import, out),
        Command::Recover(captures) => recover::run(captures, out, err),
        Command::Schema => {
            print(out, &format!("{}\n{}", schema::captures(), schema::results())).map(|()| Outcome::Complete)
        }
    }
}

fn analyze(options: &Analyze, out: &mut dyn Write, err: &mut dyn Write) -> Result<Outcome> {
    if matches!(options.analysis, Analysis::Report | Analysis::Trace(_)) && options.out.is_none() {
        bail!("{}: nowhere to write all of it, expected --out DIR", options.analysis.name());
    }
    let (text, is_complete) = analyzed(options, err, |results, choice, directory| {
        let shown = shown(options.analysis, results)?;
        let notes = lines(options, choice, results, &shown)?;
        let mut text = shown.text;
        if !notes.is_empty() {
            text.push('\n');
            notes.iter().for_each(|note| text.extend([one_line(note), "\n".to_owned()]));
        }
        if let Some(directory) = directory {
            text.push_str(&write(directory, options, results, notes)?);
        }
        Ok((text, results.trust.complete))
    })?;
    print(out, &text)?;
    Ok(if is_complete { Outcome::Complete } else { Outcome::Incomplete })
}

/// Does what is asked for, and hands the results to `then`, with the devices whose requests are in the totals and the directory for files. Warnings go
/// to `err`.
pub(crate) fn analyzed<T>(
    options: &Analyze,
    err: &mut dyn Write,
    then: impl FnOnce(&Results, &Choice, Option<&Directory>) -> Result<T>,
) -> Result<T> {
    let rules = match &options.rules {
        Some(file) => Systems::with_file(file)?,
        None => Systems::built_in()?,
    };
    let captures = open(options, err)?;
    let windows = options.selection.windows(&captures)?;
    let directory = options.out.as_deref().map(Directory::create).transpose()?;
    let losses: Vec<Losses> = captures.iter().map(Losses::load).collect::<Result<_>>()?;
    let mut trust = Trust::of(&captures, &losses, &windows);
    trust.is_windowed = options.selection.is_windowed();
    let choice = choose(&captures, options, &trust)?;
    trust.keep(|layer| options.selection.takes_layer(layer));
    let known = Known::load(&captures, &rules, &choice, (losses, options.needs_entities()))?;
    let names = Names::new(&captures, &known.owners, &known.files);
    let partial = scan((&captures, &windows), (&known, &names), &choice, options, &trust)?;
    // Nothing instead of a zero.
    trust.keep(|layer| layer != Layer::Block || choice.is_whole());
    // Of one that was cut off only its rows say it.
    trust.sampled |= partial.sampled.rows > 0;
    trust.doubt(&partial.doubtful);
    let finished = partial.finish(&trust.missing.map(|missing| missing.at_least));
    let results = Results { captures: &captures, known: &known, names: &names, finished, trust };
    let made = then(&results, &choice, directory.as_ref())?;
    for warning in &results.trust.warnings {
        print(err, &format!("{}\n", one_line(warning)))?;
    }
    Ok(made)
}

/// What all rows that are asked for come to.
fn scan(
    (captures, windows): (&[Capture], &[Window]),
    (known, names): (&Known, &Names),
    choice: &Choice,
    options: &Analyze,
    trust: &Trust,
) -> Result<Partial> {
    let settings = options.settings();
    let scan = |capture: usize| {
        let (owners, files) = (&known.owners[capture], &known.files[capture]);
        let (disks, losses) = (&known.disks[capture], &known.losses[capture]);
        let (window, selection, mounted) = (windows[capture], &options.selection, &known.mounted[capture]);
        Scan { capture, owners, files, disks, mounted, choice, losses, window, selection, names }
    };
    let scans: Vec<Scan> = (0..captures.len()).map(scan).collect();
    let mut work = Vec::new();
    for (capture, scan) in captures.iter().zip(&scans) {
        for source in Source::ALL.iter().filter(|source| trust.captured[source.layer() as usize]) {
            let parts = source.parts(capture)?;
            work.extend(parts.into_iter().map(|part| Work { scan, source: *source, part }));
        }
    }
    let room = (options.memory.threads(options.threads), options.memory);
    let mut partial = scan_all(&work, settings, room, "reading")?;
    if let Some(footprint) = &partial.footprint {
        // How far back blocks were touched is asked of those alone that there is room for, which is known by now.
        let ordered = Ordered { reuse: Some(footprint.halved()), ..Ordered::default() };
        let again = Settings { ordered, stretch_rows: settings.stretch_rows, ..Settings::new(options.precision) };
        partial.reuse = scan_all(&work, again, room, "reading again: reuse of blocks")?.sequences;
    }
    if options.crosses() {
        let ordered = Ordered { crossing: true, ..Ordered::default() };
        let again = Settings { ordered, stretch_rows: settings.stretch_rows, ..Settings::new(options.precision) };
        partial.crossing = scan_all(&work, again, room, "reading again: what calls wait for")?.sequences;
    }
    if partial.rows == 0 || !partial.selected {
        bail!("{}", notes::nothing(captures, options, trust, &partial.doubtful));
    }
    if let (Some(window), Some(timeline)) = (options.window, &partial.timeline)
        && Some(timeline.width_ns()) > settings.window_ns
    {
        let (window, most) = (humantime::format_duration(window), MOST_WINDOWS);
        let enough = humantime::format_duration(Duration::from_nanos(timeline.width_ns().unsigned_abs()));
        bail!(
            "--window {window}: there would be more than {most} windows, expected at least {enough} or a shorter time (--since, --until)"
        );
    }
    Ok(partial)
}

/// The result for people.
fn shown(analysis: Analysis, results: &Results) -> PolarsResult<Shown> {
    match analysis {
        Analysis::Summary | Analysis::Report | Analysis::Compare => {
            terminal::summary::table(&Table::Summary.frame(results)?, &total(results)?)
        }
        Analysis::Amplification => terminal::amplification::table(&Table::Amplification.frame(results)?),
        Analysis::Latency => terminal::latency::table(&Table::Latency.frame(results)?),
        Analysis::Sizes => terminal::sizes::table(&Table::Sizes.frame(results)?),
        Analysis::Heatmap => Ok(terminal::heatmap::table(&results.finished.heatmap, results.captures, &results.trust)),
        Analysis::Footprint => terminal::footprint::table(&Table::Footprint.frame(results)?),
        Analysis::Pattern => terminal::pattern::table(&Table::Pattern.frame(results)?),
        Analysis::Arrivals => terminal::arrivals::table(&Table::Arrivals.frame(results)?),
        Analysis::Queue => terminal::queue::table(&Table::Queue.frame(results)?),
        Analysis::Path => terminal::path::table(&Table::Path.frame(results)?),
        Analysis::Sync => terminal::sync::table(&Table::Sync.frame(results)?),
        Analysis::Cache => terminal::cache::table(&Table::Cache.frame(results)?),
        Analysis::Quality => {
            let Results { captures, known, finished, trust, .. } = results;
            let worst = quality::worst(&quality::rows(captures, &known.losses, finished, trust));
            terminal::quality::table(&Table::Quality.frame(results)?, worst)
        }
        Analysis::Top(by, most) => terminal::top::table(&Table::Top(by, most).frame(results)?),
        Analysis::Trace(_) => {
            let count = indicatif::HumanCount(results.finished.spans.rows.len() as u64);
            Ok(Shown { text: format!("{count} operations\n"), is_marked: false })
        }
        Analysis::Timeline => terminal::timeline::table(&Table::Timeline.frame(results)?, results.captures),
    }
}

fn total(results: &Results) -> PolarsResult<DataFrame> {
    let Results { finished, trust, .. } = results;
    frame::frame(&summary::columns(trust.lost_io), &[summary::total(finished, trust)])
}

/// The lines below the table.
fn lines(options: &Analyze, choice: &Choice, results: &Results, shown: &Shown) -> PolarsResult<Vec<String>> {
    let Results { captures, known, finished, trust, .. } = results;
    let mut lines: Vec<String> = options.selection.words().map(|words| format!("only: {words}")).into_iter().collect();
    lines.extend(trust.notes.iter().cloned());
    let episodes = lost::rows(captures, &known.losses, finished, trust);
    lines.extend(lost::notes(captures, &known.losses, &episodes));
    let bounds = (options.analysis != Analysis::Sizes).then(|| Table::of(options.analysis)[0].file_in(options.format));
    lines.extend(shown.legend(bounds.as_deref(), trust.sampled));
    let is_summary = matches!(options.analysis, Analysis::Summary | Analysis::Report);
    if is_summary && (!trust.complete || finished.doubtful != Counts::default()) {
        let bounds = terminal::summary::bounds(&total(results)?)?;
        lines.extend(bounds.map(|bounds| format!("with what is missing, the total lies within: {bounds}")));
    }
    lines.extend(notes::of(captures, choice, finished, trust));
    Ok(lines)
}

/// Writes the tables that are asked for, a report with a page on which these `notes` are too, and says so.
fn write(directory: &Directory, options: &Analyze, results: &Results, notes: Vec<String>) -> Result<String> {
    let tables = Table::of(options.analysis);
    let frame = |table: &Table| Ok((*table, table.frame(results)?));
    let mut frames = tables.iter().map(frame).collect::<Result<Vec<(Table, DataFrame)>>>()?;
    let mut files = Vec::new();
    if options.analysis == Analysis::Report {
        let html = page::html(&frames, results, (options.selection.words(), notes), options.format)?;
        files.push((page::FILE_NAME.to_owned(), html));
    }
    if let Analysis::Trace(most) = options.analysis {
        files.push((trace::FILE_NAME.to_owned(), trace::json(results, most)?));
    }
    for (table, frame) in &mut frames {
        files.push((table.file_in(options.format), options.format.bytes(frame)?));
    }
    let names: Vec<String> = files.iter().map(|(name, _)| name.clone()).collect();
    let paths: Vec<String> = names.iter().map(|name| directory.path(name).display().to_string()).collect();
    files.push((about::FILE_NAME.to_owned(), about::json(directory, &names, options, results)?));
    directory.write(&files)?;
    let mut text = match paths.as_slice() {
        [first @ .., last] if !first.is_empty() => format!("\nWrote {} and {last}.\n", first.join(", ")),
        _ => format!("\nWrote {}.\n", paths.join("")),
    };
    if tables.contains(&Table::Latency) {
        let percentiles = latency::note(&latency::rows(&results.finished, &results.trust));
        text.extend(percentiles.map(|note| format!("{note}\n")));
    }
    Ok(text)
}
