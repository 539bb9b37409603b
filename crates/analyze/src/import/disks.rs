//! Disks of a trace and their device numbers in a capture.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Result, bail};
use foldhash::fast::RandomState;
use indicatif::HumanBytes;
use iostrata_capture::manifest::{Device, MOST_BYTES};

/// Major number of disks without a number in the trace. The kernel reserves it for experimental use.
const MAJOR: i32 = 240;

/// Number of minor numbers.
const MOST_DISKS: usize = 1 << 20;

/// Maximum size in bytes of all else in a manifest.
const OTHERS_BYTES: u64 = 4 << 20;

/// Returns the size of a disk in the manifest, where each line of its text is indented.
fn in_manifest(device: &Device) -> Result<u64> {
    let text = serde_json::to_string_pretty(device)?;
    Ok((text.len() + 5 * text.lines().count() + 2) as u64)
}

/// Disks seen so far, by number (`major << 20 | minor`).
#[derive(Debug, Default)]
pub struct Disks {
    by_name: HashMap<Vec<u8>, i32, RandomState>,
    known: BTreeMap<i32, Device>,
    /// Size in the manifest.
    bytes: u64,
}

impl Disks {
    /// Returns their number.
    pub fn count(&self) -> usize {
        self.known.len()
    }

    /// Returns the device number of the disk with this name, in a trace without device numbers.
    pub fn named(&mut self, name: &[u8]) -> Result<i32> {
        if let Some(dev) = self.by_name.get(name) {
            return Ok(*dev);
        }
        // `add` limits the count, so the minor number fits.
        let dev = MAJOR << 20 | self.known.len() as i32;
        self.add(dev, String::from_utf8_lossy(name).into_owned(), 0)?;
        self.by_name.insert(name.to_vec(), dev);
        Ok(dev)
    }

    /// Adds a disk with its own device number and its stacking depth.
    pub fn add(&mut self, dev: i32, name: String, level: i32) -> Result<()> {
        if self.known.len() == MOST_DISKS {
            bail!("there are more than {MOST_DISKS} disks");
        }
        let device = Device { dev, name, logical_block_bytes: 512, level: Some(level), ..Device::default() };
        self.bytes = self.bytes.saturating_add(in_manifest(&device)?);
        if self.bytes > MOST_BYTES - OTHERS_BYTES {
            let (most, fits) = (HumanBytes(MOST_BYTES), self.known.len());
            bail!(
                "more disks than fit in the manifest of a capture ({most}), expected at most {fits} with names as long as these"
            );
        }
        self.known.insert(dev, device);
        Ok(())
    }

    /// Returns the stacking depth of a disk.
    pub fn level(&self, dev: i32) -> i32 {
        self.known.get(&dev).and_then(|device| device.level).unwrap_or(0)
    }

    /// Returns all of them, by number.
    pub fn devices(&self) -> Vec<Device> {
        self.known.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_disks_as_are_taken_fit_into_a_manifest_that_can_be_read() {
        for name in ["d", "\u{1f980}\"\n", &"long".repeat(500)] {
            let mut disks = Disks::default();
            let error = (0..MOST_DISKS).find_map(|number| disks.named(format!("{name}{number}").as_bytes()).err());
            let error = error.expect("more than fit").to_string();
            assert!(error.contains("(64.00 MiB), expected at most") && !error.contains('\n'), "{error}");
            let listed = BTreeMap::from([("devices", disks.devices())]);
            let listed = serde_json::to_vec_pretty(&listed).expect("text").len() as u64;
            assert!(listed <= MOST_BYTES - OTHERS_BYTES && listed > MOST_BYTES / 2, "{listed} bytes of {name}");
        }
    }
}
