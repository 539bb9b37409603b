//! `stat.csv`: operations, rates and latency of reads, writes and syncs by layer.

use iostrata_capture::op::{Direction, Layer};

use crate::aggregate::count::{DIRECTIONS, Moved};
use crate::aggregate::crossing::Kind;
use crate::aggregate::sample::{Distribution, PERCENTILES, Sample};
use crate::aggregate::sequence::Subject;
use crate::analyses::queue::aggregate::{Depths, Queue};
use crate::analyses::sizes::aggregate::Sizes;
use crate::analyses::subject;
use crate::analyses::summary::word;
use crate::analyses::table::{Table, at_once};
use crate::analyses::{Results, path};
use crate::frame::{self, ResultColumn};

/// Documentation of the table.
const DOC: &str = "`iostrata-analyze stat --out DIR`: reads, writes and syncs of all processes, one row for each layer and kind with operations. Rates \
    are over the time from the first start to the last end of any operation of the layer. Reads and writes are those of the last row of `summary.csv`. Syncs are system calls \
    only: those of kind `sync` in `sync.csv`. Writes with `O_SYNC` count as writes. The amplification that `stat` prints is that of the total in `amplification.csv`: its base \
    includes memory-mapped I/O. The ratios of `summary.csv` count only bytes of system calls, so the two can differ.";

/// The table.
pub static TABLE: Table = Table {
    name: "stat",
    doc: DOC,
    columns: || frame::markdown(&columns()),
    rows: |results, take| at_once(&columns(), rows(results)?, take),
};

/// Word for syncs.
pub const SYNC: &str = "sync";

/// Source of a row.
pub struct Row {
    layer: Layer,
    kind: &'static str,
    moved: Moved,
    durations: Distribution,
    span_ns: u128,
    has_rates: bool,
    lost_events: Option<u64>,
}

fn span_ns(depths: &Depths, layer: Layer) -> u128 {
    depths.get(&layer).and_then(|of| of.get(&Subject::All)).map_or(0, |sums| sums.span_ns())
}

/// How much longer the requests of the device took than the system calls, if that is more than a tenth: a rate over that time would be of the writeback
/// after a run, not of the run.
pub fn goes_on(results: &Results) -> Option<u128> {
    let depths = results.finished.order.of::<Queue>().ok()?;
    let [calls_ns, requests_ns] = [Layer::Syscall, Layer::Block].map(|layer| span_ns(depths, layer));
    let is_captured = results.trust.captured_of_total()[Layer::Syscall as usize];
    let more_ns = requests_ns.saturating_sub(calls_ns);
    (is_captured && calls_ns > 0 && more_ns > calls_ns / 10).then_some(more_ns)
}

/// Rows by layer and kind.
fn rows(results: &Results) -> anyhow::Result<Vec<Row>> {
    let (finished, trust) = (&results.finished, &results.trust);
    let (sizes, depths) = (finished.of::<Sizes>()?, finished.order.of::<Queue>()?);
    let span_ns = |layer| span_ns(depths, layer);
    let is_diluted = goes_on(results).is_some();
    let captured = trust.captured_of_total();
    let row = |layer, kind, moved, durations| Row {
        layer,
        kind,
        moved,
        durations,
        span_ns: span_ns(layer),
        has_rates: layer != Layer::Block || !is_diluted,
        lost_events: trust.known_lost(layer),
    };
    let mut rows = Vec::new();
    for layer in Layer::ALL.iter().copied().filter(|layer| captured[*layer as usize]) {
        let of = |direction: &Direction| sizes.whole.iter().find(|of| (of.layer, of.direction) == (layer, *direction));
        for of in DIRECTIONS.iter().filter_map(of) {
            rows.push(row(layer, word(of.direction), of.moved, of.durations.clone()));
        }
        if layer == Layer::Syscall {
            let missing = trust.missing[layer as usize].at_least;
            rows.extend(syncs(results).map(|(moved, sample)| row(layer, SYNC, moved, sample.finish(missing))));
        }
    }
    Ok(rows)
}

/// Sums and durations of all syncs; none if there are no syncs.
fn syncs(results: &Results) -> Option<(Moved, Sample)> {
    let calls = path::all(&results.finished, &results.trust, |kind| kind == Kind::Sync);
    let of_all = calls.into_iter().filter(|((subject, ..), _)| **subject == Subject::All);
    let mut syncs: Option<(Moved, Sample)> = None;
    for (_, sums) in of_all {
        let Some(sample) = sums.durations.clone() else { continue };
        let moved = Moved { ops: sums.calls.ops, ..Moved::default() };
        match &mut syncs {
            Some((all, durations)) => {
                all.add(&moved);
                durations.combine(sample);
            }
            None => syncs = Some((moved, sample)),
        }
    }
    syncs
}

impl Row {
    fn per_s(&self, amount: u64) -> Option<f64> {
        subject::ops_per_s(self.moved.ops, self.span_ns).filter(|_| self.has_rates)?;
        Some(amount as f64 * 1e9 / self.span_ns as f64)
    }

    fn has_bytes(&self) -> bool {
        self.kind != SYNC
    }
}

/// The columns, in order.
fn columns() -> Vec<ResultColumn<Row>> {
    let mut columns = vec![
        ResultColumn::text("layer", "`syscall`, `vfs` or `block`.", |row: &Row| row.layer.name()),
        ResultColumn::text("kind", "`read`, `write` or `sync`.", |row: &Row| row.kind),
        ResultColumn::integer("ops", "Number of operations, failed ones included.", |row: &Row| Some(row.moved.ops)),
        ResultColumn::number(
            "ops_per_s",
            "`ops` per second of `span_ns`. Empty for fewer than 100 operations within less than a second, and in `block` when requests went on for more than a tenth longer than the system calls: \
             a rate would be that of the writeback after the run.",
            |row: &Row| row.per_s(row.moved.ops),
        ),
        ResultColumn::integer("bytes", "Bytes transferred by these operations; empty for syncs.", |row: &Row| {
            row.has_bytes().then_some(row.moved.bytes)
        }),
        ResultColumn::number("bytes_per_s", "`bytes` per second of `span_ns`, as above.", |row: &Row| {
            row.per_s(row.moved.bytes).filter(|_| row.has_bytes())
        }),
        ResultColumn::integer("avg_ns", "Mean duration in ns, rounded.", |row: &Row| row.durations.avg_ns),
    ];
    for (index, percentile) in PERCENTILES.iter().enumerate() {
        let doc = format!("{} percentile of the duration in ns, as in `latency.csv`.", percentile.name);
        columns.push(ResultColumn::integer(percentile.column, doc, move |row: &Row| {
            Some(row.durations.percentiles[index]?.ns)
        }));
    }
    columns.extend([
        ResultColumn::integer("max_ns", "Maximum duration in ns.", |row: &Row| row.durations.max_ns),
        ResultColumn::integer(
            "span_ns",
            "Time in ns from the first start to the last end of any operation of the layer.",
            |row: &Row| Some(u64::try_from(row.span_ns).unwrap_or(u64::MAX)),
        ),
        ResultColumn::integer(
            "lost_events",
            "Number of lost events of the layer: any of them may belong to this row. Empty when not known.",
            |row: &Row| row.lost_events,
        ),
    ]);
    columns
}
