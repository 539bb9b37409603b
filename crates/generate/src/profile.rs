//! I/O profiles of the systems. Synthetic, in the style of each system: syncs, direct I/O, I/O sizes, sequential access.

use iostrata_capture::op::Op;

/// I/O profile of the processes of a system.
#[derive(Debug, Clone, Copy)]
pub struct Profile {
    /// Path of the executable, from which the rules of the analyzer derive the system.
    pub exe: &'static str,
    /// Command name of the threads.
    pub comm: &'static str,
    /// Read call and write call.
    pub calls: [Op; 2],
    /// Direct I/O (`O_DIRECT`).
    pub direct: bool,
    /// Share of reads in its operations.
    pub reads: f64,
    /// Share of operations that continue at the end of the thread's previous operation on the file.
    pub sequential: f64,
    /// Writes per `fdatasync`; 0 disables it.
    pub writes_per_sync: u32,
    /// I/O sizes in bytes, uniformly distributed.
    pub sizes: &'static [u32],
}

const KIB: u32 = 1024;

/// A process that reads once and exits.
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

/// Profiles of the systems.
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
