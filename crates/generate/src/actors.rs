//! Actors of the capture: disks, processes, threads and files.

use iostrata_capture::column::Comm;
use iostrata_capture::manifest::{Device, Partition};
use iostrata_capture::op::{FdKind, PathOrigin};
use iostrata_capture::tables::{FileRow, ProcessRow};
use rand_distr::Zipf;

use crate::options::Options;
use crate::profile::{PROFILES, Profile, SHORT_LIVED};

/// Begin of every capture: 2026-01-01, in nanoseconds since the Unix epoch.
pub const BEGIN_NS: i64 = 1_767_225_600_000_000_000;

/// Start of every process: an hour before the capture.
pub const START_NS: i64 = BEGIN_NS - 3_600_000_000_000;

/// Kernel thread that writes the journal: process id and name.
pub const JOURNAL: (i32, &str) = (300, "jbd2/nvme0n1-8");
/// Kernel thread that does writeback.
pub const WORKER: (i32, &str) = (301, "kworker/u8:1");

/// First process id, inode number and cgroup id.
const FIRST_PID: u32 = 1_000;
const FIRST_INO: u64 = 10_000;
const FIRST_CGROUP: i64 = 5_000;

/// Number of ids that short-lived processes cycle through, and their first cgroup id.
const SHORT_LIVED_PIDS: u32 = 1 << 19;
const SHORT_LIVED_CGROUP: i64 = 1_000_000;

/// All processes and files.
#[derive(Debug)]
pub struct Cast {
    /// All processes.
    pub processes: Vec<Process>,
    /// Number of files per process; file n of process p has number `p + n * processes`.
    pub files_of_each: u32,
    /// Distribution of the file that a process uses, from 1.
    pub choice: Zipf<f64>,
    disks: u32,
    file_bytes: u64,
    /// First id of short-lived processes, and their common command name, if any.
    short_lived: (i32, Option<String>),
}

/// A process.
#[derive(Debug)]
pub struct Process {
    /// I/O profile.
    pub profile: &'static Profile,
    /// Process id. Its threads have the following ids.
    pub pid: i32,
    /// Cgroup id.
    pub cgroup_id: i64,
    /// Command name of its threads.
    pub comm: Comm,
    /// Start time.
    pub start_ns: i64,
}

impl Process {
    /// Returns its row at `ts_ns`.
    fn row(&self, ts_ns: i64, (exe, cmdline): (String, String), cgroup: String) -> ProcessRow {
        let Process { pid, cgroup_id, comm, start_ns, .. } = *self;
        ProcessRow {
            ts_ns,
            pid,
            ppid: 1,
            start_ns,
            comm,
            kernel_thread: false,
            cgroup_id,
            exe: Some(exe),
            cmdline: Some(cmdline),
            cgroup: Some(cgroup),
        }
    }
}

/// A file, as the layers identify it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct File {
    /// Number among all files.
    pub number: u32,
    /// Device number of its disk.
    pub disk: i32,
    /// Device number of its file system: the only partition of the disk.
    pub dev: i32,
    /// Inode number.
    pub ino: i64,
    /// First sector on the disk; files are contiguous, one after another.
    pub sector: i64,
}

/// Device number of disk `nvmeNn1`.
fn disk(number: u32) -> i32 {
    259 << 20 | (2 * number) as i32
}

impl Cast {
    /// Creates the processes and files from the options.
    pub fn new(options: &Options) -> Cast {
        let of = |number: u32| {
            let profile = &PROFILES[number as usize % PROFILES.len()];
            Process {
                profile,
                pid: (FIRST_PID + number * (options.threads + 1)) as i32,
                cgroup_id: FIRST_CGROUP + i64::from(number),
                comm: Comm::of(profile.comm),
                start_ns: START_NS,
            }
        };
        let files_of_each = options.files.div_ceil(options.processes);
        Cast {
            processes: (0..options.processes).map(of).collect(),
            files_of_each,
            // The command line checks both.
            choice: Zipf::new(f64::from(files_of_each), options.skew)
                .unwrap_or_else(|_| unreachable!("at least one file, exponent not negative")),
            disks: options.devices,
            file_bytes: options.file_bytes,
            short_lived: (
                FIRST_PID.saturating_add(options.processes.saturating_mul(options.threads + 1)) as i32,
                options.short_lived_name.clone(),
            ),
        }
    }

    /// Returns short-lived process `number`, started at `start_ns`, and its row. Ids wrap around, as in a kernel.
    pub fn short_lived(&self, number: u32, start_ns: i64) -> (Process, ProcessRow) {
        let (first_pid, common) = &self.short_lived;
        let pid = first_pid.saturating_add((number % SHORT_LIVED_PIDS) as i32);
        let (name, exe) = match common {
            Some(name) => (name.clone(), format!("/usr/bin/{name}")),
            None => (format!("job{number}"), format!("/opt/jobs/{:03}/job{number}", number % 1_000)),
        };
        let (cgroup_id, cgroup) = match common {
            Some(_) => (SHORT_LIVED_CGROUP, "/system.slice/jobs.service".to_owned()),
            None => (SHORT_LIVED_CGROUP + i64::from(number), format!("/jobs.slice/job-{number}.scope")),
        };
        let comm = Comm::of(&name);
        let process = Process { profile: &SHORT_LIVED, pid, cgroup_id, comm, start_ns };
        // With `-c` the program name of an interpreter is its own, not that of a script.
        let cmdline = format!("{exe} -c run --job {number} --input /srv/jobs/{number}.json");
        let row = process.row(start_ns, (exe, cmdline), cgroup);
        (process, row)
    }

    /// Returns file `of_process`, counted from 0, of process number `process`.
    pub fn file(&self, process: usize, of_process: u32) -> File {
        let number = process as u32 + of_process * self.processes.len() as u32;
        let on_disk = number / self.disks;
        File {
            number,
            disk: disk(number % self.disks),
            dev: disk(number % self.disks) + 1,
            ino: (FIRST_INO + u64::from(on_disk)) as i64,
            sector: (u64::from(on_disk) * self.file_bytes / 512 + 2_048) as i64,
        }
    }

    /// Returns the disks for the manifest.
    pub fn devices(&self) -> Vec<Device> {
        let files = self.files_of_each * self.processes.len() as u32;
        let device = |number: u32| Device {
            dev: disk(number),
            name: format!("nvme{number}n1"),
            size_bytes: (u64::from(files.div_ceil(self.disks)) + 1) * self.file_bytes,
            logical_block_bytes: 512,
            scheduler: Some("none".to_owned()),
            partitions: vec![Partition { dev: disk(number) + 1, name: format!("nvme{number}n1p1") }],
            level: Some(0),
            ..Device::default()
        };
        (0..self.disks).map(device).collect()
    }

    /// Returns the row of process number `process`.
    pub fn process_row(&self, process: usize) -> ProcessRow {
        let of = &self.processes[process];
        let exe = of.profile.exe;
        let name = exe.rsplit('/').next().unwrap_or_default();
        let cmdline = format!("{exe} --instance {process}");
        of.row(BEGIN_NS, (exe.to_owned(), cmdline), format!("/system.slice/{name}-{process}.service"))
    }

    /// Returns the rows of the kernel threads.
    pub fn kernel_rows() -> [ProcessRow; 2] {
        [JOURNAL, WORKER].map(|(pid, name)| ProcessRow {
            ts_ns: BEGIN_NS,
            pid,
            ppid: 2,
            start_ns: START_NS,
            comm: Comm::of(name),
            kernel_thread: true,
            cgroup_id: 1,
            exe: None,
            cmdline: None,
            cgroup: Some("/".to_owned()),
        })
    }

    /// Returns the row of `file`, first used by process number `process` at `ts_ns`.
    pub fn file_row(&self, process: usize, file: File, ts_ns: i64) -> FileRow {
        FileRow {
            ts_ns,
            dev: file.dev,
            ino: file.ino,
            generation: 1,
            path: Some(format!("/srv/{process}/{:03}/{:08}", file.number % 1_000, file.number)),
            path_origin: Some(PathOrigin::Namespace),
            mount_namespace: Some(4_026_531_841),
            deleted: false,
            fd_kind: Some(FdKind::Regular),
            fs: Comm::of("ext4"),
            pid: self.processes[process].pid,
        }
    }
}
