//! Maps file systems to the disks selected with `--device`. Device numbers of file systems are not those of disks: btrfs, overlayfs
//! and others have their own numbers, which are reused for other file systems after an unmount.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use iostrata_capture::manifest::{Device, Unmapped};
use rustc_hash::{FxHashMap, FxHashSet};

use super::mounts::{Entry, Watched, seen_by};
use super::stack;

/// Classifies device numbers of file systems.
pub struct Places {
    wanted: Vec<String>,
    mounts: Watched,
    /// Whether the mounts have changed since the device numbers were last checked.
    has_changed: bool,
    /// Whether the processes of rows can be looked up in /proc.
    knows_pids: bool,
    known: FxHashMap<i32, Known>,
    unmapped: BTreeMap<i32, Unmapped>,
    /// Unmapped numbers searched since the last reset in [`Places::refresh`]: a search is slow, and there may be many rows.
    not_found: FxHashSet<i32>,
    began_anew: Instant,
}

/// Interval after which an unmapped number is searched again: it may then be a file system of another process.
const AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy)]
struct Known {
    stands: Option<bool>,
    /// Seen in the mount namespace of another process, which does not report changes.
    is_foreign: bool,
}

/// Change of a device number: whether it is on a selected disk; none if the number is no longer valid.
pub type Change = (i32, Option<bool>);

impl Places {
    /// Creates a classification for these disks.
    pub fn new(wanted: &[Device], knows_pids: bool) -> Places {
        Places {
            wanted: wanted.iter().map(|device| device.name.clone()).collect(),
            mounts: Watched::new(),
            has_changed: false,
            knows_pids,
            known: FxHashMap::default(),
            unmapped: BTreeMap::new(),
            not_found: FxHashSet::default(),
            began_anew: Instant::now(),
        }
    }

    fn reaches(&self, disks: &[String]) -> Option<bool> {
        stack::reaches(disks, &|disk| self.wanted.iter().any(|wanted| wanted == disk), &stack::below)
    }

    fn find(&self, dev: i32, pid: i32) -> (Known, Option<String>) {
        if dev as u32 >> 20 != 0 {
            let disk = stack::disk_of(dev);
            let stands = disk.and_then(|disk| self.reaches(&[disk]));
            return (Known { stands, is_foreign: false }, None);
        }
        let of_mount =
            |entry: &Entry, root: &Path| stack::disks_under(entry, root).and_then(|disks| self.reaches(&disks));
        if let Some(entry) = self.mounts.entries.iter().find(|entry| entry.mount.dev == dev) {
            let stands = of_mount(entry, Path::new("/"));
            return (Known { stands, is_foreign: false }, Some(entry.mount.fs_type.clone()));
        }
        let foreign = if self.knows_pids { seen_by(pid, dev) } else { None };
        let root = PathBuf::from(format!("/proc/{pid}/root"));
        let stands = foreign.as_ref().and_then(|entry| of_mount(entry, &root));
        (Known { stands, is_foreign: true }, foreign.map(|entry| entry.mount.fs_type))
    }

    /// Whether a disk or partition is on a selected disk.
    pub fn stands(&mut self, dev: i32) -> Option<bool> {
        let (known, _) = self.find(dev, 0);
        self.known.insert(dev, known);
        known.stands
    }

    /// Classifies the currently mounted file systems, without a process.
    pub fn mounted(&mut self) -> Vec<Change> {
        let devs: Vec<i32> = self.mounts.entries.iter().map(|entry| entry.mount.dev).collect();
        let mut changes = Vec::new();
        for dev in devs {
            if !self.known.contains_key(&dev) {
                let (known, _) = self.find(dev, 0);
                self.known.insert(dev, known);
                changes.extend(known.stands.map(|stands| (dev, Some(stands))));
            }
        }
        changes
    }

    /// Whether to keep a row of process `pid` on file system `dev`, and the change to report to the BPF programs. Rows of a file
    /// system with an unknown disk are excluded and counted.
    pub fn wants(&mut self, dev: i32, pid: i32) -> (bool, Option<Change>) {
        if let Some(Known { stands: Some(stands), .. }) = self.known.get(&dev) {
            return (*stands, None);
        }
        if self.not_found.contains(&dev) {
            self.unmapped.entry(dev).and_modify(|unmapped| unmapped.rows += 1);
            return (false, None);
        }
        self.has_changed |= self.mounts.refresh();
        let (known, fs_type) = self.find(dev, pid);
        match known.stands {
            Some(stands) => {
                self.known.insert(dev, known);
                (stands, Some((dev, Some(stands))))
            }
            None => {
                self.not_found.insert(dev);
                let unmapped = self.unmapped.entry(dev).or_insert(Unmapped { dev, fs_type: None, rows: 0 });
                unmapped.rows += 1;
                unmapped.fs_type = fs_type.or(unmapped.fs_type.take());
                (false, None)
            }
        }
    }

    /// Drops numbers that may have been reused, and classifies new mounts. Must be called often.
    pub fn refresh(&mut self) -> Vec<Change> {
        let has_changed = self.mounts.refresh() || std::mem::take(&mut self.has_changed);
        if has_changed || self.began_anew.elapsed() >= AGAIN {
            self.not_found.clear();
            self.began_anew = Instant::now();
        }
        if !has_changed && !self.known.values().any(|known| known.is_foreign) {
            return Vec::new();
        }
        let entries = &self.mounts.entries;
        let is_gone = |dev: &i32, known: &Known| {
            let is_mounted = || entries.iter().any(|entry| entry.mount.dev == *dev);
            *dev as u32 >> 20 == 0 && (known.is_foreign || (has_changed && !is_mounted()))
        };
        let gone: Vec<i32> =
            self.known.iter().filter(|(dev, known)| is_gone(dev, known)).map(|(dev, _)| *dev).collect();
        self.known.retain(|dev, _| !gone.contains(dev));
        let mut changes: Vec<Change> = gone.into_iter().map(|dev| (dev, None)).collect();
        changes.extend(self.mounted());
        changes
    }

    /// File systems with an unknown disk, with the number of excluded rows.
    pub fn unmapped(self) -> Vec<Unmapped> {
        self.unmapped.into_values().collect()
    }
}
