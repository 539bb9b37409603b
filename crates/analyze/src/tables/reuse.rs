//! `reuse.csv`: how far back blocks were touched before, and what a cache would have hit.

use iostrata_capture::op::Layer;

use super::subject::{self, Named};
use crate::aggregate::footprint::BLOCK_BYTES;
use crate::frame::ResultColumn;
use crate::names::Names;
use crate::partial::Finished;
use crate::trust::Trust;

/// What the table is.
pub const DOC: &str = "`iostrata-analyze footprint --out DIR`: the reuse distance (stack distance) of 4 KiB blocks, read or written, of all operations \
    of a layer, of each system and on each disk: how many different blocks an LRU cache must have room for so that a block is still in it when \
    it is touched again. One row for each power of two up to the greatest distance, with what a cache of that size would have hit if it was \
    empty when the capture began, and all that touches a block, reads and writes, brought it in. One block in \
    `one_in` is looked at: all of them while there are up to 57,344 different ones and up to 16 million looks; beyond that, as many as there is \
    room for, and up to 64 for each operation on average. Where that is not all, distances and shares are estimates \
    (SHARDS), the worse the smaller the cache, and there is none below `one_in` blocks. What is done to block devices themselves is in the layer of requests \
    alone. Operations of more than 4 GiB, which no \
    kernel does at once, are left out. Several captures are taken one by one, each with an empty cache. Of a sample (`--cpu-limit`) there are no distances.";

/// What a row is made from.
pub struct Row {
    named: std::rc::Rc<Named>,
    layer: Layer,
    cache_blocks: u64,
    hits: u64,
    again: u64,
    touched: u64,
    one_in: u64,
    sampled: u64,
}

/// By layer, subject and size of the cache.
pub fn rows(finished: &Finished, names: &Names, trust: &Trust) -> Vec<Row> {
    let mut rows = Vec::new();
    let reuses = finished.order.reuses.iter();
    for (layer, of) in reuses.filter(|(layer, _)| trust.captured[**layer as usize] && !trust.sampled) {
        for (subject, sums) in of.iter().filter(|(subject, _)| trust.gives(subject)) {
            let named = std::rc::Rc::new(Named::of(subject, names));
            let mut hits = sums.missing();
            // A cache of less than what one block stands for is not told.
            let classes = sums.one_in.max(1).ilog2()..=sums.again.keys().last().copied().unwrap_or(0);
            for class in classes {
                let again = sums.again.get(&class).copied().unwrap_or(0);
                hits = hits.saturating_add(i128::from(again));
                let cache_blocks = 1u64.checked_shl(class).unwrap_or(u64::MAX);
                let (named, layer) = (named.clone(), *layer);
                let hits = u64::try_from(hits.clamp(0, i128::from(sums.touched))).unwrap_or(0);
                let (touched, one_in, sampled) = (sums.touched, sums.one_in, sums.sampled);
                rows.push(Row { named, layer, cache_blocks, hits, again, touched, one_in, sampled });
            }
        }
    }
    rows
}

/// The columns, in order.
pub fn columns() -> Vec<ResultColumn<Row>> {
    let mut columns = subject::columns(|row: &Row| (&*row.named, row.layer.name()));
    columns.extend([
        ResultColumn::integer("cache_blocks", "The size of the cache in blocks, a power of two.", |row: &Row| {
            Some(row.cache_blocks)
        }),
        ResultColumn::integer("cache_bytes", "`cache_blocks` times 4096.", |row: &Row| {
            Some(row.cache_blocks.saturating_mul(BLOCK_BYTES))
        }),
        ResultColumn::integer(
            "reuses",
            "How often a block is touched again at a distance of up to so many blocks, and more than half as many.",
            |row: &Row| Some(row.again),
        ),
        ResultColumn::integer(
            "hits",
            "How often a cache of that size hits: the sum of `reuses` up to here. Where not all blocks were looked at, what these stand for too \
             few or too many of `touched_blocks` is taken to be at the smallest distance (SHARDS-adj).",
            |row: &Row| Some(row.hits),
        ),
        ResultColumn::integer(
            "touched_blocks",
            "How often any block is touched, the first times included; of all blocks, also of those that were not looked at.",
            |row: &Row| Some(row.touched),
        ),
        ResultColumn::number("hit_share", "The hit ratio of such a cache: `hits` / `touched_blocks`.", |row: &Row| {
            (row.touched > 0).then(|| row.hits as f64 / row.touched as f64)
        }),
        ResultColumn::integer("one_in", "One in so many blocks was looked at; 1 where all were.", |row: &Row| {
            Some(row.one_in)
        }),
        ResultColumn::integer(
            "sampled_blocks",
            "How many different blocks were looked at. Of a few of them a share says little.",
            |row: &Row| Some(row.sampled),
        ),
    ]);
    columns
}
