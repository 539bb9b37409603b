//! Published block traces as captures that have only a block layer, so that they can be analyzed beside one's own.

pub mod format;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use foldhash::fast::RandomState;
use indicatif::HumanCount;
use iostrata_capture::SCHEMA_VERSION;
use iostrata_capture::author::{Author, Rows};
use iostrata_capture::column::Comm;
use iostrata_capture::ledger::{Account, Amounts, Books, Lost};
use iostrata_capture::manifest::{Clock, ClockPair, Device, Filters, Host, LayerState, Manifest, State};
use iostrata_capture::op::{Evidence, IoClass, Layer};
use iostrata_capture::table::Table;
use iostrata_capture::tables::{BlockRow, BlockTable, ClockRow, ClockTable};

use crate::commands::Outcome;
use crate::output::{one_line, print};
use format::{Format, Traced};

/// What is to be made a capture of.
#[derive(Debug, Clone)]
pub struct Import {
    /// What the trace is.
    pub format: Format,
    /// Its files, in order of time; `-` is standard input.
    pub files: Vec<PathBuf>,
    /// Where the capture goes: a new directory, or an empty one.
    pub out: PathBuf,
}

/// A part is closed when it has so many bytes.
const PART_BYTES: u64 = 128 << 20;

/// Disks of traces have numbers of this major, which the kernel leaves to experiments.
const MAJOR: i32 = 240;

/// As many minors there are.
const MOST_DISKS: usize = 1 << 20;

/// What is known of a trace when all of it was read.
#[derive(Default)]
struct Known {
    rows: u64,
    span_ns: Option<(i64, i64)>,
    disks: HashMap<Vec<u8>, i32, RandomState>,
    names: Vec<String>,
}

/// Makes the capture.
pub fn run(import: &Import, out: &mut dyn Write) -> Result<Outcome> {
    let was_there = import.out.exists();
    let author = Author::create(&import.out, PART_BYTES)?;
    let made = write(import, author);
    if made.is_err() && !was_there {
        // Half of a trace is no capture, and would be in the way of the next try.
        let _ = fs::remove_dir_all(&import.out);
    }
    let read = made?;
    let (first, last) = read.span_ns.unwrap_or_default();
    let seconds = humantime::format_duration(Duration::from_secs(last.abs_diff(first) / 1_000_000_000));
    let (rows, disks) = (HumanCount(read.rows), read.names.len());
    print(
        out,
        &format!("{rows} requests of {disks} disks in {seconds}: {}\n", one_line(&import.out.display().to_string())),
    )?;
    Ok(Outcome::Complete)
}

fn write(import: &Import, mut author: Author) -> Result<Known> {
    let mut read = Known::default();
    let mut block: Rows<BlockTable> = author.table();
    for file in &import.files {
        rows_of(import.format, file, &mut block, &mut read)
            .with_context(|| format!("{}: not a trace that can be read", file.display()))?;
    }
    let Some((first_ns, last_ns)) = read.span_ns else { bail!("there is no request in what was given") };
    author.add(block.finish()?)?;
    let mut clock: Rows<ClockTable> = author.table();
    for ts_ns in [first_ns, last_ns] {
        clock.push(ClockRow { ts_ns, wall_ns: ts_ns, boot_ns: ts_ns - first_ns })?;
    }
    author.add(clock.finish()?)?;
    author.finish(&manifest(import, &read, (first_ns, last_ns)))?;
    Ok(read)
}

/// Reads a file, and says which line is wrong and how.
fn rows_of(format: Format, path: &Path, block: &mut Rows<BlockTable>, read: &mut Known) -> Result<()> {
    let text: Box<dyn Read> = match path.to_str() {
        Some("-") => Box::new(std::io::stdin()),
        _ => Box::new(File::open(path)?),
    };
    let mut text = BufReader::with_capacity(1 << 20, text);
    let mut line = Vec::new();
    for number in 1u64.. {
        line.clear();
        // What has no end of a line is no text, and not to be kept in memory.
        if text.by_ref().take(MOST_LINE_BYTES).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if line.len() as u64 == MOST_LINE_BYTES {
            bail!("line {number} is longer than {MOST_LINE_BYTES} bytes");
        }
        // None of these formats has a quoted field.
        let fields: Vec<&[u8]> = line.trim_ascii().split(|byte| *byte == b',').map(<[u8]>::trim_ascii).collect();
        if number == 1 && format.is_header(&fields) {
            continue;
        }
        let traced = format.parse(&fields).map_err(|what| anyhow::anyhow!("line {number}: {what}"))?;
        let dev = read.disk(&traced.disk).with_context(|| format!("line {number}"))?;
        let end_ns = traced.ts_ns.saturating_add(traced.dur_ns.unwrap_or(0));
        let (first, last) = read.span_ns.unwrap_or((traced.ts_ns, end_ns));
        read.span_ns = Some((first.min(traced.ts_ns), last.max(end_ns)));
        read.rows += 1;
        block.push(row(&traced, dev))?;
    }
    Ok(())
}

/// No line of a trace is longer.
const MOST_LINE_BYTES: u64 = 1 << 16;

impl Known {
    /// The number of the disk that a trace calls so.
    fn disk(&mut self, name: &[u8]) -> Result<i32> {
        if let Some(dev) = self.disks.get(name) {
            return Ok(*dev);
        }
        if self.names.len() == MOST_DISKS {
            bail!("there are more than {MOST_DISKS} disks");
        }
        // As many fit.
        let dev = MAJOR << 20 | self.names.len() as i32;
        self.names.push(String::from_utf8_lossy(name).into_owned());
        self.disks.insert(name.to_vec(), dev);
        Ok(dev)
    }
}

fn row(traced: &Traced, dev: i32) -> BlockRow {
    BlockRow {
        ts_ns: traced.ts_ns,
        dur_ns: traced.dur_ns,
        queue_ns: None,
        insert_ns: None,
        pid: None,
        tid: None,
        comm: Comm::default(),
        cgroup_id: None,
        start_ns: None,
        evidence: Evidence::None,
        owned_bytes: 0,
        shared_bytes: 0,
        submitter_pid: None,
        submitter_comm: Comm::default(),
        class: IoClass::Data,
        file_dev: None,
        ino: None,
        dev,
        level: Some(0),
        sector: Some(traced.sector),
        bytes: traced.bytes,
        op: traced.op,
        flags: 0,
        error: 0,
        bios: 1,
        requeues: 0,
        weight: 1,
    }
}

fn manifest(import: &Import, read: &Known, (first_ns, last_ns): (i64, i64)) -> Manifest {
    let time =
        |ns: i64| humantime::format_rfc3339(UNIX_EPOCH + Duration::from_nanos(ns.max(0).unsigned_abs())).to_string();
    let name = import.format.name();
    let state = |layer: &Layer| LayerState {
        captured: *layer == Layer::Block,
        how: if *layer == Layer::Block {
            format!("imported from a trace ({name})")
        } else {
            "the trace has no such layer".to_owned()
        },
        without: Vec::new(),
    };
    let device = |(number, name): (usize, &String)| Device {
        dev: MAJOR << 20 | number as i32,
        name: name.clone(),
        logical_block_bytes: 512,
        level: Some(0),
        ..Device::default()
    };
    let file = import.files.first().and_then(|file| file.file_name()).map(|name| name.to_string_lossy().into_owned());
    let account = Account {
        class: BlockTable::NAME.to_owned(),
        cpu: 0,
        seen: read.rows,
        written: read.rows,
        lost: Lost::default(),
        lost_io: Amounts::default(),
    };
    let pair = |ns: i64| ClockPair { monotonic_ns: ns - first_ns, wall_ns: ns };
    Manifest {
        schema_version: SCHEMA_VERSION,
        capture_id: format!("{name}-{}-{}-{first_ns}-{last_ns}", file.unwrap_or_default(), read.rows),
        continues: None,
        state: State::Complete,
        started_at: time(first_ns),
        stopped_at: Some(time(last_ns)),
        stop_reason: Some("the trace ended".to_owned()),
        recorder_version: format!("{} {}", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")),
        privacy: Default::default(),
        command_line: std::env::args().collect(),
        host: Host { hostname: name.to_owned(), ..Host::default() },
        clock: Clock { offset_ns: first_ns, pairs: vec![pair(first_ns), pair(last_ns)] },
        layers: Layer::ALL.iter().map(|layer| (*layer, state(layer))).collect(),
        probes: Vec::new(),
        filters: Filters::default(),
        devices: read.names.iter().enumerate().map(device).collect(),
        mounts: Vec::new(),
        books: Books { accounts: vec![account], ..Books::default() },
        sampling: None,
        device_books: Vec::new(),
    }
}
