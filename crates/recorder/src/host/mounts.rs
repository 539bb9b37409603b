//! Mounted file systems, from /proc/self/mountinfo.

use std::fs;

use iostrata_capture::manifest::Mount;

use super::dev_number;

/// Every mount that the recorder sees.
pub fn all() -> Vec<Mount> {
    parse(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
}

fn parse(text: &str) -> Vec<Mount> {
    text.lines().filter_map(parse_line).collect()
}

/// One line of proc_pid_mountinfo(5): the fixed fields, optional ones up to a lone `-`, then type and source.
fn parse_line(line: &str) -> Option<Mount> {
    let (fixed, rest) = line.split_once(" - ")?;
    let mut fixed = fixed.split(' ').skip(2);
    let (major, minor) = fixed.next()?.split_once(':')?;
    let target = fixed.nth(1)?;
    let mut rest = rest.split(' ');
    let fs_type = rest.next()?;
    Some(Mount {
        dev: dev_number(major.parse().ok()?, minor.parse().ok()?),
        source: unescape(rest.next()?),
        target: unescape(target),
        fs_type: fs_type.to_owned(),
    })
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
        assert_eq!((mounts[0].dev, mounts[0].target.as_str()), (7 << 20, "/mnt/a b"));
        assert_eq!((mounts[0].fs_type.as_str(), mounts[0].source.as_str()), ("ext4", "/dev/loop0"));
    }
}
