//! `report.html`: a self-contained report on one page, without scripts or network access.

pub mod axis;
pub mod chart;
pub mod figures;
pub mod listing;
pub mod read;

use anyhow::{Context, Result};
use iostrata_capture::plain;
use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, escape_formatter};
use serde::Serialize;

use crate::analyses::quality::{self, Verdict};
use crate::analyses::{Analysis, Results};
use crate::format::Format;
use crate::output::one_line;
use figures::Figure;
use listing::Listed;

/// File name of the page.
pub const FILE_NAME: &str = "report.html";

const TEMPLATE: &str = include_str!("page/report.html");

/// Data of the page template.
#[derive(Serialize)]
struct Page {
    title: String,
    tool: &'static str,
    captures: Vec<Source>,
    /// Filters of the analysis, in words.
    only: Option<String>,
    verdict: &'static str,
    /// Data-quality checks with a verdict other than good.
    found: Vec<Found>,
    /// Notes on the result, one line each.
    notes: Vec<String>,
    figures: Vec<Figure>,
    listings: Vec<Listed>,
    files: Vec<File>,
}

/// A capture.
#[derive(Serialize)]
struct Source {
    id: String,
    host: String,
    kernel: String,
    from: String,
    to: String,
    command: String,
}

#[derive(Serialize)]
struct Found {
    check: &'static str,
    verdict: &'static str,
    found: String,
}

#[derive(Serialize)]
struct File {
    name: String,
    doc: String,
}

/// Renders the report page of `analysis`, whose tables are stored in files of `format`. `only` describes the filters in words; `notes` are the lines
/// printed below the summary.
///
/// # Errors
/// Returns an error if a chart, a table or the template cannot be rendered.
pub fn html(
    analysis: &Analysis,
    results: &Results,
    (only, notes): (Option<String>, Vec<String>),
    format: Format,
) -> Result<Vec<u8>> {
    let Results { captures, known, finished, trust, .. } = results;
    let (parts, tables) = ((analysis.parts)(), analysis.all_tables());
    let mut figures = Vec::new();
    for part in &parts {
        figures.extend((part.charts)(results)?);
    }
    let checks = quality::rows(captures, known, finished, trust);
    let source = |capture: &iostrata_capture::Capture| {
        let manifest = &capture.manifest;
        Source {
            id: one_line(&manifest.capture_id),
            host: one_line(&manifest.host.hostname),
            kernel: one_line(&manifest.host.kernel),
            from: one_line(&manifest.started_at),
            to: manifest.stopped_at.as_deref().map_or_else(|| "unknown".to_owned(), one_line),
            command: one_line(&manifest.command_line.join(" ")),
        }
    };
    let hosts: Vec<String> = captures.iter().map(|capture| one_line(&capture.manifest.host.hostname)).collect();
    let found = checks.iter().filter(|check| check.verdict != Verdict::Good);
    let page = Page {
        title: format!("I/O report: {}", distinct(hosts).join(", ")),
        tool: concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")),
        captures: captures.iter().map(source).collect(),
        only,
        verdict: quality::worst(&checks).name(),
        found: found
            .map(|check| Found { check: check.check, verdict: check.verdict.name(), found: one_line(&check.found) })
            .collect(),
        notes: notes.iter().map(|note| one_line(note)).collect(),
        figures: figures.into_iter().map(|figure| figure.of_file_in(format)).collect(),
        listings: listing::all(&parts, results, format)?,
        files: tables
            .iter()
            .map(|table| File { name: table.file_in(format), doc: first_sentence(table.doc) })
            .collect(),
    };
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    // A bidirectional control character in a name would also reorder the text after the name.
    environment.set_formatter(|out, state, value| match value.as_str() {
        Some(text) if !value.is_safe() => escape_formatter(out, state, &plain::lines(text).as_ref().into()),
        _ => escape_formatter(out, state, value),
    });
    let mut syntax = SyntaxConfig::builder();
    syntax.trim_blocks(true).lstrip_blocks(true);
    environment.set_syntax(syntax.build().context("the page's syntax")?);
    environment.add_template(FILE_NAME, TEMPLATE).context("the page's template")?;
    let template = environment.get_template(FILE_NAME).context("the page's template")?;
    let html = template.render(minijinja::value::Serde(page)).context("the page")?;
    Ok(html.into_bytes())
}

/// Removes duplicates; keeps the order of first occurrence.
fn distinct(names: Vec<String>) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    names.into_iter().for_each(|name| {
        if !seen.contains(&name) {
            seen.push(name)
        }
    });
    seen
}

/// Returns the first sentence of a Markdown text, without backticks.
fn first_sentence(doc: &str) -> String {
    let end = doc.find(". ").map_or(doc.len(), |end| end + 1);
    doc[..end].replace('`', "")
}
