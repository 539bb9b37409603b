//! Probe groups: which kernel programs a layer needs, chosen by what the kernel's BTF offers.
//!
//! Facts ([`KernelFacts`]), then a decision ([`choose`], pure), then the effect (`session`). A layer is one group; a new
//! one is a new file here, a file in `bpf/` and a line in [`candidates`].

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

/// What the running kernel offers, as far as the choice of programs depends on it.
pub trait KernelFacts {
    /// How many arguments the tracepoint has; `None` where there is no such tracepoint.
    fn tracepoint_arguments(&self, name: &str) -> Option<usize>;
    /// Whether a kernel module that is loaded has the tracepoint, and programs can be attached to it.
    fn module_has_tracepoint(&self, module: &str, name: &str) -> bool;
    /// Whether a kernel module is loaded.
    fn has_module(&self, module: &str) -> bool;
    /// Whether the kernel has this function, neither inlined nor configured away.
    fn has_function(&self, name: &str) -> bool;
    /// Whether the kernel has this structure.
    fn has_struct(&self, name: &str) -> bool;
    /// Whether the kernel has kprobes.
    fn has_kprobes(&self) -> bool;
    /// The value of an enum member, wherever it is declared.
    fn enum_value(&self, name: &str) -> Option<i64>;
    /// The members of the enum `name`, with their values.
    fn enum_members(&self, name: &str) -> Vec<(String, i64)>;
}

/// One way to capture a layer: the programs to load, all of them or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variant {
    /// The mechanism, for people.
    pub how: &'static str,
    /// Programs of `bpf/iostrata.bpf.c`, in the order in which they are to be attached.
    pub programs: Vec<String>,
    /// Why it need not be tried, where that is known without.
    pub impossible: Option<&'static str>,
    /// What it leaves out that other kernels let be captured.
    pub without: Vec<&'static str>,
}

impl Variant {
    /// Whether it is by `mechanism`, of which it may use several.
    pub fn uses(&self, mechanism: &str) -> bool {
        self.how.split('/').any(|one| one == mechanism)
    }
}

/// The ways to capture `layer` on this kernel, best first; or why there is none.
pub fn candidates(layer: Layer, kernel: &dyn KernelFacts) -> Result<Vec<Variant>, String> {
    match layer {
        Layer::Syscall => syscall::variants(kernel),
        Layer::Vfs => vfs::variants(kernel),
        Layer::Fs => fs::variants(kernel),
        Layer::Block => block::variants(kernel),
    }
}

/// Programs that tell of processes; always needed.
pub fn processes(kernel: &dyn KernelFacts) -> Result<Vec<String>, String> {
    process::told(kernel)
}

/// Programs that follow process trees; needed where a filter does.
pub fn process_tree(kernel: &dyn KernelFacts) -> Result<Vec<String>, String> {
    process::trees(kernel)
}

/// Programs that measure how long threads wait for a CPU within their calls; needed where that is asked for.
pub fn run_queue(kernel: &dyn KernelFacts) -> Result<Vec<String>, String> {
    run_queue::told(kernel)
}

/// The first way that works, tried with `works`; or every reason why none does.
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

/// The program on tracepoint `name`, which must be there.
fn required(kernel: &dyn KernelFacts, name: &str, program: &str) -> Result<String, String> {
    match kernel.tracepoint_arguments(name) {
        Some(_) => Ok(program.to_owned()),
        None => Err(format!("the kernel has no tracepoint {name}")),
    }
}

#[cfg(test)]
mod tests;
