//! `reuse.csv`: reuse distances of blocks and the miss-ratio curve of an LRU cache.

use iostrata_capture::op::Layer;

use crate::analyses::footprint::aggregate::BLOCK_BYTES;
use crate::analyses::footprint::distances::{Distances, Reuse};
use crate::analyses::subject::{self, Named};
use crate::analyses::table::{Table, at_once};
use crate::frame::{self, ResultColumn};
use crate::names::Names;
use crate::trust::Trust;

/// Documentation of the table.
const DOC: &str = "`iostrata-analyze footprint --out DIR`: reuse distance (stack distance) of 4 KiB blocks, read or written, for all operations \
    of a layer, for those of each system and for those on each disk: the number of distinct blocks that an LRU cache must hold so that a block is still in it when \
    it is touched again. One row for each power of two up to the maximum distance, with the hits of a cache of that size that was \
    empty when the capture began and that every touched block enters, read or written. One block in \
    `sampling_factor` is sampled: all of them with up to 57,344 distinct blocks and up to 16 million accesses; beyond that, as many as \
    fit, and up to 64 accesses for each operation on average. When not all are sampled, distances and shares are estimates \
    (SHARDS), less accurate for smaller caches, and there is no row below `sampling_factor` blocks. Operations on block devices themselves are in the block layer \
    only. Operations of more than 4 GiB, which no \
    kernel executes at once, are excluded. Several captures are analyzed separately, each with an empty cache. With sampling (`--cpu-limit`) there are no distances.";

/// The table.
pub static TABLE: Table = Table {
    name: "reuse",
    doc: DOC,
    columns: || frame::markdown(&columns()),
    rows: |results, take| {
        at_once(&columns(), rows(results.finished.order.of::<Reuse>()?, results.names, &results.trust), take)
    },
};

/// Source of a row.
pub struct Row {
    named: std::rc::Rc<Named>,
    layer: Layer,
    cache_blocks: u64,
    hits: u64,
    again: u64,
    touched: u64,
    sampling_factor: u64,
    sampled: u64,
}

/// Rows by layer, subject and cache size.
pub fn rows(reuses: &Distances, names: &Names, trust: &Trust) -> Vec<Row> {
    let mut rows = Vec::new();
    for (layer, of) in reuses.iter().filter(|(layer, _)| trust.captured[**layer as usize] && !trust.sampled) {
        for (subject, sums) in of.iter().filter(|(subject, _)| trust.gives(subject)) {
            let named = std::rc::Rc::new(Named::of(subject, names));
            let mut hits = sums.missing();
            // A cache smaller than the weight of one sampled block cannot be estimated.
            let classes = sums.sampling_factor.max(1).ilog2()..=sums.again.keys().last().copied().unwrap_or(0);
            for class in classes {
                let again = sums.again.get(&class).copied().unwrap_or(0);
                hits = hits.saturating_add(i128::from(again));
                let cache_blocks = 1u64.checked_shl(class).unwrap_or(u64::MAX);
                let (named, layer) = (named.clone(), *layer);
                let hits = u64::try_from(hits.clamp(0, i128::from(sums.touched))).unwrap_or(0);
                let (touched, sampling_factor, sampled) = (sums.touched, sums.sampling_factor, sums.sampled);
                rows.push(Row { named, layer, cache_blocks, hits, again, touched, sampling_factor, sampled });
            }
        }
    }
    rows
}

/// The columns, in order.
pub fn columns() -> Vec<ResultColumn<Row>> {
    let mut columns = subject::columns(|row: &Row| (&*row.named, row.layer.name()));
    columns.extend([
        ResultColumn::integer("cache_blocks", "Size of the cache in blocks, a power of two.", |row: &Row| {
            Some(row.cache_blocks)
        }),
        ResultColumn::integer("cache_bytes", "`cache_blocks` times 4096 bytes.", |row: &Row| {
            Some(row.cache_blocks.saturating_mul(BLOCK_BYTES))
        }),
        ResultColumn::integer(
            "reuses",
            "Number of repeated accesses with a reuse distance of at most `cache_blocks` and more than half of it.",
            |row: &Row| Some(row.again),
        ),
        ResultColumn::integer(
            "hits",
            "Number of hits of a cache of that size: the sum of `reuses` up to this row. When not all blocks were sampled, the difference between the \
             accesses that the samples represent and `touched_blocks` is assigned to the smallest distance (SHARDS-adj).",
            |row: &Row| Some(row.hits),
        ),
        ResultColumn::integer(
            "touched_blocks",
            "Number of accesses to blocks, first accesses and blocks that were not sampled included.",
            |row: &Row| Some(row.touched),
        ),
        ResultColumn::number("hit_share", "Hit ratio of such a cache: `hits` / `touched_blocks`.", |row: &Row| {
            (row.touched > 0).then(|| row.hits as f64 / row.touched as f64)
        }),
        ResultColumn::integer(
            "sampling_factor",
            "Sampling factor: one in this many blocks was sampled; 1 when all were.",
            |row: &Row| Some(row.sampling_factor),
        ),
        ResultColumn::integer(
            "sampled_blocks",
            "Number of distinct blocks that were sampled. With few of them shares are imprecise.",
            |row: &Row| Some(row.sampled),
        ),
    ]);
    columns
}
