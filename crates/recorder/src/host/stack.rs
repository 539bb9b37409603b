//! Stacking of block devices: the disks below a disk, and its stacking depth.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Statx, StatxFlags, statx};

use super::mounts::{self, Entry};
use super::{dev_number, dev_text, line};

/// Maximum stacking depth. A deeper stack contains a cycle.
const HIGHEST: u32 = 16;

/// Stacking depth of `disk`: 0 if it is not stacked, otherwise one more than the maximum of the disks below it. `below` returns the
/// disks directly below a disk. `None` if those are unknown at any depth.
pub fn level(disk: &str, below: &dyn Fn(&str) -> Option<Vec<String>>) -> Option<i32> {
    level_within(disk, below, HIGHEST)
}

fn level_within(disk: &str, below: &dyn Fn(&str) -> Option<Vec<String>>, left: u32) -> Option<i32> {
    let left = left.checked_sub(1)?;
    below(disk)?.iter().try_fold(0, |level, lower| Some(level.max(level_within(lower, below, left)? + 1)))
}

/// Names of the whole disks directly below `disk`; `None` if unknown.
pub fn below(disk: &str) -> Option<Vec<String>> {
    let path = Path::new("/sys/block").join(disk);
    let members = fs::read_dir(path.join("slaves")).into_iter().flatten().flatten();
    let mut on = members.map(|member| whole_disk(&member.path())).collect::<Option<Vec<String>>>()?;
    let file = line(&format!("/sys/block/{disk}/loop/backing_file"));
    if !file.is_empty() {
        on.extend(holding(&file)?);
    }
    on.sort();
    on.dedup();
    Some(on)
}

/// Name of the whole disk with number `dev`, or with a partition of that number.
pub fn disk_of(dev: i32) -> Option<String> {
    whole_disk(&by_number(dev))
}

/// Name of the whole disk with number `dev`; none for a partition, or a number of no disk.
pub fn whole_disk_with(dev: i32) -> Option<String> {
    let path = fs::canonicalize(by_number(dev)).ok()?;
    if path.join("partition").exists() { None } else { Some(path.file_name()?.to_string_lossy().into_owned()) }
}

fn by_number(dev: i32) -> PathBuf {
    Path::new("/sys/dev/block").join(dev_text(dev))
}

/// Name of the whole disk for the disk or partition at the sysfs path `path`.
fn whole_disk(path: &Path) -> Option<String> {
    let path = fs::canonicalize(path).ok()?;
    let disk = if path.join("partition").exists() { path.parent()? } else { &path };
    Some(disk.file_name()?.to_string_lossy().into_owned())
}

/// Disks that hold the backing file of a loop device.
fn holding(file: &str) -> Option<Vec<String>> {
    if let Some(found) = look_at(Path::new(file)) {
        return disks_of(&found, HIGHEST);
    }
    // The file was deleted, and only the loop device holds it. Its directory is on the same file system.
    let directory = Path::new(file.strip_suffix(" (deleted)")?).parent()?;
    disks_of(&look_at(directory)?, HIGHEST)
}

fn look_at(path: &Path) -> Option<Statx> {
    let wanted = StatxFlags::TYPE | StatxFlags::INO | StatxFlags::MNT_ID;
    // Without a request to a server: an unresponsive one must not block the caller.
    statx(CWD, path, AtFlags::STATX_DONT_SYNC, wanted).ok()
}

fn disks_of(found: &Statx, left: u32) -> Option<Vec<String>> {
    let left = left.checked_sub(1)?;
    if FileType::from_raw_mode(found.stx_mode.into()) == FileType::BlockDevice {
        return Some(vec![disk_of(dev_number(found.stx_rdev_major, found.stx_rdev_minor))?]);
    }
    if found.stx_dev_major != 0 {
        return Some(vec![disk_of(dev_number(found.stx_dev_major, found.stx_dev_minor))?]);
    }
    // A number of no device. It is not looked up by number: btrfs has one for each subvolume, and mounts show another.
    under(&mounts::with_id(found.stx_mnt_id)?, Path::new("/"), left)
}

/// Names of the whole disks that store a mounted file system; `None` if unknown. Paths in the mount options are tried below `root`
/// first, then as they are.
pub fn disks_under(mount: &Entry, root: &Path) -> Option<Vec<String>> {
    let dev = mount.mount.dev;
    if dev as u32 >> 20 != 0 {
        return Some(vec![disk_of(dev)?]);
    }
    under(mount, root, HIGHEST)
}

fn under(mount: &Entry, root: &Path, left: u32) -> Option<Vec<String>> {
    let look = |path: &Path| {
        let within = path.strip_prefix("/").ok().and_then(|path| look_at(&root.join(path)));
        within.or_else(|| look_at(path))
    };
    match support(&mount.mount.fs_type, &mount.mount.source, &mount.options) {
        Support::NoDisk => Some(Vec::new()),
        Support::Device(path) => {
            let device = look(&path)?;
            pool(dev_number(device.stx_rdev_major, device.stx_rdev_minor))
        }
        Support::Directories(layers) => {
            let disks = layers.iter().map(|layer| disks_of(&look(layer)?, left));
            Some(disks.collect::<Option<Vec<_>>>()?.concat())
        }
        Support::Unknown => None,
    }
}

/// Whether one of `disks` is in `wanted`, or is stacked on one at any depth; `None` if unknown.
pub fn reaches(
    disks: &[String],
    wanted: &dyn Fn(&str) -> bool,
    below: &dyn Fn(&str) -> Option<Vec<String>>,
) -> Option<bool> {
    let (mut waiting, mut known) = (disks.to_vec(), HashSet::new());
    let mut is_certain = true;
    while let Some(disk) = waiting.pop() {
        if wanted(&disk) {
            return Some(true);
        }
        if known.insert(disk.clone()) {
            match below(&disk) {
                Some(lower) => waiting.extend(lower),
                None => is_certain = false,
            }
        }
    }
    is_certain.then_some(false)
}

/// Members of a dm or md device, and their members. The backing file of a loop device belongs to another file system, so its disks are
/// not included.
pub fn members(disk: &str) -> Vec<String> {
    let (mut waiting, mut all) = (vec![disk.to_owned()], Vec::new());
    while let Some(of) = waiting.pop() {
        let slaves = fs::read_dir(Path::new("/sys/block").join(&of).join("slaves"));
        for member in slaves.into_iter().flatten().flatten().filter_map(|member| whole_disk(&member.path())) {
            if !all.contains(&member) {
                all.push(member.clone());
                waiting.push(member);
            }
        }
    }
    all
}

/// Disks of the btrfs that device `dev` belongs to; otherwise the disk of that device alone.
fn pool(dev: i32) -> Option<Vec<String>> {
    let device = fs::canonicalize(by_number(dev)).ok()?;
    let systems = fs::read_dir("/sys/fs/btrfs").into_iter().flatten().flatten();
    for system in systems {
        let members = fs::read_dir(system.path().join("devices")).into_iter().flatten().flatten();
        let members: Vec<PathBuf> = members.filter_map(|member| fs::canonicalize(member.path()).ok()).collect();
        if members.contains(&device) {
            return members.iter().map(|member| whole_disk(member)).collect();
        }
    }
    Some(vec![whole_disk(&device)?])
}

/// Storage of a file system without a device number of its own.
#[derive(Debug, PartialEq)]
enum Support {
    /// Memory, or another machine.
    NoDisk,
    /// A device.
    Device(PathBuf),
    /// Directories of other file systems.
    Directories(Vec<PathBuf>),
    /// Not known.
    Unknown,
}

fn support(fs_type: &str, source: &str, options: &str) -> Support {
    match fs_type {
        "tmpfs" | "ramfs" | "devtmpfs" | "rootfs" | "hugetlbfs" => Support::NoDisk,
        "nfs" | "nfs4" | "cifs" | "smb3" | "ceph" | "9p" | "virtiofs" | "afs" => Support::NoDisk,
        "overlay" => layers(options),
        _ if source.starts_with("/dev/") => Support::Device(source.into()),
        _ => Support::Unknown,
    }
}

/// Directories of an overlay, from the options of its mount.
fn layers(options: &str) -> Support {
    let mut directories = Vec::new();
    for (key, value) in options.split(',').filter_map(|option| option.split_once('=')) {
        match key {
            "upperdir" => directories.push(value.into()),
            // `::` precedes data-only layers.
            "lowerdir" => directories.extend(value.split(':').filter(|path| !path.is_empty()).map(PathBuf::from)),
            "lowerdir+" | "datadir+" => directories.push(value.into()),
            _ => {}
        }
    }
    // Paths from a container, and paths with an escaped colon, cannot be looked up.
    if directories.is_empty() { Support::Unknown } else { Support::Directories(directories) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the stacking depth of `disk`; each row of the table has a disk and the disks below it; `?` is unknown.
    fn level_in(table: &[(&str, &str)], disk: &str) -> Option<i32> {
        let below = |disk: &str| {
            let (_, on) = table.iter().find(|(name, _)| *name == disk)?;
            (*on != "?").then(|| on.split_whitespace().map(str::to_owned).collect())
        };
        level(disk, &below)
    }

    #[test]
    fn a_disk_is_one_above_the_highest_that_it_stands_on() {
        let table =
            [("sda", ""), ("sdb", ""), ("loop0", "sda"), ("md0", "loop0 sdb"), ("dm-0", "md0"), ("loop1", "dm-0 sda")];
        let levels: Vec<_> = table.iter().map(|(disk, _)| level_in(&table, disk)).collect();
        assert_eq!(levels, [Some(0), Some(0), Some(1), Some(2), Some(3), Some(4)]);
    }

    #[test]
    fn what_stands_on_something_unknown_has_no_level() {
        let table = [("sda", ""), ("loop0", "?"), ("md0", "sda loop0"), ("dm-0", "md0"), ("dm-1", "gone")];
        assert_eq!(level_in(&table, "sda"), Some(0));
        for disk in ["loop0", "md0", "dm-0", "dm-1"] {
            assert_eq!(level_in(&table, disk), None, "{disk}");
        }
        assert_eq!(level_in(&[("dm-0", "dm-1"), ("dm-1", "dm-0")], "dm-0"), None, "a circle");
    }

    #[test]
    fn what_stands_on_a_disk_reaches_it_through_whatever_lies_between() {
        let below = |disk: &str| match disk {
            "dm-0" => Some(vec!["md0".to_owned(), "sdc".to_owned()]),
            "md0" => Some(vec!["sda".to_owned(), "sdb".to_owned()]),
            "loop0" => None,
            _ => Some(Vec::new()),
        };
        let reaches = |disks: &[&str], wanted: &str| {
            let disks: Vec<String> = disks.iter().map(|disk| (*disk).to_owned()).collect();
            super::reaches(&disks, &|disk| disk == wanted, &below)
        };
        assert_eq!(reaches(&["dm-0"], "sdb"), Some(true));
        assert_eq!(reaches(&["dm-0"], "sdd"), Some(false));
        assert_eq!(reaches(&["loop0", "sda"], "sda"), Some(true));
        assert_eq!(reaches(&["loop0", "sda"], "sdb"), None, "the disk below loop0 is unknown");
        assert_eq!(reaches(&[], "sda"), Some(false), "files in memory");
    }

    #[test]
    fn the_kind_of_a_file_system_tells_what_it_keeps_files_on() {
        assert_eq!(support("tmpfs", "tmpfs", "rw,size=4k"), Support::NoDisk);
        assert_eq!(support("nfs4", "server:/export", "rw"), Support::NoDisk);
        assert_eq!(support("btrfs", "/dev/sda2", "rw,subvol=/@"), Support::Device("/dev/sda2".into()));
        assert_eq!(support("zfs", "tank/images", "rw"), Support::Unknown);
        assert_eq!(support("fuse.mergerfs", "a:b", "rw"), Support::Unknown);
        let layers = Support::Directories(vec!["/l1".into(), "/l2".into(), "/up".into()]);
        assert_eq!(support("overlay", "overlay", "rw,lowerdir=/l1:/l2,upperdir=/up,workdir=/w"), layers);
        assert_eq!(support("overlay", "overlay", "rw"), Support::Unknown);
    }

    #[test]
    fn a_device_that_is_not_there_has_no_disk() {
        assert_eq!(disk_of(dev_number(4095, 77)), None);
        assert_eq!(holding("/nowhere/at/all"), None);
        assert_eq!(holding("/nowhere/at/all (deleted)"), None);
    }

    #[test]
    fn a_deleted_file_was_where_its_directory_is() {
        // procfs is a file system with unknown storage. /dev/shm is memory if it exists.
        assert_eq!(holding("/proc/self/nothing (deleted)"), None);
        if mounts::all().iter().any(|mount| mount.target == "/dev/shm" && mount.fs_type == "tmpfs") {
            assert_eq!(holding("/dev/shm/gone (deleted)"), Some(Vec::new()));
        }
    }
}
