//! Process trees.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;

/// A thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Task {
    /// Id of its process in the initial namespace.
    pub pid: u32,
    /// Thread id in the initial namespace.
    pub tid: u32,
    /// Parent of the process in the initial namespace.
    pub ppid: u32,
    /// Id of its process in the recorder's namespace.
    pub local_pid: u32,
    /// Thread id in the recorder's namespace.
    pub local_tid: u32,
    /// Start time of the process; 0 if unknown.
    pub start_ns: u64,
}

/// Process id of the thread or process `pid` in this PID namespace; none if it does not exist.
pub fn process_of(pid: u32) -> Option<u32> {
    // Bytes: the kernel truncates names at any byte.
    let status = fs::read(format!("/proc/{pid}/status")).ok()?;
    let status = String::from_utf8_lossy(&status);
    status.lines().find_map(|line| line.strip_prefix("Tgid:"))?.trim().parse().ok()
}

/// Parses the parent in /proc/PID/stat; the command name in parentheses may contain any bytes.
fn parent_in(stat: &[u8]) -> Option<u32> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let after = std::str::from_utf8(stat.get(end + 2..)?).ok()?;
    after.split(' ').nth(1)?.parse().ok()
}

/// Processes in /proc, in the initial namespace.
pub fn all() -> Vec<Task> {
    let mut tasks = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let stat = fs::read(Path::new("/proc").join(entry.file_name()).join("stat"));
        if let Some(ppid) = stat.ok().and_then(|stat| parent_in(&stat)) {
            tasks.push(Task { pid, tid: pid, ppid, local_pid: pid, local_tid: pid, start_ns: 0 });
        }
    }
    tasks
}

/// Selects from `tasks` the process with id `root` in this namespace and all its descendants: ids in the initial namespace and
/// start times. Empty if there is no such process.
pub fn tree(tasks: &[Task], root: u32) -> Vec<(u32, u64)> {
    let mut children: HashMap<u32, Vec<&Task>> = HashMap::new();
    let processes = || tasks.iter().filter(|task| task.tid == task.pid);
    processes().for_each(|task| children.entry(task.ppid).or_default().push(task));
    let mut waiting: Vec<&Task> = processes().filter(|task| task.local_pid == root).collect();
    let mut known = HashSet::new();
    let mut tree = Vec::new();
    while let Some(task) = waiting.pop() {
        if known.insert(task.pid) {
            waiting.extend(children.remove(&task.pid).unwrap_or_default());
            tree.push((task.pid, task.start_ns));
        }
    }
    tree
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_name_may_hold_anything() {
        assert_eq!(parent_in(b"42 (a) (b c) S 7 42 1 0"), Some(7));
        assert_eq!(parent_in(b"42 (cut within \xc3) S 9 42 1 0"), Some(9));
        assert_eq!(parent_in(b"garbage"), None);
    }

    #[test]
    fn descendants_are_found_by_the_ids_of_the_initial_namespace() {
        let task = |pid, tid, ppid| Task {
            pid,
            tid,
            ppid,
            local_pid: pid - 100,
            local_tid: tid - 100,
            start_ns: u64::from(pid),
        };
        let tasks =
            [task(101, 101, 1), task(102, 102, 101), task(102, 105, 101), task(103, 103, 102), task(104, 104, 1)];
        let mut tree = super::tree(&tasks, 2);
        tree.sort_unstable();
        assert_eq!(tree, [(102, 102), (103, 103)]);
        assert!(super::tree(&tasks, 5).is_empty(), "a thread is no process");
    }

    #[test]
    fn this_process_is_there() {
        let own = std::process::id();
        assert_eq!(process_of(own), Some(own));
        assert!(all().iter().any(|task| task.pid == own));
        assert_eq!(process_of(u32::MAX), None);
    }
}
