//! What the process may do: everything until the programs are attached, then as little as the rest takes.

use std::path::Path;

use anyhow::{Context, Result};
use iostrata_capture::dir::Dir;
use rustix::fs::{Gid, Uid};
use rustix::process::{Resource, Rlimit, getegid, geteuid, getgid, getgroups, getuid, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_keep_capabilities};
use rustix::thread::{clear_ambient_capability_set, set_no_new_privs};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// The lowest niceness that the writer may take, as RLIMIT_NICE has it: 20 - 0.
const NICE_LIMIT: u64 = 20;

/// Who asked for the recording by sudo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invoker {
    /// User.
    pub uid: Uid,
    /// Group.
    pub gid: Gid,
}

/// Who asked, where that is another than root.
pub fn invoker() -> Option<Invoker> {
    let id = |name| std::env::var(name).ok().and_then(|text| text.parse::<u32>().ok()).filter(|id| *id != u32::MAX);
    let (uid, gid) = (id("SUDO_UID")?, id("SUDO_GID")?);
    (geteuid().is_root() && uid != 0).then(|| Invoker { uid: Uid::from_raw(uid), gid: Gid::from_raw(gid) })
}

/// Who a capture in `out` is written by: the invoker, unless the directory was there before and is another's.
pub fn writer_of(out: &Dir) -> Option<Invoker> {
    invoker().filter(|invoker| out.owner().is_ok_and(|(user, _)| user == invoker.uid.as_raw()))
}

/// Does `act` as `writer`, where there is one: to what they may not do the kernel says no. There must be no other thread yet.
///
/// # Errors
/// What `act` says, and where this process cannot become them, or itself again.
pub fn acting_as<T>(writer: Option<Invoker>, act: impl FnOnce() -> Result<T>) -> Result<T> {
    let Some(Invoker { uid, gid }) = writer else { return act() };
    let (own_uid, own_gid) = ((getuid(), geteuid()), (getgid(), getegid()));
    let own_groups = getgroups().context("cannot read the process's groups")?;
    let become_them = || {
        set_thread_groups(&[gid])?;
        set_thread_res_gid(own_gid.0, gid, own_gid.1)?;
        // With another effective user than root the capabilities to pass over permissions are none of this thread's.
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

/// Makes what is at `path` the owner's, and no link's target; leaves it as it is without one.
#[expect(clippy::disallowed_methods, reason = "of a socket, in a folder of root's or of the user's own")]
pub fn give_to(path: &Path, owner: Option<Invoker>) -> std::io::Result<()> {
    let (uid, gid) = owner.map(|owner| (owner.uid.as_raw(), owner.gid.as_raw())).unzip();
    std::os::unix::fs::lchown(path, uid, gid)
}

/// Gives up what is not needed any more, for all threads that are started from now on; there must be no other yet. Becomes
/// `writer`, so that what is written is theirs, and what they may not write is refused.
pub fn give_up(writer: Option<Invoker>, out: Option<&Dir>, has_command: bool) -> Result<()> {
    let nice = Rlimit { current: Some(NICE_LIMIT), maximum: Some(NICE_LIMIT) };
    // Refused without CAP_SYS_RESOURCE: then the writer stays as polite as it was once.
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
    // Both are older than any kernel that lets us record; a program that is run from here gets nothing.
    clear_ambient_capability_set().context("cannot clear ambient capabilities")?;
    set_no_new_privs(true).context("cannot give up privileges of programs")
}

fn needed(writer: Option<Invoker>, out: Option<&Dir>, has_command: bool) -> CapabilitySet {
    // Maps are read and written to the end; cgroups have directories that are not for everyone, and so may the way to `out`.
    let mut needed = CapabilitySet::BPF | CapabilitySet::DAC_READ_SEARCH;
    // The command may be another user's by then, and is to be ended when the recording is.
    if has_command {
        needed |= CapabilitySet::KILL;
    }
    let own = writer.map_or(geteuid(), |writer| writer.uid);
    // Root writes into a directory that it was told to write into, whosever it is.
    if out.is_some_and(|out| out.owner().is_ok_and(|(user, _)| user != own.as_raw())) {
        needed |= CapabilitySet::DAC_OVERRIDE;
    }
    needed
}
