//! Settings of the memory allocator: freed memory returns to the kernel at once. The only `unsafe` code of this crate.

/// Threshold above which allocations are mapped one by one, so that they return to the kernel when they are freed. The allocator of glibc starts at
/// 128 KiB, but raises the threshold up to 32 MiB as larger allocations are freed (`mallopt(3)`): of a report it then keeps 480 MiB resident where
/// 260 MiB are in use. This threshold has no measurable cost, and keeps a fifth less memory than 4 MiB.
const MAPPED_BYTES: i32 = 256 << 10;

/// Makes the allocator return large allocations to the kernel when they are freed, where it has such a setting.
pub fn give_back_large_pieces() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: mallopt() sets a number within the allocator, under its own lock.
        #[allow(unsafe_code, reason = "the allocator has no safe interface for this setting")]
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_BYTES);
        }
    }
}

/// Returns the page size in bytes.
pub fn page_bytes() -> u64 {
    #[cfg(unix)]
    {
        // SAFETY: sysconf() returns a number and changes nothing.
        #[allow(unsafe_code, reason = "the standard library does not provide it")]
        let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        u64::try_from(bytes).unwrap_or(4_096)
    }
    #[cfg(not(unix))]
    4_096
}
