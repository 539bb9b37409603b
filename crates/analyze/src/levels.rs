//! Levels of stacked devices: which requests a total is made of.
//!
//! What is written to a loop device shows there, and again at the disk under its file. So a total is of one level, and the
//! devices of all others are left out of it. The level is chosen before the scan, from the devices that have requests: each
//! capture is looked through for them, which takes two columns of `block`. The manifest alone would not do: it has the
//! disks of the machine as they were at the start, not those that came later or the ones whose requests were recorded.
//! A device keeps its level throughout a capture, so parts of requests (`share`), which name the device only, go with it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::num::NonZeroUsize;

use anyhow::{Result, bail};
use arrow::array::RecordBatch;
use foldhash::fast::RandomState;
use iostrata_capture::Capture;
use iostrata_capture::column::{Reader, Value};
use iostrata_capture::guard::reading;
use iostrata_capture::manifest::Device;
use iostrata_capture::op::Direction;
use iostrata_capture::part::OpenPart;
use iostrata_capture::table::column_of;
use iostrata_capture::tables::BlockTable;
use serde::{Deserialize, Serialize};

use crate::disks::by_number;
use crate::entity::device_number;
use crate::parallel::each;
use crate::trust;

/// The level that totals are asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Wanted {
    /// The lowest of those whose requests were recorded.
    #[default]
    Lowest,
    /// This one; 0 are devices that stand on no other.
    Level(i32),
}

/// The levels of the devices of a capture by device number; `None` where it is not known.
pub type Levels = BTreeMap<i32, Option<i32>>;

/// The devices that have requests in `capture`, looked for by so many threads.
pub fn seen(capture: &Capture, threads: NonZeroUsize) -> Result<Levels> {
    let parts = capture.parts::<BlockTable>()?;
    let look = |found: &mut Pairs, task: usize| {
        let (part, piece) = (&parts[task / threads], task % threads);
        let looked = reading(part.path(), || {
            let mut open = OpenPart::new::<BlockTable>(part, &["dev", "level"])?;
            let end = |piece: usize| open.groups() * piece / threads;
            let groups: Vec<usize> = (end(piece)..end(piece + 1)).collect();
            open.read(&groups)?.each(|batch| add(found, batch))
        });
        // What cannot be read here, the scan cannot read either: it tells, in the order of the parts of all tables.
        drop(looked);
        Ok(())
    };
    let found = each(parts.len() * threads.get(), threads, Pairs::default, look, |found| found)?;
    let mut levels = Levels::new();
    for (dev, level) in found.into_iter().flatten() {
        if *levels.entry(dev).or_insert(level) != level {
            // At two levels: a total of either would lack some of its requests.
            levels.insert(dev, None);
        }
    }
    if capture.manifest.filters.by_owner() {
        cut_loops(&mut levels, &capture.manifest.devices);
    }
    Ok(levels)
}

/// Where processes were selected, what a loop device writes to the disk below is its kernel thread's and not in the capture: then nothing is
/// counted twice where loop devices are taken for disks that stand on no other, and much would be missing where they are not.
fn cut_loops(levels: &mut Levels, devices: &[Device]) {
    for (dev, level) in levels.iter_mut() {
        let known = devices
            .iter()
            .find(|device| device.dev == *dev)
            .and_then(|device| level_over(device, devices, MOST_LEVELS));
        *level = known.or(*level);
    }
}

/// Nothing is stacked higher.
const MOST_LEVELS: u32 = 16;

fn level_over(device: &Device, devices: &[Device], left: u32) -> Option<i32> {
    let left = left.checked_sub(1)?;
    if device.backing_file.is_some() {
        return Some(0);
    }
    device.level?;
    let lower = device.on.iter().map(|name| devices.iter().find(|device| device.name == *name));
    lower.into_iter().try_fold(0, |level, lower| Some(level.max(level_over(lower?, devices, left)? + 1)))
}

/// Device numbers with their levels, as rows have them.
type Pairs = HashSet<(i32, Option<i32>), RandomState>;

fn add(found: &mut Pairs, batch: &RecordBatch) -> std::result::Result<(), String> {
    let devices = <i32 as Value>::Reader::new(column_of(batch, "dev")?)?;
    let of_rows = <Option<i32> as Value>::Reader::new(column_of(batch, "level")?)?;
    let mut last = None;
    for row in 0..batch.num_rows() {
        let pair = (devices.at(row), of_rows.at(row));
        if last.replace(pair) != Some(pair) {
            found.insert(pair);
        }
    }
    Ok(())
}

/// The devices that totals are of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The level; `None` where no device's is known.
    level: Option<i32>,
    /// The devices with requests, by capture.
    seen: Vec<Levels>,
    /// Those taken, by capture, ascending.
    taken: Vec<Vec<i32>>,
}

impl Choice {
    /// The devices at the level `wanted`, of those `seen` in each capture. It is one level for all captures: a total over
    /// several adds no two either. Where no level is known, a device that is its capture's only one is taken: it stands on
    /// nothing that was recorded. A level that is asked for must be there, unless nothing is.
    pub fn of(seen: Vec<Levels>, wanted: Wanted) -> Result<Choice> {
        let known: BTreeSet<i32> = seen.iter().flat_map(|levels| levels.values()).flatten().copied().collect();
        let level = match wanted {
            Wanted::Lowest => known.first().copied(),
            Wanted::Level(level) if known.contains(&level) || seen.iter().all(Levels::is_empty) => Some(level),
            Wanted::Level(level) => {
                let known: Vec<String> = known.iter().map(i32::to_string).collect();
                let known = if known.is_empty() { "none that is known".to_owned() } else { known.join(", ") };
                bail!("--level {level}: there is no request at that level, expected one that was recorded: {known}");
            }
        };
        let at = |levels: &Levels| -> Vec<i32> {
            let taken = levels.iter().filter(|(_, of)| match level {
                Some(level) => **of == Some(level),
                None => levels.len() == 1,
            });
            taken.map(|(dev, _)| *dev).collect()
        };
        Ok(Choice { level, taken: seen.iter().map(at).collect(), seen })
    }

    /// Whether the totals have what they should: not so where a capture has requests and none of them is taken, because its
    /// devices are at other levels, or at none that is known and one may stand on another.
    pub fn is_whole(&self) -> bool {
        self.seen.iter().zip(&self.taken).all(|(seen, taken)| seen.is_empty() || !taken.is_empty())
    }

    /// The devices of capture number `capture` whose requests are in the totals, ascending.
    pub fn taken(&self, capture: usize) -> &[i32] {
        self.taken.get(capture).map_or(&[], Vec::as_slice)
    }

    /// Whether requests of device `dev` of capture number `capture` are in the totals.
    pub fn takes(&self, capture: usize, dev: i32) -> bool {
        self.taken.get(capture).is_some_and(|taken| taken.binary_search(&dev).is_ok())
    }

    /// A line for each level of each capture whose requests are left out: `left_out` has what they come to.
    pub fn notes(&self, captures: &[Capture], left_out: &LeftOut) -> Vec<String> {
        let mut by_level: BTreeMap<(usize, Option<i32>), (Vec<String>, Requests)> = BTreeMap::new();
        let devices: Vec<_> = captures.iter().map(|capture| by_number(&capture.manifest)).collect();
        for ((number, dev), requests) in &left_out.0 {
            let level = self.seen.get(*number).and_then(|levels| levels.get(dev)).copied().flatten();
            let (names, sum) = by_level.entry((*number, level)).or_default();
            names.extend(devices.get(*number).map(|devices| name_of(devices.get(dev).copied(), *dev)));
            sum.combine(*requests);
        }
        let mut notes = Vec::new();
        for ((number, level), (names, sum)) in by_level {
            let about = captures.get(number).map(|capture| trust::about(captures, capture)).unwrap_or_default();
            notes.push(format!("{about}left out: {}; {}", sum.of(level, &names.join(", ")), self.totals()));
        }
        notes
    }

    /// What the totals are of.
    fn totals(&self) -> String {
        match self.level {
            Some(level) if self.is_whole() => format!("the totals are of level {level}, see --level"),
            Some(level) => {
                format!("the totals would be of level {level}, which not every capture has: there is none, see --level")
            }
            None => "which of them stands on which is not known, so there is no total".to_owned(),
        }
    }
}

/// The device's name, with what it stands on.
fn name_of(device: Option<&Device>, dev: i32) -> String {
    match device {
        Some(device) if device.on.is_empty() => device.name.clone(),
        Some(device) => format!("{} on {}", device.name, device.on.join(" and ")),
        None => device_number(dev),
    }
}

/// What requests come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Requests {
    count: u64,
    read_bytes: u64,
    write_bytes: u64,
}

impl Requests {
    fn combine(&mut self, other: Requests) {
        self.count = self.count.saturating_add(other.count);
        self.read_bytes = self.read_bytes.saturating_add(other.read_bytes);
        self.write_bytes = self.write_bytes.saturating_add(other.write_bytes);
    }

    fn of(&self, level: Option<i32>, names: &str) -> String {
        let Requests { count, read_bytes, write_bytes } = self;
        let requests = if *count == 1 { "request" } else { "requests" };
        let of = level.map_or("of a level that is not known".to_owned(), |level| format!("at level {level}"));
        format!("{count} {requests} {of} ({names}), {read_bytes} bytes read and {write_bytes} written")
    }
}

/// Requests that are in no total, by number of the capture and device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut(BTreeMap<(usize, i32), Requests>);

impl LeftOut {
    /// Adds so many requests of `bytes` together; without a direction these count as neither read nor written.
    pub fn add(&mut self, capture: usize, dev: i32, direction: Option<Direction>, (bytes, count): (u64, u64)) {
        let of = |wanted| if direction == Some(wanted) { bytes } else { 0 };
        let (read_bytes, write_bytes) = (of(Direction::Read), of(Direction::Write));
        self.0.entry((capture, dev)).or_default().combine(Requests { count, read_bytes, write_bytes });
    }

    /// Adds what `other` has.
    pub fn combine(&mut self, other: LeftOut) {
        for (device, requests) in other.0 {
            self.0.entry(device).or_default().combine(requests);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(of: &[(i32, Option<i32>)]) -> Levels {
        of.iter().copied().collect()
    }

    /// What is taken of devices 1 to 4 in each capture.
    fn taken(seen: &[Levels], wanted: Wanted) -> Vec<Vec<i32>> {
        let choice = Choice::of(seen.to_vec(), wanted).expect("a level that is there");
        (0..seen.len()).map(|capture| (1..5).filter(|dev| choice.takes(capture, *dev)).collect()).collect()
    }

    #[test]
    fn the_lowest_level_with_requests_is_taken_and_no_other() {
        let stack = levels(&[(1, Some(0)), (2, Some(1)), (3, Some(0)), (4, None)]);
        assert_eq!(taken(std::slice::from_ref(&stack), Wanted::Lowest), [[1, 3]]);
        assert_eq!(taken(std::slice::from_ref(&stack), Wanted::Level(1)), [[2]]);
        let error = Choice::of(vec![stack], Wanted::Level(7)).expect_err("there is none").to_string();
        assert_eq!(error, "--level 7: there is no request at that level, expected one that was recorded: 0, 1");
        assert_eq!(taken(&[levels(&[(2, Some(3)), (3, Some(2))])], Wanted::Lowest), [[3]]);
    }

    #[test]
    fn where_processes_were_selected_a_loop_device_stands_on_nothing() {
        let device = |dev, name: &str, on: &[&str], file: Option<&str>, level| Device {
            dev,
            name: name.into(),
            on: on.iter().map(|name| (*name).to_owned()).collect(),
            backing_file: file.map(str::to_owned),
            level: Some(level),
            ..Device::default()
        };
        let devices = [
            device(1, "sda", &[], None, 0),
            device(2, "loop0", &["sda"], Some("/image"), 1),
            device(3, "dm-0", &["loop0", "sda"], None, 2),
        ];
        let mut seen = levels(&[(1, Some(0)), (2, Some(1)), (3, Some(2)), (4, Some(5))]);
        cut_loops(&mut seen, &devices);
        assert_eq!(seen, levels(&[(1, Some(0)), (2, Some(0)), (3, Some(1)), (4, Some(5))]));
    }

    #[test]
    fn captures_that_are_merged_have_one_level() {
        let seen = [levels(&[(2, Some(1))]), levels(&[(1, Some(0)), (2, Some(1))])];
        assert_eq!(taken(&seen, Wanted::Lowest), [vec![], vec![1]]);
        let is_whole = |wanted| Choice::of(seen.to_vec(), wanted).expect("a level that is there").is_whole();
        assert!(!is_whole(Wanted::Lowest) && is_whole(Wanted::Level(1)));
        assert_eq!(taken(&seen, Wanted::Level(1)), [[2], [2]]);
    }

    #[test]
    fn where_no_level_is_known_one_device_is_taken_and_of_several_none() {
        assert_eq!(taken(&[levels(&[(1, None)]), levels(&[(2, None), (3, None)])], Wanted::Lowest), [vec![1], vec![]]);
        let is_whole = |seen| Choice::of(vec![seen], Wanted::Lowest).expect("any level").is_whole();
        assert!(is_whole(levels(&[(1, None)])) && is_whole(levels(&[(1, None), (2, Some(0))])));
        assert!(!is_whole(levels(&[(1, None), (2, None)])));
        assert!(Choice::of(vec![levels(&[(1, None)])], Wanted::Level(0)).is_err());
        for wanted in [Wanted::Lowest, Wanted::Level(3)] {
            assert_eq!(taken(&[levels(&[])], wanted), [[0; 0]], "nothing is there");
        }
    }
}
