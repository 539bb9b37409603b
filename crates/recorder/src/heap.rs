//! The allocator: one that gives back what is not needed any more.
//!
//! Batches are filled by one thread and freed by another, and how many wait in between follows the disk and what else the machine does. GNU's
//! allocator keeps the most that ever waited, in pieces; over hours it grows step by step. This one takes pages apart by size, and
//! returns them to the kernel two seconds after they were last used. It serves the libraries in C too: zstd takes megabytes for each column that it
//! compresses.

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static HEAP: Jemalloc = Jemalloc;

/// Its settings (`opt.*` in jemalloc(3)). Few threads allocate, and seldom: one arena, in which what one thread freed the next one finds.
// SAFETY: the allocator reads this symbol as a `const char *` that ends with a zero byte, which a reference to these bytes is.
#[used]
#[unsafe(export_name = "malloc_conf")]
static SETTINGS: &[u8; 47] = b"narenas:1,dirty_decay_ms:2000,muzzy_decay_ms:0\0";
