//! Who there is: disks, processes, their threads and their files.

use iostrata_capture::column::Comm;
use iostrata_capture::manifest::{Device, Partition};
use iostrata_capture::op::{FdKind, PathOrigin};
use iostrata_capture::tables::{FileRow, ProcessRow};
use rand_distr::Zipf;

use crate::options::Options;
use crate::profile::{PROFILES, Profile, SHORT_LIVED};

/// The moment at which every capture begins: 2026-01-01, in nanoseconds since the Unix epoch.
pub const BEGIN_NS: i64 = 1_767_225_600_000_000_000;

/// When every process started: an hour before anyone looked.
pub const START_NS: i64 = BEGIN_NS - 3_600_000_000_000;

/// The thread of the kernel that writes the journal: its process id and its name.
pub const JOURNAL: (i32, &str) = (300, "jbd2/nvme0n1-8");
/// The one that writes back.
pub const WORKER: (i32, &str) = (301, "kworker/u8:1");

/// The first process id, and from which on inode numbers and cgroups go.
const FIRST_PID: u32 = 1_000;
const FIRST_INO: u64 = 10_000;
const FIRST_CGROUP: i64 = 5_000;

/// As many ids short-lived processes have in turn, and from which on their cgroups go.
const SHORT_LIVED_PIDS: u32 = 1 << 19;
const SHORT_LIVED_CGROUP: i64 = 1_000_000;

/// Everyone and everything.
#[derive(Debug)]
pub struct Cast {
    /// All processes.
    pub processes: Vec<Process>,
    /// How many files a process has; file n of process p is file `p + n * processes` of all.
    pub files_of_each: u32,
    /// Which of its files a process uses, from 1 on.
    pub choice: Zipf<f64>,
    disks: u32,
    file_bytes: u64,
    /// The first id of short-lived processes, and their command name where they have one in common.
    short_lived: (i32, Option<String>),
}

/// A process.
#[derive(Debug)]
pub struct Process {
    /// What it does.
    pub profile: &'static Profile,
    /// Its id. Its threads have the next ones.
    pub pid: i32,
    /// Its cgroup.
    pub cgroup_id: i64,
    /// The command name of its threads.
    pub comm: Comm,
    /// When it started.
    pub start_ns: i64,
}

impl Process {
    /// Its row, as it was at `ts_ns`.
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

/// A file as the layers name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct File {
    /// Its number among all files.
    pub number: u32,
    /// The disk that it is on.
    pub disk: i32,
    /// The file system that it is on: the disk's only partition.
    pub dev: i32,
    /// Its inode number.
    pub ino: i64,
    /// Where on the disk it begins; files lie whole and one behind the other.
    pub sector: i64,
}

/// A disk's device number: that of `nvmeNn1`.
fn disk(number: u32) -> i32 {
    259 << 20 | (2 * number) as i32
}

impl Cast {
    /// As the options say.
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
            // Both are checked where options come from.
            choice: Zipf::new(f64::from(files_of_each), options.skew)
                .unwrap_or_else(|_| unreachable!("at least one file, and an exponent that is not negative")),
            disks: options.devices,
            file_bytes: options.file_bytes,
            short_lived: (
                FIRST_PID.saturating_add(options.processes.saturating_mul(options.threads + 1)) as i32,
                options.short_lived_name.clone(),
            ),
        }
    }

    /// Short-lived process `number`, which starts at `start_ns`, and its row. Ids come round again, as they do in a kernel.
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
        // With `-c` an interpreter is a program of its own, not the script that it runs.
        let cmdline = format!("{exe} -c run --job {number} --input /srv/jobs/{number}.json");
        let row = process.row(start_ns, (exe, cmdline), cgroup);
        (process, row)
    }

    /// File `of_process`, from 0 on, of process number `process`.
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

    /// The disks, as the manifest has them.
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

    /// The row of process number `process`.
    pub fn process_row(&self, process: usize) -> ProcessRow {
        let of = &self.processes[process];
        let exe = of.profile.exe;
        let name = exe.rsplit('/').next().unwrap_or_default();
        let cmdline = format!("{exe} --instance {process}");
        of.row(BEGIN_NS, (exe.to_owned(), cmdline), format!("/system.slice/{name}-{process}.service"))
    }

    /// The rows of the threads of the kernel.
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

    /// The row of `file`, which process number `process` met at `ts_ns`.
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
