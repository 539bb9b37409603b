//! The screen: facts, the table of the view, the latencies of the selected row, keys.

use chrono::{DateTime, Utc};
use clap::ValueEnum;
use iostrata_capture::plain;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Clear, Paragraph, Row as TableRow, Table, TableState};

use super::columns::{latency, table};
use super::rows::{By, Interval, Row};
use super::state::State;
use crate::groups::block_activity::Sums;
use crate::groups::block_latency::bounds_us;
use crate::live_tool::bar;

/// Maximum number of lines of a histogram, with its head.
const HISTOGRAM_LINES: u16 = 13;

/// Smallest height with a histogram.
const TALL: u16 = 20;

/// Help.
const HELP: [&str; 14] = [
    "1-5, Tab      view: disk, system, process, cgroup, file",
    "s, S          sort by the next or previous column",
    "r             reverse the order",
    "up, down      select a row; its latencies are below",
    "/             show names that contain a text",
    "d             show requests of one disk",
    "p             show requests of one process",
    "Esc           show all requests again",
    "Space         pause",
    "q, Ctrl-C     quit",
    "",
    "Latencies are from queueing to completion (Q2C). QD is the average number of",
    "requests in flight, INFL that of the moment, %UTIL the kernel's busy time,",
    "which it samples. Any key ends this help.",
];

/// What is drawn.
pub struct Shown<'a> {
    /// Interval.
    pub interval: &'a Interval,
    /// End of the interval.
    pub until: DateTime<Utc>,
    /// Rows of the view.
    pub rows: &'a [Row],
    /// State.
    pub state: &'a State,
    /// Notes about requests that are missing.
    pub note: Option<&'a str>,
}

fn bold() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

/// Draws the screen.
pub fn draw(frame: &mut Frame, shown: &Shown) {
    let area = frame.area();
    let place = shown.state.place(shown.rows);
    let selected = shown.rows.get(place);
    let histogram = if area.height >= TALL { HISTOGRAM_LINES } else { 0 };
    let [title, facts, middle, below, keys] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(3),
        Constraint::Length(histogram),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(title_line(shown, title.width), title);
    frame.render_widget(facts_line(shown), facts);
    draw_table(frame, shown, place, middle);
    if let Some(row) = selected.filter(|_| histogram > 0) {
        frame.render_widget(Paragraph::new(latencies(row, below)), below);
    }
    frame.render_widget(keys_line(shown.state), keys);
    if shown.state.shows_help {
        draw_help(frame, area);
    }
}

fn title_line(shown: &Shown, width: u16) -> Line<'static> {
    let mut spans = vec![Span::styled("iostrata top ", bold().fg(Color::Cyan))];
    for &by in By::value_variants() {
        let is_shown = by == shown.state.by;
        let style = if is_shown { bold().add_modifier(Modifier::REVERSED) } else { Style::new() };
        spans.push(Span::styled(format!(" {} ", by.name()), style));
    }
    let left: usize = spans.iter().map(Span::width).sum();
    let time = shown.until.format("%H:%M:%S UTC");
    let right = format!("{time}{}", if shown.state.is_paused { " PAUSED" } else { "" });
    let gap = usize::from(width).saturating_sub(left + right.len());
    spans.push(Span::raw(format!("{:gap$}{right}", "")));
    Line::from(spans)
}

fn facts_line(shown: &Shown) -> Line<'static> {
    let mut all = Sums::default();
    let mut moved = [0u64; 2];
    for row in shown.rows {
        all.merge(&row.all);
        moved[0] += row.reads.bytes;
        moved[1] += row.writes.bytes;
    }
    let seconds = shown.interval.seconds;
    let rate = |count: u64| count as f64 / seconds;
    let mut text = format!(
        "{:.0} IOPS  read {:.1} MB/s  write {:.1} MB/s  p99 {}  {:.1} s",
        rate(all.requests),
        rate(moved[0]) / 1e6,
        rate(moved[1]) / 1e6,
        latency(all.percentile_ns(0.99)),
        seconds
    );
    let only = &shown.state.only;
    let filters = [
        (!only.name.is_empty()).then(|| format!("name ~ {}", only.name)),
        (!only.disk.is_empty()).then(|| format!("disk = {}", only.disk)),
        only.pid.map(|pid| format!("pid = {pid}")),
    ];
    for filter in filters.into_iter().flatten() {
        text.push_str("  ");
        text.push_str(&plain::visible(&filter));
    }
    let mut spans = vec![Span::raw(text)];
    if let Some(note) = shown.note {
        spans.push(Span::styled(format!("  {note}"), bold().fg(Color::Yellow)));
    }
    Line::from(spans)
}

fn draw_table(frame: &mut Frame, shown: &Shown, place: usize, area: Rect) {
    let laid = table(shown.interval, shown.state.by, shown.state.sort, shown.rows, usize::from(area.width));
    let head = laid.heads.iter().map(|(text, _, is_sorted)| {
        let style = if *is_sorted { bold().add_modifier(Modifier::UNDERLINED) } else { bold() };
        Cell::new(text.clone()).style(style)
    });
    let widths: Vec<Constraint> =
        laid.heads.iter().map(|(_, width, _)| Constraint::Length(u16::try_from(*width).unwrap_or(u16::MAX))).collect();
    let rows = laid.rows.into_iter().map(TableRow::new);
    let widget = Table::new(rows, widths)
        .header(TableRow::new(head))
        .column_spacing(1)
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut state = TableState::new().with_selected((!shown.rows.is_empty()).then_some(place));
    frame.render_stateful_widget(widget, area, &mut state);
}

/// Histogram of a row, at most as high and wide as the area.
fn latencies(row: &Row, area: Rect) -> Vec<Line<'static>> {
    let buckets = row.all.log2_buckets();
    let name = plain::visible(&row.name).into_owned();
    let mut lines = vec![Line::styled(format!("latency of {name}, {} requests", row.all.requests), bold())];
    let first = buckets.iter().position(|count| *count > 0).unwrap_or(0);
    let first = first.max(buckets.len().saturating_sub(usize::from(area.height).saturating_sub(1)));
    let most = buckets.iter().copied().max().unwrap_or(0);
    let room = u64::from(area.width.saturating_sub(42));
    for (slot, count) in buckets.iter().enumerate().skip(first) {
        let (low, high) = bounds_us(u8::try_from(slot).unwrap_or(u8::MAX));
        lines.push(Line::raw(format!("{low:>11} -> {high:<11} µs {count:>9} |{}", bar(*count, most, room))));
    }
    lines
}

fn keys_line(state: &State) -> Line<'static> {
    match &state.prompt {
        Some((prompt, text)) => Line::from(vec![
            Span::styled(format!("{}: ", prompt.label()), bold()),
            Span::raw(plain::visible(text).into_owned()),
            Span::styled(" ", Style::new().add_modifier(Modifier::REVERSED)),
        ]),
        None => Line::raw(format!(
            "Tab view  s sort: {}{}  / name  d disk  p pid  Space pause  ? help  q quit",
            state.sort.name(),
            if state.is_reversed { " reversed" } else { "" }
        )),
    }
}

fn draw_help(frame: &mut Frame, area: Rect) {
    let width = HELP.iter().map(|line| line.len()).max().unwrap_or(0) as u16 + 2;
    let height = HELP.len() as u16 + 2;
    let place = area.centered(Constraint::Length(width.min(area.width)), Constraint::Length(height.min(area.height)));
    frame.render_widget(Clear, place);
    let lines: Vec<Line> = HELP.iter().map(|line| Line::raw(*line)).collect();
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(" keys ")), place);
}
