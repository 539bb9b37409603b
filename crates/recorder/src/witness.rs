//! The kernel's own counters of each device, as the witness for its rows.
//!
//! They are read four times: before and after the programs are attached, before and after they are detached. On a device
//! that works meanwhile, what it did between the outer and the inner reading may or may not have been seen; everything
//! between the inner two must have been.

use std::thread;
use std::time::Duration;

use iostrata_capture::manifest::{Device, DeviceBook, DeviceCounters};

use crate::books::settle_device;
use crate::bpf::types;
use crate::clock;
use crate::host::devices;

/// The kernel counts a request some instants after the program at its completion ran.
const COUNTING: Duration = Duration::from_millis(5);

/// A disk that had no request under way.
#[derive(Debug, Clone, Copy)]
pub struct Idle {
    /// The disk.
    pub dev: i32,
    /// By the monotonic clock: what was issued before had completed.
    pub at_ns: u64,
}

/// The disks that have no request under way now. To be asked before detaching: when it returns, the programs have seen the
/// end of whatever had ended.
pub fn idle_disks(disks: &[Device]) -> Vec<Idle> {
    let at_ns = u64::try_from(clock::monotonic_ns()).unwrap_or(0);
    let idle = disks.iter().filter(|disk| devices::is_idle(&disk.name));
    let idle = idle.map(|disk| Idle { dev: disk.dev, at_ns }).collect();
    // The kernel takes a request off the count before its completion runs in a softirq.
    thread::sleep(COUNTING);
    idle
}

/// A reading of one device.
#[derive(Debug, Clone, Copy)]
struct Reading {
    counters: DeviceCounters,
    /// Tells a disk from another one that has its name later; none before Linux 5.15.
    sequence: Option<u64>,
}

/// Four readings of some devices.
pub struct Witness {
    devices: Vec<Device>,
    /// For each device, in order; `None` once it is gone.
    readings: Vec<Vec<Option<Reading>>>,
}

impl Witness {
    /// The first reading: nothing is attached.
    pub fn before(devices: Vec<Device>) -> Self {
        let mut witness = Witness { devices, readings: Vec::new() };
        witness.read();
        witness
    }

    /// The second: everything is attached, and whatever completes now is seen.
    pub fn attached(&mut self) {
        thread::sleep(COUNTING);
        self.read();
    }

    /// The third: everything still is.
    pub fn detaching(&mut self) {
        self.read();
    }

    /// The last: nothing is attached any more.
    pub fn detached(&mut self) {
        thread::sleep(COUNTING);
        self.read();
    }

    fn read(&mut self) {
        let reading = |device: &Device| {
            let counters = devices::counters(&device.name).ok()?;
            Some(Reading { counters, sequence: devices::sequence(&device.name) })
        };
        self.readings.push(self.devices.iter().map(reading).collect());
    }

    /// The four readings of the device at `at`; none where it is gone, or another has taken its place.
    fn readings_of(&self, at: usize) -> Option<Vec<DeviceCounters>> {
        let readings: Vec<Reading> = self.readings.iter().map(|reading| reading[at]).collect::<Option<_>>()?;
        let same = |pair: &[Reading]| {
            // Counters never go back by themselves.
            pair[0].sequence == pair[1].sequence && pair[1].counters.has_reached(&pair[0].counters)
        };
        readings.windows(2).all(same).then(|| readings.iter().map(|reading| reading.counters).collect())
    }

    /// Devices that have no book, because they are gone or began anew.
    pub fn missing(&self) -> Vec<&str> {
        let missing = self.devices.iter().enumerate().filter(|(at, _)| self.readings_of(*at).is_none());
        missing.map(|(_, device)| device.name.as_str()).collect()
    }

    /// Each device's book. `rows` and `own` tell what was recorded of a device and what of it was the recorder's.
    pub fn settle<E>(
        &self,
        rows: impl Fn(i32) -> DeviceCounters,
        own: impl Fn(i32) -> Result<types::own_io, E>,
    ) -> Result<Vec<DeviceBook>, E> {
        let mut books = Vec::new();
        for (at, device) in self.devices.iter().enumerate() {
            if let Some([before, attached, detaching, detached]) = self.readings_of(at).as_deref() {
                let inner = detaching.since(attached);
                let edges = detached.since(before).since(&inner);
                books.push(settle_device(&device.name, inner, edges, rows(device.dev), &own(device.dev)?));
            }
        }
        Ok(books)
    }
}
