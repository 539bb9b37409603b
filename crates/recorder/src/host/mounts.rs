//! Mounted file systems, from /proc/self/mountinfo.

use std::fs;

use iostrata_capture::manifest::Mount;

use super::dev_number;

/// A mount, with what captures need not keep of it.
pub struct Entry {
    /// The kernel's number for the mount, which statx(2) tells of a file.
    id: u64,
    /// The mount.
    pub mount: Mount,
    /// The options of its file system, as the file system prints them.
    pub options: String,
}

/// Every mount that the recorder sees.
pub fn all() -> Vec<Mount> {
    entries().into_iter().map(|entry| entry.mount).collect()
}

/// The mount with the kernel's number `id`.
pub fn with_id(id: u64) -> Option<Entry> {
    entries().into_iter().find(|entry| entry.id == id)
}

fn entries() -> Vec<Entry> {
    parse(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
}

fn parse(text: &str) -> Vec<Entry> {
    text.lines().filter_map(parse_line).collect()
}

/// One line of proc_pid_mountinfo(5): the fixed fields, optional ones up to a lone `-`, then type, source and
/// options.
fn parse_line(line: &str) -> Option<Entry> {
    let (fixed, rest) = line.split_once(" - ")?;
    let mut fixed = fixed.split(' ');
    let id = fixed.next()?.parse().ok()?;
    let (major, minor) = fixed.nth(1)?.split_once(':')?;
    let target = fixed.nth(1)?;
    let mut rest = rest.split(' ');
    let fs_type = rest.next()?;
    let mount = Mount {
        dev: dev_number(major.parse().ok()?, minor.parse().ok()?),
        source: unescape(rest.next()?),
        target: unescape(target),
        fs_type: fs_type.to_owned(),
    };
    Some(Entry { id, mount, options: unescape(rest.next().unwrap_or_default()) })
}

/// Space, tab, newline and backslash stand there as octal escapes.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

/// Where cgroup v2 is mounted.
pub fn cgroup2() -> Option<String> {
    all().into_iter().find(|mount| mount.fs_type == "cgroup2").map(|mount| mount.target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn optional_fields_and_escapes_are_understood() {
        let text = "36 35 7:0 / /mnt/a\\040b rw,noatime master:1 - ext4 /dev/loop0 rw\n22 1 0:20 / /proc rw - proc proc rw\nnonsense\n";
        let mounts = parse(text);
        assert_eq!(mounts.len(), 2);
        let Entry { id, mount, options } = &mounts[0];
        assert_eq!((*id, mount.dev, mount.target.as_str()), (36, 7 << 20, "/mnt/a b"));
        assert_eq!((mount.fs_type.as_str(), mount.source.as_str(), options.as_str()), ("ext4", "/dev/loop0", "rw"));
    }
}
