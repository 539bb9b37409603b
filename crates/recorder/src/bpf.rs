//! Rust interface to the BPF side: the generated skeleton, and the only conversions from bytes to records.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use anyhow::{Result, anyhow};
use libbpf_rs::libbpf_sys::{BPF_F_TEST_RUN_ON_CPU, bpf_prog_test_run_opts, bpf_test_run_opts};
use libbpf_rs::{MapCore, MapFlags, Object, OpenObject, ProgramMut};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Includes the skeleton of the object NAME as a module, called `skeleton` unless it is given another name.
macro_rules! skeleton {
    ($name:literal) => {
        $crate::bpf::skeleton!(skeleton, $name);
    };
    ($module:ident, $name:literal) => {
        // Generated code: its lookups of maps and programs by name cannot fail for the object that it was generated from.
        #[allow(missing_docs, non_camel_case_types, dead_code)]
        #[allow(clippy::all, clippy::undocumented_unsafe_blocks)]
        #[allow(clippy::panic, clippy::expect_used, clippy::unwrap_used)]
        mod $module {
            include!(concat!(env!("OUT_DIR"), "/", $name, ".skel.rs"));
        }
    };
}
pub(crate) use skeleton;

skeleton!(main_skeleton, "iostrata");
skeleton!(here_skeleton, "here");

pub use here_skeleton::{HereSkelBuilder, types as here_types};
pub use main_skeleton::{IostrataSkel, IostrataSkelBuilder, OpenIostrataSkel, types};

/// A plain C record of `bpf/`, or an integer. Any bytes are a valid value, and there is no padding. `build.rs` lists the records.
pub trait Record: FromBytes + IntoBytes + Immutable + KnownLayout + Copy {}

impl<T: FromBytes + IntoBytes + Immutable + KnownLayout + Copy> Record for T {}

/// Returns the record at the front of `bytes`; `None` if `bytes` is too short.
pub fn read_record<T: Record>(bytes: &[u8]) -> Option<T> {
    T::read_from_prefix(bytes).ok().map(|(record, _)| record)
}

/// Borrows the record at the front of `bytes`; `None` if `bytes` is too short or not aligned. Rings align their records.
pub fn record_at<T: Record>(bytes: &[u8]) -> Option<&T> {
    T::ref_from_prefix(bytes).ok().map(|(record, _)| record)
}

/// Bytes of a record, as stored in a ring.
pub fn bytes_of<T: Record>(record: &T) -> &[u8] {
    record.as_bytes()
}

/// Values of a map under `key`, by CPU.
///
/// # Errors
/// If the kernel refuses the access.
pub fn percpu<T: Record>(map: &impl MapCore, key: &[u8]) -> Result<Vec<T>> {
    let values = map.lookup_percpu(key, MapFlags::ANY)?.unwrap_or_default();
    values.iter().map(|v| read_record(v).ok_or_else(|| anyhow!("short value in {:?}", map.name()))).collect()
}

/// Selects the programs to load.
pub fn select(object: &mut OpenObject, programs: &[&str]) {
    for mut program in object.progs_mut() {
        let is_chosen = programs.iter().any(|name| program.name().to_str() == Some(*name));
        program.set_autoload(is_chosen);
    }
}

/// Returns the program called `name`.
///
/// # Errors
/// If the object has none.
pub fn program<'a>(object: &'a Object, name: &str) -> Result<ProgramMut<'a>> {
    let found = object.progs_mut().find(|program| program.name().to_str() == Some(name));
    found.ok_or_else(|| anyhow!("there is no program {name}"))
}

/// Runs an unattached program on a CPU with the given arguments, and returns its return value.
pub fn run_on_cpu(program: BorrowedFd, cpu: u32, arguments: &[u64]) -> io::Result<u32> {
    let mut options = bpf_test_run_opts {
        sz: size_of::<bpf_test_run_opts>() as _,
        ctx_in: arguments.as_ptr().cast(),
        ctx_size_in: size_of_val(arguments) as u32,
        flags: BPF_F_TEST_RUN_ON_CPU,
        cpu,
        ..bpf_test_run_opts::default()
    };
    // SAFETY: the options are valid and have the size that they state. Everything they point to outlives the call, which only reads it.
    match unsafe { bpf_prog_test_run_opts(program.as_raw_fd(), &raw mut options) } {
        0 => Ok(options.retval),
        error => Err(io::Error::from_raw_os_error(-error)),
    }
}

/// Names of `bpf/core/events.h` (`op_names`, `via_names`), each up to its NUL.
pub fn words<const WIDTH: usize>(names: &[[i8; WIDTH]]) -> Vec<String> {
    let word = |name: &[i8; WIDTH]| name.iter().take_while(|c| **c != 0).map(|c| char::from(*c as u8)).collect();
    names.iter().map(word).collect()
}
