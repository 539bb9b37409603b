//! Rows of a view: what was taken from the kernel, by disk, system, process, cgroup or file.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use clap::ValueEnum;
use iostrata_capture::manifest::Device;
use iostrata_capture::op::{Direction, Op};

use super::names::Names;
use crate::groups::block_activity::{Activity, Detail, Key, Owner, Sums, Taken};
use crate::host::devices;

/// What a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum By {
    /// Disk.
    Disk,
    /// System, by the rules.
    System,
    /// Process.
    Process,
    /// Cgroup.
    Cgroup,
    /// File.
    File,
}

impl By {
    /// What must be told apart for its rows.
    pub const fn detail(self) -> Detail {
        match self {
            By::Disk => Detail::Disks,
            By::System | By::Process | By::Cgroup => Detail::Owners,
            By::File => Detail::Files,
        }
    }

    /// Name on the terminal and in files.
    pub const fn name(self) -> &'static str {
        match self {
            By::Disk => "disk",
            By::System => "system",
            By::Process => "process",
            By::Cgroup => "cgroup",
            By::File => "file",
        }
    }
}

/// Order of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Sort {
    /// Requests.
    Iops,
    /// Bytes.
    Bytes,
    /// Average latency.
    #[value(name = "avg")]
    Average,
    /// Median latency.
    P50,
    /// 99th percentile of the latency.
    P99,
    /// Maximum latency.
    Max,
    /// Requests in flight.
    #[value(name = "inflight")]
    InFlight,
    /// Name.
    Name,
}

impl Sort {
    /// Name on the terminal and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Sort::Iops => "iops",
            Sort::Bytes => "bytes",
            Sort::Average => "avg",
            Sort::P50 => "p50",
            Sort::P99 => "p99",
            Sort::Max => "max",
            Sort::InFlight => "inflight",
            Sort::Name => "name",
        }
    }
}

/// State of a disk at the end of an interval.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DiskState {
    /// Requests in flight (`/sys/block/DEV/inflight`).
    pub in_flight: Option<u64>,
    /// Share of the interval with a request in flight, as the kernel samples it (`io_ticks`), 0 to 1.
    pub utilization: Option<f64>,
}

/// Requests and bytes of one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    /// Completed requests.
    pub requests: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Moved {
    fn add(&mut self, sums: &Sums) {
        self.requests = self.requests.saturating_add(sums.requests);
        self.bytes = self.bytes.saturating_add(sums.bytes);
    }
}

/// A row.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Name of the disk, system, process, cgroup or file.
    pub name: Arc<str>,
    /// Process id.
    pub pid: Option<u32>,
    /// Reads.
    pub reads: Moved,
    /// Writes.
    pub writes: Moved,
    /// All requests: reads, writes, flushes, discards and others.
    pub all: Sums,
    /// State, of a disk.
    pub disk: Option<DiskState>,
}

impl Row {
    fn new(name: Arc<str>, pid: Option<u32>) -> Row {
        let (reads, writes, all) = Default::default();
        Row { name, pid, reads, writes, all, disk: None }
    }

    fn add(&mut self, op: Op, sums: &Sums) {
        match op.direction() {
            Some(Direction::Read) => self.reads.add(sums),
            Some(Direction::Write) => self.writes.add(sums),
            _ => {}
        }
        self.all.merge(sums);
    }

    /// Average number of requests in flight in an interval: the sum of the latencies over its length (Little's law).
    pub fn in_flight(&self, interval_s: f64) -> f64 {
        self.all.duration_ns as f64 / 1e9 / interval_s
    }
}

/// Requests that are shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Only {
    /// Rows with this in their name.
    pub name: String,
    /// Requests of disks with this name.
    pub disk: String,
    /// Requests of this process.
    pub pid: Option<u32>,
}

/// An interval.
pub struct Interval {
    /// Length in seconds.
    pub seconds: f64,
    /// What the kernel side counted.
    pub taken: Taken,
    /// Disks, with their state at the end.
    pub disks: Vec<(Device, DiskState)>,
    /// What was told apart in all of it.
    pub detail: Detail,
}

impl Interval {
    fn disk_name(&self, dev: i32) -> String {
        let known = self.disks.iter().find(|(disk, _)| disk.dev == dev);
        known.map_or_else(|| devices::name_in(&[], dev), |(disk, _)| disk.name.clone())
    }

    fn is_chosen(&self, key: &Key, only: &Only) -> bool {
        let is_process = |pid: u32| matches!(key.owner, Owner::Process(process) if process.pid == pid);
        (only.disk.is_empty() || self.disk_name(key.dev) == only.disk) && only.pid.is_none_or(is_process)
    }

    /// Rows of a view, in no order.
    fn unsorted(&self, by: By, only: &Only, activity: &Activity, names: &mut Names) -> Vec<Row> {
        let mut rows: HashMap<(Arc<str>, Option<u32>), Row> = HashMap::new();
        if by == By::Disk && only.pid.is_none() {
            for (disk, state) in self.disks.iter().filter(|(disk, _)| only.disk.is_empty() || disk.name == only.disk) {
                let name: Arc<str> = disk.name.as_str().into();
                let row = Row { disk: Some(state.clone()), ..Row::new(Arc::clone(&name), None) };
                rows.insert((name, None), row);
            }
        }
        for (key, sums) in self.taken.sums.iter().filter(|(key, _)| self.is_chosen(key, only)) {
            let (name, pid) = self.entity(key, by, activity, names);
            let row = rows.entry((Arc::clone(&name), pid)).or_insert_with(|| Row::new(name, pid));
            row.add(key.op, sums);
        }
        rows.into_values().filter(|row| row.name.contains(&only.name)).collect()
    }

    fn entity(&self, key: &Key, by: By, activity: &Activity, names: &mut Names) -> (Arc<str>, Option<u32>) {
        match by {
            By::Disk => (self.disk_name(key.dev).into(), None),
            By::System => (names.owner(activity, key.owner).system, None),
            By::Cgroup => (names.owner(activity, key.owner).cgroup, None),
            By::Process => {
                let pid = if let Owner::Process(process) = key.owner { Some(process.pid) } else { None };
                (names.owner(activity, key.owner).comm, pid)
            }
            By::File => match key.file {
                Some(file) => (names.file(activity, file), None),
                None => {
                    let owner = names.owner(activity, key.owner).comm;
                    let is_process = matches!(key.owner, Owner::Process(_));
                    (if is_process { format!("(no file) {owner}").into() } else { owner }, None)
                }
            },
        }
    }

    /// Rows of a view, sorted.
    pub fn rows(
        &self,
        (by, sort, is_reversed): (By, Sort, bool),
        only: &Only,
        activity: &Activity,
        names: &mut Names,
    ) -> Vec<Row> {
        let mut rows = self.unsorted(by, only, activity, names);
        sort_rows(&mut rows, sort, is_reversed);
        rows
    }
}

/// Sorts rows: highest first, names ascending; the other way round if `is_reversed`.
pub fn sort_rows(rows: &mut [Row], sort: Sort, is_reversed: bool) {
    let key = |row: &Row| match sort {
        Sort::Iops => row.all.requests,
        Sort::Bytes => row.reads.bytes.saturating_add(row.writes.bytes),
        Sort::Average => row.all.average_ns().unwrap_or(0),
        Sort::P50 => row.all.percentile_ns(0.5).unwrap_or(0),
        Sort::P99 => row.all.percentile_ns(0.99).unwrap_or(0),
        Sort::Max => row.all.max_ns,
        Sort::InFlight => row.all.duration_ns,
        Sort::Name => 0,
    };
    rows.sort_by_cached_key(|row| (std::cmp::Reverse(key(row)), Arc::clone(&row.name), row.pid));
    if is_reversed {
        rows.reverse();
    }
}

/// Busy times of the disks, by name (`io_ticks` in `/sys/block/DEV/stat`), in ms.
pub type Busy = BTreeMap<String, u64>;

/// Disks of a view with their state, from their busy times at the start of the interval; also the busy times at its end.
pub fn disk_states(disks: Vec<Device>, before: &Busy, interval_s: f64) -> (Vec<(Device, DiskState)>, Busy) {
    let busy: Busy = disks.iter().filter_map(|disk| Some((disk.name.clone(), devices::busy_ms(&disk.name)?))).collect();
    let state = |disk: &Device| {
        let ms = busy.get(&disk.name).zip(before.get(&disk.name)).map(|(now, before)| now.saturating_sub(*before));
        let utilization = ms.map(|ms| (ms as f64 / 1e3 / interval_s).min(1.0));
        DiskState { in_flight: devices::in_flight(&disk.name), utilization }
    };
    let states = disks.iter().map(state).collect::<Vec<_>>();
    (disks.into_iter().zip(states).collect(), busy)
}
