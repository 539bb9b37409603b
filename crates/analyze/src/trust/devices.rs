//! Devices: whether rows agree with the kernel's counters, and which device lies on which.

use std::collections::BTreeSet;
use std::path::Path;

use iostrata_capture::manifest::{Device, DeviceBook, Manifest};

/// A line for each device whose rows and the kernel's counters differ.
pub fn unbalanced(books: &[DeviceBook]) -> impl Iterator<Item = String> {
    books.iter().filter(|book| !book.balanced).map(|book| {
        let DeviceBook { kernel, rows, own, .. } = book;
        let sums = [
            ("reads", kernel.read_ops, rows.read_ops.saturating_add(own.read_ops)),
            ("bytes read", kernel.read_bytes, rows.read_bytes.saturating_add(own.read_bytes)),
            ("writes", kernel.write_ops, rows.write_ops.saturating_add(own.write_ops)),
            ("bytes written", kernel.write_bytes, rows.write_bytes.saturating_add(own.write_bytes)),
        ];
        let differ = sums.iter().filter(|(_, counted, recorded)| counted != recorded);
        let differ: Vec<String> =
            differ.map(|(what, counted, recorded)| format!("{counted} {what} but {recorded} recorded")).collect();
        let what = if differ.is_empty() { "other counters than are recorded".to_owned() } else { differ.join(", ") };
        format!("the books of device {} do not balance: the kernel counted {what}", book.device)
    })
}

/// A line for each device in `seen` that lies on another one in `seen`, so that the same bytes show at both.
pub fn stacked(manifest: &Manifest, seen: &BTreeSet<i32>) -> Vec<String> {
    let mut lines = Vec::new();
    for device in manifest.devices.iter().filter(|device| seen.contains(&device.dev)) {
        for below in below(manifest, device).into_iter().filter(|below| seen.contains(&below.dev)) {
            let (device, below) = (&device.name, &below.name);
            lines.push(format!("stacked: {device} lies on {below}, and the bytes of {device} count once at each"));
        }
    }
    lines
}

/// The whole disks that `device` is built on, as far as the manifest tells.
fn below<'a>(manifest: &'a Manifest, device: &Device) -> Vec<&'a Device> {
    let named = |name: &String| {
        manifest.devices.iter().find(|d| d.name == *name || d.partitions.iter().any(|p| p.name == *name))
    };
    let mut below: Vec<&Device> = device.slaves.iter().filter_map(named).collect();
    below.extend(device.backing_file.as_ref().and_then(|file| holding(manifest, Path::new(file))));
    below
}

/// The disk of the file system that holds `file`.
fn holding<'a>(manifest: &'a Manifest, file: &Path) -> Option<&'a Device> {
    let mounts = manifest.mounts.iter().filter(|mount| file.starts_with(&mount.target));
    // The last of equals: a later mount hides an earlier one at the same place.
    let dev = mounts.max_by_key(|mount| mount.target.len())?.dev;
    manifest.devices.iter().find(|d| d.dev == dev || d.partitions.iter().any(|p| p.dev == dev))
}
