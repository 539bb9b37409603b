//! How the memory that a recording may take is divided.

use bytesize::ByteSize;

const MIB: u64 = 1 << 20;

/// The program, its libraries, libbpf's copy of the kernel programs, the rows that the drain gathers: measured, with some to spare.
const OWN_BYTES: u64 = 20 * MIB;

/// What queue and parts need at least together: a few batches, and a row group of each table.
const LEAST_BYTES: u64 = 12 * MIB;

/// What is known of a part that may have to go (measured).
const LISTED_PART_BYTES: u64 = 75;

/// What each consumer may take. Together, with what an allocator keeps between them, it is the memory of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// All rings together.
    pub ring_bytes: u64,
    /// Batches that wait for the writer.
    pub queue_bytes: u64,
    /// Row groups that are being encoded.
    pub parts_bytes: u64,
    /// As many parts of a capture that is a ring are as small as they come; those beyond have a share of it each, so that there are no more than
    /// twice as many.
    pub small_parts: u64,
    /// Where the process takes more, what the allocator keeps is returned at once.
    pub thrift_bytes: u64,
}

impl Memory {
    /// Divides `all`; rings take an eighth unless they are given. What is needed, where that is more.
    pub fn divide(all: u64, ring_bytes: Option<u64>) -> Result<Memory, String> {
        let ring_bytes = ring_bytes.unwrap_or(all / 8);
        // libbpf maps each ring twice, and both count as the process's.
        let taken = OWN_BYTES.saturating_add(ring_bytes.saturating_mul(2));
        let least = taken.saturating_add(LEAST_BYTES);
        if all < least {
            let (rings, least) = (ByteSize(ring_bytes), ByteSize(least.next_multiple_of(MIB)));
            return Err(format!("too little with rings of {rings}; expected at least {least}"));
        }
        let rest = all - taken;
        Ok(Memory {
            ring_bytes,
            queue_bytes: rest / 8 * 3,
            parts_bytes: rest / 4,
            small_parts: all / 32 / LISTED_PART_BYTES,
            thrift_bytes: all / 8 * 7,
        })
    }
}

impl Memory {
    /// Of the queue, what batches of classes may take that come often (`classes::OFTEN`): the rest is for the others.
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
