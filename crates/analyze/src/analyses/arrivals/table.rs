//! `arrivals.csv`: rates, interarrival times and burstiness of operations.

use iostrata_capture::op::Layer;

use crate::aggregate::sample::{Distribution, PERCENTILES};
use crate::analyses::arrivals::aggregate::{Arrivals, Interarrivals, SCALES_NS, Sums, WAYS};
use crate::analyses::subject::{self, Named};
use crate::analyses::summary::word;
use crate::analyses::table::{Table, at_once};
use crate::frame::{self, ResultColumn};
use crate::names::Names;
use crate::trust::Trust;

/// Documentation of the table.
const DOC: &str = "`iostrata-analyze arrivals --out DIR`: one row for all operations of a layer, for those of each system and for those on \
    each disk; for each direction that has any, and for all together, operations that neither read nor write included. The index of dispersion is \
    the variance of the number of operations that begin in an interval divided by its mean, over all intervals of one length that lie wholly \
    between the first and the last operation of the layer, empty intervals included. It is 1 for operations that are \
    independent of each other (Poisson), approaches 0 for a timer when intervals contain many of its periods, and above 1 for bursts. When \
    intervals rarely contain more than one operation, it is near 1 for any arrivals. It is empty for fewer than ten intervals. With sampling \
    (`--cpu-limit`), interarrival times and indices are empty, because the gaps between time slices are not real. Several captures are analyzed separately, without the time \
    between them; rates and indices of a row are over the captures that have any operation of it.";

/// The table.
pub static TABLE: Table = Table {
    name: "arrivals",
    doc: DOC,
    columns: || frame::markdown(&columns()),
    rows: |results, take| {
        at_once(&columns(), rows(results.finished.order.of::<Arrivals>()?, results.names, &results.trust), take)
    },
};

/// Source of a row.
pub struct Row<'a> {
    named: Named,
    layer: Layer,
    way: &'static str,
    sums: &'a Sums,
    /// Unknown with sampling.
    gaps: Option<Distribution>,
    sampled: bool,
    lost_events: Option<u64>,
}

/// Rows by layer, subject and direction.
pub fn rows<'a>(arrivals: &'a Interarrivals, names: &Names, trust: &Trust) -> Vec<Row<'a>> {
    let mut rows = Vec::new();
    for (layer, of) in arrivals.iter().filter(|(layer, _)| trust.captured[**layer as usize]) {
        for ((subject, way), sums) in of.iter().filter(|((subject, _), _)| trust.gives(subject)) {
            rows.push(Row {
                named: Named::of(subject, names),
                layer: *layer,
                way: WAYS[*way].map_or("all", word),
                sums,
                gaps: (!trust.sampled).then(|| sums.gaps()),
                sampled: trust.sampled,
                lost_events: trust.known_lost(*layer),
            });
        }
    }
    rows
}

fn gap<'a>(name: &str, doc: &str, value: impl Fn(&Distribution) -> Option<u64> + 'static) -> ResultColumn<Row<'a>> {
    ResultColumn::integer(name, doc, move |row: &Row| value(row.gaps.as_ref()?))
}

/// The columns, in order.
pub fn columns<'a>() -> Vec<ResultColumn<Row<'a>>> {
    let mut columns = subject::columns(|row: &Row| (&row.named, row.layer.name()));
    columns.extend([
        ResultColumn::text("direction", "`all`, `read` or `write`.", |row: &Row| row.way),
        ResultColumn::integer("ops", "Number of operations.", |row: &Row| Some(row.sums.ops)),
        ResultColumn::number(
            "ops_per_s",
            "Operations per second: `ops` / time from the first to the last operation of the layer. Empty for fewer than 100 operations within \
             less than a second.",
            |row: &Row| subject::ops_per_s(row.sums.ops, row.sums.span_ns.into()),
        ),
        gap(
            "interarrival_avg_ns",
            "Mean interarrival time in ns, from the start of an operation to the start of the next.",
            |gaps| gaps.avg_ns,
        ),
        gap("interarrival_min_ns", "Minimum interarrival time in ns.", |gaps| gaps.min_ns),
    ]);
    for (index, percentile) in PERCENTILES.iter().enumerate() {
        let doc = format!("{} percentile of the interarrival time in ns, as in `latency.csv`.", percentile.name);
        let value = move |gaps: &Distribution| Some(gaps.percentiles[index]?.ns);
        columns.push(gap(&format!("interarrival_{}", percentile.column), &doc, value));
    }
    columns.push(gap("interarrival_max_ns", "Maximum interarrival time in ns.", |gaps| gaps.max_ns));
    columns.push(ResultColumn::number(
        "interarrival_scv",
        "Squared coefficient of variation of the interarrival times: variance / square of the mean. 0 for a timer, 1 for operations that are \
         independent of each other.",
        |row: &Row| row.sums.variation().filter(|_| !row.sampled),
    ));
    for (scale, scale_ns) in SCALES_NS.iter().enumerate() {
        let length =
            if *scale_ns < 1_000_000_000 { (scale_ns / 1_000_000, "ms") } else { (scale_ns / 1_000_000_000, "s") };
        columns.push(ResultColumn::number(
            format!("dispersion_{}{}", length.0, length.1),
            format!("Index of dispersion in intervals of {} {}.", length.0, length.1),
            move |row: &Row| row.sums.dispersion()[scale].filter(|_| !row.sampled),
        ));
    }
    columns.push(ResultColumn::integer(
        "lost_events",
        "Number of lost events of the layer, of all owners, whenever they began. Empty when not known.",
        |row: &Row| row.lost_events,
    ));
    columns
}
