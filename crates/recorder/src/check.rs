//! `iostrata check`: shows what the recorder can capture on this machine, and why the rest is not available.

use std::fmt::Write;

use iostrata_capture::op::Layer;
use rustix::thread::{CapabilitySet, capabilities};

use crate::groups::readings::Start;
use crate::groups::{READING_GROUPS, RecordGroup, choose, process, run_queue};
use crate::here;
use crate::host;
use crate::kernel_facts::{KernelFacts, VmlinuxBtf};
use crate::session;

/// Result of the check: whether recording is possible, with the details as text.
pub struct Findings {
    /// At least one layer can be captured.
    pub usable: bool,
    /// Text output.
    pub text: String,
}

/// Collects the facts and attaches every program briefly.
pub fn run() -> Findings {
    session::quiet_libbpf();
    let mut text = String::new();
    let host = match host::describe() {
        Ok(host) => host,
        Err(error) => return Findings { usable: false, text: format!("CPUs          no: {error:#}\n") },
    };
    let _ = writeln!(text, "kernel        {} {}", host.kernel, host.arch);
    let _ = writeln!(text, "privilege     {}", privilege());
    let kernel = match VmlinuxBtf::load() {
        Ok(kernel) => {
            let _ = writeln!(text, "BTF           /sys/kernel/btf/vmlinux");
            kernel
        }
        Err(error) => {
            let _ = writeln!(text, "BTF           no: {error:#}");
            return Findings { usable: false, text };
        }
    };
    let here = here::look();
    let _ =
        writeln!(text, "namespaces    {}", here.as_ref().map_or_else(|why| format!("no: {why:#}"), |_| "yes".into()));
    let mut usable = false;
    for layer in Layer::ALL {
        usable |= check_layer(*layer, &kernel, &mut text);
    }
    for (title, group) in [("process trees", &process::TREES), ("run queue", &run_queue::GROUP)] {
        let found = choose(group, &kernel, &mut |variant| session::try_out(&group.programs(variant.programs.clone())));
        let _ = writeln!(text, "{title:<13} {}", found.map_or_else(|why| format!("no: {why}"), |_| "yes".into()));
    }
    let words = session::words().map_err(|error| format!("{error:#}"));
    for group in READING_GROUPS {
        let start = |words| (group.start)(&Start { kernel: &kernel, words, devices: Vec::new() }).map(drop);
        let found = words.as_ref().map_err(Clone::clone);
        let found = found.and_then(|words| start(words).map_err(|error| format!("{error:#}")));
        let _ = writeln!(text, "{:<13} {}", group.table, found.map_or_else(|why| why, |()| "yes".to_owned()));
    }
    Findings { usable: usable && here.is_ok(), text }
}

fn check_layer(layer: Layer, kernel: &dyn KernelFacts, text: &mut String) -> bool {
    let group = RecordGroup::of_layer(layer);
    let variants = match (group.variants)(kernel) {
        Ok(variants) => variants,
        Err(why) => {
            let _ = writeln!(text, "{layer:<13} not captured: {why}");
            return false;
        }
    };
    let mut possible = variants.iter().filter(|variant| variant.impossible.is_none());
    let chosen = possible.find(|variant| session::try_out(&group.programs(variant.programs.clone())).is_ok());
    match chosen {
        Some(variant) => {
            let without = if variant.without.is_empty() {
                String::new()
            } else {
                format!(", without {}", variant.without.join(", "))
            };
            let _ = writeln!(text, "{layer:<13} captured by {}{without}", variant.how);
        }
        None => {
            let _ = writeln!(text, "{layer:<13} not captured");
        }
    }
    for variant in &variants {
        if let Some(why) = variant.impossible {
            let _ = writeln!(text, "  {:<17} not tried: {why}", variant.how);
            continue;
        }
        for program in &variant.programs {
            let result = session::try_out(&group.programs([program.clone()]));
            let outcome = result.map_or_else(|why| format!("no: {why}"), |()| "attaches".to_owned());
            let _ = writeln!(text, "  {:<17} {program:<34} {outcome}", variant.how);
        }
    }
    chosen.is_some()
}

/// Describes whether the process has the capabilities for loading and tracing.
pub fn privilege() -> String {
    let needed = [
        ("CAP_BPF", CapabilitySet::BPF),
        ("CAP_PERFMON", CapabilitySet::PERFMON),
        ("CAP_SYS_ADMIN", CapabilitySet::SYS_ADMIN),
    ];
    let Ok(sets) = capabilities(None) else { return "unknown".to_owned() };
    let has = |set| sets.effective.contains(set);
    if has(CapabilitySet::SYS_ADMIN) || (has(CapabilitySet::BPF) && has(CapabilitySet::PERFMON)) {
        return "sufficient".to_owned();
    }
    let missing: Vec<&str> = needed.iter().filter(|(_, set)| !has(*set)).map(|(name, _)| *name).collect();
    format!("not sufficient: {} missing; run as root", missing.join(", "))
}

/// Returns an error if the privilege to load programs is missing.
pub fn require_privilege() -> anyhow::Result<()> {
    let found = privilege();
    anyhow::ensure!(!found.starts_with("not"), "loading BPF programs needs CAP_BPF and CAP_PERFMON: {found}");
    Ok(())
}
