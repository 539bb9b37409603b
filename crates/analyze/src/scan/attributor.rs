//! Attribution of a row: its system, and the process, cgroup, file and disk that its bytes count for.

use iostrata_capture::op::Layer;
use iostrata_capture::system::without_owner;

use super::Scan;
use super::accumulators::{AccumulatorId, Accumulators, NO_SLOT};
use super::attribution::{AttributionKey, Disk, RowAttribution, Start};
use super::attribution_cache::AttributionCache;
use crate::entity::{Entity, Places, Scope, class_of_nobody};
use crate::owners::Found;
use crate::partial::Partial;
use crate::select::Verdict;
use crate::store::lookups::LookupTrace;

/// Attribution of the rows of one capture to accumulators of one partial result.
pub struct Attributor<'a> {
    scan: &'a Scan<'a>,
    /// Attribution cache: accumulators by attribution key.
    known: AttributionCache<AttributionKey, AccumulatorId>,
    /// Lookups that the result depends on besides the rows, if recorded.
    pub questions: Option<LookupTrace>,
}

/// Period without bounds.
const ALWAYS: (i64, i64) = (i64::MIN, i64::MAX);

impl<'a> Attributor<'a> {
    /// Creates the attribution for the capture of `scan`.
    pub fn new(scan: &'a Scan<'a>) -> Self {
        Attributor { scan, known: AttributionCache::new(), questions: None }
    }

    /// Returns the accumulator of a row at `ts_ns`, if cached.
    #[inline]
    pub fn known(&self, key: &AttributionKey, ts_ns: i64) -> Option<AccumulatorId> {
        self.known.get(key, ts_ns)
    }

    /// Returns the number of cached accumulators, including those of rows that are not selected.
    pub fn remembered(&self) -> usize {
        self.known.len()
    }

    /// Clears the cache after the accumulators were closed.
    pub fn forget(&mut self) {
        self.known = AttributionCache::new();
    }

    /// Opens an accumulator for rows with this key.
    pub fn open(
        &mut self,
        (partial, accounts): (&mut Partial, &mut Accumulators),
        key: &AttributionKey,
        (ts_ns, comm): (i64, Option<&str>),
    ) -> AccumulatorId {
        let told = &key.told();
        self.questions.iter_mut().for_each(|questions| questions.whose(told));
        let found = self.find(told, ts_ns);
        let (entities, entities_held) = self.entities(told, found, ts_ns);
        let known_system = self.known_system(told, found);
        let (verdict, slot) = match known_system {
            Some(System::None) => (self.verdict("", &entities), NO_SLOT),
            Some(System::Of(name)) => {
                let verdict = self.verdict(name, &entities);
                (verdict, if verdict == Verdict::Selected { partial.slot(name) } else { NO_SLOT })
            }
            None => {
                let name = self.scan.owners.by_comm(comm);
                let verdict = self.verdict(&name, &entities);
                (verdict, if verdict == Verdict::Selected { partial.slot(&name) } else { NO_SLOT })
            }
        };
        let account = match verdict {
            Verdict::LeftOut => accounts.left_out(),
            _ => {
                let places = || Places(entities.map(|entity| partial.entities.place(entity)));
                let places = (verdict == Verdict::Selected).then(places);
                let serves = slot != NO_SLOT && self.serves(told, found);
                accounts.open(told.kind, (slot, serves), places, told.disk.is())
            }
        };
        // If the command name determines the system, another row with the same key may belong to another system.
        if known_system.is_some() {
            let held = held(found);
            let both = (held.0.max(entities_held.0), held.1.min(entities_held.1));
            self.known.put(*key, both, account);
        }
        account
    }

    fn verdict(&self, system: &str, entities: &[Entity; Scope::ALL.len()]) -> Verdict {
        let Scan { selection, names, .. } = self.scan;
        if selection.takes_all() { Verdict::Selected } else { selection.verdict(names, system, entities) }
    }

    /// Whether the row is a call of a process that serves calls of others. Those calls are counted.
    fn serves(&self, told: &RowAttribution, found: Option<Found>) -> bool {
        let is_call = matches!(told.kind.layer, Layer::Syscall | Layer::Vfs);
        let servers = self.scan.servers;
        is_call
            && !servers.is_empty()
            && told.process.0.zip(found).is_some_and(|(pid, found)| servers.has(pid, found.span.start_ns))
    }

    /// Returns the entry of the process table for the process of a row.
    fn find(&self, told: &RowAttribution, ts_ns: i64) -> Option<Found> {
        let owners = self.scan.owners;
        match told.process {
            // The request may come long after the end of the process.
            (Some(pid), Start::At(Some(start_ns))) => owners.find_started(pid, start_ns, ts_ns),
            (Some(pid), _) => owners.find(pid, ts_ns),
            (None, _) => None,
        }
    }

    /// Returns the entities that a row counts for, and the period in which that is valid.
    fn entities(
        &self,
        told: &RowAttribution,
        found: Option<Found>,
        ts_ns: i64,
    ) -> ([Entity; Scope::ALL.len()], (i64, i64)) {
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
        ([process, cgroup, file, disk], held)
    }

    /// Returns the system of a row, if the command name is not needed to determine it.
    fn known_system(&self, told: &RowAttribution, found: Option<Found>) -> Option<System<'a>> {
        if !told.kind.is_systems() {
            return Some(System::None);
        }
        if told.process.0.is_none() {
            return Some(System::Of(without_owner(told.class)));
        }
        Some(System::Of(self.scan.owners.name(found?.span.system)))
    }
}

/// System that a row counts in.
#[derive(Clone, Copy)]
enum System<'a> {
    /// None.
    None,
    /// The one with this name.
    Of(&'a str),
}

fn held(found: Option<Found>) -> (i64, i64) {
    found.map_or(ALWAYS, |found| found.held)
}
