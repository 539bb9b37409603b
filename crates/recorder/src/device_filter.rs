//! The device filter in user space: what the kernel side lets through because it does not know the file system is decided here, and told
//! the kernel side.

use iostrata_capture::manifest::Unmapped;
use libbpf_rs::{MapCore, MapFlags, MapHandle};

use crate::bpf::types::device_use;
use crate::host::places::{Change, Places};

/// Decides which rows a device filter keeps.
pub struct DeviceFilter {
    places: Places,
    /// `devices` of the kernel side.
    map: MapHandle,
    /// Rows of one file system come in runs.
    last: Option<i32>,
}

impl DeviceFilter {
    /// By what `places` finds out.
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

    /// Follows what is mounted and unmounted. To be called often.
    pub fn refresh(&mut self) {
        for change in self.places.refresh() {
            self.last = None;
            self.tell(change);
        }
    }

    /// Where this fails the kernel side lets more through than it has to.
    fn tell(&self, (dev, stands): Change) {
        let key = dev.to_ne_bytes();
        let _ = match stands {
            None => self.map.delete(&key),
            Some(stands) => {
                let is = if stands { device_use::DEVICE_HAS_FILES } else { device_use::DEVICE_LEFT_OUT };
                // What is a disk stays one.
                self.map.update(&key, &is.0.to_ne_bytes(), MapFlags::NO_EXIST)
            }
        };
    }

    /// File systems of which nothing could be found out.
    pub fn unmapped(self) -> Vec<Unmapped> {
        self.places.unmapped()
    }
}
