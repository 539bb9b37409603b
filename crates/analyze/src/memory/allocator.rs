//! What is given back is the kernel's at once: the only `unsafe` of this crate.

/// Larger pieces of memory are mapped one by one, so that they are given back when they are freed. The allocator of glibc does so from 128 KiB
/// on, but goes up to 32 MiB as it sees larger ones freed (`mallopt(3)`): of a report it then keeps 480 MiB resident where 260 MiB are in use.
/// From here on it costs nothing that could be measured, and a fifth less is kept than with 4 MiB.
const MAPPED_BYTES: i32 = 256 << 10;

/// Has large pieces of memory given back when they are freed, where the allocator can be told so.
pub fn give_back_large_pieces() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: mallopt() sets a number within the allocator, under its own lock.
        #[allow(unsafe_code, reason = "there is no safe way to say this to the allocator")]
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_BYTES);
        }
    }
}

/// What the kernel counts memory in.
pub fn page_bytes() -> u64 {
    #[cfg(unix)]
    {
        // SAFETY: sysconf() tells a number, and changes nothing.
        #[allow(unsafe_code, reason = "the standard library does not tell it")]
        let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        u64::try_from(bytes).unwrap_or(4_096)
    }
    #[cfg(not(unix))]
    4_096
}
