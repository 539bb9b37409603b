//! What the process may do: everything until the programs are attached, then as little as the rest takes.

use std::path::Path;

use anyhow::{Context, Result};
use rustix::fs::{Gid, Uid};
use rustix::process::{Resource, Rlimit, geteuid, setrlimit};
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
pub fn writer_of(out: &Path) -> Option<Invoker> {
    use std::os::unix::fs::MetadataExt;
    let is = |invoker: &Invoker| std::fs::metadata(out).is_ok_and(|meta| meta.uid() == invoker.uid.as_raw());
    invoker().filter(is)
}

/// Makes what is at `path` the owner's, and no link's target; leaves it as it is without one.
pub fn give_to(path: &Path, owner: Option<Invoker>) -> std::io::Result<()> {
    let (uid, gid) = owner.map(|owner| (owner.uid.as_raw(), owner.gid.as_raw())).unzip();
    std::os::unix::fs::lchown(path, uid, gid)
}

/// Gives up what is not needed any more, for all threads that are started from now on; there must be no other yet. Becomes
/// `writer`, so that what is written is theirs, and what they may not write is refused.
pub fn give_up(writer: Option<Invoker>, out: Option<&Path>, has_command: bool) -> Result<()> {
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

fn needed(writer: Option<Invoker>, out: Option<&Path>, has_command: bool) -> CapabilitySet {
    use std::os::unix::fs::MetadataExt;
    // Maps are read and written to the end; cgroups have directories that are not for everyone, and so may the way to `out`.
    let mut needed = CapabilitySet::BPF | CapabilitySet::DAC_READ_SEARCH;
    // The command may be another user's by then, and is to be ended when the recording is.
    if has_command {
        needed |= CapabilitySet::KILL;
    }
    let own = writer.map_or(geteuid(), |writer| writer.uid);
    // Root writes into a directory that it was told to write into, whosever it is.
    if out.is_some_and(|out| std::fs::metadata(out).is_ok_and(|meta| meta.uid() != own.as_raw())) {
        needed |= CapabilitySet::DAC_OVERRIDE;
    }
    needed
}
