//! `iostrata top`: disks, systems, processes, cgroups or files by their requests, live, counted in the kernel.
//!
//! The probe group `block_activity` counts. At each interval its table is exchanged, so no request is missed or counted twice.

mod batch;
mod columns;
mod csv;
mod names;
pub mod rows;
mod screen;
mod state;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use crossbeam_channel::{Receiver, never, select, unbounded};
use iostrata_capture::message::tell;
use iostrata_capture::system::Systems;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};

use crate::clock;
use crate::groups::block_activity::{Activity, Counted, Detail, Owner};
use crate::groups::block_latency::Latency;
use crate::groups::readings::Lost;
use crate::live_tool::{self, missing};
use crate::options::Filter;
use crate::privilege;
use crate::signals::Told;
use csv::Csv;
use names::Names;
use rows::{Busy, By, Interval, Row, Sort, disk_states};
use screen::Shown;
use state::{Effect, State};

/// Width of printed tables.
const BATCH_WIDTH: usize = 80;

/// Options of `iostrata top`.
pub struct Top {
    /// Time between two updates.
    pub interval: Duration,
    /// End after this time.
    pub duration: Option<Duration>,
    /// Requests that are counted.
    pub filter: Filter,
    /// First view.
    pub by: By,
    /// First order.
    pub sort: Sort,
    /// Rules that map processes to systems.
    pub systems: Systems,
    /// Whether tables are printed instead of a screen.
    pub is_batch: bool,
    /// CSV file to append to.
    pub csv: Option<PathBuf>,
    /// Maximum number of rows of a printed table or an interval of the CSV file; none for all.
    pub most_rows: Option<usize>,
}

/// What is shown last.
struct Current {
    interval: Interval,
    until: DateTime<Utc>,
    rows: Vec<Row>,
}

/// Running view.
struct View<'a> {
    options: &'a Top,
    activity: Activity,
    names: Names,
    busy: Busy,
    since: Instant,
    state: State,
    /// What is told apart now.
    detail: Detail,
    current: Option<Current>,
    terminal: Option<DefaultTerminal>,
    csv: Option<Csv>,
    lost: Lost,
    /// Requests without their owner, because the table had no room.
    without_owner: u64,
}

impl View<'_> {
    /// Takes the interval since the last one, and shows it. Returns whether there is still a reader.
    fn step(&mut self) -> Result<bool> {
        let taken = self.activity.take()?;
        let (at, until) = (Instant::now(), Utc::now());
        let seconds = (at - self.since).as_secs_f64().max(1e-6);
        self.since = at;
        self.lost.add(taken.lost);
        let left_out = taken.sums.iter().filter(|(key, _)| key.owner == Owner::LeftOut);
        self.without_owner += left_out.map(|(_, sums)| sums.requests).sum::<u64>();
        let (disks, busy) = disk_states(self.options.filter.disks(), &self.busy, seconds);
        self.busy = busy;
        self.names.refresh();
        let interval = Interval { seconds, taken, disks, detail: self.detail };
        let rows = rows_of(&interval, &self.state, &self.activity, &mut self.names);
        if let Some(csv) = &mut self.csv {
            csv.add(until, &interval, self.state.by, first(&rows, self.options.most_rows))?;
        }
        if self.state.is_paused {
            return Ok(true);
        }
        self.current = Some(Current { interval, until, rows });
        self.show()
    }

    /// Finds the rows of the current interval in the current state, and shows them. Returns whether there is still a reader.
    fn show_anew(&mut self) -> Result<bool> {
        if let Some(current) = &mut self.current {
            current.rows = rows_of(&current.interval, &self.state, &self.activity, &mut self.names);
        }
        self.show()
    }

    /// Shows the current rows. Returns whether there is still a reader.
    fn show(&mut self) -> Result<bool> {
        let Some(Current { interval, until, rows }) = &self.current else { return Ok(true) };
        let Some(terminal) = &mut self.terminal else {
            if self.options.is_batch {
                let rows = first(rows, self.options.most_rows);
                return live_tool::show(&batch::text(
                    *until,
                    interval,
                    (self.state.by, self.state.sort),
                    rows,
                    BATCH_WIDTH,
                ));
            }
            return Ok(true);
        };
        let is_early = interval.detail < self.state.detail();
        let note = if is_early { Some(EARLY.to_owned()) } else { note(self.lost, self.without_owner) };
        let shown = Shown { interval, until: *until, rows, state: &self.state, note: note.as_deref() };
        terminal.draw(|frame| screen::draw(frame, &shown)).context("cannot draw on the terminal")?;
        Ok(true)
    }

    /// Has the kernel side tell apart what the state needs, and no more. An interval ends where it tells more apart: it is of the state `before`.
    fn follow(&mut self, before: State) -> Result<()> {
        let wanted = self.state.detail();
        if wanted > self.detail {
            let state = std::mem::replace(&mut self.state, before);
            self.step()?;
            self.state = state;
        }
        if wanted != self.detail {
            self.activity.set_detail(wanted)?;
            self.detail = wanted;
        }
        Ok(())
    }

    /// Applies an event of the terminal. Returns whether to continue.
    fn event(&mut self, event: &Event) -> Result<bool> {
        let rows = self.current.as_ref().map_or(&[][..], |current| &current.rows);
        let before = self.state.clone();
        let effect = match event {
            Event::Key(key) if key.is_press() => self.state.key(*key, rows),
            Event::Resize(..) => Effect::Redraw,
            _ => Effect::Nothing,
        };
        match effect {
            Effect::Quit => Ok(false),
            Effect::Redraw => {
                self.follow(before)?;
                self.show_anew()
            }
            Effect::Nothing => Ok(true),
        }
    }
}

/// Note on a view whose rows were not told apart in the last interval.
const EARLY: &str = "from the next update on";

fn rows_of(interval: &Interval, state: &State, activity: &Activity, names: &mut Names) -> Vec<Row> {
    if interval.detail < state.detail() {
        return Vec::new();
    }
    interval.rows((state.by, state.sort, state.is_reversed), &state.only, activity, names)
}

fn first(rows: &[Row], most: Option<usize>) -> &[Row] {
    &rows[..rows.len().min(most.unwrap_or(usize::MAX))]
}

/// What is missing, in a few words.
fn note(lost: Lost, without_owner: u64) -> Option<String> {
    let lost = lost.table_full + lost.unseen_end;
    match (lost, without_owner) {
        (0, 0) => None,
        (0, without) => Some(format!("{without} without owner")),
        (lost, _) => Some(format!("{lost} not counted")),
    }
}

/// Receives the events of the terminal.
fn events() -> Result<Receiver<Event>> {
    let (send, receive) = unbounded();
    std::thread::Builder::new()
        .name("keys".into())
        .spawn(move || {
            while let Ok(event) = event::read() {
                if send.send(event).is_err() {
                    break;
                }
            }
        })
        .context("cannot start the thread that reads keys")?;
    Ok(receive)
}

/// Waits for what comes first: the end of the interval, a signal, or a key.
enum Next {
    Due,
    End,
    Event(Event),
}

fn next(told: &Receiver<Told>, events: &Receiver<Event>, due: Instant) -> Next {
    loop {
        select! {
            recv(told) -> what => match what {
                // SIGHUP: the terminal is gone.
                Ok(Told::Stop(_) | Told::Rotate) | Err(_) => return Next::End,
                Ok(_) => {}
            },
            recv(events) -> event => return event.map_or(Next::End, Next::Event),
            default(due.saturating_duration_since(Instant::now())) => return Next::Due,
        }
    }
}

/// Shows until the duration, a key or a signal. Returns whether all requests were counted, with their owners.
///
/// # Errors
/// If the kernel cannot count, or the output cannot be written.
pub fn run(options: &Top) -> Result<bool> {
    let prepared = live_tool::prepare()?;
    let state = State::new(options.by, options.sort);
    let most_detail = if options.is_batch { state.detail() } else { Detail::Files };
    let filter = &options.filter;
    let here = &prepared.here;
    let counted = Counted { latency: Latency::Q2c, detail: state.detail(), most_detail, filter, here };
    let activity = Activity::start(&prepared.start(&options.filter), &counted)?;
    let invoker = privilege::invoker();
    // As the invoking user: the kernel refuses what that user may not write, and the file belongs to that user.
    let csv = options.csv.as_deref().map(|path| privilege::acting_as(invoker, || Csv::open(path))).transpose()?;
    privilege::give_up(invoker, None, false)?;
    let names = Names::new(options.systems.clone(), prepared.here.pid_namespace_level == 0);
    let (_teller, told) = prepared.caught.listen()?;
    let (_, busy) = disk_states(filter.disks(), &Busy::new(), 1.0);
    let terminal = match options.is_batch {
        true => None,
        false => Some(ratatui::try_init().context("cannot use the terminal")?),
    };
    let detail = state.detail();
    let mut view = View {
        options,
        activity,
        names,
        busy,
        since: Instant::now(),
        state,
        detail,
        current: None,
        terminal,
        csv,
        lost: Lost::default(),
        without_owner: 0,
    };
    let ended = watch(&mut view, &told);
    if view.terminal.take().is_some() {
        // Fails where the terminal is gone.
        let _ = ratatui::try_restore();
    }
    ended?;
    let notes = [
        missing(view.lost, "row"),
        (view.without_owner > 0).then(|| {
            format!(
                "requests without owner and file, because a table of the kernel side was full: {}",
                view.without_owner
            )
        }),
    ];
    notes.iter().flatten().for_each(|line| tell(&format!("iostrata: top: {line}\n")));
    Ok(notes.iter().all(Option::is_none))
}

fn watch(view: &mut View, told: &Receiver<Told>) -> Result<()> {
    let events = if view.terminal.is_some() { events()? } else { never() };
    // What came while the programs were being attached.
    view.activity.take()?;
    view.since = Instant::now();
    let end = view.options.duration.map(|duration| view.since + duration);
    let mut due = view.since + view.options.interval;
    loop {
        let until = end.map_or(due, |end| due.min(end));
        let goes_on = match next(told, &events, until) {
            // The rest of the last interval, for logs.
            Next::End => {
                if view.terminal.is_none() {
                    view.step()?;
                }
                false
            }
            Next::Event(event) => view.event(&event)?,
            Next::Due => {
                let goes_on = view.step()?;
                due = clock::next_due(due, view.options.interval);
                goes_on && end.is_none_or(|end| Instant::now() < end)
            }
        };
        if !goes_on {
            return Ok(());
        }
    }
}
