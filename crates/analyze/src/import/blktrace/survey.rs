//! First pass over all records: validity, wall-clock time, and byte ranges of the records of each CPU.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fs::File;
use std::iter::once;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use foldhash::fast::RandomState;

use super::lane::Lane;
use super::record::{Action, Event, Notice, Record};

/// Maximum number of pairs of disk and CPU, and of remaps from one disk to another, in a trace.
const MOST: usize = 1 << 16;

/// Maximum number of byte ranges with the records of one CPU, in a file with interleaved CPUs.
const MOST_PLACES: usize = 1 << 20;

/// Result of the first pass over all files.
#[derive(Debug, Default)]
pub struct Survey {
    /// Readers, each of records in order of time.
    pub lanes: Vec<Source>,
    /// Clock of the trace.
    pub clock: TraceClock,
    /// Traced devices by number (`major << 20 | minor`).
    pub disks: BTreeMap<u32, Disk>,
    /// Whether any record has the queueing of a bio (Q), or the allocation of a request for it (G).
    pub tells_queueing: bool,
    /// Number of missing records, by sequence numbers.
    pub missing: u64,
    /// Truncated files.
    pub cut: Vec<Cut>,
    /// Last record of each file.
    latest: Vec<Latest>,
    /// By device and CPU: time spans with records, and their files.
    spans: HashMap<(u32, u32), Vec<(Span, usize)>, RandomState>,
    files: Vec<PathBuf>,
    /// Remaps of bios: source device and traced device.
    remaps: BTreeSet<(u32, u32)>,
    last_of: HashMap<(u32, u32), u32, RandomState>,
}

/// First and last time, on the clock of the trace.
type Span = (u64, u64);

/// Truncated file.
#[derive(Debug)]
pub struct Cut {
    /// The file.
    pub path: PathBuf,
    /// Size in bytes of an incomplete record at its end; 0 if its compressed data was truncated.
    pub bytes: u64,
    /// Time up to which it is complete; none if it has no complete record.
    pub until: Option<u64>,
}

/// Record of a file with the latest time.
#[derive(Debug)]
struct Latest {
    path: PathBuf,
    number: u64,
    time: u64,
}

/// Reader and its file.
#[derive(Debug)]
pub struct Source {
    /// The reader.
    pub lane: Lane,
    /// The file.
    pub path: PathBuf,
}

/// Traced device.
#[derive(Debug, Default)]
pub struct Disk {
    name: Option<String>,
}

impl Disk {
    /// Returns its name, from the file name (`NAME.blktrace.CPU`), or else its number.
    pub fn name(&self, device: u32) -> String {
        self.name.clone().unwrap_or_else(|| format!("{}:{}", device >> 20, device & 0xf_ffff))
    }
}

/// Clock of the trace.
#[derive(Debug, Default)]
pub struct TraceClock {
    /// First notice of the wall-clock time: time of the trace, and time since 1970.
    told: Option<(u64, i64)>,
    /// Times of the first notice of a process, and of the first event of a request.
    first_process: Option<u64>,
    first: Option<u64>,
}

/// Minimum time from the first record to the notice of the wall-clock time that shows that times were rebased. `blkparse -d` counts the time from
/// the first record, while the kernel writes the notice at the start of tracing.
const REBASED_NS: u64 = 1_000_000_000;

impl TraceClock {
    /// Returns the offset from times of the trace to times since 1970.
    pub fn offset_ns(&self) -> Option<i64> {
        let (told, wall_ns) = self.told?;
        let first = self.first.unwrap_or(told);
        if told.saturating_sub(first) < REBASED_NS {
            return Some(wall_ns.saturating_sub_unsigned(told));
        }
        // The time of the first record is that of the notice of its process, which comes directly before it.
        let began = self.first_process.unwrap_or(told).max(told);
        Some(wall_ns.saturating_add_unsigned(began - told).saturating_sub_unsigned(first))
    }

    fn see(&mut self, record: &Record) {
        let earliest =
            |known: &mut Option<u64>| *known = Some(known.map_or(record.time, |known| known.min(record.time)));
        match record.event() {
            Event::Notice(Notice::Clock(wall_ns)) => {
                if self.told.is_none_or(|(told, _)| record.time < told) {
                    self.told = Some((record.time, wall_ns));
                }
            }
            Event::Notice(Notice::Process(_)) => earliest(&mut self.first_process),
            Event::Notice(Notice::Other) => {}
            Event::Block(_) => earliest(&mut self.first),
        }
    }
}

/// Result of the first pass over one file.
#[derive(Default)]
struct Look {
    is_in_order: bool,
    /// Whether `by_cpu` has all byte ranges.
    is_in_pieces: bool,
    last: u64,
    /// By CPU: time of the last record, and byte ranges of its records.
    by_cpu: BTreeMap<u32, (u64, VecDeque<Range<u64>>)>,
    places: usize,
    devices: BTreeSet<u32>,
    /// Time spans by device and CPU.
    spans: HashMap<(u32, u32), Span, RandomState>,
}

impl Survey {
    /// Reads all records of a file; `is_cut` says that its compressed data was truncated.
    pub fn look_through(&mut self, file: &Arc<File>, path: &Path, is_cut: bool) -> Result<()> {
        let size = file.metadata()?.len();
        let mut lane = Lane::new(file.clone(), once(0..size).collect());
        let mut look = Look { is_in_order: true, is_in_pieces: true, ..Look::default() };
        let mut latest = Latest { path: path.to_owned(), number: 0, time: 0 };
        for number in 1u64.. {
            let begin = lane.at();
            let Some(record) = lane.next().with_context(|| format!("record {number}"))? else { break };
            self.see(&record)
                .and_then(|()| look.see(&record, begin..lane.at()))
                .with_context(|| format!("record {number}"))?;
            if record.time >= latest.time {
                (latest.number, latest.time) = (number, record.time);
            }
        }
        self.latest.push(latest);
        let (bytes, size) = (lane.cut_bytes(), size - lane.cut_bytes());
        if is_cut || bytes > 0 {
            self.cut.push(Cut { path: path.to_owned(), bytes, until: look.until() });
        }
        self.compare(path, &look)?;
        let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.rsplit_once(".blktrace."));
        for device in &look.devices {
            let disk = self.disks.entry(*device).or_default();
            if let (Some((name, _)), 1) = (name, look.devices.len()) {
                disk.name.get_or_insert(name.to_owned());
            }
        }
        let places = match look.is_in_order {
            true => vec![once(0..size).collect()],
            false => look.by_cpu.into_values().map(|(_, places)| places).collect(),
        };
        let source = |places| Source { lane: Lane::new(file.clone(), places), path: path.to_owned() };
        self.lanes.extend(places.into_iter().map(source));
        Ok(())
    }

    /// Returns the offset from times of the trace to times since 1970, if it is known.
    ///
    /// # Errors
    /// If a record has an invalid time.
    pub fn offset_ns(&self) -> Result<Option<i64>> {
        let Some(offset_ns) = self.clock.offset_ns() else { return Ok(None) };
        for Latest { path, number, time } in &self.latest {
            if offset_ns.checked_add_unsigned(*time).is_none() {
                bail!(
                    "{}: record {number}: its time is {time} ns, expected one before 2^63 ns since 1970",
                    crate::import::not_a_trace(path)
                );
            }
        }
        Ok(Some(offset_ns))
    }

    /// Compares a file with the previous ones: the records of one CPU and one disk are in one file.
    fn compare(&mut self, path: &Path, look: &Look) -> Result<()> {
        let number = self.files.len();
        self.files.push(path.to_owned());
        for ((device, cpu), (first, last)) in &look.spans {
            let known = self.spans.entry((*device, *cpu)).or_default();
            if let Some((_, other)) = known.iter().find(|((begin, end), _)| first <= end && begin <= last) {
                bail!(
                    "has records of device {}:{} on CPU {cpu} in the same time range as {}, expected each file once: it would count twice",
                    device >> 20,
                    device & 0xf_ffff,
                    self.files[*other].display()
                );
            }
            known.push(((*first, *last), number));
        }
        Ok(())
    }

    /// Returns the stacking depth of a device, as far as remaps of its bios were traced.
    pub fn level_of(&self, device: u32) -> i32 {
        // No stack is deeper, and the limit ends cycles.
        const MOST_LEVELS: i32 = 16;
        let mut above = BTreeSet::from([device]);
        for level in 0..MOST_LEVELS {
            let below = |from: &u32| self.remaps.range((*from, 0)..=(*from, u32::MAX)).map(|(_, to)| *to);
            above = above.iter().flat_map(below).collect();
            if above.is_empty() {
                return level;
            }
        }
        MOST_LEVELS
    }

    fn see(&mut self, record: &Record) -> Result<()> {
        // Times of rows, and all calculations with them, are signed.
        if i64::try_from(record.time).is_err() {
            bail!("its time is {} ns, expected less than 2^63", record.time);
        }
        self.clock.see(record);
        match record.event() {
            // Notices have no sequence numbers.
            Event::Notice(_) => return Ok(()),
            // Includes remaps from partitions. They add no stacking depth: a partition is part of its disk.
            Event::Block(Action::Remap { from }) if from != record.device => {
                self.remaps.insert((from, record.device));
            }
            Event::Block(Action::Queue | Action::Allocate) => self.tells_queueing = true,
            Event::Block(_) => {}
        }
        let last = self.last_of.insert((record.device, record.cpu), record.sequence);
        // A smaller number after a larger one is a restart of the sequence.
        let missing = last.map_or(0, |last| u64::from(record.sequence).saturating_sub(u64::from(last) + 1));
        self.missing = self.missing.saturating_add(missing);
        if self.last_of.len() > MOST || self.remaps.len() > MOST {
            bail!("there are more than {MOST} CPUs of disks");
        }
        Ok(())
    }
}

impl Look {
    /// Returns the time up to which a truncated file is complete. In a file with the CPUs one after the other, any CPU may lack later
    /// records.
    fn until(&self) -> Option<u64> {
        match self.is_in_order {
            true => Some(self.last).filter(|_| !self.spans.is_empty()),
            // CPUs with notices only have no requests.
            false => self.spans.keys().filter_map(|(_, cpu)| Some(self.by_cpu.get(cpu)?.0)).min(),
        }
    }

    fn see(&mut self, record: &Record, place: Range<u64>) -> Result<()> {
        self.devices.insert(record.device);
        let is_notice = matches!(record.event(), Event::Notice(_));
        let (_, places) = self.by_cpu.entry(record.cpu).or_default();
        match places.back_mut() {
            Some(before) if before.end == place.start => before.end = place.end,
            _ if self.places == MOST_PLACES => self.is_in_pieces = false,
            _ => {
                places.push_back(place);
                self.places += 1;
            }
        }
        if self.devices.len() > MOST || self.by_cpu.len() > MOST {
            bail!("there are more than {MOST} CPUs or disks");
        }
        if is_notice {
            return Ok(());
        }
        let (last, _) = self.by_cpu.entry(record.cpu).or_default();
        if record.time < *last {
            bail!(
                "its time is {}, expected no less than {last} ns, that of the previous record of its CPU",
                record.time
            );
        }
        *last = record.time;
        let (_, last) = self.spans.entry((record.device, record.cpu)).or_insert((record.time, record.time));
        *last = record.time;
        self.is_in_order &= record.time >= self.last;
        self.last = record.time;
        if !self.is_in_order && !self.is_in_pieces {
            bail!("the file is not in time order, and has more than {MOST_PLACES} byte ranges of one CPU each");
        }
        Ok(())
    }
}
