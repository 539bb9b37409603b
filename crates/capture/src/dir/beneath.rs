//! Opening a directory below another one, without leaving it and without links.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

/// Opens `path` below the directory `from`.
pub(super) fn beneath(from: BorrowedFd, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC;
    match openat2(from, path, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS) {
        // The analyzer also runs without this system call: before Linux 5.6, and in sandboxes that do not know it.
        Err(Errno::NOSYS | Errno::PERM) => step_by_step(from, path, flags),
        opened => opened,
    }
}

/// Does the same one component at a time: no step follows a link, and none goes upwards.
pub(super) fn step_by_step(from: BorrowedFd, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let mut steps = path.components();
    let last = steps.next_back().ok_or(Errno::NOENT)?;
    let mut at: Option<OwnedFd> = None;
    let step = |at: &Option<OwnedFd>, step: Component, flags| match step {
        Component::Normal(_) | Component::CurDir => {
            let from = at.as_ref().map_or(from, AsFd::as_fd);
            openat(from, step.as_os_str(), flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
        }
        _ => Err(Errno::XDEV),
    };
    for name in steps {
        at = Some(step(&at, name, OFlags::PATH | OFlags::DIRECTORY)?);
    }
    step(&at, last, flags)
}
