//! Names of entities.

use std::collections::HashMap;
use std::sync::Arc;

use iostrata_capture::Capture;
use iostrata_capture::manifest::Device;
use iostrata_capture::system::without_owner;

use crate::disks::by_number;
use crate::entity::{Entity, FileId, device_number};
use crate::files::Files;
use crate::owners::{Owners, ProcessNames};

/// Names of the entities of captures.
pub struct Names<'a> {
    hosts: Vec<Arc<str>>,
    devices: Vec<HashMap<i32, &'a Device>>,
    owners: &'a [Owners<'a>],
    files: &'a [Files],
}

impl<'a> Names<'a> {
    /// Creates the names from captures, their processes and their files, in the same order.
    pub fn new(captures: &'a [Capture], owners: &'a [Owners<'a>], files: &'a [Files]) -> Self {
        let hosts = captures.iter().map(|capture| capture.manifest.host.hostname.as_str().into()).collect();
        Names { hosts, devices: captures.iter().map(|c| by_number(&c.manifest)).collect(), owners, files }
    }

    /// Returns the name of an entity, which may be empty, and its id. A partial result from a file may have entities of captures that do not exist.
    pub fn of(&self, entity: &Entity) -> (String, String) {
        match *entity {
            Entity::Process(capture, pid, start_ns) => {
                let told = self.owners.get(capture.place()).and_then(|owners| owners.told(pid, start_ns));
                (told.map(|told| told.comm).unwrap_or_default(), format!("{pid}@{start_ns}"))
            }
            Entity::Cgroup(capture, id) => {
                let owners = self.owners.get(capture.place());
                (owners.and_then(|owners| owners.cgroup(id)).unwrap_or_default(), id.to_string())
            }
            Entity::File(capture, file) => {
                let FileId { dev, ino, generation } = file;
                let generation = generation.map(|generation| format!("@{generation}")).unwrap_or_default();
                let name = self.files.get(capture.place()).and_then(|files| files.name(file)).unwrap_or_default();
                (name, format!("{}:{ino}{generation}", device_number(dev)))
            }
            Entity::Device(capture, dev) => {
                let device = self.devices.get(capture.place()).and_then(|devices| devices.get(&dev));
                (device.map(|device| device.name.clone()).unwrap_or_default(), device_number(dev))
            }
            Entity::Nobody(_, class) => (without_owner(class).to_owned(), String::new()),
        }
    }

    /// Returns the name of the recorded machine of an entity; empty for unattributed I/O.
    pub fn host(&self, entity: &Entity) -> Arc<str> {
        let host = entity.capture().and_then(|capture| self.hosts.get(capture.place()));
        host.cloned().unwrap_or_default()
    }

    /// Returns the names of a process; empty for other entities.
    pub fn told(&self, entity: &Entity) -> ProcessNames {
        let Entity::Process(capture, pid, start_ns) = *entity else { return ProcessNames::default() };
        let told = self.owners.get(capture.place()).and_then(|owners| owners.told(pid, start_ns));
        told.unwrap_or_default()
    }
}
