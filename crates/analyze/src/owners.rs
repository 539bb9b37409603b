//! Which system an event belongs to: the capture's process table, judged once by the rules and shared by all threads.

use std::collections::HashMap;
use std::path::Path;

use anyhow::Result;
use iostrata_capture::Error;
use iostrata_capture::column::Reader;
use iostrata_capture::part::{Capture, PartReader};
use iostrata_capture::system::{Identity, Systems};
use iostrata_capture::tables::{ProcessTable, ProcessView};

use crate::guard::reading;

/// The systems of a capture's processes over time.
pub struct Owners<'a> {
    rules: &'a Systems,
    names: Vec<String>,
    /// By pid: from when on it was which system (an index into `names`), ascending.
    of_pid: HashMap<i32, Vec<(i64, usize)>>,
}

impl<'a> Owners<'a> {
    /// Reads the process table of `capture`. Its size follows the number of processes, not of events.
    pub fn load(capture: &Capture, rules: &'a Systems) -> Result<Owners<'a>> {
        let mut owners = Owners { rules, names: Vec::new(), of_pid: HashMap::new() };
        let mut known = HashMap::new();
        for path in capture.parts::<ProcessTable>()? {
            reading(&path, || owners.add_part(&path, &mut known))?;
        }
        for spans in owners.of_pid.values_mut() {
            // Stable: of rows of the same moment the later one in the capture counts, whatever the sort.
            spans.sort_by_key(|(from_ns, _)| *from_ns);
        }
        Ok(owners)
    }

    fn add_part(&mut self, path: &Path, known: &mut HashMap<String, usize>) -> iostrata_capture::Result<()> {
        for batch in PartReader::open::<ProcessTable>(path)? {
            let batch = batch?;
            let view = ProcessView::new(&batch).map_err(|what| Error::Schema { path: path.to_owned(), what })?;
            (0..view.rows).for_each(|row| self.add(&view, row, known));
        }
        Ok(())
    }

    fn add(&mut self, view: &ProcessView, row: usize, known: &mut HashMap<String, usize>) {
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
        self.of_pid.entry(view.pid.at(row)).or_default().push((view.ts_ns.at(row), system));
    }

    /// How many systems the process table has; their indexes are below this.
    pub fn systems(&self) -> usize {
        self.names.len()
    }

    /// The name of the system with this index.
    pub fn name(&self, system: usize) -> &str {
        &self.names[system]
    }

    /// The system of process `pid` at `ts_ns`: that of its last row not after it, or of its first row where all are
    /// later; `None` where the process table does not have the pid.
    pub fn find(&self, pid: i32, ts_ns: i64) -> Option<usize> {
        let spans = self.of_pid.get(&pid)?;
        let after = spans.partition_point(|(from_ns, _)| *from_ns <= ts_ns);
        spans.get(after.saturating_sub(1)).map(|(_, system)| *system)
    }

    /// The name of the system of a process of which nothing but the command name is known.
    pub fn by_comm(&self, comm: Option<&str>) -> String {
        self.rules.name_of(&Identity { comm, ..Identity::default() })
    }
}
