//! A first look at all records: that they are some, what time of day it was, and where those of one CPU are.

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

/// As many CPUs of disks, and ways from one disk to another, a trace may have.
const MOST: usize = 1 << 16;

/// In so many places the records of a CPU may be, one after the other and those of others between.
const MOST_PLACES: usize = 1 << 20;

/// What was seen of all files.
#[derive(Debug, Default)]
pub struct Survey {
    /// Readers that each give records in order of time.
    pub lanes: Vec<Source>,
    /// The clock of the trace.
    pub clock: TraceClock,
    /// What was traced, by number (`major << 20 | minor`).
    pub disks: BTreeMap<u32, Disk>,
    /// Whether any record tells when a bio was queued (Q), or a request allocated for it (G).
    pub tells_queueing: bool,
    /// How many records are not there, by the numbers of those that are.
    pub missing: u64,
    /// Files that were cut off.
    pub cut: Vec<Cut>,
    /// The last record of each file.
    latest: Vec<Latest>,
    /// By device and CPU: from when until when there are records, and in which file.
    spans: HashMap<(u32, u32), Vec<(Span, usize)>, RandomState>,
    files: Vec<PathBuf>,
    /// From which device bios were sent on to which of those that were traced.
    remaps: BTreeSet<(u32, u32)>,
    last_of: HashMap<(u32, u32), u32, RandomState>,
}

/// From the first time of the trace to the last.
type Span = (u64, u64);

/// A file that ends in the middle of something.
#[derive(Debug)]
pub struct Cut {
    /// The file.
    pub path: PathBuf,
    /// How many bytes at its end are no whole record; none where it is what it was compressed to that was cut off.
    pub bytes: u64,
    /// Up to when everything is there that was in it; none where there is no whole record in it.
    pub until: Option<u64>,
}

/// The record of a file with the latest time.
#[derive(Debug)]
struct Latest {
    path: PathBuf,
    number: u64,
    time: u64,
}

/// A reader, and of which file.
#[derive(Debug)]
pub struct Source {
    /// The reader.
    pub lane: Lane,
    /// The file.
    pub path: PathBuf,
}

/// What was traced.
#[derive(Debug, Default)]
pub struct Disk {
    name: Option<String>,
}

impl Disk {
    /// As its file is called (`NAME.blktrace.CPU`), or else by number.
    pub fn name(&self, device: u32) -> String {
        self.name.clone().unwrap_or_else(|| format!("{}:{}", device >> 20, device & 0xf_ffff))
    }
}

/// What is known of the clock of the trace.
#[derive(Debug, Default)]
pub struct TraceClock {
    /// Of the first notice of the time of day: the trace's time, and since 1970.
    told: Option<(u64, i64)>,
    /// The first notice of a process, and the first of all else.
    first_process: Option<u64>,
    first: Option<u64>,
}

/// The first record that is so much older than the notice of the time of day was there before tracing began: `blkparse -d` counts the time from
/// the first record. The kernel gives the notice as soon as it traces.
const REBASED_NS: u64 = 1_000_000_000;

impl TraceClock {
    /// What is added to a time of the trace for the time since 1970.
    pub fn offset_ns(&self) -> Option<i64> {
        let (told, wall_ns) = self.told?;
        let first = self.first.unwrap_or(told);
        if told.saturating_sub(first) < REBASED_NS {
            return Some(wall_ns.saturating_sub_unsigned(told));
        }
        // When the first record was, the notice of its process tells, which comes right before it.
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

/// What was seen of one file.
#[derive(Default)]
struct Look {
    is_in_order: bool,
    /// Whether all places are in `by_cpu`.
    is_in_pieces: bool,
    last: u64,
    /// Of each CPU the time of its last record, and where in the file its records are.
    by_cpu: BTreeMap<u32, (u64, VecDeque<Range<u64>>)>,
    places: usize,
    devices: BTreeSet<u32>,
    /// By device and CPU.
    spans: HashMap<(u32, u32), Span, RandomState>,
}

impl Survey {
    /// Looks at all records of a file; `is_cut` says that more of them were there once.
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

    /// What is added to a time of the trace for the time since 1970, if that is known.
    ///
    /// # Errors
    /// Where a record was at a time that is none.
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

    /// Holds a file against those before it: what happened on one CPU to one disk is in one file.
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

    /// How many others a device stands on, one on the other, as far as its bios were seen on their way.
    pub fn level_of(&self, device: u32) -> i32 {
        // Longer chains there are none, and what goes in a circle has an end so.
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
        // Times of rows, and all that is reckoned with them, are signed.
        if i64::try_from(record.time).is_err() {
            bail!("its time is {} ns, expected less than 2^63", record.time);
        }
        self.clock.see(record);
        match record.event() {
            // Their numbers are none.
            Event::Notice(_) => return Ok(()),
            // Also from partitions, which stand on no disk of ours: they are in it.
            Event::Block(Action::Remap { from }) if from != record.device => {
                self.remaps.insert((from, record.device));
            }
            Event::Block(Action::Queue | Action::Allocate) => self.tells_queueing = true,
            Event::Block(_) => {}
        }
        let last = self.last_of.insert((record.device, record.cpu), record.sequence);
        // What is behind another that is larger began anew.
        let missing = last.map_or(0, |last| u64::from(record.sequence).saturating_sub(u64::from(last) + 1));
        self.missing = self.missing.saturating_add(missing);
        if self.last_of.len() > MOST || self.remaps.len() > MOST {
            bail!("there are more than {MOST} CPUs of disks");
        }
        Ok(())
    }
}

impl Look {
    /// Up to when everything is there that was in a file which was cut off. Of one that has its CPUs one after the other, any may lack what
    /// followed.
    fn until(&self) -> Option<u64> {
        match self.is_in_order {
            true => Some(self.last).filter(|_| !self.spans.is_empty()),
            // Notices alone say nothing of requests.
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
                "its time is {}, expected no less than {last} ns, that of the record of its CPU before it",
                record.time
            );
        }
        *last = record.time;
        let (_, last) = self.spans.entry((record.device, record.cpu)).or_insert((record.time, record.time));
        *last = record.time;
        self.is_in_order &= record.time >= self.last;
        self.last = record.time;
        if !self.is_in_order && !self.is_in_pieces {
            bail!("the file is not in order of time, and in more than {MOST_PLACES} pieces of one CPU each");
        }
        Ok(())
    }
}
