//! Whose a row is: its system, and the process, cgroup, file and disk that its bytes are counted for.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};

use iostrata_capture::op::{FdKind, IoClass};
use iostrata_capture::system::without_owner;

use super::Scan;
use super::ledger::{Group, Ledger};
use super::remembered::Remembered;
use crate::entity::{Entity, Places, Scope, class_of_nobody};
use crate::owners::Found;
use crate::partial::Partial;

/// Whose a row is, as it tells: what does not change from one of its rows to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// Process id, and when the process started, as far as the row tells. Of nobody, `None`.
    pub process: (Option<i32>, Start),
    /// The cgroup.
    pub cgroup: Option<i64>,
    /// Device and inode number.
    pub file: Option<(i32, i64)>,
    /// The disk.
    pub disk: Option<i32>,
    /// What it carries, by which what is nobody's is told apart.
    pub class: IoClass,
}

/// When the process of a row started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// It is the one that had the id at the time of the row.
    Then,
    /// As the row says; where that does not, nobody knows which process it was.
    At(Option<i64>),
}

impl Told {
    /// Of bytes of which nothing but the disk is known.
    pub fn nobodys(disk: i32, class: IoClass) -> Told {
        Told { process: (None, Start::At(None)), cgroup: None, file: None, disk: Some(disk), class }
    }
}

/// The same in few words, which are compared and hashed for each row.
#[derive(Debug, Clone, Copy, Eq)]
struct Key([u64; 5]);

impl PartialEq for Key {
    /// Without a call of memcmp(), which a derived one makes.
    #[inline]
    fn eq(&self, other: &Key) -> bool {
        self.0.iter().zip(other.0).fold(0, |different, (mine, theirs)| different | (mine ^ theirs)) == 0
    }
}

impl Key {
    #[inline]
    fn of(told: &Told) -> Key {
        let Told { process: (pid, start), cgroup, file, disk, class } = *told;
        let (start_ns, start_is) = match start {
            Start::Then => (0, 0),
            Start::At(None) => (0, 1),
            Start::At(Some(start_ns)) => (start_ns, 2),
        };
        let (dev, ino) = file.unwrap_or_default();
        let there = [pid.is_some(), cgroup.is_some(), file.is_some(), disk.is_some()];
        let there = there.iter().fold(start_is, |bits, there| bits << 1 | u64::from(*there));
        let two = |low: i32, high: i32| u64::from(low as u32) | u64::from(high as u32) << 32;
        Key([
            ino as u64,
            two(pid.unwrap_or_default(), dev),
            two(disk.unwrap_or_default(), class as i32) ^ there << 56,
            start_ns as u64,
            cgroup.unwrap_or_default() as u64,
        ])
    }
}

impl Hash for Key {
    /// Of what tells most rows apart; the rest is compared.
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0[0]);
        state.write_u64(self.0[1]);
    }
}

/// Finds whose rows of one capture are, and where that is counted in one partial.
pub struct Whose<'a> {
    scan: &'a Scan<'a>,
    /// Slots in the partial by index of the process table's system.
    slots: Vec<Option<usize>>,
    /// Slots of those who are not in the process table.
    by_comm: HashMap<String, usize>,
    /// Slots by process id; none where only a row's command name says which it is.
    callers: Remembered<i32, Option<usize>>,
    /// Where rows of which the same is told are counted.
    known: Remembered<Key, (usize, Group)>,
}

/// Holds at any time.
const ALWAYS: (i64, i64) = (i64::MIN, i64::MAX);

impl<'a> Whose<'a> {
    /// For the capture that `scan` is of.
    pub fn new(scan: &'a Scan<'a>) -> Self {
        Whose {
            scan,
            slots: vec![None; scan.owners.systems()],
            by_comm: HashMap::new(),
            callers: Remembered::new(),
            known: Remembered::new(),
        }
    }

    /// The slot of the system of what process `pid` does at `ts_ns`.
    #[inline]
    pub fn caller(&mut self, partial: &mut Partial, pid: i32, ts_ns: i64, comm: Option<&str>) -> usize {
        let slot = self.callers.get(&pid, ts_ns).unwrap_or_else(|| {
            let found = self.scan.owners.find(pid, ts_ns);
            let slot = slot(self.scan, &mut self.slots, partial, found);
            self.callers.put(pid, held(found), slot);
            slot
        });
        slot.unwrap_or_else(|| self.slot_by_comm(partial, comm))
    }

    /// The slot of the system that a row of `ts_ns` is of, and whose its bytes are.
    #[inline]
    pub fn find(
        &mut self,
        (partial, ledger): (&mut Partial, &mut Ledger),
        told: &Told,
        (ts_ns, comm): (i64, Option<&str>),
    ) -> (usize, Group) {
        match self.known.get(&Key::of(told), ts_ns) {
            Some(known) => known,
            None => self.look_up((partial, ledger), told, (ts_ns, comm)),
        }
    }

    fn look_up(
        &mut self,
        (partial, ledger): (&mut Partial, &mut Ledger),
        told: &Told,
        (ts_ns, comm): (i64, Option<&str>),
    ) -> (usize, Group) {
        let (scan, capture) = (self.scan, self.scan.capture);
        let class = class_of_nobody(told.class);
        let nobody = |scope| Entity::Nobody(scope, class);
        let (pid, start) = told.process;
        let found = pid.and_then(|pid| match start {
            // Its request may be long after its end.
            Start::At(Some(start_ns)) => scan.owners.find_started(pid, start_ns, ts_ns),
            _ => scan.owners.find(pid, ts_ns),
        });
        let start_ns = match start {
            Start::Then => Some(found.map_or(0, |found| found.span.start_ns)),
            Start::At(start_ns) => start_ns,
        };
        let known_slot = match pid {
            Some(_) => slot(scan, &mut self.slots, partial, found),
            None => Some(partial.slot(without_owner(told.class))),
        };
        let process =
            pid.zip(start_ns).map_or(nobody(Scope::Process), |(pid, start_ns)| Entity::Process(capture, pid, start_ns));
        let cgroup = told.cgroup.map_or(nobody(Scope::Cgroup), |id| Entity::Cgroup(capture, id));
        let (file, file_held) = told.file.map_or((nobody(Scope::File), ALWAYS), |(dev, ino)| {
            let (file, held) = scan.files.find(dev, ino, ts_ns);
            (Entity::File(capture, file), held)
        });
        let disk = told.disk.map_or(nobody(Scope::Device), |dev| Entity::Device(capture, dev));
        let places = Places([process, cgroup, file, disk].map(|entity| partial.entities.place(entity)));
        let slot = known_slot.unwrap_or_else(|| self.slot_by_comm(partial, comm));
        let group = ledger.group(slot, places);
        // By its command name another row of the same may be another system's.
        if known_slot.is_some() {
            let held = held(found);
            let both = (held.0.max(file_held.0), held.1.min(file_held.1));
            self.known.put(Key::of(told), both, (slot, group));
        }
        (slot, group)
    }

    /// Whose it is what the process `pid` of `cgroup_id` does to a file: its device and inode number, and what kind it is.
    #[inline]
    pub fn done(
        &self,
        (pid, cgroup_id): (i32, i64),
        (dev, ino, kind): (Option<i32>, Option<i64>, Option<FdKind>),
    ) -> Told {
        Told {
            process: (Some(pid), Start::Then),
            cgroup: Some(cgroup_id),
            // A block device is none: its requests name no file.
            file: if kind == Some(FdKind::Block) { None } else { dev.zip(ino) },
            // The one that does what is asked of the device or file system.
            disk: dev.and_then(|dev| self.scan.disks.get(&dev).copied()),
            class: IoClass::Data,
        }
    }

    fn slot_by_comm(&mut self, partial: &mut Partial, comm: Option<&str>) -> usize {
        if let Some(slot) = self.by_comm.get(comm.unwrap_or_default()) {
            return *slot;
        }
        let slot = partial.slot(&self.scan.owners.by_comm(comm));
        self.by_comm.insert(comm.unwrap_or_default().to_owned(), slot);
        slot
    }
}

fn held(found: Option<Found>) -> (i64, i64) {
    found.map_or(ALWAYS, |found| found.held)
}

/// The slot of a process that the process table has.
fn slot(scan: &Scan, slots: &mut [Option<usize>], partial: &mut Partial, found: Option<Found>) -> Option<usize> {
    let system = found?.span.system;
    Some(*slots[system].get_or_insert_with(|| partial.slot(scan.owners.name(system))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_in_anything_has_another_key() {
        let whole = Told {
            process: (Some(1), Start::At(Some(0))),
            cgroup: Some(0),
            file: Some((0, 0)),
            disk: Some(0),
            class: IoClass::Data,
        };
        let others = [
            Told { process: (None, Start::At(Some(0))), ..whole },
            Told { process: (Some(2), Start::At(Some(0))), ..whole },
            Told { process: (Some(1), Start::At(None)), ..whole },
            Told { process: (Some(1), Start::Then), ..whole },
            Told { process: (Some(1), Start::At(Some(1))), ..whole },
            Told { cgroup: None, ..whole },
            Told { cgroup: Some(-1), ..whole },
            Told { file: None, ..whole },
            Told { file: Some((0, 1)), ..whole },
            Told { file: Some((1, 0)), ..whole },
            Told { disk: None, ..whole },
            Told { disk: Some(-1), ..whole },
            Told { class: IoClass::Discard, ..whole },
            whole,
        ];
        for (number, one) in others.iter().enumerate() {
            for other in &others[..number] {
                assert_ne!(Key::of(one), Key::of(other), "{one:?} {other:?}");
            }
        }
        assert_eq!(Key::of(&whole), Key::of(&whole.clone()));
    }
}
