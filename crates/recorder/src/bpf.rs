//! The kernel side as Rust sees it: the generated skeleton, and the one place where bytes become records.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use libbpf_rs::libbpf_sys::{BPF_F_TEST_RUN_ON_CPU, bpf_prog_test_run_opts, bpf_test_run_opts};

// Generated: its lookups of maps and programs by name cannot fail for the object that it was generated from.
#[allow(missing_docs, non_camel_case_types)]
#[allow(clippy::all, clippy::undocumented_unsafe_blocks)]
#[allow(clippy::panic, clippy::expect_used, clippy::unwrap_used)]
mod skeleton {
    include!(concat!(env!("OUT_DIR"), "/iostrata.skel.rs"));
}

// As above.
#[allow(missing_docs, non_camel_case_types)]
#[allow(clippy::all, clippy::undocumented_unsafe_blocks)]
#[allow(clippy::panic, clippy::expect_used, clippy::unwrap_used)]
mod here_skeleton {
    include!(concat!(env!("OUT_DIR"), "/here.skel.rs"));
}

pub use here_skeleton::{HereSkelBuilder, types as here_types};
pub use skeleton::{IostrataSkel, IostrataSkelBuilder, OpenIostrataSkel, types};

/// A plain C record of `bpf/events.h`: integers and arrays of integers, so that any bytes are a valid value.
///
/// # Safety
/// Implement it for types of integers and arrays of integers only.
pub unsafe trait Record: Copy {}

// SAFETY: generated from C structs of integers and arrays of integers (bpf/events.h).
unsafe impl Record for types::event_head {}
// SAFETY: as above.
unsafe impl Record for types::file_event {}
// SAFETY: as above.
unsafe impl Record for types::call_event {}
// SAFETY: as above.
unsafe impl Record for types::block_event {}
// SAFETY: as above.
unsafe impl Record for types::block_event_submitted {}
// SAFETY: as above.
unsafe impl Record for types::block_event_parts {}
// SAFETY: as above.
unsafe impl Record for types::process_event_short {}
// SAFETY: as above.
unsafe impl Record for types::process_event_long {}
// SAFETY: as above.
unsafe impl Record for types::name_event {}
// SAFETY: as above.
unsafe impl Record for types::fs_event {}
// SAFETY: as above.
unsafe impl Record for types::fs_slot {}
// SAFETY: as above.
unsafe impl Record for types::account {}
// SAFETY: as above.
unsafe impl Record for types::own_io {}
// SAFETY: as above.
unsafe impl Record for types::inflight_request {}
// SAFETY: as above.
unsafe impl Record for types::request_bucket {}
// SAFETY: as above.
unsafe impl Record for types::queued_bucket {}
// SAFETY: as above.
unsafe impl Record for types::part_list {}
// SAFETY: as above.
unsafe impl Record for types::sampling {}
// SAFETY: as above.
unsafe impl Record for types::unseen_calls {}
// SAFETY: integers, and an address that nobody follows.
unsafe impl Record for types::file_op {}
// SAFETY: as above.
unsafe impl Record for types::async_bucket {}
// SAFETY: as above.
unsafe impl Record for types::server {}
// SAFETY: as above.
unsafe impl Record for types::left_out_io {}
// SAFETY: as above.
unsafe impl Record for types::lower_disks {}
// SAFETY: as above, of bpf/here.h.
unsafe impl Record for here_types::here {}
// SAFETY: as above.
unsafe impl Record for here_types::task_record {}
// SAFETY: as above.
unsafe impl Record for here_types::task_io {}
// SAFETY: an integer.
unsafe impl Record for u32 {}
// SAFETY: an integer.
unsafe impl Record for u64 {}

/// The record at the front of `bytes`; `None` when there are too few.
pub fn read_record<T: Record>(bytes: &[u8]) -> Option<T> {
    if bytes.len() < size_of::<T>() {
        return None;
    }
    // SAFETY: the length was checked, `read_unaligned` asks for no alignment, and any bytes are a valid `Record`.
    Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

/// The record at the front of `bytes` where it lies; `None` when there are too few or they are not aligned for it, which
/// rings see to.
pub fn record_at<T: Record>(bytes: &[u8]) -> Option<&T> {
    let record = bytes.as_ptr().cast::<T>();
    if bytes.len() < size_of::<T>() || !record.is_aligned() {
        return None;
    }
    // SAFETY: length and alignment were checked, any bytes are a valid `Record`, and the bytes are borrowed as long.
    Some(unsafe { &*record })
}

/// The bytes of a record, as they would lie in a ring.
pub fn bytes_of<T: Record>(record: &T) -> &[u8] {
    // SAFETY: a `Record` has no padding that was never written: it came from bytes, all of which were.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(record).cast(), size_of::<T>()) }
}

/// Runs a program that is attached to nothing on a CPU, with what it finds as its arguments. What it returns.
pub fn run_on_cpu(program: BorrowedFd, cpu: u32, arguments: &[u64]) -> io::Result<u32> {
    let mut options = bpf_test_run_opts {
        sz: size_of::<bpf_test_run_opts>() as _,
        ctx_in: arguments.as_ptr().cast(),
        ctx_size_in: size_of_val(arguments) as u32,
        flags: BPF_F_TEST_RUN_ON_CPU,
        cpu,
        ..bpf_test_run_opts::default()
    };
    // SAFETY: the options are valid, of the size that they tell, and all that they point to lives beyond the call, which only reads it.
    match unsafe { bpf_prog_test_run_opts(program.as_raw_fd(), &raw mut options) } {
        0 => Ok(options.retval),
        error => Err(io::Error::from_raw_os_error(-error)),
    }
}

/// Words of `bpf/events.h` (`class_names`, `op_names`), each up to its NUL.
pub fn words<const WIDTH: usize>(names: &[[i8; WIDTH]]) -> Vec<String> {
    let word = |name: &[i8; WIDTH]| name.iter().take_while(|c| **c != 0).map(|c| char::from(*c as u8)).collect();
    names.iter().map(word).collect()
}
