//! User-space part of the device filter. Decides on file systems that the BPF programs do not know, and reports the result to them.

use iostrata_capture::manifest::Unmapped;
use libbpf_rs::{MapCore, MapFlags, MapHandle};

use crate::bpf::types::device_use;
use crate::host::places::{Change, Places};

/// Decides which rows a device filter keeps.
pub struct DeviceFilter {
    places: Places,
    /// Map `devices` of the BPF programs.
    map: MapHandle,
    /// Cached device: rows of one file system arrive in runs.
    last: Option<i32>,
}

impl DeviceFilter {
    /// Creates a filter that uses the classification of `places`.
    pub fn new(places: Places, map: MapHandle) -> DeviceFilter {
        DeviceFilter { places, map, last: None }
    }

    /// Whether a row of process `pid` on the file system, or device, `dev` is kept.
    pub fn keeps(&mut self, dev: i32, pid: i32) -> bool {
        if dev < 0 || self.last == Some(dev) {
            return true;
        }
        let (keeps, change) = self.places.wants(dev, pid);
        change.into_iter().for_each(|change| self.tell(change));
        if keeps {
            self.last = Some(dev);
        }
        keeps
    }

    /// Updates the filter after mounts and unmounts. Must be called often.
    pub fn refresh(&mut self) {
        for change in self.places.refresh() {
            self.last = None;
            self.tell(change);
        }
    }

    /// Updates the map. If this fails, the BPF programs let more events pass than necessary.
    fn tell(&self, (dev, stands): Change) {
        let key = dev.to_ne_bytes();
        let _ = match stands {
            None => self.map.delete(&key),
            Some(stands) => {
                let is = if stands { device_use::DEVICE_HAS_FILES } else { device_use::DEVICE_LEFT_OUT };
                // The entry of a disk stays.
                self.map.update(&key, &is.0.to_ne_bytes(), MapFlags::NO_EXIST)
            }
        };
    }

    /// File systems with an unknown disk.
    pub fn unmapped(self) -> Vec<Unmapped> {
        self.places.unmapped()
    }
}
