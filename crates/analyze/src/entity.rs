//! Entities that bytes are counted for besides systems: processes, cgroups, files and devices.

use std::cell::Cell;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use iostrata_capture::op::{Direction, IoClass, Layer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::aggregate::activity::Activity;
use crate::aggregate::count::Moved;
use crate::aggregate::flow::{Flows, Kept as KeptFlows, Step};
use crate::index::Index;

/// A device number as `major:minor`.
pub fn device_number(dev: i32) -> String {
    format!("{}:{}", dev as u32 >> 20, dev & 0xf_ffff)
}

/// Disk: number of its capture, and device number.
pub type Disk = (CaptureNumber, i32);

/// Kind of entity by which bytes are grouped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Scope {
    /// Process.
    Process,
    /// Cgroup.
    Cgroup,
    /// File.
    File,
    /// Disk.
    Device,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Scope; 4] = [Scope::Process, Scope::Cgroup, Scope::File, Scope::Device];

    /// Returns its name in `amplification.csv`.
    pub const fn name(self) -> &'static str {
        match self {
            Scope::Process => "process",
            Scope::Cgroup => "cgroup",
            Scope::File => "file",
            Scope::Device => "device",
        }
    }
}

/// A file of a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileId {
    /// Device number of its file system; of a block device, its own.
    pub dev: i32,
    /// Inode number.
    pub ino: i64,
    /// Generation: distinguishes files with the same inode number over time; `None` if the file table has none.
    pub generation: Option<i64>,
}

/// Capture, by its place among those that are analyzed.
///
/// All of a partial result in a file is of one capture, whose place may be another one when the file is merged. So it is not stored: a capture that
/// is read from a file is the one that [`CaptureNumber::while_reading`] names.
#[derive(Debug, Clone, Copy, Default)]
pub struct CaptureNumber {
    place: u32,
    /// Follows from the place.
    key: u32,
}

impl PartialEq for CaptureNumber {
    fn eq(&self, other: &CaptureNumber) -> bool {
        self.place == other.place
    }
}

impl Eq for CaptureNumber {}

impl Hash for CaptureNumber {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.place.hash(state);
    }
}

impl Ord for CaptureNumber {
    fn cmp(&self, other: &CaptureNumber) -> Ordering {
        self.place.cmp(&other.place)
    }
}

impl PartialOrd for CaptureNumber {
    fn partial_cmp(&self, other: &CaptureNumber) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

thread_local! {
    static READ: Cell<CaptureNumber> = const { Cell::new(CaptureNumber { place: 0, key: 0 }) };
}

impl CaptureNumber {
    /// Creates the number of the capture at `place` with this `capture_id`.
    pub fn new(place: usize, capture_id: &str) -> CaptureNumber {
        // More captures exceed any memory.
        CaptureNumber { place: u32::try_from(place).unwrap_or(u32::MAX), key: crc32fast::hash(capture_id.as_bytes()) }
    }

    /// Returns its place.
    pub const fn place(self) -> usize {
        self.place as usize
    }

    /// Returns a hash of its id, which does not depend on its place.
    pub const fn key(self) -> u32 {
        self.key
    }

    /// Calls `read`, which reads partial results of this capture from a file.
    pub fn while_reading<T>(self, read: impl FnOnce() -> T) -> T {
        let before = READ.replace(self);
        let result = read();
        READ.set(before);
        result
    }
}

impl Serialize for CaptureNumber {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl<'de> Deserialize<'de> for CaptureNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<CaptureNumber, D::Error> {
        <()>::deserialize(deserializer)?;
        Ok(READ.get())
    }
}

/// Entity of a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Entity {
    /// Process: capture, process id, start in nanoseconds.
    Process(CaptureNumber, i32, i64),
    /// Cgroup: capture, id.
    Cgroup(CaptureNumber, i64),
    /// File: capture, file id.
    File(CaptureNumber, FileId),
    /// Disk: capture, device number.
    Device(CaptureNumber, i32),
    /// Unattributed I/O of a scope, by class.
    Nobody(Scope, IoClass),
}

impl Entity {
    /// Returns its capture; none for unattributed I/O.
    pub fn capture(&self) -> Option<CaptureNumber> {
        match *self {
            Entity::Process(capture, ..)
            | Entity::Cgroup(capture, _)
            | Entity::File(capture, _)
            | Entity::Device(capture, _) => Some(capture),
            Entity::Nobody(..) => None,
        }
    }

    /// Returns its scope.
    pub fn scope(&self) -> Scope {
        match self {
            Entity::Process(..) => Scope::Process,
            Entity::Cgroup(..) => Scope::Cgroup,
            Entity::File(..) => Scope::File,
            Entity::Device(..) => Scope::Device,
            Entity::Nobody(scope, _) => *scope,
        }
    }
}

/// Returns the class by which unattributed bytes are grouped. Readahead counts as data: no process has requested it yet.
pub const fn class_of_nobody(class: IoClass) -> IoClass {
    match class {
        IoClass::Readahead => IoClass::Data,
        class => class,
    }
}

/// Index of an entity in its [`Entities`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Place(u32);

impl Place {
    /// Returns the index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Entities that an operation counts for: one in each scope, in the order of [`Scope::ALL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Places(pub [Place; Scope::ALL.len()]);

impl Places {
    /// Returns the entity that the offsets of an operation of `layer` refer to.
    pub fn of_positions(&self, layer: Layer) -> Place {
        // Offsets on a block device may be relative to a partition, or to a volume over several disks.
        let scope = if layer == Layer::Block { Scope::Device } else { Scope::File };
        self.0[scope as usize]
    }
}

/// Cache of one value per entity, by index.
#[derive(Debug)]
pub struct PerPlace<T>(Vec<Option<T>>);

impl<T> Default for PerPlace<T> {
    fn default() -> Self {
        PerPlace(Vec::new())
    }
}

impl<T> PerPlace<T> {
    /// Returns the value of `place`; computes it with `find` the first time.
    #[inline]
    pub fn of(&mut self, place: Place, find: impl FnOnce() -> T) -> &mut T {
        if self.0.len() <= place.index() {
            self.0.resize_with(place.index() + 1, || None);
        }
        self.0[place.index()].get_or_insert_with(find)
    }
}

/// Byte flows of every entity. Memory grows with the number of processes, cgroups and files, not of rows.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "Kept", into = "Kept")]
pub struct Entities {
    places: Index,
    all: Vec<Entity>,
    /// Flows by index; entities at the end may have no element yet.
    flows: Vec<KeptFlows>,
    /// Activity by index, if requested.
    active: Vec<Activity>,
}

/// Serialized form, by index.
#[derive(Serialize, Deserialize)]
struct Kept(Vec<Entity>, Vec<KeptFlows>, Vec<Activity>);

impl From<Kept> for Entities {
    fn from(Kept(all, flows, active): Kept) -> Entities {
        let mut entities = Entities { flows, active, ..Entities::default() };
        for entity in all {
            entities.place(entity);
        }
        entities
    }
}

impl From<Entities> for Kept {
    fn from(Entities { all, flows, active, .. }: Entities) -> Kept {
        Kept(all, flows, active)
    }
}

impl Entities {
    /// Returns the index of `entity`; adds it if it is new.
    pub fn place(&mut self, entity: Entity) -> Place {
        let Entities { places, all, .. } = self;
        let hash = places.hash(&entity);
        if let Some(place) = places.find(hash, |place| all[place as usize] == entity) {
            return Place(place);
        }
        // Four billion entities exceed any memory.
        let place = u32::try_from(all.len()).unwrap_or(u32::MAX);
        all.push(entity);
        places.add(hash, place, |places, place| places.hash(&all[place as usize]));
        Place(place)
    }

    /// Returns the entity with the index `place`.
    #[inline]
    pub fn of(&self, Place(place): Place) -> Entity {
        self.all[place as usize]
    }

    /// Adds bytes for each entity in `places`.
    #[inline]
    pub fn add(&mut self, places: Places, (direction, step, bytes): (Direction, Step, u64)) {
        for Place(place) in places.0 {
            self.flows(place).add(direction, step, bytes);
        }
    }

    /// Adds operations for each entity in `places`.
    pub fn count(&mut self, places: Places, (layer, direction): (Layer, Option<Direction>), sums: &Moved) {
        for Place(place) in places.0 {
            self.active(place).add(layer, direction, sums);
        }
    }

    #[inline]
    fn flows(&mut self, place: u32) -> &mut KeptFlows {
        of_place(&mut self.flows, place, self.all.len())
    }

    #[inline]
    fn active(&mut self, place: u32) -> &mut Activity {
        of_place(&mut self.active, place, self.all.len())
    }

    /// Returns every entity, by index.
    pub fn each(&self) -> Vec<Entity> {
        self.all.clone()
    }

    /// Adds the contents of `other`. Returns the indexes of its entities here, by their indexes there.
    pub fn combine(&mut self, other: Entities) -> Vec<Place> {
        let (mut flows, mut active) = (other.flows.into_iter(), other.active.into_iter());
        let mut places = Vec::with_capacity(other.all.len());
        for entity in other.all {
            let Place(place) = self.place(entity);
            places.push(Place(place));
            if let Some(flows) = flows.next() {
                self.flows(place).combine(&flows);
            }
            if let Some(activity) = active.next().filter(|activity| !activity.is_empty()) {
                self.active(place).combine(&activity);
            }
        }
        places
    }

    /// Returns the activity of each entity, in order, if requested.
    pub fn finish_active(&mut self) -> Vec<(Entity, Activity)> {
        let active = std::mem::take(&mut self.active);
        let mut active: Vec<_> = self.all.iter().copied().zip(active).collect();
        active.sort_unstable_by_key(|(entity, _)| *entity);
        active
    }

    /// Returns all entities with bytes, in order.
    pub fn finish(self) -> Finished {
        let Entities { all, flows, places, .. } = self;
        drop(places);
        let has_bytes = |place: &u32| flows.get(*place as usize).is_some_and(|flows| !flows.is_empty());
        let mut order: Vec<u32> = (0..u32::try_from(all.len()).unwrap_or(u32::MAX)).filter(has_bytes).collect();
        order.sort_unstable_by_key(|place| all[*place as usize]);
        Finished { all, flows, order }
    }
}

/// Entities with bytes, in order.
#[derive(Default)]
pub struct Finished {
    all: Vec<Entity>,
    flows: Vec<KeptFlows>,
    order: Vec<u32>,
}

impl fmt::Debug for Finished {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(entity, flows)| (entity, flows.get()))).finish()
    }
}

impl FromIterator<(Entity, Flows)> for Finished {
    fn from_iter<T: IntoIterator<Item = (Entity, Flows)>>(all: T) -> Finished {
        let mut entities = Entities::default();
        for (entity, flows) in all {
            let Place(place) = entities.place(entity);
            entities.flows(place).combine(&flows.into());
        }
        entities.finish()
    }
}

impl Finished {
    /// Iterates over the entities and their bytes.
    pub fn iter(&self) -> impl Iterator<Item = (Entity, &KeptFlows)> {
        self.order.iter().map(|place| (self.all[*place as usize], &self.flows[*place as usize]))
    }

    /// Iterates over the entities of one scope.
    pub fn of(&self, scope: Scope) -> impl Iterator<Item = (Entity, &KeptFlows)> {
        self.iter().filter(move |(entity, _)| entity.scope() == scope)
    }

    /// Returns the bytes of an entity, if it has any.
    pub fn get(&self, entity: &Entity) -> Option<Flows> {
        let at = self.order.binary_search_by(|place| self.all[*place as usize].cmp(entity)).ok()?;
        Some(self.flows[self.order[at] as usize].get())
    }
}

/// Returns the element of `place`. Extends the elements to `all` entities if it has none yet.
#[inline]
fn of_place<T: Clone + Default>(of_each: &mut Vec<T>, place: u32, all: usize) -> &mut T {
    let place = place as usize;
    if of_each.len() <= place {
        of_each.resize(all, T::default());
    }
    &mut of_each[place]
}
