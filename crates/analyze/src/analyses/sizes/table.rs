//! `sizes.csv`: size distribution of operations and the latency of each size class.

use iostrata_capture::op::Layer;

use crate::aggregate::sample::PERCENTILES;
use crate::analyses::sizes::aggregate::{OfClass as Class, Sizes};
use crate::analyses::summary::word;
use crate::analyses::table::{Table, at_once};
use crate::frame::{self, ResultColumn, Value};
use crate::trust::Trust;

/// Documentation of the table.
const DOC: &str = "`iostrata-analyze sizes --out DIR`: one row for each layer, direction and size class that has operations. A class has the sizes up to \
    a power of two and above half of it. The file system layer has none, because a row there stands for many operations.";

/// The table.
pub static TABLE: Table = Table {
    name: "sizes",
    doc: DOC,
    columns: || frame::markdown(&columns()),
    rows: |results, take| at_once(&columns(), rows(&results.finished.of::<Sizes>()?.classes, &results.trust), take),
};

/// Source of a row.
pub struct Row<'a> {
    class: &'a Class,
    /// Number of operations of all classes of its layer and direction.
    ops: u64,
    sampled: bool,
    /// Whether more of the layer may be missing than is known.
    more: bool,
}

/// Rows of all classes that have operations, by layer, direction and size.
pub fn rows<'a>(classes: &'a [Class], trust: &Trust) -> Vec<Row<'a>> {
    let of = |class: &Class| (class.layer, class.direction);
    let row = |class: &'a Class| {
        let alike = classes.iter().filter(|other| of(other) == of(class));
        let ops = alike.fold(0u64, |sum, class| sum.saturating_add(class.moved.ops));
        Row { class, ops, sampled: trust.sampled, more: trust.missing[class.layer as usize].more }
    };
    classes.iter().filter(|class| trust.captured[class.layer as usize]).map(row).collect()
}

impl Row<'_> {
    /// Share of the class in the operations of its layer and direction.
    fn share(&self) -> Option<f64> {
        (self.ops > 0).then(|| self.class.moved.ops as f64 / self.ops as f64)
    }

    fn bios(&self) -> Option<f64> {
        let requests = self.class.moved.ops;
        (self.class.layer == Layer::Block && requests > 0).then(|| self.class.bios as f64 / requests as f64)
    }

    /// Whether missing operations may have moved a percentile.
    fn marks(&self) -> bool {
        let percentiles = self.class.durations.percentiles.iter().flatten();
        self.sampled || self.more || percentiles.into_iter().any(|quantile| quantile.may_have_moved())
    }
}

fn integer<'a>(name: &str, doc: String, value: impl Fn(&Class) -> Option<u64> + 'static) -> ResultColumn<Row<'a>> {
    ResultColumn { name: name.into(), doc, value: Value::Integer(Box::new(move |row: &Row| value(row.class))) }
}

fn number<'a>(name: &str, doc: &str, value: impl Fn(&Row<'a>) -> Option<f64> + 'static) -> ResultColumn<Row<'a>> {
    ResultColumn { name: name.into(), doc: doc.into(), value: Value::Number(Box::new(value)) }
}

fn text<'a>(name: &str, doc: &str, value: impl Fn(&Row<'a>) -> &'static str + 'static) -> ResultColumn<Row<'a>> {
    ResultColumn { name: name.into(), doc: doc.into(), value: Value::Text(Box::new(move |row| value(row))) }
}

/// The columns, in order.
pub fn columns<'a>() -> Vec<ResultColumn<Row<'a>>> {
    let mut columns = vec![
        text("layer", "`syscall`, `vfs` or `block`.", |row| row.class.layer.name()),
        text("direction", "`read` or `write`.", |row| word(row.class.direction)),
        integer(
            "from_bytes",
            "Minimum size of the class in bytes; 0 for operations that moved nothing, failed ones included.".into(),
            |class| Some(class.ends.0),
        ),
        integer("to_bytes", "Maximum size of the class in bytes, a power of two.".into(), |class| Some(class.ends.1)),
        integer("ops", "Number of operations of this size.".into(), |class| Some(class.moved.ops)),
        number("ops_share", "Share of all operations of the layer and direction.", Row::share),
        integer(
            "bytes",
            "Number of bytes that they moved. A block request counts in full, also where others own parts of it."
                .into(),
            |class| Some(class.moved.bytes),
        ),
        number(
            "bios_per_request",
            "Merge ratio: bios / requests. 1 when nothing was merged; empty above the block layer.",
            Row::bios,
        ),
        integer("avg_ns", "Mean duration in ns, rounded.".into(), |class| class.durations.avg_ns),
    ];
    for (index, percentile) in PERCENTILES.iter().enumerate() {
        let doc = format!("{} percentile of the duration in ns, as in `latency.csv`.", percentile.name);
        columns.push(integer(percentile.column, doc, move |class| Some(class.durations.percentiles[index]?.ns)));
    }
    columns.push(integer("max_ns", "Maximum duration in ns.".into(), |class| class.durations.max_ns));
    columns.push(text(
        "marks",
        "`moved` when missing operations may have moved a percentile by more than 0.1 %, when more may be missing than is known, and \
         when the percentiles are estimates.",
        |row| if row.marks() { "moved" } else { "" },
    ));
    columns
}
