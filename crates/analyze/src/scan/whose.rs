//! Whose a row is: its system, and the process, cgroup, file and disk that its bytes are counted for.

use std::collections::HashMap;

use iostrata_capture::system::without_owner;

use super::Scan;
use super::accounts::{AccountId, Accounts, NO_SLOT};
use super::remembered::Remembered;
use super::told::{Disk, Key, Start, Told};
use crate::entity::{Entity, Places, Scope, class_of_nobody};
use crate::owners::Found;
use crate::partial::Partial;

/// Finds whose rows of one capture are, and where that is counted in one partial.
pub struct Whose<'a> {
    scan: &'a Scan<'a>,
    /// Slots in the partial by index of the process table's system.
    slots: Vec<Option<u32>>,
    /// Slots of those who are not in the process table.
    by_comm: HashMap<String, u32>,
    /// Accounts of rows of which the same is told.
    known: Remembered<Key, AccountId>,
}

/// Holds at any time.
const ALWAYS: (i64, i64) = (i64::MIN, i64::MAX);

impl<'a> Whose<'a> {
    /// For the capture that `scan` is of.
    pub fn new(scan: &'a Scan<'a>) -> Self {
        Whose { scan, slots: vec![None; scan.owners.systems()], by_comm: HashMap::new(), known: Remembered::new() }
    }

    /// The account of a row of `ts_ns`, as far as it is remembered.
    #[inline]
    pub fn known(&self, key: &Key, ts_ns: i64) -> Option<AccountId> {
        self.known.get(key, ts_ns)
    }

    /// Forgets all accounts, because they were closed.
    pub fn forget(&mut self) {
        self.known = Remembered::new();
    }

    /// Opens an account for rows like this one.
    pub fn open(
        &mut self,
        (partial, accounts): (&mut Partial, &mut Accounts),
        key: &Key,
        (ts_ns, comm): (i64, Option<&str>),
    ) -> AccountId {
        let told = &key.told();
        let found = self.find(told, ts_ns);
        let (places, places_held) = self.places(partial, told, found, ts_ns);
        let known_slot = self.known_slot(partial, told, found);
        let slot = known_slot.unwrap_or_else(|| self.slot_by_comm(partial, comm));
        let disk = match told.disk {
            Disk::Is(dev) => Some(dev),
            Disk::Of(_) => None,
        };
        let account = accounts.open(told.kind, slot, places, disk);
        // By its command name another row of the same may be another system's.
        if known_slot.is_some() {
            let held = held(found);
            let both = (held.0.max(places_held.0), held.1.min(places_held.1));
            self.known.put(*key, both, account);
        }
        account
    }

    /// What the process table has of the row's process.
    fn find(&self, told: &Told, ts_ns: i64) -> Option<Found<'a>> {
        let owners = self.scan.owners;
        match told.process {
            // Its request may be long after its end.
            (Some(pid), Start::At(Some(start_ns))) => owners.find_started(pid, start_ns, ts_ns),
            (Some(pid), _) => owners.find(pid, ts_ns),
            (None, _) => None,
        }
    }

    /// Where its bytes are counted, and for when that holds.
    fn places(&self, partial: &mut Partial, told: &Told, found: Option<Found>, ts_ns: i64) -> (Places, (i64, i64)) {
        let (scan, capture) = (self.scan, self.scan.capture);
        let class = class_of_nobody(told.class);
        let nobody = |scope| Entity::Nobody(scope, class);
        let (pid, start) = told.process;
        let start_ns = match start {
            Start::Then => Some(found.map_or(0, |found| found.span.start_ns)),
            Start::At(start_ns) => start_ns,
        };
        let process =
            pid.zip(start_ns).map_or(nobody(Scope::Process), |(pid, start_ns)| Entity::Process(capture, pid, start_ns));
        let cgroup = told.cgroup.map_or(nobody(Scope::Cgroup), |id| Entity::Cgroup(capture, id));
        let (file, held) = told.file.map_or((nobody(Scope::File), ALWAYS), |(dev, ino)| {
            let (file, held) = scan.files.find(dev, ino, ts_ns);
            (Entity::File(capture, file), held)
        });
        let disk = match told.disk {
            Disk::Is(dev) => Some(dev),
            Disk::Of(dev) => dev.and_then(|dev| scan.disks.get(&dev).copied()),
        };
        let disk = disk.map_or(nobody(Scope::Device), |dev| Entity::Device(capture, dev));
        (Places([process, cgroup, file, disk].map(|entity| partial.entities.place(entity))), held)
    }

    /// The slot of the row's system, where it does not take the command name to know it.
    fn known_slot(&mut self, partial: &mut Partial, told: &Told, found: Option<Found>) -> Option<u32> {
        if !told.kind.is_systems() {
            return Some(NO_SLOT);
        }
        if told.process.0.is_none() {
            return Some(partial.slot(without_owner(told.class)));
        }
        let (owners, system) = (self.scan.owners, found?.span.system);
        Some(*self.slots[system].get_or_insert_with(|| partial.slot(owners.name(system))))
    }

    fn slot_by_comm(&mut self, partial: &mut Partial, comm: Option<&str>) -> u32 {
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
