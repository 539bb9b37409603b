//! The kernel's own counters of each device, as the witness for its rows.
//!
//! They are read four times: right before and after requests that end begin to become rows, right before and after they cease to. On a
//! device that works meanwhile, what it did between the outer and the inner reading may or may not be in rows; everything between the
//! inner two must be.

use std::thread;
use std::time::Duration;

use iostrata_capture::manifest::{Counting, Device, DeviceBook, DeviceCounters};

use crate::books::{DeviceRows, Kernel, settle_device};
use crate::bpf::types;
use crate::host::devices;
use crate::session::Edge;

/// The kernel counts a request some instants after the program at its completion ran.
const COUNTING: Duration = Duration::from_millis(5);

/// A reading of one device.
#[derive(Debug, Clone, Copy)]
struct Reading {
    counters: DeviceCounters,
    /// Tells a disk from another one that has its name later; none before Linux 5.15.
    sequence: Option<u64>,
    /// Whether the kernel counts.
    counts: bool,
}

/// Four readings of some devices.
pub struct Witness {
    devices: Vec<Device>,
    /// For each device, in order; `None` once it is gone.
    readings: Vec<Vec<Option<Reading>>>,
}

impl Witness {
    /// A witness for `devices` that has seen nothing yet.
    pub fn of(devices: Vec<Device>) -> Self {
        Witness { devices, readings: Vec::new() }
    }

    /// Reads, at each of these moments.
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

    /// The four readings of the device at `at`; none where it is gone, or another has taken its place.
    fn readings_of(&self, at: usize) -> Option<Vec<Reading>> {
        let readings: Vec<Reading> = self.readings.iter().map(|reading| reading[at]).collect::<Option<_>>()?;
        let same = |pair: &[Reading]| {
            // Counters never go back by themselves.
            pair[0].sequence == pair[1].sequence && pair[1].counters.has_reached(&pair[0].counters)
        };
        readings.windows(2).all(same).then_some(readings)
    }

    /// Devices that have no book, because they are gone or began anew.
    pub fn missing(&self) -> Vec<&str> {
        let missing = self.devices.iter().enumerate().filter(|(at, _)| self.readings_of(*at).is_none());
        missing.map(|(_, device)| device.name.as_str()).collect()
    }

    /// Each device's book. `rows` and `own` tell what was recorded of a device and what of it was the recorder's.
    pub fn settle<E>(
        &self,
        rows: impl Fn(i32) -> DeviceRows,
        own: impl Fn(i32) -> Result<types::own_io, E>,
    ) -> Result<Vec<DeviceBook>, E> {
        let mut books = Vec::new();
        for (at, device) in self.devices.iter().enumerate() {
            let Some(readings) = self.readings_of(at) else { continue };
            if let [before, attached, detaching, detached] = readings.as_slice() {
                let moved = detaching.counters.since(&attached.counters);
                let edges = detached.counters.since(&before.counters).since(&moved);
                let hands_bios_on = !devices::makes_requests(&device.name);
                let kernel = Kernel { moved, edges, counting: counting(&readings), hands_bios_on };
                books.push(settle_device(&device.name, kernel, rows(device.dev), &own(device.dev)?));
            }
        }
        Ok(books)
    }
}

/// Whether the kernel counted, as far as these readings tell.
fn counting(readings: &[Reading]) -> Counting {
    match readings.iter().filter(|reading| reading.counts).count() {
        0 => Counting::Never,
        count if count == readings.len() => Counting::Always,
        _ => Counting::Partly,
    }
}
