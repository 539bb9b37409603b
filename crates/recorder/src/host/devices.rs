//! Block devices: facts from /sys/block, and the kernel's counters.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use iostrata_capture::manifest::{Device, DeviceCounters, Partition};

use super::{dev_number, dev_text, line, stack};

const SECTOR_BYTES: u64 = 512;

fn number_in(path: &Path) -> Option<i32> {
    let text = fs::read_to_string(path.join("dev")).ok()?;
    let (major, minor) = text.trim().split_once(':')?;
    Some(dev_number(major.parse().ok()?, minor.parse().ok()?))
}

fn number_at(path: &Path, file: &str) -> u64 {
    fs::read_to_string(path.join(file)).ok().and_then(|t| t.trim().parse().ok()).unwrap_or(0)
}

fn names_in(path: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(path)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn describe(name: &str) -> Option<Device> {
    let path = PathBuf::from("/sys/block").join(name);
    let partitions = names_in(&path)
        .into_iter()
        .filter(|child| path.join(child).join("partition").exists())
        .filter_map(|child| Some(Partition { dev: number_in(&path.join(&child))?, name: child }))
        .collect();
    let scheduler = line(&format!("/sys/block/{name}/queue/scheduler"));
    let active = scheduler.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map(|(name, _)| name.to_owned());
    let backing = line(&format!("/sys/block/{name}/loop/backing_file"));
    Some(Device {
        dev: number_in(&path)?,
        name: name.to_owned(),
        size_bytes: number_at(&path, "size") * SECTOR_BYTES,
        logical_block_bytes: number_at(&path, "queue/logical_block_size"),
        rotational: number_at(&path, "queue/rotational") == 1,
        scheduler: active.or((!scheduler.is_empty()).then_some(scheduler)),
        partitions,
        backing_file: (!backing.is_empty()).then_some(backing),
        on: stack::below(name).unwrap_or_default(),
        level: stack::level(name, &stack::below),
    })
}

/// All whole disks with a size, by name. Unbound loop and ram devices have none.
pub fn all() -> Vec<Device> {
    names_in(Path::new("/sys/block")).iter().filter_map(|name| describe(name)).filter(|d| d.size_bytes > 0).collect()
}

/// Returns the whole disk that the user named as `nvme0n1` or `/dev/nvme0n1`.
pub fn named(given: &str) -> Result<Device> {
    let name = given.strip_prefix("/dev/").unwrap_or(given);
    if name.is_empty() || name.contains('/') {
        bail!("--device {given}: expected a disk's name such as nvme0n1, see `lsblk -d`");
    }
    if let Some(device) = describe(name) {
        return Ok(device);
    }
    let class = fs::canonicalize(format!("/sys/class/block/{name}"));
    match class.ok().and_then(|p| Some(p.parent()?.file_name()?.to_string_lossy().into_owned())) {
        Some(disk) => Err(anyhow!("--device {given}: is a partition; expected its whole disk, {disk}")),
        None => Err(anyhow!("--device {given}: there is no such block device, see `lsblk -d`")),
    }
}

/// Name of the disk among `disks` with this device number; the number if there is none.
pub fn name_in(disks: &[Device], dev: i32) -> String {
    let known = disks.iter().find(|disk| disk.dev == dev);
    known.map_or_else(|| dev_text(dev), |disk| disk.name.clone())
}

/// Whether a disk uses requests. Bio-based devices (dm, md, zram) count bios and have no requests.
pub fn makes_requests(name: &str) -> bool {
    Path::new("/sys/block").join(name).join("mq").exists()
}

/// Whether the kernel counts the I/O of a disk (`/sys/block/DEV/queue/iostats`).
pub fn is_counted(name: &str) -> bool {
    line(&format!("/sys/block/{name}/queue/iostats")) != "0"
}

/// Whether a disk has no request in flight (`/sys/block/DEV/inflight`).
pub fn is_idle(name: &str) -> bool {
    in_flight(name) == Some(0)
}

/// Number of requests in flight of a disk, reads and writes (`/sys/block/DEV/inflight`); none if the disk is gone.
pub fn in_flight(name: &str) -> Option<u64> {
    let text = line(&format!("/sys/block/{name}/inflight"));
    let counts = text.split_whitespace().map(|count| count.parse::<u64>().ok());
    if text.is_empty() { None } else { counts.sum() }
}

/// Time with a request in flight in ms, as the kernel samples it (`io_ticks` of `/sys/block/DEV/stat`); none if the disk is gone.
pub fn busy_ms(name: &str) -> Option<u64> {
    line(&format!("/sys/block/{name}/stat")).split_whitespace().nth(9)?.parse().ok()
}

/// Kernel counters of a disk (`/sys/block/DEV/stat`).
pub fn counters(name: &str) -> Result<DeviceCounters> {
    let path = format!("/sys/block/{name}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    parse_counters(&text).ok_or_else(|| anyhow!("{path}: expected at least 7 numbers, found {text:?}"))
}

/// Sequence number of a disk, unique since boot (`/sys/block/DEV/diskseq`); none before Linux 5.15.
pub fn sequence(name: &str) -> Option<u64> {
    fs::read_to_string(format!("/sys/block/{name}/diskseq")).ok()?.trim().parse().ok()
}

fn parse_counters(text: &str) -> Option<DeviceCounters> {
    let fields: Vec<u64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
    // Fields by Documentation/block/stat.rst: discards since 4.18, flushes since 5.5.
    let at = |index: usize| fields.get(index).copied();
    Some(DeviceCounters {
        read_ops: at(0)?,
        read_bytes: at(2)? * SECTOR_BYTES,
        write_ops: at(4)?,
        write_bytes: at(6)? * SECTOR_BYTES,
        discard_ops: at(11).unwrap_or(0),
        discard_bytes: at(13).unwrap_or(0) * SECTOR_BYTES,
        flush_ops: at(15),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stat_file_is_read_by_its_documented_fields() {
        let text = "     100       1      800      10      20       2     160       5        0       30       15       3        0       24        1        7        2\n";
        let counters = parse_counters(text).expect("17 numbers");
        assert_eq!((counters.read_ops, counters.read_bytes), (100, 800 * 512));
        assert_eq!((counters.write_ops, counters.write_bytes), (20, 160 * 512));
        assert_eq!((counters.discard_ops, counters.discard_bytes), (3, 24 * 512));
        assert_eq!(counters.flush_ops, Some(7));
        assert_eq!(parse_counters("1 2 3"), None);
    }

    #[test]
    fn a_device_that_is_not_there_is_named() {
        let error = named("nosuchdisk").expect_err("there is none").to_string();
        assert_eq!(error, "--device nosuchdisk: there is no such block device, see `lsblk -d`");
        assert!(named("../etc").is_err());
    }
}
