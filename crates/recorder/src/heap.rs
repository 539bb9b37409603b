//! The allocator: one that gives back what is not needed any more.
//!
//! Batches are filled by one thread and freed by another, and how many wait in between follows the disk and what else the machine does. GNU's
//! allocator keeps the most that ever waited, in pieces; over hours it grows step by step. This one takes pages apart by size, and
//! returns them to the kernel two seconds after they were last used. It serves the libraries in C too: zstd takes megabytes for each column that it
//! compresses. In two seconds of many names, which come in pieces of all sizes, more is freed than there is room for: so pages that nobody
//! uses are returned at once where the process takes much of what it may ([`Thrift`]).

use std::ffi::{c_char, c_int, c_void};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::ptr::{null, null_mut};

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static HEAP: Jemalloc = Jemalloc;

/// Its settings (`opt.*` in jemalloc(3)). Few threads allocate, and seldom: one arena, in which what one thread freed the next one finds.
// SAFETY: the allocator reads this symbol as a `const char *` that ends with a zero byte, which a reference to these bytes is.
#[used]
#[unsafe(export_name = "malloc_conf")]
static SETTINGS: &[u8; 47] = b"narenas:1,dirty_decay_ms:2000,muzzy_decay_ms:0\0";

unsafe extern "C" {
    /// jemalloc(3); under its own name, as the allocator serves the libraries in C.
    fn mallctl(
        name: *const c_char,
        old: *mut c_void,
        old_bytes: *mut usize,
        new: *const c_void,
        new_bytes: usize,
    ) -> c_int;
}

const STATM: &str = "/proc/self/statm";

/// Returns pages that nobody uses to the kernel where the process takes much of what it may. Each thread that frees much has its own.
#[derive(Debug)]
pub struct Thrift {
    /// None where /proc is not to be had: then there is but the time after which the allocator returns them.
    statm: Option<File>,
    most_bytes: u64,
}

impl Thrift {
    /// For a process that is to return pages when it takes more than `most_bytes`.
    pub fn beyond(most_bytes: u64) -> Thrift {
        Thrift { statm: File::open(STATM).ok(), most_bytes }
    }

    /// To be called often.
    pub fn look(&self) {
        if self.statm.as_ref().and_then(resident_bytes).is_some_and(|bytes| bytes > self.most_bytes) {
            // SAFETY: the name is a string of C, MALLCTL_ARENAS_ALL in jemalloc.h, and nothing is passed or returned by the pointers.
            unsafe { mallctl(c"arena.4096.purge".as_ptr(), null_mut(), null_mut(), null(), 0) };
        }
    }
}

/// What the process takes of memory (RSS), by the kernel's account of it in `statm`; none where that is not to be read.
fn resident_bytes(statm: &File) -> Option<u64> {
    let mut text = [0; 128];
    let length = statm.read_at(&mut text, 0).ok()?;
    let text = std::str::from_utf8(text.get(..length)?).ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// What this process takes now.
pub fn own_resident_bytes() -> Option<u64> {
    resident_bytes(&File::open(STATM).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_uses_is_returned_where_there_is_little_left() {
        let thrift = Thrift::beyond(0);
        let before = own_resident_bytes().expect("/proc is there");
        // Of a size of its own, so that no other test takes it.
        let large = vec![1u8; 48 << 20];
        let with = own_resident_bytes().expect("/proc is there");
        assert!(with > before + (40 << 20), "{before} {with}");
        drop(large);
        thrift.look();
        let after = own_resident_bytes().expect("/proc is there");
        assert!(after + (40 << 20) < with, "{with} {after}");
    }
}
