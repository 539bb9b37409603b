//! Processes: who descends from whom, from /proc.

use std::collections::HashMap;
use std::fs;

/// A process as /proc has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    pid: u32,
    ppid: u32,
}

/// Parses /proc/PID/stat; the command name in parentheses may hold anything.
fn parse_stat(text: &str) -> Option<Process> {
    let pid = text.split(' ').next()?.parse().ok()?;
    let after = text.get(text.rfind(')')? + 2..)?;
    let ppid = after.split(' ').nth(1)?.parse().ok()?;
    Some(Process { pid, ppid })
}

/// `root` and all its descendants that are alive; empty when `root` is not.
pub fn tree(root: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    let mut alive = false;
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name.to_string_lossy().parse::<u32>().is_err() {
            continue;
        }
        let Ok(text) = fs::read_to_string(entry.path().join("stat")) else { continue };
        if let Some(process) = parse_stat(&text) {
            alive |= process.pid == root;
            children.entry(process.ppid).or_default().push(process.pid);
        }
    }
    let mut tree = Vec::new();
    let mut waiting = if alive { vec![root] } else { Vec::new() };
    while let Some(pid) = waiting.pop() {
        waiting.extend(children.remove(&pid).unwrap_or_default());
        tree.push(pid);
    }
    tree
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_name_with_parentheses_does_not_confuse() {
        assert_eq!(parse_stat("42 (a) (b c) S 7 42 1 0"), Some(Process { pid: 42, ppid: 7 }));
        assert_eq!(parse_stat("garbage"), None);
    }

    #[test]
    fn the_tree_of_this_process_holds_it() {
        assert!(tree(std::process::id()).contains(&std::process::id()));
        assert!(tree(u32::MAX).is_empty());
    }
}
