//! Attribution of events to systems: the process table of a capture, evaluated once by the rules and shared by all threads.
//!
//! There may be a million short-lived processes. A row of the table takes about forty bytes in memory, and its compressed names a few more.

use std::collections::HashMap;

use anyhow::Result;
use arrow_array::RecordBatch;
use foldhash::fast::RandomState;
use iostrata_capture::Capture;
use iostrata_capture::column::Reader;
use iostrata_capture::system::{Identity, Systems, of_a_process};
use iostrata_capture::tables::{ProcessTable, ProcessView};

use crate::memory::Budget;
use crate::texts::{List, Names, Records};

/// System and start of a process from some time on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Index below [`Owners::systems`].
    pub system: usize,
    /// Start of the process.
    pub start_ns: i64,
}

/// Result of a lookup: a span, and the period in which lookups return it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Span.
    pub span: Span,
    /// First and last moment of the period.
    pub held: (i64, i64),
}

/// Names of a process.
#[derive(Debug, Clone, Default)]
pub struct ProcessNames {
    /// Command name of its first thread; empty for anything other than a process.
    pub comm: String,
    /// Path of the executable; empty if unknown.
    pub exe: String,
    /// Command line; empty if unknown.
    pub cmdline: String,
}

/// Row of the process table.
#[derive(Debug, Clone, Copy)]
struct Row {
    from_ns: i64,
    start_ns: i64,
    pid: i32,
    system: u32,
    /// Number of the texts of the process; before [`Owners::settle`], of the row.
    text: u32,
}

/// State while the table is read.
#[derive(Default)]
struct Met {
    names: Names,
    /// Time and number of the texts with the latest path, by cgroup id.
    cgroups: HashMap<i64, (i64, u32), RandomState>,
}

/// Key of a lookup.
#[derive(Debug, Clone, Copy)]
enum Order {
    /// Rows of a process id.
    OfPid(i32),
    /// Rows of a process id and start.
    OfStart(i32, i64),
}

/// Systems of the processes of a capture over time.
pub struct Owners<'a> {
    rules: &'a Systems,
    names: List,
    /// Rows by process id and time, then in the order of the capture.
    rows: Vec<Row>,
    /// Row numbers by process id, start and time; empty if that is the order of `rows`.
    by_start: Vec<u32>,
    /// Command name, executable, command line, and path of the cgroup.
    texts: Records<4>,
    /// Number of the texts with the path, by cgroup id.
    cgroups: Vec<(i64, u32)>,
}

impl<'a> Owners<'a> {
    /// Reads the process table of `capture`, within `memory`. The size grows with the number of processes, not of events.
    ///
    /// # Errors
    /// If the table cannot be read, or exceeds the memory limit.
    pub fn load(capture: &Capture, rules: &'a Systems, memory: Budget) -> Result<Owners<'a>> {
        let (names, rows, by_start, texts, cgroups) = Default::default();
        let mut owners = Owners { rules, names, rows, by_start, texts, cgroups };
        let mut met = Met::default();
        for part in capture.parts::<ProcessTable>()? {
            part.read_unless::<ProcessTable>(|| memory.refusal(), |batch| owners.add_batch(batch, &mut met))?;
        }
        owners.names = met.names.into_list();
        owners.settle(met.cgroups);
        Ok(owners)
    }

    fn add_batch(&mut self, batch: &RecordBatch, met: &mut Met) -> std::result::Result<(), String> {
        let view = ProcessView::new(batch)?;
        (0..view.rows).for_each(|row| self.add(&view, row, met));
        Ok(())
    }

    fn add(&mut self, view: &ProcessView, row: usize, Met { names, cgroups }: &mut Met) {
        let name = self.rules.name_of(&Identity {
            exe: view.exe.at(row),
            cmdline: view.cmdline.at(row),
            cgroup: view.cgroup.at(row),
            comm: view.comm.at(row),
            kernel_thread: view.kernel_thread.at(row),
        });
        let system = names.number(&name);
        let comm = of_a_process(view.comm.at(row).unwrap_or_default().to_owned());
        let [exe, cmdline, cgroup] = [view.exe.at(row), view.cmdline.at(row), view.cgroup.at(row)];
        let text = [Some(comm.as_str()), exe, cmdline, cgroup].map(Option::unwrap_or_default);
        let text = self.texts.add(text);
        let (from_ns, start_ns, pid) = (view.ts_ns.at(row), view.start_ns.at(row), view.pid.at(row));
        self.rows.push(Row { from_ns, start_ns, pid, system, text });
        if cgroup.is_some() {
            let last = cgroups.entry(view.cgroup_id.at(row)).or_insert((from_ns, text));
            *last = (*last).max((from_ns, text));
        }
    }

    /// Sorts the rows. Of rows with the same time the last in the capture counts.
    fn settle(&mut self, cgroups: HashMap<i64, (i64, u32), RandomState>) {
        let Owners { rows, by_start, .. } = self;
        rows.sort_unstable_by_key(|row| (row.pid, row.from_ns, row.text));
        let of_start = |row: &Row| (row.pid, row.start_ns, row.from_ns, row.text);
        if !rows.is_sorted_by_key(of_start) {
            by_start.extend(0..u32::try_from(rows.len()).unwrap_or(u32::MAX));
            by_start.sort_unstable_by_key(|number| of_start(&rows[*number as usize]));
        }
        // The latest names of a process apply to all of its rows.
        let place = |at: usize| if by_start.is_empty() { at } else { by_start[at] as usize };
        let mut begin = 0;
        while let Some(Row { pid, start_ns, .. }) = rows.get(begin).map(|_| rows[place(begin)]) {
            let alike = (begin..rows.len()).take_while(|at| {
                let row = &rows[place(*at)];
                (row.pid, row.start_ns) == (pid, start_ns)
            });
            // They are in time order, and at the same time in the order of the capture.
            let count = alike.count();
            let last = rows[place(begin + count - 1)].text;
            (begin..begin + count).for_each(|at| rows[place(at)].text = last);
            begin += count;
        }
        self.cgroups.extend(cgroups.into_iter().map(|(id, (_, text))| (id, text)));
        self.cgroups.sort_unstable();
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Number of systems in the process table; their indexes are below it.
    pub fn systems(&self) -> usize {
        self.names.len()
    }

    /// Returns the name of the system with this index.
    pub fn name(&self, system: usize) -> &str {
        self.names.get(system as u32)
    }

    /// Returns the span of process `pid` at `ts_ns`: that of its last row at or before that time, or of its first row if all are later. `None` if
    /// the process table does not have the pid.
    pub fn find(&self, pid: i32, ts_ns: i64) -> Option<Found> {
        self.at(Order::OfPid(pid), ts_ns)
    }

    /// Returns the span of the process that started at `start_ns`: that of its last row at or before `ts_ns`, or of its first row. Other processes
    /// with the same id do not count.
    pub fn find_started(&self, pid: i32, start_ns: i64, ts_ns: i64) -> Option<Found> {
        self.at(Order::OfStart(pid, start_ns), ts_ns)
    }

    /// Returns the systems and starts of process `pid` between two moments, each with the time from which it applies.
    pub fn all(&self, pid: i32, within: (i64, i64)) -> impl Iterator<Item = (i64, &str, i64)> {
        self.among(Order::OfPid(pid), within)
    }

    /// Returns the same for the process that started at `start_ns`.
    pub fn all_started(
        &self,
        (pid, start_ns): (i32, i64),
        within: (i64, i64),
    ) -> impl Iterator<Item = (i64, &str, i64)> {
        self.among(Order::OfStart(pid, start_ns), within)
    }

    fn row(&self, order: Order, place: usize) -> &Row {
        match order {
            Order::OfStart(..) if !self.by_start.is_empty() => &self.rows[self.by_start[place] as usize],
            _ => &self.rows[place],
        }
    }

    /// Number of rows before the first for which `is_before` is false.
    fn partition(&self, order: Order, is_before: impl Fn(&Row) -> bool) -> usize {
        let (mut begin, mut end) = (0, self.rows.len());
        while begin < end {
            let middle = begin + (end - begin) / 2;
            if is_before(self.row(order, middle)) { begin = middle + 1 } else { end = middle }
        }
        begin
    }

    /// Whether there is a row at this position that matches the key.
    fn is_of(&self, order: Order, place: usize) -> bool {
        place < self.rows.len() && {
            let row = self.row(order, place);
            match order {
                Order::OfPid(pid) => row.pid == pid,
                Order::OfStart(pid, start_ns) => (row.pid, row.start_ns) == (pid, start_ns),
            }
        }
    }

    /// Returns the position after the last matching row that begins at or before `ts_ns`.
    fn after(&self, order: Order, ts_ns: i64) -> usize {
        match order {
            Order::OfPid(pid) => self.partition(order, |row| (row.pid, row.from_ns) <= (pid, ts_ns)),
            Order::OfStart(pid, start_ns) => {
                self.partition(order, |row| (row.pid, row.start_ns, row.from_ns) <= (pid, start_ns, ts_ns))
            }
        }
    }

    /// Returns the last matching row that begins at or before `ts_ns`, or the first if all are later.
    fn at(&self, order: Order, ts_ns: i64) -> Option<Found> {
        let after = self.after(order, ts_ns);
        let is_before = |places: usize| after.checked_sub(places).is_some_and(|place| self.is_of(order, place));
        let place = if is_before(1) { after - 1 } else { after };
        if !self.is_of(order, place) {
            return None;
        }
        let row = self.row(order, place);
        let from_ns = if is_before(2) { row.from_ns } else { i64::MIN };
        // The last of several spans with the same begin is returned.
        let has_next = self.is_of(order, place + 1);
        let next = if has_next { self.row(order, place + 1).from_ns.saturating_sub(1) } else { i64::MAX };
        Some(Found { span: Span { system: row.system as usize, start_ns: row.start_ns }, held: (from_ns, next) })
    }

    fn among(&self, order: Order, (first_ns, last_ns): (i64, i64)) -> impl Iterator<Item = (i64, &str, i64)> {
        let after = self.after(order, first_ns);
        let is_found = after.checked_sub(1).is_some_and(|place| self.is_of(order, place));
        let first = if is_found { after - 1 } else { after };
        let places = (first..self.rows.len()).take_while(move |place| self.is_of(order, *place));
        let rows = places.enumerate().map(move |(number, place)| (number == 0, self.row(order, place)));
        // The first row applies until the second.
        let rows = rows.take_while(move |(is_first, row)| *is_first || row.from_ns <= last_ns);
        rows.map(|(is_first, row)| {
            (if is_first { i64::MIN } else { row.from_ns }, self.name(row.system as usize), row.start_ns)
        })
    }

    /// Returns the names of a process in the process table.
    pub fn told(&self, pid: i32, start_ns: i64) -> Option<ProcessNames> {
        let order = Order::OfStart(pid, start_ns);
        let place = self.partition(order, |row| (row.pid, row.start_ns) < (pid, start_ns));
        let text = self.is_of(order, place).then(|| self.row(order, place).text)?;
        let [comm, exe, cmdline, _] = self.texts.get(text);
        Some(ProcessNames { comm, exe, cmdline })
    }

    /// Returns the path of a cgroup of a process in the process table.
    pub fn cgroup(&self, id: i64) -> Option<String> {
        let at = self.cgroups.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        let [.., path] = self.texts.get(self.cgroups[at].1);
        Some(path)
    }

    /// Returns the name of the system of a process with only a known command name.
    pub fn by_comm(&self, comm: Option<&str>) -> String {
        self.rules.name_of(&Identity { comm, ..Identity::default() })
    }
}
