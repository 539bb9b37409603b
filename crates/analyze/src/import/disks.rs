//! The disks of a trace, and the numbers that a capture has for them.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Result, bail};
use foldhash::fast::RandomState;
use iostrata_capture::manifest::Device;

/// Disks that a trace has no numbers for have numbers of this major, which the kernel leaves to experiments.
const MAJOR: i32 = 240;

/// As many minors there are.
const MOST_DISKS: usize = 1 << 20;

/// The disks that were met, by number (`major << 20 | minor`).
#[derive(Debug, Default)]
pub struct Disks {
    by_name: HashMap<Vec<u8>, i32, RandomState>,
    known: BTreeMap<i32, Device>,
}

impl Disks {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.known.len()
    }

    /// The number of the disk that a trace without numbers calls so.
    pub fn named(&mut self, name: &[u8]) -> Result<i32> {
        if let Some(dev) = self.by_name.get(name) {
            return Ok(*dev);
        }
        // As many fit.
        let dev = MAJOR << 20 | self.known.len() as i32;
        self.add(dev, String::from_utf8_lossy(name).into_owned(), 0)?;
        self.by_name.insert(name.to_vec(), dev);
        Ok(dev)
    }

    /// Takes in a disk that has a number of its own, and stands on so many others, one on the other.
    pub fn add(&mut self, dev: i32, name: String, level: i32) -> Result<()> {
        if self.known.len() == MOST_DISKS {
            bail!("there are more than {MOST_DISKS} disks");
        }
        let device = Device { dev, name, logical_block_bytes: 512, level: Some(level), ..Device::default() };
        self.known.insert(dev, device);
        Ok(())
    }

    /// How many others a disk stands on, one on the other.
    pub fn level(&self, dev: i32) -> i32 {
        self.known.get(&dev).and_then(|device| device.level).unwrap_or(0)
    }

    /// All of them, by number.
    pub fn devices(&self) -> Vec<Device> {
        self.known.values().cloned().collect()
    }
}
