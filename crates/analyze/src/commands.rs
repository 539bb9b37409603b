//! Commands of the program, from options to output.

use std::io::{IsTerminal, Write};

use anyhow::{Result, bail};
use iostrata_capture::exit::Usage;
use polars::prelude::PolarsResult;

use crate::aggregate::count::Counts;
use crate::analyses::{REPORT, Results, latency, loss as lost, summary};
use crate::analysis::{self, analyzed};
use crate::format::{File, Format};
use crate::frame::frame;
use crate::options::{Analyze, Command};
use crate::output::{Directory, count, one_line, pass_on, print};
use crate::stacking::LevelSelection;
use crate::store::{Partials, STANDARD, Used};
use crate::terminal::Shown;
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
    let Partials::To { share: (share, shares), file, from } = &options.partials else {
        bail!("partial: no output file given, expected --to FILE");
    };
    if !options.analysis.is_mergeable {
        bail!(Usage(format!("partial: {} cannot be merged, expected another analysis", options.analysis.name)));
    }
    if options.out.is_some() || options.is_printed {
        bail!(Usage("partial: --out does not apply to a share, expected it with `merge`".to_owned()));
    }
    if file.as_os_str() == STANDARD && std::io::stdout().is_terminal() {
        bail!(Usage("partial: --to -: the standard output is a terminal, expected a pipe or a file".to_owned()));
    }
    let is_input = |input: &&std::path::PathBuf| {
        input.canonicalize().is_ok_and(|input| file.canonicalize().is_ok_and(|output| input == output))
    };
    if let Some(input) = from.iter().find(is_input) {
        bail!(Usage(format!("partial: --to {}: is also an input (--from), expected another file", input.display())));
    }
    let (Used { made, open, .. }, is_complete) = analysis::share(options, err)?;
    // The file itself may go to the standard output.
    let out: &mut dyn Write = if file.as_os_str() == STANDARD { &mut *err } else { &mut *out };
    let (units, file) = (count(made - open.min(made), "partial"), one_line(&file.display().to_string()));
    let file = if file == STANDARD { "the standard output".to_owned() } else { file };
    let mut text = format!("Wrote {file}: {units}, share {share} of {shares}.\n");
    if open > 0 {
        text.push_str(&format!("{} not kept: {UNFINISHED}.\n", count(open, "more partial")));
    }
    print(out, &text)?;
    Ok(if is_complete { Outcome::Complete } else { Outcome::Incomplete })
}

fn analyze(options: &Analyze, out: &mut dyn Write, err: &mut dyn Write) -> Result<Outcome> {
    if matches!(options.partials, Partials::From(_)) && !options.analysis.is_mergeable {
        bail!(Usage(format!("merge: {} cannot be merged, expected another analysis", options.analysis.name)));
    }
    let name = options.analysis.name;
    if options.is_printed && (options.analysis.needs_directory || options.analysis.tables.is_empty()) {
        bail!(Usage(format!("{name}: --out -: it writes files, expected a directory")));
    }
    check_printed(options)?;
    if options.analysis.needs_directory && options.out.is_none() {
        bail!(Usage(format!("{}: no output directory given, expected --out DIR", options.analysis.name)));
    }
    if options.is_printed {
        return printed(options, out, err);
    }
    let (text, is_complete) = analyzed(options, err, |results, choice, directory, used| {
        let shown = (options.analysis.show)(results)?;
        let notes = lines(options, choice, results, &shown)?;
        let mut text = shown.text;
        if !notes.is_empty() && !options.is_quiet {
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

/// Refuses a table in a binary format on a terminal.
///
/// # Errors
/// If that is requested.
pub fn check_printed(options: &Analyze) -> Result<()> {
    if options.is_printed && options.format == Format::Parquet && std::io::stdout().is_terminal() {
        let name = options.analysis.name;
        bail!(Usage(format!("{name}: --out -: the standard output is a terminal, expected a pipe for Parquet")));
    }
    Ok(())
}

/// Writes the first table of an analysis to `out`; notes go to `err`.
fn printed(options: &Analyze, out: &mut dyn Write, err: &mut dyn Write) -> Result<Outcome> {
    let (bytes, notes, is_complete) = analyzed(options, err, |results, choice, _, _| {
        let none = Shown { text: String::new(), is_marked: false };
        let notes = if options.is_quiet { Vec::new() } else { lines(options, choice, results, &none)? };
        let mut bytes = Vec::new();
        let mut file = File::new(options.format, &mut bytes);
        for table in options.analysis.tables.iter().take(1) {
            (table.rows)(results, &mut |mut frame| {
                options.memory.check()?;
                file.add(&mut frame)
            })?;
        }
        file.finish()?;
        Ok((bytes, notes, results.trust.complete))
    })?;
    pass_on(out, &bytes)?;
    for note in &notes {
        print(err, &format!("{}\n", one_line(note)))?;
    }
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

/// Returns the lines below the table.
fn lines(options: &Analyze, choice: &LevelSelection, results: &Results, shown: &Shown) -> PolarsResult<Vec<String>> {
    let Results { captures, known, finished, trust, .. } = results;
    let mut lines: Vec<String> = options.selection.words().map(|words| format!("only: {words}")).into_iter().collect();
    lines.extend(trust.notes.iter().cloned());
    let episodes = lost::rows(captures, &known.losses, finished, trust);
    lines.extend(lost::notes(captures, &known.losses, &episodes));
    let tables = options.analysis.all_tables();
    let bounds = tables.first().filter(|_| options.analysis.has_bounds).map(|table| table.file_in(options.format));
    lines.extend(shown.legend(bounds.as_deref(), trust.sampled));
    let is_summary = [&summary::ANALYSIS, &REPORT].contains(&options.analysis);
    if is_summary && !trust.is_partial && (!trust.complete || finished.doubtful != Counts::default()) {
        let total: Vec<_> = summary::of_systems(finished, trust, []).collect();
        let bounds = summary::bounds(&frame(&summary::columns(trust.lost_io), &total)?)?;
        lines.extend(bounds.map(|bounds| format!("bounds of the total with missing events: {bounds}")));
    }
    lines.extend(notes::of(captures, choice, finished, trust));
    Ok(lines)
}

/// Writes the tables of the analysis, and for a report a page with these `notes`. Returns the text that names the files.
fn write(directory: &Directory, options: &Analyze, results: &Results, notes: Vec<String>) -> Result<String> {
    let tables = options.analysis.all_tables();
    let mut files = directory.files();
    // One after the other, so that memory has only one of them at a time.
    if *options.analysis == REPORT {
        files.add(
            page::FILE_NAME,
            &page::html(options.analysis, results, (options.selection.words(), notes), options.format)?,
        )?;
    }
    if *options.analysis == trace::ANALYSIS {
        files.add_with(trace::FILE_NAME, |to| trace::json(results, options.most_spans, options.memory, to))?;
    }
    for table in &tables {
        files.add_with(&table.file_in(options.format), |to| {
            let mut file = File::new(options.format, to);
            (table.rows)(results, &mut |mut frame| {
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
    if tables.contains(&&latency::TABLE) {
        let percentiles = latency::note(latency::rows(&results.finished, &results.trust));
        text.extend(percentiles.map(|note| format!("{note}\n")));
    }
    Ok(text)
}
