//! What the systems do that processes are of. Made up, in the manner of each: who syncs, who goes past the page cache, who moves
//! how much at once, who goes through a file in order.

use iostrata_capture::op::Op;

/// How the processes of a system do I/O.
#[derive(Debug, Clone, Copy)]
pub struct Profile {
    /// The executable's path, by which the analyzer's rules know the system.
    pub exe: &'static str,
    /// The threads' command name.
    pub comm: &'static str,
    /// The call that reads, and the one that writes.
    pub calls: [Op; 2],
    /// Whether it goes past the page cache (`O_DIRECT`).
    pub direct: bool,
    /// The share of its operations that read.
    pub reads: f64,
    /// The share that goes on where the thread's last one on the file ended.
    pub sequential: f64,
    /// How many writes come for one `fdatasync`; 0 is none.
    pub writes_per_sync: u32,
    /// What it moves at once, in bytes; one is as likely as the other.
    pub sizes: &'static [u32],
}

const KIB: u32 = 1024;

/// A process that reads something once and ends.
pub const SHORT_LIVED: Profile = Profile {
    exe: "",
    comm: "",
    calls: [Op::Read, Op::Write],
    direct: false,
    reads: 1.0,
    sequential: 1.0,
    writes_per_sync: 0,
    sizes: &[4 * KIB],
};

/// The systems.
pub const PROFILES: [Profile; 6] = [
    Profile {
        exe: "/usr/local/bin/minio",
        comm: "minio",
        calls: [Op::Read, Op::Write],
        direct: false,
        reads: 0.6,
        sequential: 0.95,
        writes_per_sync: 64,
        sizes: &[128 * KIB, 1024 * KIB],
    },
    Profile {
        exe: "/usr/bin/ceph-osd",
        comm: "bstore_kv_sync",
        calls: [Op::Preadv, Op::Pwritev],
        direct: true,
        reads: 0.5,
        sequential: 0.1,
        writes_per_sync: 16,
        sizes: &[4 * KIB, 16 * KIB, 64 * KIB],
    },
    Profile {
        exe: "/usr/bin/etcd",
        comm: "etcd",
        calls: [Op::Pread, Op::Write],
        direct: false,
        reads: 0.2,
        sequential: 0.98,
        writes_per_sync: 1,
        sizes: &[512, 2 * KIB, 8 * KIB],
    },
    Profile {
        exe: "/usr/lib/postgresql/15/bin/postgres",
        comm: "postgres",
        calls: [Op::Pread, Op::Pwrite],
        direct: false,
        reads: 0.75,
        sequential: 0.3,
        writes_per_sync: 8,
        sizes: &[8 * KIB],
    },
    Profile {
        exe: "/usr/sbin/glusterfsd",
        comm: "glfs_iotwr",
        calls: [Op::Readv, Op::Writev],
        direct: false,
        reads: 0.5,
        sequential: 0.7,
        writes_per_sync: 32,
        sizes: &[32 * KIB, 128 * KIB],
    },
    Profile {
        exe: "/usr/bin/fio",
        comm: "fio",
        calls: [Op::Pread, Op::Pwrite],
        direct: true,
        reads: 0.7,
        sequential: 0.0,
        writes_per_sync: 0,
        sizes: &[4 * KIB],
    },
];
