//! Probe groups: the BPF programs of each layer, chosen by the features in the kernel's BTF.
//!
//! Facts ([`KernelFacts`]), then a decision ([`choose`], pure), then the effect (`session`). Each layer is one group. A
//! new group needs a new file here, a file in `bpf/` and a line in [`candidates`].

mod block;
mod btf;
mod fs;
mod makers;
mod process;
mod run_queue;
mod syscall;
mod vfs;

use iostrata_capture::op::Layer;

pub use block::{request_flag_bits, told_writes};
pub use btf::VmlinuxBtf;
pub use makers::configure as configure_makers;
pub use run_queue::is_one as is_of_run_queue;
pub use syscall::{compat_operations, opcode_name, operations as syscall_operations, unknown_opcodes};
pub use vfs::{is_return, misses_returns};

/// Features of the running kernel that determine the choice of programs.
pub trait KernelFacts {
    /// Number of arguments of the tracepoint; `None` if it does not exist.
    fn tracepoint_arguments(&self, name: &str) -> Option<usize>;
    /// Whether a loaded kernel module has the tracepoint, and programs can be attached to it.
    fn module_has_tracepoint(&self, module: &str, name: &str) -> bool;
    /// Whether a kernel module is loaded.
    fn has_module(&self, module: &str) -> bool;
    /// Whether the kernel has this function, neither inlined nor configured out.
    fn has_function(&self, name: &str) -> bool;
    /// Whether the kernel has this structure.
    fn has_struct(&self, name: &str) -> bool;
    /// Whether the kernel has kprobes.
    fn has_kprobes(&self) -> bool;
    /// Value of an enum member, in any enum.
    fn enum_value(&self, name: &str) -> Option<i64>;
    /// Members of the enum `name`, with their values.
    fn enum_members(&self, name: &str) -> Vec<(String, i64)>;
}

/// One method to capture a layer: the programs to load, all of them or none.
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
    /// Whether it uses `mechanism`, possibly among others.
    pub fn uses(&self, mechanism: &str) -> bool {
        self.how.split('/').any(|one| one == mechanism)
    }
}

/// Variants to capture `layer` on this kernel, best first; an error with the reason if there are none.
pub fn candidates(layer: Layer, kernel: &dyn KernelFacts) -> Result<Vec<Variant>, String> {
    match layer {
        Layer::Syscall => syscall::variants(kernel),
        Layer::Vfs => vfs::variants(kernel),
        Layer::Fs => fs::variants(kernel),
        Layer::Block => block::variants(kernel),
    }
}

/// Programs that record processes; always needed.
pub fn processes(kernel: &dyn KernelFacts) -> Result<Vec<String>, String> {
    process::told(kernel)
}

/// Programs that follow process trees; needed by filters on processes.
pub fn process_tree(kernel: &dyn KernelFacts) -> Result<Vec<String>, String> {
    process::trees(kernel)
}

/// Programs that measure the run-queue latency of calls; needed for `--run-queue`.
pub fn run_queue(kernel: &dyn KernelFacts) -> Result<Vec<String>, String> {
    run_queue::told(kernel)
}

/// Returns the first variant that works, tried with `works`; otherwise the reasons why none does.
pub fn choose(
    layer: Layer,
    kernel: &dyn KernelFacts,
    works: &mut dyn FnMut(&Variant) -> Result<(), String>,
) -> Result<Variant, String> {
    let mut reasons = Vec::new();
    for variant in candidates(layer, kernel)? {
        match variant.impossible.map_or_else(|| works(&variant), |why| Err(why.to_owned())) {
            Ok(()) => return Ok(variant),
            Err(why) => reasons.push(format!("{}: {why}", variant.how)),
        }
    }
    Err(reasons.join("; "))
}

/// Program on the required tracepoint `name`.
fn required(kernel: &dyn KernelFacts, name: &str, program: &str) -> Result<String, String> {
    match kernel.tracepoint_arguments(name) {
        Some(_) => Ok(program.to_owned()),
        None => Err(format!("the kernel has no tracepoint {name}")),
    }
}

#[cfg(test)]
mod tests;
