//! Whom bytes are counted for beside systems: processes, cgroups, files and devices.

use std::collections::HashMap;

use iostrata_capture::op::{Direction, IoClass};

use crate::aggregate::flow::{Flows, Step};

/// A device number as `major:minor`.
pub fn device_number(dev: i32) -> String {
    format!("{}:{}", dev as u32 >> 20, dev & 0xf_ffff)
}

/// By what bytes are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// By process.
    Process,
    /// By cgroup.
    Cgroup,
    /// By file.
    File,
    /// By disk.
    Device,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Scope; 4] = [Scope::Process, Scope::Cgroup, Scope::File, Scope::Device];

    /// Its name in `amplification.csv`.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId {
    /// Device number of its file system; of a block device, its own.
    pub dev: i32,
    /// Inode number.
    pub ino: i64,
    /// Which of the files that have had this number; `None` where the file table does not tell.
    pub generation: Option<i64>,
}

/// One of them, within the capture of that number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Entity {
    /// A process, from its start on: capture, process id, start in nanoseconds.
    Process(usize, i32, i64),
    /// A cgroup: capture, id.
    Cgroup(usize, i64),
    /// A file: capture, and which it is there.
    File(usize, FileId),
    /// A disk: capture, device number.
    Device(usize, i32),
    /// What in this scope is nobody's, by what it carries.
    Nobody(Scope, IoClass),
}

impl Entity {
    /// What the entity is one of.
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

/// Whose some bytes are, as far as a row tells.
#[derive(Debug, Clone, Copy, Default)]
pub struct Belongs {
    /// Process id and start.
    pub process: Option<(i32, i64)>,
    /// Cgroup id.
    pub cgroup: Option<i64>,
    /// The file.
    pub file: Option<FileId>,
    /// The disk.
    pub device: Option<i32>,
}

impl Belongs {
    fn entities(self, capture: usize, class: IoClass) -> [Entity; 4] {
        // Readahead is data that nobody has asked for yet.
        let class = if class == IoClass::Readahead { IoClass::Data } else { class };
        let nobody = |scope| Entity::Nobody(scope, class);
        [
            self.process.map_or(nobody(Scope::Process), |(pid, start_ns)| Entity::Process(capture, pid, start_ns)),
            self.cgroup.map_or(nobody(Scope::Cgroup), |id| Entity::Cgroup(capture, id)),
            self.file.map_or(nobody(Scope::File), |file| Entity::File(capture, file)),
            self.device.map_or(nobody(Scope::Device), |dev| Entity::Device(capture, dev)),
        ]
    }
}

/// The flows of every entity. Memory follows the number of processes, cgroups and files, not of rows.
#[derive(Debug, Clone, Default)]
pub struct Entities(HashMap<Entity, Flows>);

impl Entities {
    /// Adds bytes for all whose they are. `class` is what tells nobody's bytes apart.
    pub fn add(
        &mut self,
        capture: usize,
        belongs: Belongs,
        class: IoClass,
        (direction, step, bytes): (Direction, Step, u64),
    ) {
        for entity in belongs.entities(capture, class) {
            self.0.entry(entity).or_default().add(direction, step, bytes);
        }
    }

    /// Adds the bytes of `other`.
    pub fn combine(&mut self, other: Entities) {
        for (entity, flows) in other.0 {
            self.0.entry(entity).or_default().combine(&flows);
        }
    }

    /// All entities, in order.
    pub fn finish(self) -> Vec<(Entity, Flows)> {
        let mut all: Vec<_> = self.0.into_iter().collect();
        all.sort_unstable_by_key(|(entity, _)| *entity);
        all
    }
}
