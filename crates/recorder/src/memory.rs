//! Division of the memory limit among its consumers.

use bytesize::ByteSize;

const MIB: u64 = 1 << 20;

/// Memory of the program, its libraries, libbpf's copy of the BPF programs, and the drain's builders: measured, with a margin.
const OWN_BYTES: u64 = 20 * MIB;

/// Minimum for queue and parts together: a few batches, and a row group of each table.
const LEAST_BYTES: u64 = 12 * MIB;

/// Memory per listed part that may be removed later (measured).
const LISTED_PART_BYTES: u64 = 75;

/// Limits of the consumers. Their sum, plus the allocator's overhead, is the memory of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Size of all rings together.
    pub ring_bytes: u64,
    /// Bytes of the batches that wait for the writer.
    pub queue_bytes: u64,
    /// Bytes of the row groups being encoded.
    pub parts_bytes: u64,
    /// Number of parts below which a capture with `--max-disk` may have parts of any size. Any further part has at least an equal share of the
    /// capture, so that there are at most twice as many.
    pub small_parts: u64,
    /// Process size above which the allocator returns unused memory at once.
    pub thrift_bytes: u64,
}

impl Memory {
    /// Divides `all`; rings take an eighth unless `ring_bytes` is given. The error states the required size if `all` is too small.
    pub fn divide(all: u64, ring_bytes: Option<u64>) -> Result<Memory, String> {
        let ring_bytes = ring_bytes.unwrap_or(all / 8);
        // libbpf maps each ring twice, and both mappings count as the process's.
        let taken = OWN_BYTES.saturating_add(ring_bytes.saturating_mul(2));
        let least = taken.saturating_add(LEAST_BYTES);
        if all < least {
            let (rings, least) = (ByteSize(ring_bytes), ByteSize(least.next_multiple_of(MIB)));
            return Err(format!("too little with rings of {rings}; expected at least {least}"));
        }
        let rest = all - taken;
        Ok(Memory {
            ring_bytes,
            queue_bytes: rest / 3,
            parts_bytes: rest / 4,
            small_parts: all / 32 / LISTED_PART_BYTES,
            thrift_bytes: all / 8 * 7,
        })
    }
}

impl Memory {
    /// Part of the queue available to frequent tables (`classes::OFTEN`); the rest is reserved for the others.
    pub fn often_queue_bytes(&self) -> u64 {
        self.queue_bytes / 4 * 3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_out_is_not_more_than_there_is() {
        for all in [48, 64, 100, 1000, 100_000] {
            let memory = Memory::divide(all * MIB, None).expect("enough");
            let Memory { ring_bytes, queue_bytes, parts_bytes, small_parts, thrift_bytes } = memory;
            let listed_bytes = 2 * small_parts * LISTED_PART_BYTES;
            assert!(OWN_BYTES + 2 * ring_bytes + queue_bytes + parts_bytes + listed_bytes <= all * MIB, "{memory:?}");
            assert!(
                thrift_bytes < all * MIB && thrift_bytes > 2 * ring_bytes + queue_bytes + parts_bytes,
                "{memory:?}"
            );
            assert!(queue_bytes >= 4 * MIB && parts_bytes >= 3 * MIB, "{memory:?}");
        }
    }

    #[test]
    fn too_little_is_told_with_what_is_needed() {
        let told = Memory::divide(64 * MIB, Some(32 * MIB)).expect_err("too little");
        assert_eq!(told, "too little with rings of 32.0 MiB; expected at least 96.0 MiB");
        assert!(Memory::divide(96 * MIB, Some(32 * MIB)).is_ok());
    }
}
