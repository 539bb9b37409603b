//! Systems of processes, determined from the rows of the process table as they pass.

use std::sync::Arc;

use arrow_array::RecordBatch;
use iostrata_capture::column::Reader;
use iostrata_capture::system::{Identity, Systems};
use iostrata_capture::tables::ProcessView;
use rustc_hash::FxHashMap;

/// Number of processes in one generation. The BPF programs report a process again only after its eviction from a cache of
/// 16,384; the processes in that cache must not be evicted here.
const GENERATION: usize = 32_768;

/// Systems of a process with their start times, for its last few execs.
type Spans = Vec<(i64, Arc<str>)>;

/// Number of execs kept per process: a flush may have rows from before and after an exec.
const SPANS: usize = 4;

/// Systems of processes, in bounded memory: when a generation is full, the processes not looked up since the previous time
/// are evicted.
pub struct Processes {
    systems: Systems,
    young: FxHashMap<i32, Spans>,
    old: FxHashMap<i32, Spans>,
}

impl Processes {
    /// Starts without any process.
    pub fn new(systems: Systems) -> Self {
        Processes { systems, young: FxHashMap::default(), old: FxHashMap::default() }
    }

    /// Adds rows of the process table.
    pub fn learn(&mut self, rows: &RecordBatch) {
        // The recorder created the batch, so it has the columns.
        let Ok(view) = ProcessView::new(rows) else { return };
        for row in 0..view.rows {
            let system = self.systems.name_of(&Identity {
                exe: view.exe.at(row),
                cmdline: view.cmdline.at(row),
                cgroup: view.cgroup.at(row),
                comm: view.comm.at(row),
                kernel_thread: view.kernel_thread.at(row),
            });
            self.add(view.pid.at(row), view.ts_ns.at(row), system.into());
        }
    }

    fn add(&mut self, pid: i32, from_ns: i64, system: Arc<str>) {
        let spans = self.spans(pid);
        let place = spans.partition_point(|(from, _)| *from <= from_ns);
        spans.insert(place, (from_ns, system));
        if spans.len() > SPANS {
            spans.remove(0);
        }
    }

    /// System of a row of process `pid` at `ts_ns`: from the last process row at or before that time, or the first one if
    /// all are later; from the command name `comm` if the process is unknown.
    pub fn system_of(&mut self, pid: i32, ts_ns: i64, comm: Option<&str>) -> Arc<str> {
        if !self.young.contains_key(&pid) && !self.old.contains_key(&pid) {
            return self.systems.name_of(&Identity { comm, ..Identity::default() }).into();
        }
        let spans = self.spans(pid);
        let after = spans.partition_point(|(from, _)| *from <= ts_ns);
        Arc::clone(&spans[after.saturating_sub(1)].1)
    }

    /// Entry of `pid`, moved to the young generation.
    fn spans(&mut self, pid: i32) -> &mut Spans {
        if !self.young.contains_key(&pid) {
            let known = self.old.remove(&pid).unwrap_or_default();
            if self.young.len() >= GENERATION {
                self.old = std::mem::take(&mut self.young);
            }
            self.young.insert(pid, known);
        }
        self.young.entry(pid).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn processes() -> Processes {
        Processes::new(Systems::built_in().expect("the built-in rules are right"))
    }

    #[test]
    fn a_row_belongs_to_what_its_process_was_at_that_time() {
        let mut processes = processes();
        processes.add(7, 200, "etcd".into());
        processes.add(7, 100, "sh".into());
        let at = |processes: &mut Processes, ts_ns| processes.system_of(7, ts_ns, None).to_string();
        assert_eq!(at(&mut processes, 50), "sh");
        assert_eq!(at(&mut processes, 199), "sh");
        assert_eq!(at(&mut processes, 200), "etcd");
        assert_eq!(&*processes.system_of(8, 200, Some("minio")), "MinIO");
    }

    #[test]
    fn who_is_asked_for_stays_and_who_is_not_goes() {
        let mut processes = processes();
        processes.add(-1, 0, "used".into());
        processes.add(-2, 0, "idle".into());
        for pid in 0..3 * GENERATION as i32 {
            processes.add(pid, 0, "other".into());
            processes.system_of(-1, 0, None);
        }
        assert_eq!(&*processes.system_of(-1, 0, Some("comm")), "used");
        assert_eq!(&*processes.system_of(-2, 0, Some("comm")), "comm");
        assert!(processes.young.len() + processes.old.len() <= 2 * GENERATION);
    }
}
