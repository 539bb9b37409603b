//! Filters: their settings for devices before the recording, and their results after it.

use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

use anyhow::Result;
use iostrata_capture::ledger::Amounts;
use iostrata_capture::manifest::{Device, Filtered, FilteredDisk, Manifest, Unmapped};

use crate::bpf::types::{device_use, own_io};
use crate::here::Here;
use crate::host::places::Places;
use crate::host::{devices, mounts, stack};
use crate::options::Record;
use crate::session::Session;
use crate::sink::Totals;

/// Returns the classification of file systems for a device filter.
pub fn places(options: &Record, here: &Here) -> Option<Places> {
    let wanted = &options.filter.devices;
    (!wanted.is_empty()).then(|| Places::new(wanted, here.pid_namespace_level == 0))
}

/// Settings of the device filter for all disks, partitions and mounted file systems.
pub fn device_uses(wanted: &[Device], places: &mut Places) -> Vec<(i32, device_use)> {
    let mut uses = Vec::new();
    let use_of = |stands| if stands { device_use::DEVICE_HAS_FILES } else { device_use::DEVICE_LEFT_OUT };
    for device in devices::all() {
        let is_wanted = wanted.iter().any(|wanted| wanted.dev == device.dev);
        for dev in std::iter::once(device.dev).chain(device.partitions.iter().map(|partition| partition.dev)) {
            uses.extend(places.stands(dev).map(|stands| (dev, use_of(stands))));
        }
        if is_wanted {
            uses.push((device.dev, device_use::DEVICE_IS_DISK));
        }
    }
    let mounted = places.mounted().into_iter().filter(|(dev, _)| wanted.iter().all(|wanted| wanted.dev != *dev));
    uses.extend(mounted.filter_map(|(dev, stands)| Some((dev, use_of(stands?)))));
    uses
}

/// Disks below disks and mounted file systems, as far as the kernel's block layer does not report them: members of dm and md devices, and
/// file systems without a device number of their own.
pub fn stands_on() -> Vec<(i32, Vec<i32>)> {
    let disks = devices::all();
    let with_members = |names: Vec<String>| -> Vec<i32> {
        let all = names.iter().flat_map(|name| std::iter::once(name.clone()).chain(stack::members(name)));
        let mut devs: Vec<i32> =
            all.filter_map(|name| disks.iter().find(|disk| disk.name == name).map(|disk| disk.dev)).collect();
        devs.sort_unstable();
        devs.dedup();
        devs
    };
    let mut stands: Vec<(i32, Vec<i32>)> =
        disks.iter().map(|disk| (disk.dev, with_members(stack::members(&disk.name)))).collect();
    for entry in mounts::entries().iter().filter(|entry| entry.mount.dev as u32 >> 20 == 0) {
        let names = stack::disks_under(entry, Path::new("/")).unwrap_or_default();
        stands.push((entry.mount.dev, with_members(names)));
    }
    stands.retain(|(_, disks)| !disks.is_empty());
    stands
}

/// Results known at the start of the recording.
pub fn at_start(options: &Record) -> Filtered {
    let by_owner = options.manifest_filters().by_owner();
    let disk = |device: &Device| FilteredDisk { name: device.name.clone(), dev: device.dev, ..FilteredDisk::default() };
    let disks = options.filter.devices.iter().filter(|_| by_owner).map(disk).collect();
    Filtered { disks, ..Filtered::default() }
}

/// Results of the filters. Call after detaching.
pub fn at_end(
    options: &Record,
    manifest: &Manifest,
    session: &Session,
    totals: &Totals,
    unmapped: Vec<Unmapped>,
) -> Result<Filtered> {
    let mut filtered = at_start(options);
    let has_layers = manifest.layers.values().any(|state| state.captured);
    filtered.rows = has_layers.then(|| totals.selected.load(Relaxed));
    filtered.unmapped = unmapped;
    if manifest.filters.by_owner() && options.filter.devices.is_empty() {
        let (used, has_room) = session.used_devices()?;
        filtered.has_more_disks = !has_room;
        filtered.disks = used.into_iter().filter_map(|(dev, since_ns)| used_disk(dev, since_ns, manifest)).collect();
        filtered.disks.sort_by_key(|disk| disk.dev);
    }
    for disk in &mut filtered.disks {
        let left_out = session.left_out(disk.dev)?;
        disk.others = amounts(&left_out.others);
        disk.before_use = amounts(&left_out.before_use);
    }
    Ok(filtered)
}

/// Disk with number `dev`; none for the number of a partition or file system.
fn used_disk(dev: i32, since_ns: i64, manifest: &Manifest) -> Option<FilteredDisk> {
    let known = manifest.devices.iter().find(|device| device.dev == dev).map(|device| device.name.clone());
    let name = known.or_else(|| stack::whole_disk_with(dev))?;
    let since_ns = Some(since_ns + manifest.clock.offset_ns);
    Some(FilteredDisk { name, dev, since_ns, ..FilteredDisk::default() })
}

fn amounts(io: &own_io) -> Amounts {
    Amounts { read_ops: io.read_ops, read_bytes: io.read_bytes, write_ops: io.write_ops, write_bytes: io.write_bytes }
}
