//! Systems of processes, determined from the rows of the process table as they pass.

use std::sync::Arc;

use arrow_array::RecordBatch;
use iostrata_capture::column::Reader;
use iostrata_capture::system::{Identity, Systems};
use iostrata_capture::tables::ProcessView;

use super::history::History;

/// Number of processes in one generation. The BPF programs report a process again only after its eviction from a cache of
/// 16,384; the processes in that cache must not be evicted here.
const GENERATION: usize = 32_768;

/// Number of execs kept per process: a flush may have rows from before and after an exec.
const SPANS: usize = 4;

/// Systems of processes, in bounded memory.
pub struct Processes {
    systems: Systems,
    known: History<i32>,
}

impl Processes {
    /// Starts without any process.
    pub fn new(systems: Systems) -> Self {
        Processes { systems, known: History::new(GENERATION, SPANS) }
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
            self.known.add(view.pid.at(row), view.ts_ns.at(row), system.into());
        }
    }

    /// System of a row of process `pid` at `ts_ns`: from the last process row at or before that time, or the first one if
    /// all are later; from the command name `comm` if the process is unknown.
    pub fn system_of(&mut self, pid: i32, ts_ns: i64, comm: Option<&str>) -> Arc<str> {
        let unknown = || self.systems.name_of(&Identity { comm, ..Identity::default() }).into();
        self.known.at(pid, ts_ns).unwrap_or_else(unknown)
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
        processes.known.add(7, 200, "etcd".into());
        processes.known.add(7, 100, "sh".into());
        let at = |processes: &mut Processes, ts_ns| processes.system_of(7, ts_ns, None).to_string();
        assert_eq!(at(&mut processes, 50), "sh");
        assert_eq!(at(&mut processes, 199), "sh");
        assert_eq!(at(&mut processes, 200), "etcd");
        assert_eq!(&*processes.system_of(8, 200, Some("minio")), "MinIO");
    }

    #[test]
    fn who_is_asked_for_stays_and_who_is_not_goes() {
        let mut processes = processes();
        processes.known.add(-1, 0, "used".into());
        processes.known.add(-2, 0, "idle".into());
        for pid in 0..3 * GENERATION as i32 {
            processes.known.add(pid, 0, "other".into());
            processes.system_of(-1, 0, None);
        }
        assert_eq!(&*processes.system_of(-1, 0, Some("comm")), "used");
        assert_eq!(&*processes.system_of(-2, 0, Some("comm")), "comm");
        assert!(processes.known.len() <= 2 * GENERATION);
    }
}
