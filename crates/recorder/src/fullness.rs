//! How full the bounded tables of the kernel side are, and what it means where one is full.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use iostrata_capture::manifest::MapUse;
use libbpf_rs::{Map, MapCore, MapType};

/// How often tables are looked at: each entry takes a system call, so not those that keep theirs to the end.
const LOOK: Duration = Duration::from_secs(10);

/// The most that was seen in each table.
#[derive(Debug, Default)]
pub struct Fullness {
    uses: RefCell<Vec<MapUse>>,
    looked: Cell<Option<Instant>>,
}

impl Fullness {
    /// Whether it is time to look again.
    pub fn is_due(&self) -> bool {
        let is_due = self.looked.get().is_none_or(|at| at.elapsed() >= LOOK);
        if is_due {
            self.looked.set(Some(Instant::now()));
        }
        is_due
    }

    /// Looks at those of `maps` that are bounded tables. One entry stands for a table that no program uses.
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

    /// What was seen, by table.
    pub fn uses(&self) -> Vec<MapUse> {
        self.uses.borrow().clone()
    }
}

/// Whether it is a table that entries come to as there is need for them.
fn is_bounded(map_type: MapType) -> bool {
    matches!(map_type, MapType::Hash | MapType::LruHash | MapType::PercpuHash)
}

/// What an entry of a bounded table that is gone, or found no room, does to the capture.
fn effect(map: &str) -> &'static str {
    match map {
        "calls" | "targets" => "a call that finds no room is lost, and counted (inflight_full)",
        "cpu_waits" => {
            "a call that finds no room does not tell for how long it waited for a CPU, and is counted (unmeasured_calls)"
        }
        "vfs_ops" => "an operation of the VFS that finds no room is lost, and counted (inflight_full)",
        "bios" => {
            "a bio of a device that makes no requests is lost where it finds no room, and counted (inflight_full)"
        }
        "crowded_async" => {
            "the operation of aio or io_uring that has waited longest in its bucket is lost, and counted (inflight_full)"
        }
        "interrupted" => "a call that the kernel begins anew after a signal is told as two",
        "used_devices" | "stands_on" => {
            "I/O without an owner of the disks and file systems that found no room is not recorded (filtered.has_more_disks)"
        }
        "left_out" => "what a filter left out of the disks that found no room is not counted",
        "own_io" => {
            "the recorder's own I/O on the disks that found no room is missing in their books, which do not balance"
        }
        "tree" => "a child process that finds no room is not recorded",
        "devices" => "what is on the file systems that found no room is not recorded",
        "told" => "a process that was forgotten is told again",
        "named" => "a file that was forgotten is named again",
        "inode_owners" | "page_owners" | "writers" => "pages whose owner was forgotten are nobody's",
        "part_lists" => "parts of a request that were forgotten are nobody's",
        "crowded" | "places" => "a request that finds no room has no submitter",
        "fs_calls" | "last_faults" => "pages that were brought in may be told as another's way",
        "servers" => "bytes of one more daemon of a FUSE file system are counted twice",
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
