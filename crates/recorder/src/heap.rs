//! Memory that the C library's allocator keeps.

/// Gives what is free back to the kernel. Buffers of batches and row groups are of all sizes: after each time when the disk was slow, or others
/// had the processors, the allocator would keep what had waited then. Without effect where the C library is another one than GNU's.
pub fn give_back_what_is_free() {
    // SAFETY: malloc_trim(3) takes an integer, and locks what it looks at.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}
