//! Namespaces of the recorder itself. In a container, its process ids, monotonic clock and cgroups differ from those that the BPF
//! programs see, which are the initial namespaces'. A separate small BPF object reads both.

use std::io::Read;
use std::mem::MaybeUninit;

use anyhow::{Context, Result, anyhow, bail};
use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{Iter, MapCore, MapFlags, ProgramInput};

use crate::bpf::{HereSkelBuilder, here_types, read_record};
use crate::clock;
use crate::host::processes::{self, Task};

/// The recorder as the kernel sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Here {
    /// Process id in the initial namespace.
    pub pid: u32,
    /// Number of execs, including those of its ancestors.
    pub exec_id: u32,
    /// Depth of the PID namespace: 0 is the initial one.
    pub pid_namespace_level: u32,
    /// Depth of the cgroup (version 2): the root is 0.
    pub cgroup_level: u32,
    /// Monotonic clock minus that of the initial time namespace.
    pub monotonic_offset_ns: i64,
}

/// Number of readings of both clocks; the fastest one counts.
const READINGS: usize = 16;

/// Loads a program and runs it in this process.
pub fn look() -> Result<Here> {
    let mut object = MaybeUninit::uninit();
    let mut open = HereSkelBuilder::default().open(&mut object).context("cannot open the BPF object")?;
    open.progs.iostrata_here.set_autoload(true);
    let skeleton = open.load().context("the kernel refuses iostrata_here")?;
    let mut best: Option<(i64, Here)> = None;
    for _ in 0..READINGS {
        let before_ns = clock::local_monotonic_ns();
        skeleton.progs.iostrata_here.test_run(ProgramInput::default()).context("cannot run iostrata_here")?;
        let after_ns = clock::local_monotonic_ns();
        let value = skeleton.maps.here.lookup(&0u32.to_ne_bytes(), MapFlags::ANY)?;
        let value = value.and_then(|value| read_record::<here_types::here>(&value));
        let is = value.ok_or_else(|| anyhow!("iostrata_here returned no value"))?;
        let took_ns = after_ns - before_ns;
        if best.is_none_or(|(least_ns, _)| took_ns < least_ns) {
            let middle_ns = before_ns + took_ns / 2;
            let here = Here {
                pid: is.pid,
                exec_id: is.exec_id,
                pid_namespace_level: is.pid_namespace_level,
                cgroup_level: is.cgroup_level,
                monotonic_offset_ns: offset_of(middle_ns - is.now_ns.cast_signed(), took_ns),
            };
            best = Some((took_ns, here));
        }
    }
    best.map(|(_, here)| here).ok_or_else(|| anyhow!("iostrata_here was not run"))
}

/// Offset of the time namespace, measured by a reading of `took_ns`: the exact value that the kernel reports if it agrees, otherwise the
/// measured value.
fn offset_of(measured_ns: i64, took_ns: i64) -> i64 {
    let candidates = [Some(0), clock::namespace_offset_ns("monotonic")];
    let agrees = |offset_ns: &i64| measured_ns.abs_diff(*offset_ns) <= took_ns.unsigned_abs();
    candidates.into_iter().flatten().find(agrees).unwrap_or(measured_ns)
}

/// All threads that this process can see.
fn tasks(level: u32) -> Result<Vec<Task>> {
    let mut object = MaybeUninit::uninit();
    let mut open = HereSkelBuilder::default().open(&mut object).context("cannot open the BPF object")?;
    open.progs.iostrata_tasks.set_autoload(true);
    let data = open.maps.rodata_data.as_mut().ok_or_else(|| anyhow!("the BPF object has no .rodata"))?;
    data.pid_namespace_level = level;
    let skeleton = open.load().context("the kernel refuses iostrata_tasks")?;
    let link = skeleton.progs.iostrata_tasks.attach().context("cannot attach iostrata_tasks")?;
    let mut bytes = Vec::new();
    Iter::new(&link)?.read_to_end(&mut bytes).context("cannot iterate over the tasks")?;
    let record = |bytes: &[u8]| {
        let is = read_record::<here_types::task_record>(bytes)?;
        Some(Task {
            pid: is.pid,
            tid: is.tid,
            ppid: is.ppid,
            local_pid: is.local_pid,
            local_tid: is.local_tid,
            start_ns: is.start_ns,
        })
    };
    Ok(bytes.chunks_exact(size_of::<here_types::task_record>()).filter_map(record).collect())
}

impl Here {
    /// Processes `roots`, by their ids in this namespace, with their descendants: ids in the initial namespace and start times. Call
    /// with the fork program attached.
    pub fn trees(&self, roots: &[u32]) -> Result<Vec<(u32, u64)>> {
        let tasks = match tasks(self.pid_namespace_level) {
            Ok(tasks) => tasks,
            // In the initial namespace, /proc has the same information.
            Err(_) if self.pid_namespace_level == 0 => processes::all(),
            Err(error) => {
                return Err(error.context("--pid: cannot translate the id to the initial PID namespace"));
            }
        };
        let mut trees = Vec::new();
        for root in roots {
            let tree = processes::tree(&tasks, *root);
            if tree.is_empty() {
                bail!("--pid {root}: the process has ended");
            }
            trees.extend(tree);
        }
        Ok(trees)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_that_agrees_is_taken_as_the_kernel_tells_it() {
        assert_eq!(offset_of(300, 1000), 0, "the clocks are one");
        assert_eq!(offset_of(-90_000_000_000, 1000), -90_000_000_000, "no candidate agrees with the measurement");
    }
}
