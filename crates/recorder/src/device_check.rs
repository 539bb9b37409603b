//! Check of the rows against the kernel's device counters.
//!
//! The counters are read four times: right before and after completed requests begin to become rows, and right before and after that
//! ends. I/O of a busy device between an outer and an inner reading may or may not be in rows. All I/O between the two inner readings
//! must be.

use std::thread;
use std::time::Duration;

use iostrata_capture::manifest::{Counting, Device, DeviceCheck, DeviceCounters};
use rustc_hash::FxHashMap;

use crate::books::{DeviceRows, Kernel, settle_device};
use crate::bpf::types;
use crate::host::devices;
use crate::session::Edge;

/// Delay of the kernel's counting of a request after the program at its completion.
const COUNTING: Duration = Duration::from_millis(5);

/// A reading of one device.
#[derive(Debug, Clone, Copy)]
struct Reading {
    counters: DeviceCounters,
    /// Distinguishes a disk from a later one with the same name; none before Linux 5.15.
    sequence: Option<u64>,
    /// Whether the kernel counts the device's I/O.
    counts: bool,
}

/// Four readings of the devices.
pub struct DeviceWitness {
    devices: Vec<Device>,
    /// Readings in order, each with an entry per device; `None` once the device is removed.
    readings: Vec<Vec<Option<Reading>>>,
}

impl DeviceWitness {
    /// Creates a check of `devices`, without readings.
    pub fn of(devices: Vec<Device>) -> Self {
        DeviceWitness { devices, readings: Vec::new() }
    }

    /// Reads the counters at each of these times.
    pub fn at(&mut self, edge: Edge) {
        match edge {
            Edge::Opening | Edge::Closing => {}
            Edge::Open | Edge::Closed => thread::sleep(COUNTING),
        }
        self.read();
    }

    fn read(&mut self) {
        let reading = |device: &Device| {
            let counters = devices::counters(&device.name).ok()?;
            let counts = devices::is_counted(&device.name);
            Some(Reading { counters, sequence: devices::sequence(&device.name), counts })
        };
        self.readings.push(self.devices.iter().map(reading).collect());
    }

    /// The four readings of the device at `at`; none if it was removed or replaced.
    fn readings_of(&self, at: usize) -> Option<Vec<Reading>> {
        let readings: Vec<Reading> = self.readings.iter().map(|reading| reading[at]).collect::<Option<_>>()?;
        let same = |pair: &[Reading]| {
            // Counters never decrease by themselves.
            pair[0].sequence == pair[1].sequence && pair[1].counters.has_reached(&pair[0].counters)
        };
        readings.windows(2).all(same).then_some(readings)
    }

    /// Devices that cannot be checked, because they were removed or their counters restarted.
    pub fn missing(&self) -> Vec<&str> {
        let missing = self.devices.iter().enumerate().filter(|(at, _)| self.readings_of(*at).is_none());
        missing.map(|(_, device)| device.name.as_str()).collect()
    }

    /// Checks each device. `rows` and `own` return the recorded I/O of a device and the recorder's own. `part` has the bytes that
    /// requests in flight at the end had moved: they are counted by then, and in no row.
    pub fn settle<E>(
        &self,
        (rows, part): (impl Fn(i32) -> DeviceRows, &FxHashMap<i32, DeviceCounters>),
        own: impl Fn(i32) -> Result<types::own_io, E>,
    ) -> Result<Vec<DeviceCheck>, E> {
        let mut books = Vec::new();
        for (at, device) in self.devices.iter().enumerate() {
            let Some(readings) = self.readings_of(at) else { continue };
            if let [before, attached, detaching, detached] = readings.as_slice() {
                let moved = detaching.counters.since(&attached.counters);
                let edges = detached.counters.since(&before.counters).since(&moved);
                let hands_bios_on = !devices::makes_requests(&device.name);
                // Such a device has bios in flight, which are counted as a whole.
                let part = part.get(&device.dev).filter(|_| !hands_bios_on).copied().unwrap_or_default();
                let (moved, edges) = with_edge(moved, edges, part);
                let kernel = Kernel { moved, edges, counting: counting(&readings), hands_bios_on };
                books.push(settle_device(&device.name, kernel, rows(device.dev), &own(device.dev)?));
            }
        }
        Ok(books)
    }
}

/// Splits the change into that between the inner readings and that at the edges, where `part` of the former is in no row yet.
fn with_edge(moved: DeviceCounters, edges: DeviceCounters, part: DeviceCounters) -> (DeviceCounters, DeviceCounters) {
    let read_bytes = part.read_bytes.min(moved.read_bytes);
    let write_bytes = part.write_bytes.min(moved.write_bytes);
    let sure = DeviceCounters {
        read_bytes: moved.read_bytes - read_bytes,
        write_bytes: moved.write_bytes - write_bytes,
        ..moved
    };
    let open = DeviceCounters {
        read_bytes: edges.read_bytes + read_bytes,
        write_bytes: edges.write_bytes + write_bytes,
        ..edges
    };
    (sure, open)
}

/// Whether the kernel counted, according to these readings.
fn counting(readings: &[Reading]) -> Counting {
    match readings.iter().filter(|reading| reading.counts).count() {
        0 => Counting::Never,
        count if count == readings.len() => Counting::Always,
        _ => Counting::Partly,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_moved_of_requests_under_way_may_be_in_rows_or_not() {
        let counters = |write_ops, write_bytes| DeviceCounters { write_ops, write_bytes, ..DeviceCounters::default() };
        let (sure, open) = with_edge(counters(127, 16_107_520), counters(3, 5_120), counters(0, 1_024));
        assert_eq!((sure, open), (counters(127, 16_106_496), counters(3, 6_144)));
        // All counted I/O was before the first inner reading.
        let (sure, open) = with_edge(counters(0, 512), counters(1, 0), counters(0, 1_024));
        assert_eq!((sure, open), (counters(0, 0), counters(1, 512)));
    }
}
