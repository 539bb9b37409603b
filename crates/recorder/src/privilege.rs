//! Privileges of the process: all until the programs are attached, then the minimum for the rest.

use std::path::Path;

use anyhow::{Context, Result};
use iostrata_capture::dir::Dir;
use rustix::fs::{Gid, Uid};
use rustix::process::{Resource, Rlimit, getegid, geteuid, getgid, getgroups, getuid, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_keep_capabilities};
use rustix::thread::{clear_ambient_capability_set, set_no_new_privs};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// Lowest niceness that the writer may take, in the form of RLIMIT_NICE: 20 - 0.
const NICE_LIMIT: u64 = 20;

/// User who started the recording with sudo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invoker {
    /// User.
    pub uid: Uid,
    /// Group.
    pub gid: Gid,
}

/// Invoking user, if not root.
pub fn invoker() -> Option<Invoker> {
    let id = |name| std::env::var(name).ok().and_then(|text| text.parse::<u32>().ok()).filter(|id| *id != u32::MAX);
    let (uid, gid) = (id("SUDO_UID")?, id("SUDO_GID")?);
    (geteuid().is_root() && uid != 0).then(|| Invoker { uid: Uid::from_raw(uid), gid: Gid::from_raw(gid) })
}

/// User that writes a capture in `out`: the invoking user, unless an existing directory belongs to another user.
pub fn writer_of(out: &Dir) -> Option<Invoker> {
    invoker().filter(|invoker| out.owner().is_ok_and(|(user, _)| user == invoker.uid.as_raw()))
}

/// Runs `act` as `writer`, if there is one, so that the kernel refuses what that user may not do. There must be no other
/// thread yet.
///
/// # Errors
/// Errors of `act`; also if this process cannot become that user, or change back.
pub fn acting_as<T>(writer: Option<Invoker>, act: impl FnOnce() -> Result<T>) -> Result<T> {
    let Some(Invoker { uid, gid }) = writer else { return act() };
    let (own_uid, own_gid) = ((getuid(), geteuid()), (getgid(), getegid()));
    let own_groups = getgroups().context("cannot read the process's groups")?;
    let become_them = || {
        set_thread_groups(&[gid])?;
        set_thread_res_gid(own_gid.0, gid, own_gid.1)?;
        // With a non-root effective user, the thread loses the capabilities that override file permissions.
        set_thread_res_uid(own_uid.0, uid, own_uid.1)
    };
    let outcome = become_them().with_context(|| format!("cannot act as user {}", uid.as_raw())).and_then(|()| act());
    let back = || {
        set_thread_res_uid(own_uid.0, own_uid.1, own_uid.1)?;
        set_thread_res_gid(own_gid.0, own_gid.1, own_gid.1)?;
        set_thread_groups(&own_groups)
    };
    back().context("cannot become root again")?;
    outcome
}

/// Makes the file at `path` the owner's, without following links; leaves it unchanged without an owner.
#[expect(clippy::disallowed_methods, reason = "for a socket, in a directory of root or of the user")]
pub fn give_to(path: &Path, owner: Option<Invoker>) -> std::io::Result<()> {
    let (uid, gid) = owner.map(|owner| (owner.uid.as_raw(), owner.gid.as_raw())).unzip();
    std::os::unix::fs::lchown(path, uid, gid)
}

/// Drops the privileges that are no longer needed, for all threads started from now on; there must be no other thread yet.
/// Becomes `writer`, so that new files belong to that user and the kernel refuses what the user may not write.
pub fn give_up(writer: Option<Invoker>, out: Option<&Dir>, has_command: bool) -> Result<()> {
    let nice = Rlimit { current: Some(NICE_LIMIT), maximum: Some(NICE_LIMIT) };
    // Refused without CAP_SYS_RESOURCE: the writer then cannot lower its niceness again.
    let _ = setrlimit(Resource::Nice, nice);
    let had = capabilities(None).context("cannot read the process's capabilities")?;
    let keep = needed(writer, out, has_command) & had.permitted;
    if let Some(Invoker { uid, gid }) = writer {
        set_keep_capabilities(true).context("cannot keep capabilities")?;
        set_thread_groups(&[gid]).context("cannot give up root's groups")?;
        set_thread_res_gid(gid, gid, gid).with_context(|| format!("cannot become group {}", gid.as_raw()))?;
        set_thread_res_uid(uid, uid, uid).with_context(|| format!("cannot become user {}", uid.as_raw()))?;
    }
    let sets = CapabilitySets { effective: keep, permitted: keep, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).context("cannot give up capabilities")?;
    // Both are older than any supported kernel. Programs that are run from here get no privileges.
    clear_ambient_capability_set().context("cannot clear ambient capabilities")?;
    set_no_new_privs(true).context("cannot give up privileges of programs")
}

fn needed(writer: Option<Invoker>, out: Option<&Dir>, has_command: bool) -> CapabilitySet {
    // Maps are read and written until the end. The directories of cgroups, and the path to `out`, may not be accessible to
    // everyone.
    let mut needed = CapabilitySet::BPF | CapabilitySet::DAC_READ_SEARCH;
    // The command may run as another user by then, and must be terminated with the recording.
    if has_command {
        needed |= CapabilitySet::KILL;
    }
    let own = writer.map_or(geteuid(), |writer| writer.uid);
    // Root writes into any directory given by --out, regardless of its owner.
    if out.is_some_and(|out| out.owner().is_ok_and(|(user, _)| user != own.as_raw())) {
        needed |= CapabilitySet::DAC_OVERRIDE;
    }
    needed
}
