//! Features of the running kernel, on which the choice of programs depends.

mod btf;

pub use btf::VmlinuxBtf;

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
