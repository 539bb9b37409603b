//! Usage of the BPF side's bounded tables, and the effect of a full one.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use iostrata_capture::manifest::MapUse;
use libbpf_rs::{Map, MapCore, MapType};

/// Interval between checks. Each entry takes a system call, so tables with permanent entries are not checked.
const LOOK: Duration = Duration::from_secs(10);

/// Maximum usage of each table.
#[derive(Debug, Default)]
pub struct Fullness {
    uses: RefCell<Vec<MapUse>>,
    looked: Cell<Option<Instant>>,
}

impl Fullness {
    /// Whether the next check is due.
    pub fn is_due(&self) -> bool {
        let is_due = self.looked.get().is_none_or(|at| at.elapsed() >= LOOK);
        if is_due {
            self.looked.set(Some(Instant::now()));
        }
        is_due
    }

    /// Records the usage of the bounded tables among `maps`. A table with one entry is not used by any program.
    pub fn look<'a>(&self, maps: impl Iterator<Item = Map<'a>>) {
        for map in maps.filter(|map| is_bounded(map.map_type()) && map.max_entries() > 1) {
            let name = map.name().to_string_lossy();
            self.see(&name, u64::from(map.max_entries()), map.keys().count() as u64);
        }
    }

    fn see(&self, name: &str, entries: u64, used: u64) {
        let mut uses = self.uses.borrow_mut();
        match uses.iter_mut().find(|known| known.map == name) {
            Some(known) => known.peak = known.peak.max(Some(used)),
            None => uses.push(MapUse {
                map: name.to_owned(),
                entries,
                peak: Some(used),
                evicted: None,
                effect: effect(name).to_owned(),
            }),
        }
    }

    /// Maximum usage, by table.
    pub fn uses(&self) -> Vec<MapUse> {
        self.uses.borrow().clone()
    }
}

/// Whether entries of the table are allocated on demand.
fn is_bounded(map_type: MapType) -> bool {
    matches!(map_type, MapType::Hash | MapType::LruHash | MapType::PercpuHash)
}

/// Effect on the capture of an entry that was evicted or found no space in a bounded table.
fn effect(map: &str) -> &'static str {
    match map {
        "calls" | "targets" => "a call that finds no space is lost and counted (inflight_full)",
        "cpu_waits" => {
            "the run-queue latency of a call that finds no space is unknown; the call is counted (unmeasured_calls)"
        }
        "vfs_ops" => "a VFS operation that finds no space is lost and counted (inflight_full)",
        "bios" => "a bio of a bio-based device that finds no space is lost and counted (inflight_full)",
        "crowded_async" => "the oldest operation of aio or io_uring in the bucket is lost and counted (inflight_full)",
        "interrupted" => "a call that the kernel restarts after a signal is recorded as two",
        "used_devices" | "stands_on" => {
            "unattributed I/O of the disks and file systems that found no space is not recorded (filtered.has_more_disks)"
        }
        "left_out" => "I/O excluded by a filter is not counted for the disks that found no space",
        "own_io" => {
            "the recorder's own I/O on the disks that found no space is not accounted for; these disks are inconsistent"
        }
        "tree" => "a child process that finds no space is not recorded",
        "devices" => "I/O on the file systems that found no space is not recorded",
        "told" => "an evicted process is recorded again",
        "named" => "the name of an evicted file is recorded again",
        "inode_owners" | "page_owners" | "writers" => "pages with an evicted owner are unattributed",
        "part_lists" => "evicted parts of a request are unattributed",
        "crowded" | "places" => "a request that finds no space has no submitter",
        "fs_calls" | "last_faults" => "pages brought in may be recorded with a wrong `via`",
        "servers" => "bytes of a FUSE daemon that finds no space are counted twice",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use libbpf_rs::skel::{OpenSkel, SkelBuilder};

    use super::*;
    use crate::bpf::IostrataSkelBuilder;

    #[test]
    fn of_each_bounded_table_it_is_known_what_it_means_that_it_is_full() {
        let mut object = std::mem::MaybeUninit::uninit();
        let open = IostrataSkelBuilder::default().open(&mut object).expect("the object");
        let maps = open.open_object().maps().filter(|map| is_bounded(map.map_type()));
        let names: Vec<String> = maps.map(|map| map.name().to_string_lossy().into_owned()).collect();
        assert!(names.len() > 20, "{names:?}");
        let unknown: Vec<&String> = names.iter().filter(|name| effect(name).is_empty()).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }

    #[test]
    fn the_most_that_was_seen_is_kept() {
        let fullness = Fullness::default();
        [("calls", 3), ("tree", 1), ("calls", 7), ("calls", 2)]
            .iter()
            .for_each(|(name, used)| fullness.see(name, 10, *used));
        let peaks: Vec<_> = fullness.uses().into_iter().map(|of| (of.map, of.entries, of.peak)).collect();
        assert_eq!(peaks, [("calls".to_owned(), 10, Some(7)), ("tree".to_owned(), 10, Some(1))]);
        assert!(fullness.is_due() && !fullness.is_due());
    }
}
