//! Levels of stacked devices: selection of the requests that a total counts.
//!
//! A write to a loop device appears there, and again at the disk below its backing file. So a total counts one level and excludes the devices of
//! all others. The level is chosen before the scan, from the devices with requests. Finding them takes two columns of `block` of each capture. The
//! manifest is not enough: it has the disks of the machine at the start, lacks later ones, and does not say which disks have recorded requests. A
//! device keeps its level throughout a capture, so parts of requests (`share`), which have only the device, follow it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::num::NonZeroUsize;

use anyhow::{Result, bail};
use arrow_array::RecordBatch;
use foldhash::fast::RandomState;
use iostrata_capture::Capture;
use iostrata_capture::column::{Reader, Value};
use iostrata_capture::manifest::Device;
use iostrata_capture::op::Direction;
use iostrata_capture::panic_guard::reading;
use iostrata_capture::part::OpenPart;
use iostrata_capture::table::column_of;
use iostrata_capture::tables::BlockTable;
use serde::{Deserialize, Serialize};

use crate::disks::by_number;
use crate::entity::{CaptureNumber, device_number};
use crate::parallel::each;
use crate::trust;

/// Requested level of totals.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Wanted {
    /// Lowest level with recorded requests.
    #[default]
    Lowest,
    /// This level; 0 is a device on no other.
    Level(i32),
}

/// Levels of the devices of a capture by device number; `None` if unknown.
pub type Levels = BTreeMap<i32, Option<i32>>;

/// Returns the devices with requests in `capture`, found by this number of threads.
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
        // Errors are ignored here: the scan meets the same ones and reports them in the order of the parts of all tables.
        drop(looked);
        Ok(())
    };
    let found = each(parts.len() * threads.get(), threads, Pairs::default, look, |found| found)?;
    let mut levels = Levels::new();
    for (dev, level) in found.into_iter().flatten() {
        if *levels.entry(dev).or_insert(level) != level {
            // At two levels: a total of either would lack some of the requests.
            levels.insert(dev, None);
        }
    }
    if capture.manifest.filters.by_owner() {
        cut_loops(&mut levels, &capture.manifest.devices);
    }
    Ok(levels)
}

/// Adjusts the levels of a capture that was filtered by process. There the I/O of a loop device on the disk below belongs to its kernel thread and
/// is not in the capture. If loop devices count as disks on no other device, nothing is counted twice; otherwise much would be missing.
fn cut_loops(levels: &mut Levels, devices: &[Device]) {
    for (dev, level) in levels.iter_mut() {
        let known = devices
            .iter()
            .find(|device| device.dev == *dev)
            .and_then(|device| level_over(device, devices, MOST_LEVELS));
        *level = known.or(*level);
    }
}

/// Maximum stacking depth.
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

/// Device numbers with their levels in rows.
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

/// Devices that totals count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LevelSelection {
    /// Level; `None` if no device has a known one.
    level: Option<i32>,
    /// Devices with requests, by capture.
    seen: Vec<Levels>,
    /// Counted devices, by capture, ascending.
    taken: Vec<Vec<i32>>,
}

impl LevelSelection {
    /// Selects the devices at the level `wanted` from those `seen` in each capture. All captures have the same level, so that a total over several
    /// captures does not add two levels. If no level is known, a device that is the only one of its capture is counted: no recorded device is below
    /// it. A requested level must exist, unless there are no requests.
    pub fn of(seen: Vec<Levels>, wanted: Wanted) -> Result<LevelSelection> {
        let known: BTreeSet<i32> = seen.iter().flat_map(|levels| levels.values()).flatten().copied().collect();
        let level = match wanted {
            Wanted::Lowest => known.first().copied(),
            Wanted::Level(level) if known.contains(&level) || seen.iter().all(Levels::is_empty) => Some(level),
            Wanted::Level(level) => {
                let known: Vec<String> = known.iter().map(i32::to_string).collect();
                let known = if known.is_empty() { "none is known".to_owned() } else { known.join(", ") };
                bail!("--level {level}: no requests at that level, expected a recorded one: {known}");
            }
        };
        let at = |levels: &Levels| -> Vec<i32> {
            let taken = levels.iter().filter(|(_, of)| match level {
                Some(level) => **of == Some(level),
                None => levels.len() == 1,
            });
            taken.map(|(dev, _)| *dev).collect()
        };
        Ok(LevelSelection { level, taken: seen.iter().map(at).collect(), seen })
    }

    /// Returns the devices with requests of capture number `capture`.
    pub fn seen(&self, capture: usize) -> Levels {
        self.seen.get(capture).cloned().unwrap_or_default()
    }

    /// Whether the totals are complete. They are not if a capture has requests and none is counted, because its devices are at other levels, or at
    /// unknown levels and may be stacked.
    pub fn is_whole(&self) -> bool {
        self.seen.iter().zip(&self.taken).all(|(seen, taken)| seen.is_empty() || !taken.is_empty())
    }

    /// Returns the counted devices of capture number `capture`, ascending.
    pub fn taken(&self, capture: usize) -> &[i32] {
        self.taken.get(capture).map_or(&[], Vec::as_slice)
    }

    /// Whether the totals count requests of device `dev` of capture number `capture`.
    pub fn takes(&self, capture: usize, dev: i32) -> bool {
        self.taken.get(capture).is_some_and(|taken| taken.binary_search(&dev).is_ok())
    }

    /// Returns a line for each level of each capture with excluded requests; `left_out` has their sums.
    pub fn notes(&self, captures: &[Capture], left_out: &ExcludedRequests) -> Vec<String> {
        let mut by_level: BTreeMap<(usize, Option<i32>), (Vec<String>, Requests)> = BTreeMap::new();
        let devices: Vec<_> = captures.iter().map(|capture| by_number(&capture.manifest)).collect();
        for ((number, dev), requests) in &left_out.0 {
            let number = number.place();
            let level = self.seen.get(number).and_then(|levels| levels.get(dev)).copied().flatten();
            let (names, sum) = by_level.entry((number, level)).or_default();
            names.extend(devices.get(number).map(|devices| name_of(devices.get(dev).copied(), *dev)));
            sum.combine(*requests);
        }
        let mut notes = Vec::new();
        for ((number, level), (names, sum)) in by_level {
            let about = captures.get(number).map(|capture| trust::about(captures, capture)).unwrap_or_default();
            notes.push(format!("{about}excluded: {}; {}", sum.of(level, &names.join(", ")), self.totals()));
        }
        notes
    }

    /// Describes the devices that the totals count.
    fn totals(&self) -> String {
        match self.level {
            Some(level) if self.is_whole() => format!("the totals are of level {level}, see --level"),
            Some(level) => {
                format!("no totals: not every capture has level {level}, see --level")
            }
            None => "no totals: the stacking of these devices is unknown".to_owned(),
        }
    }
}

/// Returns the name of the device, with the devices below it.
fn name_of(device: Option<&Device>, dev: i32) -> String {
    match device {
        Some(device) if device.on.is_empty() => device.name.clone(),
        Some(device) => format!("{} on {}", device.name, device.on.join(" and ")),
        None => device_number(dev),
    }
}

/// Sums of requests.
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
        let of = level.map_or("at an unknown level".to_owned(), |level| format!("at level {level}"));
        format!("{count} {requests} {of} ({names}), {read_bytes} bytes read and {write_bytes} written")
    }
}

/// Requests in no total, by number of the capture and device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExcludedRequests(BTreeMap<(CaptureNumber, i32), Requests>);

impl ExcludedRequests {
    /// Adds `count` requests with the sum `bytes`; without a direction they are neither reads nor writes.
    pub fn add(&mut self, capture: CaptureNumber, dev: i32, direction: Option<Direction>, (bytes, count): (u64, u64)) {
        let of = |wanted| if direction == Some(wanted) { bytes } else { 0 };
        let (read_bytes, write_bytes) = (of(Direction::Read), of(Direction::Write));
        self.0.entry((capture, dev)).or_default().combine(Requests { count, read_bytes, write_bytes });
    }

    /// Adds the sums of `other`.
    pub fn combine(&mut self, other: ExcludedRequests) {
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

    /// Counted devices of 1 to 4 in each capture.
    fn taken(seen: &[Levels], wanted: Wanted) -> Vec<Vec<i32>> {
        let choice = LevelSelection::of(seen.to_vec(), wanted).expect("a level that is there");
        (0..seen.len()).map(|capture| (1..5).filter(|dev| choice.takes(capture, *dev)).collect()).collect()
    }

    #[test]
    fn the_lowest_level_with_requests_is_taken_and_no_other() {
        let stack = levels(&[(1, Some(0)), (2, Some(1)), (3, Some(0)), (4, None)]);
        assert_eq!(taken(std::slice::from_ref(&stack), Wanted::Lowest), [[1, 3]]);
        assert_eq!(taken(std::slice::from_ref(&stack), Wanted::Level(1)), [[2]]);
        let error = LevelSelection::of(vec![stack], Wanted::Level(7)).expect_err("there is none").to_string();
        assert_eq!(error, "--level 7: no requests at that level, expected a recorded one: 0, 1");
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
        let is_whole = |wanted| LevelSelection::of(seen.to_vec(), wanted).expect("a level that is there").is_whole();
        assert!(!is_whole(Wanted::Lowest) && is_whole(Wanted::Level(1)));
        assert_eq!(taken(&seen, Wanted::Level(1)), [[2], [2]]);
    }

    #[test]
    fn where_no_level_is_known_one_device_is_taken_and_of_several_none() {
        assert_eq!(taken(&[levels(&[(1, None)]), levels(&[(2, None), (3, None)])], Wanted::Lowest), [vec![1], vec![]]);
        let is_whole = |seen| LevelSelection::of(vec![seen], Wanted::Lowest).expect("any level").is_whole();
        assert!(is_whole(levels(&[(1, None)])) && is_whole(levels(&[(1, None), (2, Some(0))])));
        assert!(!is_whole(levels(&[(1, None), (2, None)])));
        assert!(LevelSelection::of(vec![levels(&[(1, None)])], Wanted::Level(0)).is_err());
        for wanted in [Wanted::Lowest, Wanted::Level(3)] {
            assert_eq!(taken(&[levels(&[])], wanted), [[0; 0]], "nothing is there");
        }
    }
}
