//! Kernel facts from its BTF.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use libbpf_rs::btf::types::{Enum, EnumMember, Func, FuncProto, Ptr, Struct, Typedef};
use libbpf_rs::btf::{Btf, BtfType, ReferencesType};

use super::KernelFacts;

/// Path of the kernel's BTF.
pub const PATH: &str = "/sys/kernel/btf/vmlinux";

/// Directory with the BTF of its modules, since 5.11.
const MODULES: &str = "/sys/kernel/btf";

/// BTF of the running kernel.
pub struct VmlinuxBtf {
    btf: Btf<'static>,
}

impl VmlinuxBtf {
    /// Reads the BTF.
    pub fn load() -> Result<Self> {
        let btf = Btf::from_path(PATH)
            .with_context(|| format!("cannot read {PATH}: the kernel needs CONFIG_DEBUG_INFO_BTF=y"))?;
        Ok(VmlinuxBtf { btf })
    }
}

impl KernelFacts for VmlinuxBtf {
    /// BTF describes a tracepoint as `typedef void (*btf_trace_NAME)(void *data, ARGUMENTS)`.
    fn tracepoint_arguments(&self, name: &str) -> Option<usize> {
        let typedef: Typedef = self.btf.type_by_name(&format!("btf_trace_{name}"))?;
        let pointer = Ptr::try_from(typedef.referenced_type()).ok()?;
        let function = FuncProto::try_from(pointer.referenced_type()).ok()?;
        Some(function.iter().count().saturating_sub(1))
    }

    /// A module's BTF cannot be parsed without the kernel's, but its strings can be searched for the name of the type.
    fn module_has_tracepoint(&self, module: &str, name: &str) -> bool {
        let name = format!("\0btf_trace_{name}\0");
        let strings = fs::read(Path::new(MODULES).join(module)).unwrap_or_default();
        memchr::memmem::find(&strings, name.as_bytes()).is_some()
    }

    fn has_module(&self, module: &str) -> bool {
        Path::new("/sys/module").join(module).exists()
    }

    fn has_function(&self, name: &str) -> bool {
        self.btf.type_by_name::<BtfType>(name).is_some_and(|found| Func::try_from(found).is_ok())
    }

    fn has_struct(&self, name: &str) -> bool {
        self.btf.type_by_name::<Struct>(name).is_some()
    }

    /// The kernel's perf events list them (kernel/events/core.c, perf_kprobe).
    fn has_kprobes(&self) -> bool {
        Path::new("/sys/bus/event_source/devices/kprobe").exists()
    }

    fn enum_value(&self, name: &str) -> Option<i64> {
        let named = |e: Enum| e.iter().find(|member| member.name.is_some_and(|n| n == name)).map(|member| member.value);
        self.btf.type_by_kind::<Enum>().find_map(named)
    }

    fn enum_members(&self, name: &str) -> Vec<(String, i64)> {
        let Some(found) = self.btf.type_by_name::<Enum>(name) else { return Vec::new() };
        let named = |member: &EnumMember| Some((member.name?.to_string_lossy().into_owned(), member.value));
        found.iter().filter_map(|member| named(&member)).collect()
    }
}
