//! The disks of a trace, and the numbers that a capture has for them.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Result, bail};
use foldhash::fast::RandomState;
use indicatif::HumanBytes;
use iostrata_capture::manifest::{Device, MOST_BYTES};

/// Disks that a trace has no numbers for have numbers of this major, which the kernel leaves to experiments.
const MAJOR: i32 = 240;

/// As many minors there are.
const MOST_DISKS: usize = 1 << 20;

/// What else a manifest has takes no more of it.
const OTHERS_BYTES: u64 = 4 << 20;

/// What a disk takes of it: each line of its text is further to the right there.
fn in_manifest(device: &Device) -> Result<u64> {
    let text = serde_json::to_string_pretty(device)?;
    Ok((text.len() + 5 * text.lines().count() + 2) as u64)
}

/// The disks that were met, by number (`major << 20 | minor`).
#[derive(Debug, Default)]
pub struct Disks {
    by_name: HashMap<Vec<u8>, i32, RandomState>,
    known: BTreeMap<i32, Device>,
    /// What they take in the manifest.
    bytes: u64,
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
        self.bytes = self.bytes.saturating_add(in_manifest(&device)?);
        if self.bytes > MOST_BYTES - OTHERS_BYTES {
            let (most, fits) = (HumanBytes(MOST_BYTES), self.known.len());
            bail!(
                "more disks than the manifest of a capture has room for ({most}), expected at most {fits} with names as long as these"
            );
        }
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
