//! Activity of disks by process and file: requests, bytes and latencies of an interval, summed in the kernel.
//!
//! Unlike `block_latency` it knows owners, so the filters by owner apply. It has no table: `iostrata top` and `iostrata hist --by process` read it.

mod load;
mod sums;

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd};

use anyhow::{Context, Result, ensure};
use iostrata_capture::op::{IoClass, Op};
use iostrata_capture::system;
use libbpf_rs::{Link, MapCore, MapFlags, MapHandle};

use super::block_latency::Latency;
use super::readings::{Lost, Start};
use super::skeleton;
use crate::bpf::{bytes_of, percpu, read_record};
use crate::here::Here;
use crate::options::Filter;

skeleton!("block_activity");
use skeleton::types::{self, activity, activity_key, file_key, owner_kind, process_key, request_loss};

pub use sums::Sums;

/// What is summed.
pub struct Counted<'a> {
    /// Latency.
    pub latency: Latency,
    /// What is told apart at first.
    pub detail: Detail,
    /// The most that is told apart.
    pub most_detail: Detail,
    /// Requests that are counted.
    pub filter: &'a Filter,
    /// The recorder's namespaces.
    pub here: &'a Here,
}

/// What is told apart, at the cost of more work for each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Detail {
    /// Disks.
    Disks,
    /// Owners, too.
    Owners,
    /// Files, too.
    Files,
}

/// Process: id in the initial namespace, and start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Process {
    /// Id.
    pub pid: u32,
    /// Start time of its main thread on the monotonic clock, in ns.
    pub start_ns: u64,
}

/// Owner of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    /// Process that wrote or asked for the data.
    Process(Process),
    /// Several processes have changed the file since it was clean.
    Several,
    /// No process; the class of the data.
    Class(IoClass),
    /// The table had no room for the owner.
    LeftOut,
}

impl Owner {
    /// Returns the process, or the name of what is none, in parentheses.
    pub fn process(self) -> std::result::Result<Process, &'static str> {
        match self {
            Owner::Process(process) => Ok(process),
            Owner::Several => Err("(several)"),
            Owner::Class(class) => Err(system::without_owner(class)),
            Owner::LeftOut => Err("(others)"),
        }
    }
}

/// File: device number of its file system, and inode number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId {
    /// Device number.
    pub dev: i32,
    /// Inode number.
    pub ino: u64,
    /// Distinguishes files that had this number one after the other, and those of two btrfs subvolumes.
    pub generation: u32,
}

/// What requests have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// Device number of the disk.
    pub dev: i32,
    /// Operation.
    pub op: Op,
    /// Owner.
    pub owner: Owner,
    /// File, if it is known.
    pub file: Option<FileId>,
}

/// Activity of an interval.
#[derive(Debug, Default)]
pub struct Taken {
    /// Sums by key.
    pub sums: HashMap<Key, Sums>,
    /// Requests of the interval that are in no sum.
    pub lost: Lost,
}

/// Name of a process, from the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessName {
    /// Command name of its main thread.
    pub comm: String,
    /// Id of its cgroup.
    pub cgroup_id: u64,
}

/// Name of a file, from the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileName {
    /// Path in its file system, with a leading slash if it is whole.
    pub path: String,
    /// Whether it begins at the root of the file system.
    pub is_whole: bool,
}

/// Running programs.
pub struct Activity {
    /// Keep the programs attached.
    _links: Vec<Link>,
    /// Has the table in use.
    in_use: MapHandle,
    /// The table in use, and the other one, which is empty.
    tables: [MapHandle; 2],
    processes: MapHandle,
    files: MapHandle,
    detail: MapHandle,
    losses: MapHandle,
    lost: Lost,
    /// Operations and classes by their codes.
    ops: Vec<Option<Op>>,
    classes: Vec<Option<IoClass>>,
    /// Codes of origins of paths.
    whole_origin: Option<usize>,
}

impl Activity {
    /// Loads and attaches the programs.
    ///
    /// # Errors
    /// The reason why this kernel cannot run them.
    pub fn start(with: &Start, counted: &Counted) -> Result<Activity> {
        load::start(with, counted)
    }

    /// Sets what is told apart from now on. Requests that are in flight keep what was told apart when they were queued.
    ///
    /// # Errors
    /// If the kernel refuses the access.
    pub fn set_detail(&self, detail: Detail) -> Result<()> {
        let detail = match detail {
            Detail::Disks => types::detail::DETAIL_DISKS,
            Detail::Owners => types::detail::DETAIL_OWNERS,
            Detail::Files => types::detail::DETAIL_FILES,
        };
        self.detail.update(&0u32.to_ne_bytes(), &detail.0.to_ne_bytes(), MapFlags::ANY)?;
        Ok(())
    }

    /// Exchanges the tables, and takes the sums since the last exchange.
    ///
    /// # Errors
    /// If the kernel refuses the access.
    pub fn take(&mut self) -> Result<Taken> {
        self.tables.swap(0, 1);
        let [next, old] = &self.tables;
        // Returns when no program uses the old table any more (synchronize_rcu() in maybe_wait_bpf_programs()).
        let next = next.as_fd().as_raw_fd().to_ne_bytes();
        self.in_use.update(&0u32.to_ne_bytes(), &next, MapFlags::ANY).context("cannot exchange the tables")?;
        let mut taken = Taken::default();
        // All at once: the kernel refuses a batch that is smaller than a bucket of its hash, and the iterator ends there without an error.
        for (key, sums) in old.lookup_and_delete_batch(load::MOST_SUMS, MapFlags::ANY, MapFlags::ANY)? {
            let (Some(key), Some(sums)) = (read_record::<activity_key>(&key), read_record::<activity>(&sums)) else {
                continue;
            };
            if let Some(key) = self.key(&key) {
                taken.sums.entry(key).or_default().merge(&Sums::from(&sums));
            }
        }
        ensure!(old.keys().next().is_none(), "the kernel did not empty the table of sums");
        taken.lost = self.lost()?;
        Ok(taken)
    }

    fn key(&self, key: &activity_key) -> Option<Key> {
        let owner = key.owner;
        let of_class = || self.classes.get(usize::from(key.io_class)).copied().flatten().map(Owner::Class);
        Some(Key {
            dev: key.dev.cast_signed(),
            op: self.ops.get(usize::from(key.op)).copied().flatten()?,
            owner: match owner_kind(u32::from(key.kind)) {
                owner_kind::OWNER_PROCESS => Owner::Process(Process { pid: owner.pid, start_ns: owner.start_ns }),
                owner_kind::OWNER_SEVERAL => Owner::Several,
                owner_kind::OWNER_LEFT_OUT => Owner::LeftOut,
                owner_kind::OWNER_COUNT => return None,
                _ => of_class()?,
            },
            file: (owner.file_dev != 0).then_some(FileId {
                dev: owner.file_dev.cast_signed(),
                ino: owner.ino,
                generation: owner.generation,
            }),
        })
    }

    /// Requests since the last call that are in no sum.
    fn lost(&mut self) -> Result<Lost> {
        let mut now = Lost::default();
        for loss in percpu::<request_loss>(&self.losses, &0u32.to_ne_bytes())? {
            let unseen_end = loss.unseen_issue + loss.unseen_end;
            now.add(Lost { table_full: loss.table_full, unseen_end });
        }
        let before = std::mem::replace(&mut self.lost, now);
        Ok(now.since(before))
    }

    /// Name of a process; none if it is no longer known.
    pub fn process(&self, process: Process) -> Option<ProcessName> {
        let key = process_key { start_ns: process.start_ns, pid: process.pid, reserved: 0 };
        let value = self.processes.lookup(bytes_of(&key), MapFlags::ANY).ok().flatten()?;
        let name = read_record::<types::process_name>(&value)?;
        Some(ProcessName { comm: text(&name.comm), cgroup_id: name.cgroup_id })
    }

    /// Name of a file; none if it is not known.
    pub fn file(&self, file: FileId) -> Option<FileName> {
        let key = file_key { ino: file.ino, dev: file.dev.cast_unsigned(), generation: file.generation };
        let value = self.files.lookup(bytes_of(&key), MapFlags::ANY).ok().flatten()?;
        let name = read_record::<types::file_name>(&value)?;
        let bytes: Vec<u8> = name.path.iter().map(|byte| byte.cast_unsigned()).collect();
        let parts: Vec<&[u8]> = bytes.split(|byte| *byte == 0).take(name.components as usize).collect();
        if parts.is_empty() {
            return None;
        }
        let mut path = String::new();
        for part in parts.iter().rev() {
            path.push('/');
            path.push_str(&String::from_utf8_lossy(part));
        }
        Some(FileName { path, is_whole: self.whole_origin == Some(name.origin as usize) })
    }
}

/// Text up to its NUL.
fn text(bytes: &[i8]) -> String {
    let bytes: Vec<u8> = bytes.iter().take_while(|byte| **byte != 0).map(|byte| byte.cast_unsigned()).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}
