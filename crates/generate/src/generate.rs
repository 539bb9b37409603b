//! Schedules the operations of all threads and writes the capture.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;

use anyhow::{Context, Result};
use iostrata_capture::capture_writer::{CaptureWriter, Rows};
use iostrata_capture::ledger::{Account, Amounts, EventAccounting, Lost};
use iostrata_capture::manifest::{Clock, ClockPair, Device, Filters, Host, LayerState, Manifest, Mount, State};
use iostrata_capture::op::{Layer, Op};
use iostrata_capture::tables::{ClockRow, ClockTable, FileTable, ProcessTable};
use iostrata_capture::{SCHEMA_VERSION, TableId};
use rand::{RngExt, SeedableRng};
use rand_distr::Exp1;
use rand_pcg::Pcg64Mcg;

use crate::actors::{BEGIN_NS, Cast};
use crate::io_model::{Actor, Dirty, Request, Stack};
use crate::layers::Layers;
use crate::options::Options;

/// Initial estimate of the average number of rows per operation.
const ROWS_OF_AN_OPERATION: f64 = 2.5;

/// A generated capture.
#[derive(Debug)]
pub struct Made {
    /// Rows in the tables of the layers.
    pub events: u64,
    /// Number of parts.
    pub parts: usize,
    /// Size of the parts.
    pub bytes: u64,
    /// Capture time.
    pub duration_ns: i64,
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let seconds = self.duration_ns as f64 / 1e9;
        let each = self.bytes as f64 / self.events as f64;
        write!(
            f,
            "{} events in {seconds:.3} s of capture time, {} parts, {} bytes, {each:.2} bytes per event",
            self.events, self.parts, self.bytes
        )
    }
}

/// A thread between two operations.
struct Thread {
    process: usize,
    tid: i32,
    /// Current file and offset.
    file: u32,
    offset: i64,
    writes: u32,
}

/// State of the generator.
struct World<'a> {
    options: &'a Options,
    cast: Cast,
    rng: Pcg64Mcg,
    stack: Stack,
    processes: Rows<ProcessTable>,
    files: Rows<FileTable>,
    /// Number of short-lived processes so far, and of their rows.
    short_lived: (u32, u64),
    /// By file: whether it has a row, and its dirty data.
    met: Vec<bool>,
    dirty: Vec<Dirty>,
}

/// Generates a capture with `options`.
pub fn run(options: &Options) -> Result<Made> {
    let mut author = CaptureWriter::create(&options.out, options.part_bytes)?;
    author.id().get_or_init(|| id(options));
    let cast = Cast::new(options);
    let mut processes: Rows<ProcessTable> = author.table();
    for process in 0..cast.processes.len() {
        processes.push(cast.process_row(process))?;
    }
    let mut process_rows = cast.processes.len() as u64 + u64::from(options.short_lived);
    for row in Cast::kernel_rows() {
        processes.push(row)?;
        process_rows += 1;
    }

    let all_files = cast.files_of_each as usize * cast.processes.len();
    let mut world = World {
        options,
        cast,
        rng: Pcg64Mcg::seed_from_u64(options.seed),
        stack: Stack::new(Layers::new(&author)),
        processes,
        files: author.table(),
        short_lived: (0, 0),
        met: vec![false; all_files],
        dirty: vec![Dirty::default(); all_files],
    };
    let end_ns = world.run()?;
    let World { cast, stack, processes, files, met, .. } = world;
    let events = stack.layers.rows();
    let files_met = met.iter().filter(|met| **met).count() as u64;
    let told = [(TableId::Process, process_rows), (TableId::File, files_met)];
    let by_table = [stack.layers.by_table().as_slice(), &told].concat();
    let mut parts = stack.layers.finish()?;
    parts.extend(processes.finish()?);
    parts.extend(files.finish()?);
    let mut clock: Rows<ClockTable> = author.table();
    for ts_ns in [BEGIN_NS, end_ns] {
        clock.push(ClockRow { ts_ns, wall_ns: ts_ns, boot_ns: ts_ns - BEGIN_NS })?;
    }
    parts.extend(clock.finish()?);
    let made = Made {
        events,
        parts: parts.len(),
        bytes: parts.iter().map(|part| part.bytes).sum(),
        duration_ns: end_ns - BEGIN_NS,
    };
    author.add(parts)?;
    author.finish(&manifest(options, &cast, &by_table, end_ns))?;
    Ok(made)
}

impl World<'_> {
    /// Runs until there are enough rows. Returns the end of the last operation.
    fn run(&mut self) -> Result<i64> {
        let mut threads = self.threads();
        let count = threads.len() as f64;
        // The thread with the earliest begin is next, on ties the one with the lowest number.
        let mut next: BinaryHeap<Reverse<(i64, usize)>> = BinaryHeap::new();
        for thread in 0..threads.len() {
            next.push(Reverse((BEGIN_NS + self.pause(count, ROWS_OF_AN_OPERATION), thread)));
        }
        let (mut operations, mut last_ns) = (0u64, BEGIN_NS);
        while self.stack.layers.rows() - self.short_lived.1 < self.options.events
            && let Some(Reverse((ts_ns, number))) = next.pop()
        {
            while let Some(due_ns) = self.next_short_lived().filter(|due_ns| *due_ns < ts_ns) {
                last_ns = last_ns.max(self.live_shortly(due_ns)?);
            }
            self.stack.layers.until(ts_ns)?;
            let end_ns = self.operation(&mut threads[number], ts_ns)?;
            operations += 1;
            last_ns = last_ns.max(end_ns);
            let rows = (self.stack.layers.rows() - self.short_lived.1) as f64 / operations as f64;
            let pause_ns = self.pause(count, rows);
            next.push(Reverse(((ts_ns + pause_ns).max(end_ns), number)));
        }
        while let Some(due_ns) = self.next_short_lived() {
            last_ns = last_ns.max(self.live_shortly(due_ns)?);
        }
        Ok(last_ns)
    }

    /// Returns the start of the next short-lived process. They start evenly over the expected capture time.
    fn next_short_lived(&self) -> Option<i64> {
        let (number, of) = (self.short_lived.0, self.options.short_lived);
        let length_ns = self.options.events as f64 / self.options.events_per_second * 1e9;
        (number < of).then(|| BEGIN_NS + (length_ns * f64::from(number) / f64::from(of)) as i64)
    }

    /// Runs a short-lived process, which reads a file of another process. Returns the end of the read.
    fn live_shortly(&mut self, start_ns: i64) -> Result<i64> {
        let (number, rows_before) = (self.short_lived.0, self.stack.layers.rows());
        let (process, row) = self.cast.short_lived(number, start_ns);
        self.processes.push(row)?;
        let ts_ns = start_ns + 1_000;
        self.stack.layers.until(ts_ns)?;
        let of = number as usize % self.cast.processes.len();
        let file = self.cast.file(of, 0);
        if !std::mem::replace(&mut self.met[file.number as usize], true) {
            self.files.push(self.cast.file_row(of, file, ts_ns)).context("file row")?;
        }
        let actor = Actor { process: &process, tid: process.pid, ts_ns };
        let bytes = i64::from(process.profile.sizes[0]);
        let request = Request { op: process.profile.calls[0], file, offset: 0, bytes, hit: !number.is_multiple_of(8) };
        let end_ns = self.stack.run(&mut self.rng, actor, request, &mut self.dirty[file.number as usize]);
        self.short_lived = (number + 1, self.short_lived.1 + self.stack.layers.rows() - rows_before);
        Ok(end_ns)
    }

    fn threads(&self) -> Vec<Thread> {
        let of = |(process, number): (usize, u32)| Thread {
            process,
            tid: self.cast.processes[process].pid + 1 + number as i32,
            file: number % self.cast.files_of_each,
            offset: 0,
            writes: 0,
        };
        let processes = 0..self.cast.processes.len();
        processes.flat_map(|process| (0..self.options.threads).map(move |number| (process, number))).map(of).collect()
    }

    /// Returns the time between the begins of two operations of a thread, with `threads` threads and `rows_of_an_operation` rows
    /// per operation on average.
    fn pause(&mut self, threads: f64, rows_of_an_operation: f64) -> i64 {
        let mean_ns = 1e9 * threads * rows_of_an_operation / self.options.events_per_second;
        let chance: f64 = self.rng.sample(Exp1);
        (chance * mean_ns) as i64
    }

    fn operation(&mut self, thread: &mut Thread, ts_ns: i64) -> Result<i64> {
        let process = &self.cast.processes[thread.process];
        let profile = process.profile;
        let bytes = i64::from(profile.sizes[self.rng.random_range(0..profile.sizes.len() as u32) as usize]);
        let is_sync = profile.writes_per_sync > 0 && thread.writes >= profile.writes_per_sync;
        if !is_sync && !self.rng.random_bool(profile.sequential) {
            let chosen: f64 = self.rng.sample(self.cast.choice);
            thread.file = (chosen as u32).clamp(1, self.cast.files_of_each) - 1;
            let places = (self.options.file_bytes / bytes as u64).max(1);
            thread.offset = bytes * self.rng.random_range(0..places) as i64;
        }
        if thread.offset + bytes > self.options.file_bytes as i64 {
            thread.offset = 0;
        }
        let file = self.cast.file(thread.process, thread.file);
        let is_read = self.rng.random_bool(profile.reads);
        let op = if is_sync { Op::Fdatasync } else { profile.calls[usize::from(!is_read)] };
        let hit = self.rng.random_bool(self.options.hit_ratio);
        if !std::mem::replace(&mut self.met[file.number as usize], true) {
            self.files.push(self.cast.file_row(thread.process, file, ts_ns)).context("file row")?;
        }
        let actor = Actor { process, tid: thread.tid, ts_ns };
        let request = Request { op, file, offset: thread.offset, bytes, hit };
        let end_ns = self.stack.run(&mut self.rng, actor, request, &mut self.dirty[file.number as usize]);
        match op {
            Op::Fdatasync => thread.writes = 0,
            _ => {
                thread.offset += bytes;
                thread.writes += u32::from(!is_read);
            }
        }
        Ok(end_ns)
    }
}

/// Returns the capture id.
fn id(options: &Options) -> String {
    let Options { seed, events, processes, threads, files, short_lived, .. } = options;
    let beside = if *short_lived > 0 { format!("-{short_lived}") } else { String::new() };
    format!("generated-{seed}-{events}-{processes}x{threads}-{files}{beside}")
}

fn manifest(options: &Options, cast: &Cast, by_table: &[(TableId, u64)], end_ns: i64) -> Manifest {
    let time = |ts_ns: i64| {
        let (seconds, ns) = (ts_ns.div_euclid(1_000_000_000), ts_ns.rem_euclid(1_000_000_000));
        humantime::format_rfc3339(std::time::UNIX_EPOCH + std::time::Duration::new(seconds as u64, ns as u32))
            .to_string()
    };
    let generated = || LayerState { captured: true, how: "generated".to_owned(), without: Vec::new() };
    let account = |(table, rows): &(TableId, u64)| Account {
        class: table.name().to_owned(),
        cpu: 0,
        seen: *rows,
        written: *rows,
        lost: Lost::default(),
        lost_io: Amounts::default(),
    };
    let pair = |ts_ns: i64| ClockPair { monotonic_ns: ts_ns - BEGIN_NS, wall_ns: ts_ns };
    let devices = cast.devices();
    let mount = |device: &Device| Mount {
        dev: device.dev + 1,
        source: format!("/dev/{}p1", device.name),
        target: "/srv".to_owned(),
        fs_type: "ext4".to_owned(),
    };
    Manifest {
        schema_version: SCHEMA_VERSION,
        capture_id: id(options),
        parts_id: None,
        continues: None,
        state: State::Complete,
        started_at: time(BEGIN_NS),
        stopped_at: Some(time(end_ns)),
        stop_reason: Some("requested number of events generated".to_owned()),
        recorder_version: format!("{} {}", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")),
        privacy: Default::default(),
        run_queue: false,
        whole_until_ns: None,
        command_line: std::env::args().collect(),
        host: Host { hostname: "generated".to_owned(), cpus: 1, ..Host::default() },
        clock: Clock { offset_ns: BEGIN_NS, pairs: vec![pair(BEGIN_NS), pair(end_ns)] },
        layers: Layer::ALL.iter().map(|layer| (*layer, generated())).collect(),
        groups: std::collections::BTreeMap::new(),
        probes: Vec::new(),
        filters: Filters::default(),
        filtered: None,
        mounts: devices.iter().map(mount).collect(),
        devices,
        books: EventAccounting { accounts: by_table.iter().map(account).collect(), ..EventAccounting::default() },
        sampling: None,
        device_books: Vec::new(),
        process_counters: None,
        servers: Vec::new(),
        maps: Vec::new(),
    }
}
