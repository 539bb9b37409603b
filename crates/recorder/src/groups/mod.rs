//! Probe groups: what the recorder can measure, one folder each.
//!
//! A group of records ([`RecordGroup`]) has programs of the common object (`bpf/iostrata.bpf.c`), which pass a record for each event through
//! the rings: it declares the programs for this kernel, the tables of the kernel side that only it uses, and how a record becomes a row.
//! Facts ([`KernelFacts`]), then a decision ([`choose`], pure), then the effect (`session`).
//!
//! A group of readings ([`ReadingGroup`]) is an object of its own, which aggregates in the kernel and is read at an interval ([`readings`]).

pub mod block;
pub mod block_activity;
pub mod block_latency;
pub mod file;
pub mod fs;
pub mod process;
pub mod readings;
pub mod run_queue;
pub mod syscall;
pub mod vfs;

use iostrata_capture::TableId;
use iostrata_capture::op::Layer;

use crate::bpf::{OpenIostrataSkel, skeleton, types};
use crate::intake::Intake;
use crate::kernel_facts::KernelFacts;

use readings::ReadingGroup;

/// Groups of records, in the order of their programs: run queues before calls, so that no wait of a recorded call is missed.
pub static RECORD_GROUPS: [&RecordGroup; 7] =
    [&process::GROUP, &process::TREES, &run_queue::GROUP, &syscall::GROUP, &vfs::GROUP, &fs::GROUP, &block::GROUP];

/// Lists the groups of readings.
macro_rules! reading_groups {
    ($($name:ident,)+) => {
        /// Groups of readings.
        pub static READING_GROUPS: &[&ReadingGroup] = &[$(&$name::GROUP,)+];
    };
}

reading_groups! {
    block_latency,
}

/// Converts the record at the front of the bytes to a row, and counts it. `None` if it cannot be decoded.
pub type Take = fn(&mut Intake, cpu: u16, bytes: &[u8]) -> Option<()>;

/// Probe group whose events each have a record.
pub struct RecordGroup {
    /// Name, which is also the class of its programs in the manifest.
    pub name: &'static str,
    /// Layer of the I/O stack that it records.
    pub layer: Option<Layer>,
    /// Whether its operations are on files, which get a name.
    pub has_files: bool,
    /// Returns the methods to capture it on this kernel, best first; an error with the reason if there are none.
    pub variants: fn(&dyn KernelFacts) -> Result<Vec<Variant>, String>,
    /// Sets what follows from the choice of these of its programs; none if it is not recorded.
    pub configure: fn(&mut types::config, &[&str]),
    /// Shrinks the maps that only its programs use, because it is not recorded.
    pub shrink: fn(&mut OpenIostrataSkel) -> libbpf_rs::Result<()>,
    /// Returns how a program of it is attached.
    pub attachment: fn(&str) -> Attachment,
}

/// How a program is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attachment {
    /// To an event, at which operations may begin.
    Event,
    /// To an event, until no operation can begin any more.
    Last,
    /// As an iterator over the threads that is read once, at the stop.
    Iterator,
    /// Not at all: the recorder runs it.
    ByRecorder,
}

/// Chosen program.
#[derive(Clone)]
pub struct Program {
    /// Group that it belongs to.
    pub group: &'static RecordGroup,
    /// Name in `bpf/iostrata.bpf.c`.
    pub name: String,
}

/// One method to capture a group: the programs to load, all of them or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variant {
    /// Attach mechanism, for display.
    pub how: &'static str,
    /// Programs of `bpf/iostrata.bpf.c`, in the order of attachment.
    pub programs: Vec<String>,
    /// Reason why this variant cannot work, if known without trying it.
    pub impossible: Option<&'static str>,
    /// Parts of the layer that it does not capture, unlike other kernels.
    pub without: Vec<&'static str>,
}

impl Variant {
    /// Creates the variant of typed tracepoints, which captures everything.
    pub fn of_tracepoints(programs: Vec<String>) -> Variant {
        Variant { how: "tp_btf", programs, impossible: None, without: Vec::new() }
    }

    /// Whether it uses `mechanism`, possibly among others.
    pub fn uses(&self, mechanism: &str) -> bool {
        self.how.split('/').any(|one| one == mechanism)
    }
}

impl RecordGroup {
    /// Returns the group that records `layer`.
    pub fn of_layer(layer: Layer) -> &'static RecordGroup {
        match layer {
            Layer::Syscall => &syscall::GROUP,
            Layer::Vfs => &vfs::GROUP,
            Layer::Fs => &fs::GROUP,
            Layer::Block => &block::GROUP,
        }
    }

    /// Returns programs of this group by name.
    pub fn programs(&'static self, names: impl IntoIterator<Item = String>) -> Vec<Program> {
        names.into_iter().map(|name| Program { group: self, name }).collect()
    }
}

impl Program {
    /// Returns how it is attached.
    pub fn attachment(&self) -> Attachment {
        (self.group.attachment)(&self.name)
    }
}

/// Returns what converts the records of `table`; none if the kernel side does not fill it with records of its own.
pub fn take_of(table: TableId) -> Option<Take> {
    match table {
        TableId::Syscall => Some(syscall::take),
        TableId::Vfs => Some(vfs::take),
        TableId::Fs => Some(fs::take),
        TableId::Block => Some(block::take),
        TableId::Process => Some(process::take),
        TableId::File => Some(file::take),
        _ => None,
    }
}

/// Returns the first variant of `group` that works, tried with `works`; otherwise the reasons why none does.
pub fn choose(
    group: &RecordGroup,
    kernel: &dyn KernelFacts,
    works: &mut dyn FnMut(&Variant) -> Result<(), String>,
) -> Result<Variant, String> {
    let mut reasons = Vec::new();
    for variant in (group.variants)(kernel)? {
        match variant.impossible.map_or_else(|| works(&variant), |why| Err(why.to_owned())) {
            Ok(()) => return Ok(variant),
            Err(why) => reasons.push(format!("{}: {why}", variant.how)),
        }
    }
    Err(reasons.join("; "))
}

/// Returns the program on the required tracepoint `name`.
fn required(kernel: &dyn KernelFacts, name: &str, program: &str) -> Result<String, String> {
    match kernel.tracepoint_arguments(name) {
        Some(_) => Ok(program.to_owned()),
        None => Err(format!("the kernel has no tracepoint {name}")),
    }
}

/// [`RecordGroup::attachment`] of a group whose programs are all attached to events.
const fn to_events(_program: &str) -> Attachment {
    Attachment::Event
}

#[cfg(test)]
mod tests;
