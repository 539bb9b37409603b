//! Names of what does I/O: processes with their systems and cgroups, and files.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use iostrata_capture::system::{Identity, NOBODYS, Systems};

use crate::groups::block_activity::{Activity, FileId, Owner, Process, ProcessName};
use crate::host::mounts::{self, Watched};

/// Maximum number of remembered names of a kind. Above it, they are looked up again.
const MOST_NAMES: usize = 16_384;

/// Maximum number of directories that are searched for a cgroup.
const MOST_CGROUPS: usize = 65_536;

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Command name.
    pub comm: Arc<str>,
    /// System.
    pub system: Arc<str>,
    /// Path of its cgroup.
    pub cgroup: Arc<str>,
}

/// Names that were looked up.
pub struct Names {
    systems: Systems,
    /// Whether process ids are those of /proc.
    has_ids: bool,
    processes: HashMap<Process, (ProcessName, Known)>,
    cgroups: HashMap<u64, Arc<str>>,
    files: HashMap<FileId, Arc<str>>,
    mounts: Watched,
}

/// Reads a file of a process; none if it has ended.
fn of_process(pid: u32, file: &str) -> Option<Vec<u8>> {
    fs::read(format!("/proc/{pid}/{file}")).ok()
}

impl Names {
    /// Starts without any name. `has_ids`: process ids are those of /proc.
    pub fn new(systems: Systems, has_ids: bool) -> Names {
        let (processes, cgroups, files) = Default::default();
        Names { systems, has_ids, processes, cgroups, files, mounts: Watched::new() }
    }

    /// Prepares for the names of an interval.
    pub fn refresh(&mut self) {
        self.mounts.refresh();
        // A file may have got another name, and a name that was not known may be by now.
        self.files.clear();
        if self.processes.len() > MOST_NAMES {
            self.processes.clear();
        }
        if self.cgroups.len() > MOST_NAMES {
            self.cgroups.clear();
        }
    }

    /// Names of an owner.
    pub fn owner(&mut self, activity: &Activity, owner: Owner) -> Known {
        let nobody = |name: &str| {
            let name: Arc<str> = name.into();
            Known { comm: Arc::clone(&name), system: Arc::clone(&name), cgroup: name }
        };
        let process = match owner.process() {
            Ok(process) => process,
            Err(name) => return nobody(name),
        };
        match (activity.process(process), self.processes.get(&process)) {
            // With another name it has executed another program.
            (Some(name), Some((of, known))) if *of == name => known.clone(),
            (Some(name), _) => {
                let known = self.look_up(process, &name);
                self.processes.insert(process, (name, known.clone()));
                known
            }
            // Evicted in the kernel.
            (None, Some((_, known))) => known.clone(),
            (None, None) => nobody(NOBODYS),
        }
    }

    fn look_up(&mut self, process: Process, name: &ProcessName) -> Known {
        let cgroup = self.cgroup(name.cgroup_id);
        let comm = of_process(process.pid, "comm").filter(|_| self.has_ids);
        // Otherwise the process has ended, and its id may be that of another one.
        let is_there = comm.is_some_and(|comm| comm.trim_ascii_end() == name.comm.as_bytes());
        let (exe, cmdline) = if is_there { program(process.pid) } else { (None, None) };
        let system = self.systems.name_of(&Identity {
            exe: exe.as_deref(),
            cmdline: cmdline.as_deref(),
            cgroup: Some(&cgroup),
            comm: Some(&name.comm),
            kernel_thread: is_there && cmdline.is_none(),
        });
        let system = system.into();
        Known { comm: name.comm.as_str().into(), system, cgroup }
    }

    fn cgroup(&mut self, id: u64) -> Arc<str> {
        if let Some(path) = self.cgroups.get(&id) {
            return Arc::clone(path);
        }
        if let Some(root) = mounts::cgroup2() {
            for (id, path) in cgroups_below(Path::new(&root)) {
                self.cgroups.insert(id, path);
            }
        }
        // Removed meanwhile, or not visible from here.
        let unknown = || format!("[{id}]").into();
        Arc::clone(self.cgroups.entry(id).or_insert_with(unknown))
    }

    /// Path of a file.
    pub fn file(&mut self, activity: &Activity, file: FileId) -> Arc<str> {
        if let Some(path) = self.files.get(&file) {
            return Arc::clone(path);
        }
        let path = match activity.file(file) {
            Some(name) if name.is_whole => {
                mounts::below(mounts::mount_point(&self.mounts.entries, file.dev), file.dev, &name.path)
            }
            Some(name) => format!("…{}", name.path),
            None => mounts::below(None, file.dev, &format!(" inode {}", file.ino)),
        };
        let path: Arc<str> = path.into();
        self.files.insert(file, Arc::clone(&path));
        path
    }
}

/// Executable and command line of a process, as far as they can be read. A kernel thread has neither.
fn program(pid: u32) -> (Option<String>, Option<String>) {
    let exe = fs::read_link(format!("/proc/{pid}/exe")).ok();
    let arguments = of_process(pid, "cmdline").unwrap_or_default();
    let arguments: Vec<_> = arguments.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    let cmdline = arguments.join(" ");
    let cmdline = cmdline.trim_end();
    (exe.map(|path| path.to_string_lossy().into_owned()), (!cmdline.is_empty()).then(|| cmdline.to_owned()))
}

/// Cgroups below the mount, with the root: id and path.
fn cgroups_below(root: &Path) -> Vec<(u64, Arc<str>)> {
    let mut found = Vec::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(directory) = waiting.pop() {
        if found.len() >= MOST_CGROUPS {
            break;
        }
        let Ok(is) = fs::metadata(&directory) else { continue };
        let below = directory.strip_prefix(root).map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
        found.push((is.ino(), format!("/{below}").into()));
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                waiting.push(entry.path());
            }
        }
    }
    found
}
