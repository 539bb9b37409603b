//! `arrivals.csv`: when operations begin, one after the other.

use iostrata_capture::op::Layer;

use super::subject::{self, Named};
use crate::aggregate::arrivals::{SCALES_NS, Sums, WAYS};
use crate::aggregate::sample::{Distribution, PERCENTILES};
use crate::frame::ResultColumn;
use crate::names::Names;
use crate::partial::Finished;
use crate::tables::summary::word;
use crate::trust::Trust;

/// What the table is.
pub const DOC: &str = "`iostrata-analyze arrivals --out DIR`: one row for all operations of a layer, for those of each system and for those on \
    each disk; in each direction that has any, and for all together, those included that neither read nor write. The index of dispersion is \
    the variance of the number of operations that begin in an interval divided by its mean, over all intervals of one length that lie wholly \
    between the first and the last operation of the layer, those included in which none begins: 1 where operations are \
    independent of each other (Poisson), toward 0 for a timer once intervals have many of its periods, more where they come in bursts. Where \
    intervals rarely have more than one operation it is near 1 whatever they are. It is empty where there are fewer than ten intervals. Of a sample \
    (`--cpu-limit`), which has gaps that are none, there are neither times between operations nor indices. Several captures are taken one by one, and what is \
    between them is nothing; rates and indices of a row are over those captures that have any of it.";

/// What a row is made from.
pub struct Row<'a> {
    named: Named,
    layer: Layer,
    way: &'static str,
    sums: &'a Sums,
    /// Unknown of a sample.
    gaps: Option<Distribution>,
    sampled: bool,
    lost_events: Option<u64>,
}

/// By layer, subject and direction.
pub fn rows<'a>(finished: &'a Finished, names: &Names, trust: &Trust) -> Vec<Row<'a>> {
    let mut rows = Vec::new();
    for (layer, of) in finished.order.arrivals.iter().filter(|(layer, _)| trust.captured[**layer as usize]) {
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
        ResultColumn::integer("ops", "Operations.", |row: &Row| Some(row.sums.ops)),
        ResultColumn::number(
            "rate_per_s",
            "Operations by the time from the first to the last operation of the layer, in seconds. Empty of fewer than 100 operations within \
             less than a second.",
            |row: &Row| subject::rate_per_s(row.sums.ops, row.sums.span_ns.into()),
        ),
        gap("gap_avg_ns", "The average time from the begin of an operation to that of the next.", |gaps| gaps.avg_ns),
        gap("gap_min_ns", "The shortest such time.", |gaps| gaps.min_ns),
    ]);
    for (index, percentile) in PERCENTILES.iter().enumerate() {
        let doc = format!("The {} percentile of such times, as in `latency.csv`.", percentile.name);
        let value = move |gaps: &Distribution| Some(gaps.percentiles[index]?.ns);
        columns.push(gap(&format!("gap_{}", percentile.column), &doc, value));
    }
    columns.push(gap("gap_max_ns", "The longest such time.", |gaps| gaps.max_ns));
    columns.push(ResultColumn::number(
        "gap_scv",
        "The squared coefficient of variation of these times: their variance divided by the square of their mean. 0 for a timer, 1 where \
         operations are independent of each other.",
        |row: &Row| row.sums.variation().filter(|_| !row.sampled),
    ));
    for (scale, scale_ns) in SCALES_NS.iter().enumerate() {
        let length =
            if *scale_ns < 1_000_000_000 { (scale_ns / 1_000_000, "ms") } else { (scale_ns / 1_000_000_000, "s") };
        columns.push(ResultColumn::number(
            format!("dispersion_{}{}", length.0, length.1),
            format!("The index of dispersion in intervals of {} {}.", length.0, length.1),
            move |row: &Row| row.sums.dispersion()[scale].filter(|_| !row.sampled),
        ));
    }
    columns.push(ResultColumn::integer(
        "lost_events",
        "Events of the layer that were lost, whosever they were, and whenever they began. Empty where nobody knows.",
        |row: &Row| row.lost_events,
    ));
    columns
}
