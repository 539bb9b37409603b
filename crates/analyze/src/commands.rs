//! Commands of the program, from options to output.

use std::io::Write;

use anyhow::{Result, bail};
use iostrata_capture::exit::Usage;
use polars::prelude::PolarsResult;

use crate::aggregate::count::Counts;
use crate::analysis::{self, analyzed};
use crate::format::File;
use crate::frame::frame;
use crate::levels::Choice;
use crate::options::{Analysis, Analyze, Command};
use crate::output::{Directory, count, one_line, print};
use crate::store::{Partials, Used};
use crate::tables::{Results, Table, latency, loss as lost, quality, summary};
use crate::terminal::{self, Shown};
use crate::{about, compare, import, notes, page, recover, redact, schema, trace};

/// Outcome of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The result is complete.
    Complete,
    /// The result lacks something that the recorder saw.
    Incomplete,
}

/// Runs `command`; results go to `out`, warnings to `err`.
pub fn run(command: &Command, out: &mut dyn Write, err: &mut dyn Write) -> Result<Outcome> {
    match command {
        Command::Analyze(options) => analyze(options, out, err),
        Command::Compare(options) => compare::run(options, out, err),
        Command::Partial(options) => partial(options, out, err),
        Command::Import(import) => import::run(import, out),
        Command::Recover(captures) => recover::run(captures, out, err),
        Command::Redact(redact) => redact::run(redact, out),
        Command::Schema => {
            print(out, &format!("{}\n{}", schema::captures(), schema::results())).map(|()| Outcome::Complete)
        }
    }
}

/// Writes the partial results of a share of the work.
fn partial(options: &Analyze, out: &mut dyn Write, err: &mut dyn Write) -> Result<Outcome> {
    let Partials::To { share: (share, shares), file, .. } = &options.partials else {
        bail!("partial: no output file given, expected --to FILE");
    };
    if matches!(options.analysis, Analysis::Trace(_) | Analysis::Compare) {
        bail!("partial: {} cannot be merged, expected another analysis", options.analysis.name());
    }
    if options.out.is_some() {
        bail!(Usage("partial: --out does not apply to a share, expected it with `merge`".to_owned()));
    }
    let (Used { made, open, .. }, rows_there) = analysis::share(options, err)?;
    for line in &rows_there {
        print(err, &format!("{}\n", one_line(&format!("warning: {line}"))))?;
    }
    let (units, file) = (count(made - open.min(made), "partial"), one_line(&file.display().to_string()));
    let mut text = format!("Wrote {file}: {units}, share {share} of {shares}.\n");
    if open > 0 {
        text.push_str(&format!("{} not kept: {UNFINISHED}.\n", count(open, "more partial")));
    }
    print(out, &text)?;
    Ok(if rows_there.is_empty() { Outcome::Complete } else { Outcome::Incomplete })
}

fn analyze(options: &Analyze, out: &mut dyn Write, err: &mut dyn Write) -> Result<Outcome> {
    if matches!(options.analysis, Analysis::Report | Analysis::Trace(_)) && options.out.is_none() {
        bail!(Usage(format!("{}: no output directory given, expected --out DIR", options.analysis.name())));
    }
    let (text, is_complete) = analyzed(options, err, |results, choice, directory, used| {
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
        text.extend(used.map(|used| format!("\n{}\n", from_files(used))));
        Ok((text, results.trust.complete))
    })?;
    print(out, &text)?;
    Ok(if is_complete { Outcome::Complete } else { Outcome::Incomplete })
}

/// Describes how many partial results came from files.
fn from_files(Used { found, made, open }: Used) -> String {
    let all = found.saturating_add(made);
    let text = match (found, made) {
        (_, 0) => "All partial results were reused; no events were read.".to_owned(),
        (0, _) if open == made => return format!("No partial result can be kept: {UNFINISHED}; all events were read."),
        (0, _) => "No partial result was reused; all events were read.".to_owned(),
        _ => format!("{found} of {all} partial results were reused; the events of the others were read."),
    };
    match open {
        0 => text,
        1 => format!("{text} 1 partial result cannot be kept: {UNFINISHED}."),
        _ => format!("{text} {open} partial results cannot be kept: {UNFINISHED}."),
    }
}

/// Reason why a partial result is not kept.
const UNFINISHED: &str =
    "the capture is not finished, and its results may change (`iostrata-analyze recover` repairs an interrupted one)";

/// Builds the table for the terminal.
fn shown(analysis: Analysis, results: &Results) -> PolarsResult<Shown> {
    match analysis {
        Analysis::Summary | Analysis::Report | Analysis::Compare => of_systems(results, |places| {
            let rows: Vec<_> = summary::of_systems(&results.finished, &results.trust, places).collect();
            terminal::summary::table(&frame(&summary::columns(results.trust.lost_io), &rows)?)
        }),
        Analysis::Amplification => terminal::amplification::table(&Table::Amplification.frame(results)?),
        Analysis::Latency => of_systems(results, |places| {
            let rows: Vec<_> = latency::of_systems(&results.finished, &results.trust, places).collect();
            terminal::latency::table(&frame(&latency::columns(), &rows)?)
        }),
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
            let worst = quality::worst(&quality::rows(captures, known, finished, trust));
            terminal::quality::table(&Table::Quality.frame(results)?, worst)
        }
        Analysis::Top(by, most) => terminal::top::table(&Table::Top(by, most).frame(results)?),
        Analysis::Trace(_) => {
            let operations = results.finished.spans.rows.len() as u64;
            let what = if operations == 1 { "operation" } else { "operations" };
            Ok(Shown { text: format!("{} {what}\n", indicatif::HumanCount(operations)), is_marked: false })
        }
        Analysis::Timeline => terminal::timeline::table(&Table::Timeline.frame(results)?, results.captures),
    }
}

/// Maximum number of systems on the terminal.
const MOST_SYSTEMS: usize = 1_000;

/// Builds the table of the systems at these positions: all of them, or those with the most operations if there are more than the maximum.
fn of_systems(results: &Results, table: impl FnOnce(Vec<usize>) -> PolarsResult<Shown>) -> PolarsResult<Shown> {
    let systems = &results.finished.systems;
    let places = systems.busiest(MOST_SYSTEMS);
    let left_out = systems.len() - places.len();
    let mut shown = table(places)?;
    if left_out > 0 {
        shown
            .text
            .push_str(&format!("\n{left_out} systems with fewer operations are not shown; --out writes all rows\n"));
    }
    Ok(shown)
}

/// Returns the lines below the table.
fn lines(options: &Analyze, choice: &Choice, results: &Results, shown: &Shown) -> PolarsResult<Vec<String>> {
    let Results { captures, known, finished, trust, .. } = results;
    let mut lines: Vec<String> = options.selection.words().map(|words| format!("only: {words}")).into_iter().collect();
    lines.extend(trust.notes.iter().cloned());
    let episodes = lost::rows(captures, &known.losses, finished, trust);
    lines.extend(lost::notes(captures, &known.losses, &episodes));
    let bounds = (options.analysis != Analysis::Sizes).then(|| Table::of(options.analysis)[0].file_in(options.format));
    lines.extend(shown.legend(bounds.as_deref(), trust.sampled));
    let is_summary = matches!(options.analysis, Analysis::Summary | Analysis::Report);
    if is_summary && !trust.is_partial && (!trust.complete || finished.doubtful != Counts::default()) {
        let total: Vec<_> = summary::of_systems(finished, trust, []).collect();
        let bounds = terminal::summary::bounds(&frame(&summary::columns(trust.lost_io), &total)?)?;
        lines.extend(bounds.map(|bounds| format!("bounds of the total with missing events: {bounds}")));
    }
    lines.extend(notes::of(captures, choice, finished, trust));
    Ok(lines)
}

/// Writes the tables of the analysis, and for a report a page with these `notes`. Returns the text that names the files.
fn write(directory: &Directory, options: &Analyze, results: &Results, notes: Vec<String>) -> Result<String> {
    let tables = Table::of(options.analysis);
    let mut files = directory.files();
    // One after the other, so that memory has only one of them at a time.
    if options.analysis == Analysis::Report {
        files
            .add(page::FILE_NAME, &page::html(&tables, results, (options.selection.words(), notes), options.format)?)?;
    }
    if let Analysis::Trace(most) = options.analysis {
        files.add_with(trace::FILE_NAME, |to| trace::json(results, most, options.memory, to))?;
    }
    for table in &tables {
        files.add_with(&table.file_in(options.format), |to| {
            let mut file = File::new(options.format, to);
            table.frames(results, &mut |mut frame| {
                options.memory.check()?;
                file.add(&mut frame)
            })?;
            file.finish()
        })?;
    }
    let paths: Vec<String> =
        files.names().iter().map(|name| one_line(&directory.path(name).display().to_string())).collect();
    let about = about::json(directory, files.names(), options, results)?;
    files.add(about::FILE_NAME, &about)?;
    files.finish()?;
    let mut text = match paths.as_slice() {
        [first @ .., last] if !first.is_empty() => format!("\nWrote {} and {last}.\n", first.join(", ")),
        _ => format!("\nWrote {}.\n", paths.join("")),
    };
    if tables.contains(&Table::Latency) {
        let percentiles = latency::note(latency::rows(&results.finished, &results.trust));
        text.extend(percentiles.map(|note| format!("{note}\n")));
    }
    Ok(text)
}
