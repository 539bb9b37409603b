//! Facts about the machine, read from /proc and /sys, without any decisions.

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

/// `major << 20 | minor`, the kernel's internal form, also used in captures.
pub fn dev_number(major: u32, minor: u32) -> i32 {
    (major << 20 | (minor & 0xf_ffff)) as i32
}

/// A device number as `major:minor`.
pub fn dev_text(dev: i32) -> String {
    format!("{}:{}", dev as u32 >> 20, dev & 0xf_ffff)
}

/// Content of a one-line file of /proc or /sys, without its newline; empty if it cannot be read.
pub fn line(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim_end().to_owned()
}

/// Describes the machine for the manifest.
///
/// # Errors
/// If the number of possible CPUs is unknown.
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

/// Size of the machine's memory.
pub fn memory_bytes() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram.saturating_mul(u64::from(info.mem_unit)).max(1)
}

/// Number of CPUs that the kernel may ever bring up; per-CPU maps have that many values.
///
/// # Errors
/// If the kernel does not provide it (`/sys/devices/system/cpu/possible`).
pub fn possible_cpus() -> Result<u32> {
    let count = libbpf_rs::num_possible_cpus().context("cannot determine the number of CPUs")?;
    Ok(u32::try_from(count)?)
}
