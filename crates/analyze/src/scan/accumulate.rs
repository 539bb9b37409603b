//! Aggregates of the entries of a chunk other than operations, bytes and durations.

use iostrata_capture::op::Layer;

use super::accumulators::{AccumulatorId, Accumulators, NO_SLOT};
use super::chunk::{Chunk, KeyedRow, OpAmounts};
use super::time_ranges::TimeRanges;
use crate::aggregate::footprint::{Touch, Walk};
use crate::aggregate::heatmap::{Cell, Heatmap, Spot};
use crate::aggregate::sequence::Point;
use crate::aggregate::sizes::{Sized, Sizes};
use crate::aggregate::spans::{Span, Spans};
use crate::aggregate::timeline::{Moment, Timeline};
use crate::entity::{Entities, Scope};
use crate::event::{Phase, UNKNOWN};
use crate::valid::end_ns;

/// Returns the selected entries in a system, each with its accumulator, and its duration if known.
fn wanted(chunk: &Chunk) -> impl Iterator<Item = (AccumulatorId, &KeyedRow, &OpAmounts, Option<u64>)> {
    let total_ns = &chunk.durations[Phase::Total as usize];
    let rows = chunk.accounts.iter().zip(&chunk.asked).zip(&chunk.done).zip(total_ns);
    let rows = rows.filter(|(((account, _), _), _)| account.slot != NO_SLOT);
    rows.map(|(((account, asked), done), ns)| (*account, asked, done, Some(*ns).filter(|ns| *ns != UNKNOWN)))
}

/// Returns the same without operations that serve calls of others: those calls count.
fn wanted_once(chunk: &Chunk) -> impl Iterator<Item = (AccumulatorId, &KeyedRow, &OpAmounts, Option<u64>)> {
    wanted(chunk).filter(|(account, ..)| !account.serves)
}

pub fn spots(heatmap: &mut Heatmap, (layer, capture): (Layer, usize), chunk: &Chunk) {
    let of_layer = wanted_once(chunk).filter(|(_, _, done, _)| done.ops > 0 && layer != Layer::Fs);
    for (_, asked, &OpAmounts { ops, direction, size, position, .. }, ns) in of_layer {
        let Some(direction) = direction else { continue };
        let disk = asked.key.told().disk.is().map(|dev| (capture, dev));
        let place = disk.zip(position.and_then(|position| u64::try_from(position).ok()));
        let cell = Cell { ops: u64::from(ops), bytes: size.saturating_mul(u64::from(ops)) };
        heatmap.add(&Spot { ts_ns: asked.ts_ns, way: (layer, direction), ns, place, cell });
    }
}

pub fn touches(walk: &mut Walk, layer: Layer, (accounts, entities): (&Accumulators, &Entities), chunk: &Chunk) {
    for (account, asked, &OpAmounts { ops, direction, size, position, .. }, _) in wanted(chunk) {
        let position = position.and_then(|position| u64::try_from(position).ok());
        let (Some(direction), Some(position), Some(places)) = (direction, position, accounts.places(account)) else {
            continue;
        };
        let device = places.0[Scope::Device as usize];
        if let Some(space) = walk.spaces.of(layer, &places, entities).filter(|_| ops > 0 && size > 0) {
            let (ts_ns, ops) = (asked.ts_ns, u64::from(ops));
            walk.add(layer, &Touch { ts_ns, direction, space, position, bytes: size, ops }, (account.slot, device));
        }
    }
}

pub fn points(stretches: &mut TimeRanges, (layer, ends): (Layer, bool), accounts: &Accumulators, chunk: &Chunk) {
    // Bytes of an operation that is counted elsewhere have neither a number of operations nor a duration.
    for (account, asked, &OpAmounts { ops, direction, size, position, .. }, ns) in
        wanted(chunk).filter(|(_, _, done, ns)| done.ops > 0 || ns.is_some())
    {
        let Some(places) = accounts.places(account) else { continue };
        let end_ns = end_ns(asked.ts_ns, ns.and_then(|ns| i64::try_from(ns).ok()));
        let ts_ns = asked.ts_ns;
        let point = Point { ts_ns, end_ns, position, bytes: size, ops, direction, slot: account.slot, places };
        stretches.point(layer, point, ends);
    }
}

pub fn spans(spans: &mut Spans, layer: Layer, accounts: &Accumulators, chunk: &Chunk) {
    let devices = &chunk.durations[Phase::Device as usize];
    let total_ns = &chunk.durations[Phase::Total as usize];
    for (row, ((account, asked), done)) in chunk.accounts.iter().zip(&chunk.asked).zip(&chunk.done).enumerate() {
        let known = |durations: &[u64]| durations.get(row).copied().filter(|ns| *ns != UNKNOWN);
        let total_ns = known(total_ns);
        // A file system row without a duration covers many pages, and no single moment.
        if account.slot == NO_SLOT || done.ops == 0 || (layer == Layer::Fs && total_ns.is_none()) {
            continue;
        }
        let Some(places) = accounts.places(*account) else { continue };
        spans.add(Span {
            ts_ns: asked.ts_ns,
            total_ns,
            device_ns: known(devices),
            layer,
            op: done.op,
            ops: done.ops,
            bytes: done.size,
            position: done.position,
            slot: account.slot,
            places,
        });
    }
}

pub fn moments(timeline: &mut Timeline, layer: Layer, chunk: &Chunk) {
    for (_, asked, &OpAmounts { bytes, ops, direction, .. }, ns) in wanted_once(chunk) {
        timeline.add(layer, &Moment { ts_ns: asked.ts_ns, direction, ops: u64::from(ops), bytes, ns });
    }
}

pub fn sizes(sizes: &mut Sizes, layer: Layer, chunk: &Chunk) {
    // A file system row covers many operations.
    for (_, _, &OpAmounts { ops, direction, bios, size, .. }, ns) in wanted_once(chunk).filter(|_| layer != Layer::Fs) {
        if let Some(direction) = direction.filter(|_| ops > 0) {
            sizes.add(layer, &Sized { direction, ops: u64::from(ops), bytes: size, bios: u64::from(bios), ns });
        }
    }
}
