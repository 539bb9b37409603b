//! Start of a command that counts in the kernel and shows what it counted, without a recording.

use std::io::{self, Write};

use anyhow::{Context, Result};
use iostrata_capture::plain;

use crate::clock;
use crate::groups::readings::{Lost, Start};
use crate::here::{self, Here};
use crate::kernel_facts::VmlinuxBtf;
use crate::limits;
use crate::options::Filter;
use crate::session::{self, Words};
use crate::signals::{self, Caught};

/// What its programs may depend on.
pub struct Prepared {
    /// Signals since the start.
    pub caught: Caught,
    /// The recorder's namespaces.
    pub here: Here,
    kernel: VmlinuxBtf,
    words: Words,
}

/// Looks up what the programs need, and catches signals.
///
/// # Errors
/// If the kernel cannot run BPF programs.
pub fn prepare() -> Result<Prepared> {
    session::quiet_libbpf();
    let caught = signals::catch()?;
    let kernel = VmlinuxBtf::load()?;
    let here = here::look().context("cannot determine the namespaces").map_err(limits::explain)?;
    clock::set_ahead_ns(here.monotonic_offset_ns);
    Ok(Prepared { caught, here, kernel, words: session::words()? })
}

impl Prepared {
    /// What a group may depend on.
    pub fn start(&self, filter: &Filter) -> Start<'_> {
        let devices = filter.devices.iter().map(|disk| disk.dev).collect();
        Start { kernel: &self.kernel, words: &self.words, devices }
    }
}

/// Shows text on standard output. Returns whether there is still a reader.
///
/// # Errors
/// If it cannot be written.
pub fn show(text: &str) -> Result<bool> {
    let mut out = io::stdout().lock();
    match out.write_all(plain::lines(text).as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true).context("cannot write to standard output"),
    }
}

/// Bar of a bucket with `count` requests, of `longest` characters where `most` are. A bucket with few requests has a short bar, not none.
pub fn bar(count: u64, most: u64, longest: u64) -> String {
    let length = count * longest / most.max(1);
    "*".repeat(usize::try_from(length).unwrap_or(0).max(usize::from(count > 0)))
}

/// Describes requests that are counted nowhere; none if there are none. `place`: where they are missing.
pub fn missing(lost: Lost, place: &str) -> Option<String> {
    let reasons = [
        (lost.table_full, "found no room in a table of the kernel side"),
        (lost.unseen_end, "have a begin or an end that the kernel did not report"),
    ];
    let told = reasons.iter().filter(|(count, _)| *count > 0).map(|(count, why)| format!("{count} {why}"));
    let told: Vec<String> = told.collect();
    (!told.is_empty()).then(|| format!("requests in no {place}: {}", told.join(", ")))
}
