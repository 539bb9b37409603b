//! Which system an event belongs to: the capture's process table, judged once by the rules and shared by all threads.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use anyhow::Result;
use arrow::array::RecordBatch;
use foldhash::fast::RandomState;
use iostrata_capture::Capture;
use iostrata_capture::column::Reader;
use iostrata_capture::system::{Identity, Systems, of_a_process};
use iostrata_capture::tables::{ProcessTable, ProcessView};

/// What a process was from some moment on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    from_ns: i64,
    /// An index below [`Owners::systems`].
    pub system: usize,
    /// When the process started.
    pub start_ns: i64,
}

/// A span, and the first and the last moment at which it is the one to be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found<'a> {
    /// The span.
    pub span: &'a Span,
    /// From when until when.
    pub held: (i64, i64),
}

/// What a process is called.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// Its command name, which is that of its first thread, and never that of what is no process.
    pub comm: Arc<str>,
    /// The path of its executable; empty where it is not known.
    pub exe: Arc<str>,
    /// Its command line; empty where it is not known.
    pub cmdline: Arc<str>,
}

/// Texts of which most are there many times.
#[derive(Default)]
struct Texts(HashSet<Arc<str>>);

impl Texts {
    fn one(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.0.get(text) {
            return Arc::clone(known);
        }
        let new: Arc<str> = text.into();
        self.0.insert(Arc::clone(&new));
        new
    }
}

/// One process.
#[derive(Default)]
struct Started {
    /// What was told last.
    told: Told,
    /// Its spans, ascending. A process table may claim that a process was executed anew any number of times.
    spans: Vec<Span>,
}

/// The systems of a capture's processes over time.
pub struct Owners<'a> {
    rules: &'a Systems,
    names: Vec<String>,
    /// By pid, ascending.
    of_pid: HashMap<i32, Vec<Span>, RandomState>,
    /// By pid and start.
    started: HashMap<(i32, i64), Started, RandomState>,
    /// Paths of cgroups by id.
    cgroups: HashMap<i64, String>,
}

impl<'a> Owners<'a> {
    /// Reads the process table of `capture`. Its size follows the number of processes, not of events.
    pub fn load(capture: &Capture, rules: &'a Systems) -> Result<Owners<'a>> {
        let (names, of_pid, started, cgroups) = Default::default();
        let mut owners = Owners { rules, names, of_pid, started, cgroups };
        let mut known = (HashMap::new(), Texts::default());
        for part in capture.parts::<ProcessTable>()? {
            part.read::<ProcessTable>(|batch| owners.add_batch(batch, &mut known))?;
        }
        let started = owners.started.values_mut().map(|started| &mut started.spans);
        for spans in owners.of_pid.values_mut().chain(started) {
            // Stable: of rows of the same moment the later one in the capture counts, whatever the sort.
            spans.sort_by_key(|span| span.from_ns);
        }
        Ok(owners)
    }

    fn add_batch(
        &mut self,
        batch: &RecordBatch,
        known: &mut (HashMap<String, usize>, Texts),
    ) -> std::result::Result<(), String> {
        let view = ProcessView::new(batch)?;
        (0..view.rows).for_each(|row| self.add(&view, row, known));
        Ok(())
    }

    fn add(&mut self, view: &ProcessView, row: usize, (known, texts): &mut (HashMap<String, usize>, Texts)) {
        let name = self.rules.name_of(&Identity {
            exe: view.exe.at(row),
            cmdline: view.cmdline.at(row),
            cgroup: view.cgroup.at(row),
            comm: view.comm.at(row),
            kernel_thread: view.kernel_thread.at(row),
        });
        let names = &mut self.names;
        let system = *known.entry(name).or_insert_with_key(|name| {
            names.push(name.clone());
            names.len() - 1
        });
        let (pid, start_ns) = (view.pid.at(row), view.start_ns.at(row));
        let span = Span { from_ns: view.ts_ns.at(row), system, start_ns };
        self.of_pid.entry(pid).or_default().push(span);
        let started = self.started.entry((pid, start_ns)).or_default();
        started.spans.push(span);
        let comm = of_a_process(view.comm.at(row).unwrap_or_default().to_owned());
        let mut text = |text: Option<&str>| texts.one(text.unwrap_or_default());
        started.told =
            Told { comm: text(Some(&comm)), exe: text(view.exe.at(row)), cmdline: text(view.cmdline.at(row)) };
        if let Some(path) = view.cgroup.at(row) {
            self.cgroups.insert(view.cgroup_id.at(row), path.to_owned());
        }
    }

    /// How many systems the process table has; their indexes are below this.
    pub fn systems(&self) -> usize {
        self.names.len()
    }

    /// The name of the system with this index.
    pub fn name(&self, system: usize) -> &str {
        &self.names[system]
    }

    /// What process `pid` was at `ts_ns`: by its last row not after it, or by its first row where all are later; `None`
    /// where the process table does not have the pid.
    pub fn find(&self, pid: i32, ts_ns: i64) -> Option<Found<'_>> {
        at(self.of_pid.get(&pid)?, ts_ns)
    }

    /// What the process was that started at `start_ns`, by its last row not after `ts_ns` or else its first one: not what the one
    /// was that had its id at another time.
    pub fn find_started(&self, pid: i32, start_ns: i64, ts_ns: i64) -> Option<Found<'_>> {
        at(&self.started.get(&(pid, start_ns))?.spans, ts_ns)
    }

    /// What process `pid` was between two moments: each system and start, and from when on it was that.
    pub fn all(&self, pid: i32, within: (i64, i64)) -> impl Iterator<Item = (i64, &str, i64)> {
        self.among(self.of_pid.get(&pid), within)
    }

    /// What the process was between two moments that started at `start_ns`, likewise.
    pub fn all_started(
        &self,
        (pid, start_ns): (i32, i64),
        within: (i64, i64),
    ) -> impl Iterator<Item = (i64, &str, i64)> {
        self.among(self.started.get(&(pid, start_ns)).map(|started| &started.spans), within)
    }

    fn among(
        &self,
        spans: Option<&Vec<Span>>,
        (first_ns, last_ns): (i64, i64),
    ) -> impl Iterator<Item = (i64, &str, i64)> {
        let spans = spans.map_or(&[][..], Vec::as_slice);
        let found = spans.partition_point(|span| span.from_ns <= first_ns).saturating_sub(1);
        let (found, later) = spans.split_at((found + 1).min(spans.len()));
        let later = later.iter().take_while(move |span| span.from_ns <= last_ns).map(|span| (span.from_ns, span));
        let all = found.last().map(|span| (i64::MIN, span)).into_iter().chain(later);
        all.map(|(from_ns, span)| (from_ns, self.name(span.system), span.start_ns))
    }

    /// What a process is called that the process table has.
    pub fn told(&self, pid: i32, start_ns: i64) -> Option<&Told> {
        self.started.get(&(pid, start_ns)).map(|started| &started.told)
    }

    /// The path of a cgroup that a process in the process table was in.
    pub fn cgroup(&self, id: i64) -> Option<&str> {
        self.cgroups.get(&id).map(String::as_str)
    }

    /// The name of the system of a process of which nothing but the command name is known.
    pub fn by_comm(&self, comm: Option<&str>) -> String {
        self.rules.name_of(&Identity { comm, ..Identity::default() })
    }
}

/// The last of `spans` that does not begin after `ts_ns`, or the first where all do.
fn at(spans: &[Span], ts_ns: i64) -> Option<Found<'_>> {
    let after = spans.partition_point(|span| span.from_ns <= ts_ns);
    let span = spans.get(after.saturating_sub(1))?;
    let from_ns = if after < 2 { i64::MIN } else { span.from_ns };
    // Of spans that begin at once the last is found.
    let next = spans.get(after.max(1)).map_or(i64::MAX, |next| next.from_ns.saturating_sub(1));
    Some(Found { span, held: (from_ns, next) })
}
