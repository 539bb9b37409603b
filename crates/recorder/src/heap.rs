//! The allocator: one that returns unused memory to the kernel.
//!
//! One thread fills batches and another frees them. The number of waiting batches depends on the disk and on other load. GNU's allocator keeps the
//! maximum that ever waited, in fragments; over hours it grows step by step. This allocator separates pages by size class, and returns them to the
//! kernel two seconds after their last use. It also serves the C libraries: zstd takes megabytes for each column that it compresses. With many
//! names, which come in all sizes, more memory is freed in two seconds than the limit allows. So unused pages are returned at once if the process
//! is near its limit ([`MemoryTrimmer`]).

use std::ffi::{c_char, c_int, c_void};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::ptr::{null, null_mut};

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static HEAP: Jemalloc = Jemalloc;

/// Settings (`opt.*` in jemalloc(3)). Few threads allocate, and rarely: one arena, in which a thread reuses memory that another one freed.
// SAFETY: the allocator reads this symbol as a `const char *` that ends with a zero byte, which a reference to these bytes is.
#[used]
#[unsafe(export_name = "malloc_conf")]
static SETTINGS: &[u8; 47] = b"narenas:1,dirty_decay_ms:2000,muzzy_decay_ms:0\0";

unsafe extern "C" {
    /// jemalloc(3), under its own name, because the allocator also serves the C libraries.
    fn mallctl(
        name: *const c_char,
        old: *mut c_void,
        old_bytes: *mut usize,
        new: *const c_void,
        new_bytes: usize,
    ) -> c_int;
}

const STATM: &str = "/proc/self/statm";

/// Returns unused pages to the kernel if the process is near its limit. Each thread that frees much memory has its own instance.
#[derive(Debug)]
pub struct MemoryTrimmer {
    /// None if /proc is not available. The allocator then returns pages only after its delay.
    statm: Option<File>,
    most_bytes: u64,
}

impl MemoryTrimmer {
    /// Creates an instance that returns pages if the process takes more than `most_bytes`.
    pub fn beyond(most_bytes: u64) -> MemoryTrimmer {
        MemoryTrimmer { statm: File::open(STATM).ok(), most_bytes }
    }

    /// Checks the limit. Must be called often.
    pub fn look(&self) {
        if self.statm.as_ref().and_then(resident_bytes).is_some_and(|bytes| bytes > self.most_bytes) {
            // SAFETY: the name is a C string, MALLCTL_ARENAS_ALL in jemalloc.h, and the pointers pass and return nothing.
            unsafe { mallctl(c"arena.4096.purge".as_ptr(), null_mut(), null_mut(), null(), 0) };
        }
    }
}

/// Resident memory of the process (RSS), from `statm`; none if it cannot be read.
fn resident_bytes(statm: &File) -> Option<u64> {
    let mut text = [0; 128];
    let length = statm.read_at(&mut text, 0).ok()?;
    let text = std::str::from_utf8(text.get(..length)?).ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// Resident memory of this process (RSS).
pub fn own_resident_bytes() -> Option<u64> {
    resident_bytes(&File::open(STATM).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_uses_is_returned_where_there_is_little_left() {
        let thrift = MemoryTrimmer::beyond(0);
        let before = own_resident_bytes().expect("/proc is there");
        // A unique size, so that no other test takes it.
        let large = vec![1u8; 48 << 20];
        let with = own_resident_bytes().expect("/proc is there");
        assert!(with > before + (40 << 20), "{before} {with}");
        drop(large);
        thrift.look();
        let after = own_resident_bytes().expect("/proc is there");
        assert!(after + (40 << 20) < with, "{with} {after}");
    }
}
