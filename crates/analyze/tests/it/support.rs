//! Synthetic captures, and runs of the binary on them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use iostrata_capture::column::Comm;
use iostrata_capture::completeness::CompletenessFile;
use iostrata_capture::dir::Dir;
use iostrata_capture::ledger::{Account, EventAccounting};
use iostrata_capture::list::{Entry, ListFile};
use iostrata_capture::manifest::{Clock, Filters, Host, LayerState, Manifest, State};
use iostrata_capture::op::{Evidence, FdKind, IoClass, Layer, Op, Via};
use iostrata_capture::part::PartWriter;
use iostrata_capture::table::{Table, TableBuilder};
use iostrata_capture::tables::{
    BlockRow, BlockTable, ClockRow, ClockTable, FsRow, FsTable, LossRow, LossTable, ProcessRow, ProcessTable, ShareRow,
    ShareTable, SyscallRow, SyscallTable, VfsRow, VfsTable,
};

/// Rows and a manifest that become a capture on disk.
#[derive(Clone)]
pub struct Capture {
    pub manifest: Manifest,
    pub syscall: Vec<SyscallRow>,
    pub vfs: Vec<VfsRow>,
    pub fs: Vec<FsRow>,
    pub block: Vec<BlockRow>,
    pub share: Vec<ShareRow>,
    pub process: Vec<ProcessRow>,
    pub loss: Vec<LossRow>,
    pub clock: Vec<ClockRow>,
    pub rows_per_part: usize,
    /// Whether the last part of each table is unfinished.
    pub torn: bool,
    /// End of the complete range, if the recorder wrote it down.
    pub whole_until_ns: Option<i64>,
}

pub fn comm(name: &str) -> Comm {
    let mut comm = Comm::default();
    comm.0[..name.len()].copy_from_slice(name.as_bytes());
    comm
}

pub fn layers(captured: &[Layer]) -> BTreeMap<Layer, LayerState> {
    let state = |layer: &Layer| match captured.contains(layer) {
        true => LayerState { captured: true, how: "tp_btf".into(), without: Vec::new() },
        false => LayerState { captured: false, how: "the kernel refused fentry".into(), without: Vec::new() },
    };
    Layer::ALL.iter().map(|layer| (*layer, state(layer))).collect()
}

impl Capture {
    /// A finished capture without rows.
    pub fn empty(id: &str, captured: &[Layer]) -> Capture {
        let manifest = Manifest {
            schema_version: iostrata_capture::SCHEMA_VERSION,
            capture_id: id.into(),
            state: State::Complete,
            started_at: "2026-01-01T00:00:00Z".into(),
            stopped_at: None,
            stop_reason: None,
            recorder_version: "0".into(),
            parts_id: Some(id.into()),
            continues: None,
            privacy: Default::default(),
            run_queue: false,
            whole_until_ns: None,
            command_line: vec!["iostrata".into()],
            host: Host::default(),
            clock: Clock::default(),
            layers: layers(captured),
            groups: std::collections::BTreeMap::new(),
            probes: Vec::new(),
            filters: Filters::default(),
            filtered: None,
            devices: Vec::new(),
            mounts: Vec::new(),
            books: EventAccounting::default(),
            sampling: None,
            device_books: Vec::new(),
            process_counters: None,
            servers: Vec::new(),
            maps: Vec::new(),
        };
        Capture {
            manifest,
            syscall: Vec::new(),
            vfs: Vec::new(),
            fs: Vec::new(),
            block: Vec::new(),
            share: Vec::new(),
            process: Vec::new(),
            loss: Vec::new(),
            clock: Vec::new(),
            rows_per_part: usize::MAX,
            torn: false,
            whole_until_ns: None,
        }
    }

    pub fn process(&mut self, ts_ns: i64, pid: i32, name: &str, exe: Option<&str>) -> &mut ProcessRow {
        self.process.push(ProcessRow {
            ts_ns,
            pid,
            ppid: 1,
            start_ns: 0,
            comm: comm(name),
            kernel_thread: exe.is_none(),
            cgroup_id: 1,
            exe: exe.map(str::to_owned),
            cmdline: None,
            cgroup: None,
        });
        self.process.last_mut().expect("just pushed")
    }

    pub fn syscall(&mut self, ts_ns: i64, pid: i32, op: Op, ret: i64, dur_ns: i64) -> &mut SyscallRow {
        self.syscall.push(SyscallRow {
            ts_ns,
            dur_ns,
            pid,
            tid: pid,
            comm: comm("some"),
            cgroup_id: 1,
            op,
            fd_kind: Some(FdKind::Regular),
            dev: None,
            ino: None,
            offset_bytes: None,
            requested_bytes: None,
            runnable_ns: None,
            ret,
            flags: None,
            weight: 1,
        });
        self.syscall.last_mut().expect("just pushed")
    }

    pub fn vfs(&mut self, ts_ns: i64, pid: i32, op: Op, ret: i64, dur_ns: i64) -> &mut VfsRow {
        self.vfs.push(VfsRow {
            ts_ns,
            dur_ns,
            pid,
            tid: pid,
            comm: comm("some"),
            cgroup_id: 1,
            op,
            fd_kind: Some(FdKind::Regular),
            dev: None,
            ino: None,
            offset_bytes: None,
            requested_bytes: None,
            ret,
            weight: 1,
        });
        self.vfs.last_mut().expect("just pushed")
    }

    /// Adds pages of the file 12 on the disk 7:0.
    pub fn fs(&mut self, ts_ns: i64, pid: i32, op: Op, via: Option<Via>, bytes: i64) {
        self.fs.push(FsRow {
            ts_ns,
            dur_ns: None,
            op,
            pid,
            tid: pid,
            comm: comm("some"),
            cgroup_id: 1,
            via,
            fs: comm("ext4"),
            fd_kind: Some(FdKind::Regular),
            dev: 7 << 20,
            ino: Some(12),
            offset_bytes: None,
            bytes,
            events: 1,
            blocks: None,
            weight: 1,
        });
    }

    pub fn block(&mut self, ts_ns: i64, pid: Option<i32>, op: Op, bytes: i64, dur_ns: i64) -> &mut BlockRow {
        self.block.push(BlockRow {
            ts_ns,
            dur_ns: Some(dur_ns),
            queue_ns: Some(dur_ns / 10),
            insert_ns: None,
            pid,
            tid: pid,
            comm: pid.map_or(Comm::default(), |_| comm("some")),
            cgroup_id: None,
            start_ns: pid.map(|_| 0),
            evidence: if pid.is_some() { Evidence::Direct } else { Evidence::None },
            owned_bytes: if pid.is_some() { bytes } else { 0 },
            shared_bytes: 0,
            submitter_pid: None,
            submitter_comm: Comm::default(),
            class: if matches!(op, Op::Flush | Op::DeviceFlush) { IoClass::Flush } else { IoClass::Data },
            file_dev: None,
            ino: None,
            dev: 7 << 20,
            level: Some(0),
            sector: None,
            bytes,
            op,
            flags: 0,
            error: 0,
            bios: 1,
            requeues: 0,
            weight: 1,
        });
        self.block.last_mut().expect("just pushed")
    }

    /// Adds a part of the last request, of another owner.
    pub fn share(&mut self, pid: Option<i32>, bytes: i64) {
        let request = self.block.last_mut().expect("a request");
        request.shared_bytes += bytes;
        self.share.push(ShareRow {
            ts_ns: request.ts_ns,
            dev: request.dev,
            sector: request.sector,
            op: request.op,
            flags: request.flags,
            pid,
            tid: pid,
            comm: request.comm,
            cgroup_id: None,
            start_ns: pid.map(|_| 0),
            evidence: if pid.is_some() { Evidence::Page } else { Evidence::None },
            class: if pid.is_some() { IoClass::Data } else { IoClass::Metadata },
            file_dev: None,
            ino: None,
            bytes,
            weight: request.weight,
        });
    }

    /// Adds losses on CPU 0 between two checks.
    pub fn loss(&mut self, (since_ns, ts_ns): (i64, i64), class: &str, cause: &str, events: i64) {
        self.loss.push(LossRow { ts_ns, since_ns, class: comm(class), cpu: 0, cause: comm(cause), events });
    }

    /// Sets the wall clock ahead of the monotonic clock by `ahead_ns` from `ts_ns` on.
    pub fn step(&mut self, ts_ns: i64, ahead_ns: i64) {
        self.clock.push(ClockRow { ts_ns, wall_ns: ts_ns + ahead_ns, boot_ns: ts_ns });
    }

    /// Writes the capture into the new directory `name` in `place`.
    pub fn write(&self, place: &Path, name: &str) -> PathBuf {
        let directory = place.join(name);
        fs::create_dir(&directory).expect("a fresh place");
        let capture = Dir::open(&directory).expect("there");
        let mut list = ListFile::create(&capture).expect("a fresh place");
        list.append(&self.parts::<SyscallTable>(&capture, &self.syscall)).expect("room");
        list.append(&self.parts::<VfsTable>(&capture, &self.vfs)).expect("room");
        list.append(&self.parts::<FsTable>(&capture, &self.fs)).expect("room");
        list.append(&self.parts::<BlockTable>(&capture, &self.block)).expect("room");
        list.append(&self.parts::<ShareTable>(&capture, &self.share)).expect("room");
        list.append(&self.parts::<ProcessTable>(&capture, &self.process)).expect("room");
        list.append(&self.parts::<LossTable>(&capture, &self.loss)).expect("room");
        list.append(&self.parts::<ClockTable>(&capture, &self.clock)).expect("room");
        self.settled().write(&capture).expect("room");
        if let Some(until_ns) = self.whole_until_ns {
            CompletenessFile::create(&capture, self.manifest.parts_id.as_deref().unwrap_or_default(), until_ns)
                .expect("room");
        }
        directory
    }

    /// Returns the manifest with accounting that matches the rows; an incomplete recording has none.
    fn settled(&self) -> Manifest {
        let mut manifest = self.manifest.clone();
        let rows = [
            (SyscallTable::NAME, self.syscall.len()),
            (VfsTable::NAME, self.vfs.len()),
            (FsTable::NAME, self.fs.len()),
            (BlockTable::NAME, self.block.len()),
            (ShareTable::NAME, self.share.len()),
            (ProcessTable::NAME, self.process.len()),
        ];
        for (class, rows) in rows.into_iter().filter(|_| manifest.state == State::Complete) {
            let accounts = &mut manifest.books.accounts;
            let known: u64 =
                accounts.iter().filter(|account| account.class == class).map(|account| account.written).sum();
            let missing = (rows as u64).saturating_sub(known);
            if missing > 0 {
                accounts.push(Account {
                    class: class.into(),
                    cpu: u32::MAX,
                    seen: missing,
                    written: missing,
                    ..Account::default()
                });
            }
        }
        manifest
    }

    fn parts<T: Table<Row: Clone>>(&self, capture: &Dir, rows: &[T::Row]) -> Vec<Entry> {
        if rows.is_empty() {
            return Vec::new();
        }
        capture.make_dir(T::NAME, 0o750).expect("a fresh place");
        let chunks = rows.chunks(self.rows_per_part.min(rows.len()));
        let last = chunks.len() - 1;
        let part = |(number, rows): (usize, &[T::Row])| {
            let mut builder = T::Builder::default();
            rows.iter().for_each(|row| builder.push(row.clone()));
            let mut writer = PartWriter::create::<T>(capture, number as u32 + 1, self.manifest.parts_id.as_deref())
                .expect("writable");
            writer.write(&builder.finish().expect("equal columns")).expect("room");
            if self.torn && number == last {
                writer.flush().expect("room");
                return None;
            }
            Some(Entry::Finished(writer.finish().expect("room")))
        };
        chunks.enumerate().filter_map(part).collect()
    }
}

/// Small capture with rows of all kinds: three systems, and the layers in `captured`.
pub fn small(captured: &[Layer]) -> Capture {
    let mut capture = Capture::empty("small", captured);
    capture.process(10, 1, "etcd", Some("/usr/bin/etcd"));
    capture.process(10, 2, "dd", Some("/usr/bin/dd"));
    capture.process(10, 3, "kworker/u4:1", None);
    for i in 0..20 {
        capture.syscall(100 + i, 1, Op::Pwrite, 1_000, 5_000 + i);
        capture.vfs(100 + i, 1, Op::Write, 1_000, 4_000 + i);
        capture.block(110 + i, Some(1), Op::Write, 4_096, 100_000 + 10 * i);
    }
    capture.syscall(200, 1, Op::Fdatasync, 0, 900_000);
    capture.block(201, Some(1), Op::Flush, 0, 50_000).insert_ns = Some(1_000);
    capture.syscall(300, 2, Op::Openat, 3, 700).fd_kind = None;
    capture.syscall(301, 2, Op::Read, 8_192, 60_000);
    capture.syscall(302, 2, Op::Read, -5, 10);
    capture.vfs(301, 2, Op::Read, 8_192, 59_000);
    capture.block(303, Some(2), Op::Read, 16_384, 40_000);
    capture.syscall(304, 2, Op::Write, 512, 300).fd_kind = Some(FdKind::Memory);
    capture.vfs(304, 2, Op::Write, 512, 200).fd_kind = Some(FdKind::Memory);
    capture.block(400, Some(3), Op::Write, 8_192, 70_000);
    capture.block(401, Some(3), Op::Discard, 1 << 20, 70_000);
    capture.block(402, None, Op::DeviceFlush, 0, 30_000).flags = 512;
    capture.vfs.retain(|_| captured.contains(&Layer::Vfs));
    capture
}

/// Runs the binary in `place`.
pub fn run(place: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_iostrata-analyze"));
    command.current_dir(place).args(arguments).output().expect("the binary runs")
}

/// Runs the binary; returns the exit code, standard output and standard error.
pub fn run_text(place: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = run(place, arguments);
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code().expect("no signal"), text(output.stdout), text(output.stderr))
}
