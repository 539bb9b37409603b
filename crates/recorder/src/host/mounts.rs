//! Mounted file systems, from /proc/self/mountinfo.

use std::fs::{self, File};
use std::io::{Read, Seek};

use iostrata_capture::manifest::Mount;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::dev_number;

/// A mount, with details that captures do not keep.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Kernel's id of the mount, which statx(2) reports for a file.
    id: u64,
    /// Mounted part of its file system: a path within it.
    pub root: String,
    /// The mount.
    pub mount: Mount,
    /// Options of its file system, as the file system prints them.
    pub options: String,
}

/// All mounts that the recorder sees.
pub fn all() -> Vec<Mount> {
    entries().into_iter().map(|entry| entry.mount).collect()
}

/// The mount with the kernel's id `id`.
pub fn with_id(id: u64) -> Option<Entry> {
    entries().into_iter().find(|entry| entry.id == id)
}

/// All mounts that the recorder sees, with all details.
pub fn entries() -> Vec<Entry> {
    parse(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
}

/// The mount of file system `dev` as process `pid` sees it, in any mount namespace.
pub fn seen_by(pid: i32, dev: i32) -> Option<Entry> {
    let text = fs::read_to_string(format!("/proc/{pid}/mountinfo")).ok()?;
    parse(&text).into_iter().find(|entry| entry.mount.dev == dev)
}

/// Mount point of the whole file system `dev`, if it is mounted.
pub fn mount_point(mounts: &[Entry], dev: i32) -> Option<&str> {
    let mounted = mounts.iter().find(|entry| entry.mount.dev == dev && entry.root == "/");
    mounted.map(|entry| entry.mount.target.as_str())
}

/// Path as the user knows it, of `path` in the file system `dev`, which is mounted at `mount_point`.
pub fn below(mount_point: Option<&str>, dev: i32, path: &str) -> String {
    match mount_point {
        Some(mounted) => format!("{}{path}", mounted.trim_end_matches('/')),
        None => format!("[{}]{path}", super::dev_text(dev)),
    }
}

/// Mounts that the recorder sees, read again after the kernel reports a change.
pub struct Watched {
    file: Option<File>,
    /// State at the last reading.
    pub entries: Vec<Entry>,
}

impl Watched {
    /// Reads the current mounts.
    pub fn new() -> Watched {
        let mut watched = Watched { file: File::open("/proc/self/mountinfo").ok(), entries: Vec::new() };
        watched.read();
        watched
    }

    /// Reads the mounts again if they have changed. Returns whether they have.
    pub fn refresh(&mut self) -> bool {
        let Some(file) = &self.file else { return false };
        let mut polled = [PollFd::new(file, PollFlags::PRI)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        // proc_pid_mountinfo(5): a change is an exceptional condition.
        let has_changed = poll(&mut polled, Some(&now)).is_ok_and(|ready| ready > 0)
            && polled[0].revents().intersects(PollFlags::PRI | PollFlags::ERR);
        if has_changed {
            self.read();
        }
        has_changed
    }

    fn read(&mut self) {
        let Some(file) = &mut self.file else { return };
        let mut text = String::new();
        if file.rewind().and_then(|()| file.read_to_string(&mut text)).is_ok() {
            self.entries = parse(&text);
        }
    }
}

impl Default for Watched {
    fn default() -> Self {
        Watched::new()
    }
}

fn parse(text: &str) -> Vec<Entry> {
    text.lines().filter_map(parse_line).collect()
}

/// Parses one line of proc_pid_mountinfo(5): the fixed fields, optional ones up to a lone `-`, then type, source and options.
fn parse_line(line: &str) -> Option<Entry> {
    let (fixed, rest) = line.split_once(" - ")?;
    let mut fixed = fixed.split(' ');
    let id = fixed.next()?.parse().ok()?;
    let (major, minor) = fixed.nth(1)?.split_once(':')?;
    let root = unescape(fixed.next()?);
    let target = fixed.next()?;
    let mut rest = rest.split(' ');
    let fs_type = rest.next()?;
    let mount = Mount {
        dev: dev_number(major.parse().ok()?, minor.parse().ok()?),
        source: unescape(rest.next()?),
        target: unescape(target),
        fs_type: fs_type.to_owned(),
    };
    Some(Entry { id, root, mount, options: unescape(rest.next().unwrap_or_default()) })
}

/// Decodes octal escapes: space, tab, newline and backslash.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

/// Mount point of cgroup v2.
pub fn cgroup2() -> Option<String> {
    cgroup2_entry().map(|entry| entry.mount.target)
}

/// Mount of cgroup v2.
pub fn cgroup2_entry() -> Option<Entry> {
    entries().into_iter().find(|entry| entry.mount.fs_type == "cgroup2")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn optional_fields_and_escapes_are_understood() {
        let text = "36 35 7:0 / /mnt/a\\040b rw,noatime master:1 - ext4 /dev/loop0 rw\n22 1 0:20 / /proc rw - proc proc rw\nnonsense\n";
        let mounts = parse(text);
        assert_eq!(mounts.len(), 2);
        let Entry { id, root, mount, options } = &mounts[0];
        assert_eq!(root, "/");
        assert_eq!((*id, mount.dev, mount.target.as_str()), (36, 7 << 20, "/mnt/a b"));
        assert_eq!((mount.fs_type.as_str(), mount.source.as_str(), options.as_str()), ("ext4", "/dev/loop0", "rw"));
    }
}
