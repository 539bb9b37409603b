//! What the machine is: facts only, read from /proc and /sys. Nothing here decides anything.

pub mod cgroups;
pub mod devices;
pub mod kallsyms;
pub mod mounts;
pub mod places;
pub mod processes;
pub mod stack;

use std::fs;

use anyhow::{Context, Result};
use iostrata_capture::manifest::Host;

/// `major << 20 | minor`, as the kernel has it internally and as captures have it.
pub fn dev_number(major: u32, minor: u32) -> i32 {
    (major << 20 | (minor & 0xf_ffff)) as i32
}

/// A one-line file of /proc or /sys without its newline; empty where it cannot be read.
pub fn line(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim_end().to_owned()
}

/// The machine, for the manifest.
///
/// # Errors
/// Where it is not known how many CPUs it may have.
pub fn describe() -> Result<Host> {
    let uname = rustix::system::uname();
    Ok(Host {
        hostname: uname.nodename().to_string_lossy().into_owned(),
        kernel: uname.release().to_string_lossy().into_owned(),
        arch: uname.machine().to_string_lossy().into_owned(),
        boot_id: line("/proc/sys/kernel/random/boot_id"),
        cpus: possible_cpus()?,
    })
}

/// The machine's memory.
pub fn memory_bytes() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram.saturating_mul(u64::from(info.mem_unit)).max(1)
}

/// CPUs that the kernel may ever bring up; per-CPU maps have as many values.
///
/// # Errors
/// Where the kernel does not say (`/sys/devices/system/cpu/possible`).
pub fn possible_cpus() -> Result<u32> {
    let count = libbpf_rs::num_possible_cpus().context("cannot tell how many CPUs there are")?;
    Ok(u32::try_from(count)?)
}
