//! Devices of a capture, from its manifest. The manifest may name any number of devices and any stacking, even cycles.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use iostrata_capture::manifest::{Device, Manifest};

/// Disk that counts the requests of each device or file system, by device number.
pub type Disks = HashMap<i32, i32, RandomState>;

/// Returns the devices by number; of several with one number the first.
pub fn by_number(manifest: &Manifest) -> HashMap<i32, &Device> {
    manifest.devices.iter().rev().map(|device| (device.dev, device)).collect()
}

/// Returns the disk that counts the requests of each device and file system of a capture. File systems on a disk or partition have its device
/// number; others (btrfs) are mounted from it. If the totals do not count the disk (`takes`), it is the disk below. With several disks below there
/// is none, because the target disk is not known.
pub fn disks(manifest: &Manifest, takes: &dyn Fn(i32) -> bool) -> Disks {
    let mut mounted: HashMap<&str, Vec<i32>> = HashMap::new();
    for mount in &manifest.mounts {
        mounted.entry(&mount.source).or_default().push(mount.dev);
    }
    let mut disks = Disks::default();
    for (disk, below) in manifest.devices.iter().zip(down_to_taken(manifest, takes)) {
        let Some(below) = below else { continue };
        disks.insert(disk.dev, below);
        disks.extend(disk.partitions.iter().map(|partition| (partition.dev, below)));
        let names = std::iter::once(&disk.name).chain(disk.partitions.iter().map(|partition| &partition.name));
        for name in names {
            let mounted = mounted.get(format!("/dev/{name}").as_str());
            disks.extend(mounted.into_iter().flatten().map(|dev| (*dev, below)));
        }
    }
    disks
}

/// Returns, for each device of the manifest, the first counted device from it downwards.
fn down_to_taken(manifest: &Manifest, takes: &dyn Fn(i32) -> bool) -> Vec<Option<i32>> {
    let devices = &manifest.devices;
    let places: HashMap<&str, usize> = devices.iter().enumerate().rev().map(|(at, d)| (d.name.as_str(), at)).collect();
    let mut found: Vec<Option<Option<i32>>> = vec![None; devices.len()];
    for top in 0..devices.len() {
        let mut way = Vec::new();
        let mut at = top;
        let below = loop {
            if let Some(below) = found[at] {
                break below;
            }
            // A device that is reached again is in a cycle, and stands on no disk.
            found[at] = Some(None);
            way.push(at);
            let disk = &devices[at];
            match disk.on.as_slice() {
                _ if takes(disk.dev) => break Some(disk.dev),
                // No request reached this disk.
                [] => break Some(disk.dev),
                [below] => match places.get(below.as_str()) {
                    Some(place) => at = *place,
                    None => break None,
                },
                _ => break None,
            }
        };
        way.into_iter().for_each(|at| found[at] = Some(below));
    }
    found.into_iter().map(Option::flatten).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use iostrata_capture::manifest::{Mount, Partition};

    fn device(dev: i32, name: &str, on: &[&str]) -> Device {
        Device { dev, name: name.into(), on: on.iter().map(|on| (*on).into()).collect(), ..Device::default() }
    }

    fn manifest(devices: Vec<Device>, mounts: &[(&str, i32)]) -> Manifest {
        let text = include_str!("../../../tests/fixtures/debian-6.12-nvme/manifest.json");
        let mount = |(source, dev): &(&str, i32)| {
            let (target, fs_type) = ("/".into(), "btrfs".into());
            Mount { dev: *dev, source: (*source).into(), target, fs_type }
        };
        let mounts = mounts.iter().map(mount).collect();
        Manifest { devices, mounts, ..serde_json::from_str(text).expect("a manifest") }
    }

    #[test]
    fn each_device_and_what_is_mounted_from_it_has_the_disk_that_is_taken() {
        let mut sda = device(1, "sda", &[]);
        sda.partitions.push(Partition { dev: 11, name: "sda1".into() });
        let stack =
            vec![sda, device(2, "dm-0", &["sda"]), device(3, "md0", &["sda", "sdb"]), device(4, "loop0", &["dm-0"])];
        let manifest = manifest(stack, &[("/dev/sda1", 40), ("/dev/loop0", 41), ("/dev/md0", 42), ("tmpfs", 43)]);
        let disks = |taken: i32| disks(&manifest, &|dev| dev == taken);
        assert_eq!(disks(1), Disks::from_iter([(1, 1), (11, 1), (40, 1), (2, 1), (4, 1), (41, 1)]));
        assert_eq!(disks(2), Disks::from_iter([(1, 1), (11, 1), (40, 1), (2, 2), (4, 2), (41, 2)]));
        assert_eq!(disks(3).get(&42), Some(&3));
    }

    #[test]
    fn devices_that_stand_on_each_other_or_on_what_is_not_there_have_none() {
        let loops =
            vec![device(1, "a", &["b"]), device(2, "b", &["a"]), device(3, "c", &["c"]), device(4, "d", &["x"])];
        assert_eq!(disks(&manifest(loops, &[]), &|_| false), Disks::default());
        // Enough devices for a quadratic search to be noticed.
        let tower = (0..200_000).map(|at| device(at, &at.to_string(), &[&(at + 1).to_string()]));
        let tower: Vec<Device> = tower.chain([device(200_000, "200000", &[])]).collect();
        assert_eq!(disks(&manifest(tower, &[]), &|_| false).get(&0), Some(&200_000));
    }
}
