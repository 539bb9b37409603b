//! Origin of a bio in the kernel, identified by its completion function.

use crate::bpf::types::{self, maker as Maker};
use crate::host::kallsyms;

/// Functions of 5.10 to 6.18. Those of modules exist only while the module is loaded.
const MAKERS: [(&str, Maker); 13] = [
    // O_DIRECT on files (fs/iomap/direct-io.c, fs/direct-io.c, fs/btrfs/direct-io.c) and on devices (block/fops.c,
    // fs/block_dev.c).
    ("iomap_dio_bio_end_io", Maker::MAKER_DIRECT_IOMAP),
    ("dio_bio_end_aio", Maker::MAKER_DIRECT_DIO),
    ("dio_bio_end_io", Maker::MAKER_DIRECT_DIO),
    ("blkdev_bio_end_io", Maker::MAKER_DIRECT),
    ("blkdev_bio_end_io_async", Maker::MAKER_DIRECT),
    ("blkdev_bio_end_io_simple", Maker::MAKER_DIRECT),
    ("btrfs_dio_end_io", Maker::MAKER_DIRECT),
    // fs/buffer.c: journals and pages of devices.
    ("end_bio_bh_io_sync", Maker::MAKER_BUFFERS),
    // fs/xfs/xfs_log.c, xfs_buf.c.
    ("xlog_bio_end_io", Maker::MAKER_JOURNAL),
    ("xfs_buf_bio_end_io", Maker::MAKER_METADATA),
    // mm/page_io.c.
    ("end_swap_bio_write", Maker::MAKER_SWAP),
    ("end_swap_bio_read", Maker::MAKER_SWAP),
    ("__end_swap_bio_write", Maker::MAKER_SWAP),
];

/// Completion functions of journal buffers: jbd2's commits (fs/jbd2/commit.c) and ext4's fast commits
/// (fs/ext4/fast_commit.c).
const JOURNAL_ENDS: [&str; 2] = ["journal_end_buffer_io_sync", "ext4_end_buffer_io_sync"];

/// Addresses of the functions that this kernel has.
pub struct Addresses {
    /// Completion functions, each with its maker.
    pub makers: Vec<(u64, u64)>,
    /// Completion functions of journal buffers.
    pub journal_ends: Vec<u64>,
}

/// Looks the functions up.
pub fn addresses() -> Addresses {
    let names: Vec<&'static str> = MAKERS.iter().map(|(name, _)| *name).chain(JOURNAL_ENDS).collect();
    let addresses = kallsyms::addresses(&names);
    let makers = MAKERS.iter().filter_map(|(name, maker)| Some((*addresses.get(name)?, u64::from(maker.0))));
    let ends = JOURNAL_ENDS.iter().filter_map(|name| addresses.get(name).copied());
    Addresses { makers: makers.collect(), journal_ends: ends.collect() }
}

/// Writes the addresses into the configuration.
pub fn configure(config: &mut types::config) {
    let Addresses { makers, journal_ends } = addresses();
    for (entry, (address, maker)) in config.makers.known.iter_mut().zip(makers) {
        *entry = types::known_maker { address, maker };
    }
    config.makers.journal_ends.iter_mut().zip(journal_ends).for_each(|(entry, address)| *entry = address);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_side_has_room_for_every_function() {
        let config = types::config::default();
        assert!(MAKERS.len() <= config.makers.known.len());
        assert!(JOURNAL_ENDS.len() <= config.makers.journal_ends.len());
    }
}
