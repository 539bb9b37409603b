//! `heatmap_latency.csv` and `heatmap_offset.csv`: operations by time and duration, and requests by time and device offset, one row for each
//! non-empty cell.

use std::collections::HashMap;
use std::rc::Rc;

use iostrata_capture::op::{Direction, Layer};

use crate::aggregate::sequence::Subject;
use crate::analyses::heatmap::aggregate::{Cell, Finished, Heatmap, ends_of};
use crate::analyses::subject::{self, Named};
use crate::analyses::summary::word;
use crate::analyses::table::{Table, at_once};
use crate::entity::{Disk, Entity};
use crate::frame::{self, ResultColumn};
use crate::names::Names;
use crate::trust::Trust;

/// Documentation of `heatmap_latency.csv`.
const LATENCY_DOC: &str = "`iostrata-analyze heatmap --out DIR`: reads and writes by time window and duration class, with four classes \
    for each power of two; one row for each non-empty cell. There are at most 512 windows; an operation is in the window in which it \
    began. Operations of unknown duration are excluded.";

/// Documentation of `heatmap_offset.csv`.
const OFFSET_DOC: &str = "Requests by time window and device offset range, at most 256 ranges up to the highest offset; one row for each non-empty \
    cell. A request is in the range in which it begins.";

/// The table by latency.
pub static LATENCY: Table = Table {
    name: "heatmap_latency",
    doc: LATENCY_DOC,
    columns: || frame::markdown(&duration_columns()),
    rows: |results, take| {
        at_once(&duration_columns(), durations(results.finished.of::<Heatmap>()?, &results.trust), take)
    },
};

/// The table by device offset.
pub static OFFSET: Table = Table {
    name: "heatmap_offset",
    doc: OFFSET_DOC,
    columns: || frame::markdown(&place_columns()),
    rows: |results, take| {
        at_once(&place_columns(), places(results.finished.of::<Heatmap>()?, results.names, &results.trust), take)
    },
};

/// Cell of time and duration.
pub struct Duration {
    since_ns: i64,
    width_ns: u64,
    layer: Layer,
    direction: Direction,
    ends_ns: (u64, u64),
    cell: Cell,
}

/// Rows by layer, direction, time and duration.
pub fn durations(heatmap: &Finished, trust: &Trust) -> Vec<Duration> {
    let captured = heatmap.durations.iter().filter(|((layer, ..), _)| trust.captured[*layer as usize]);
    let row = |&((layer, direction, since_ns, class), cell): &((Layer, Direction, i64, u32), Cell)| Duration {
        since_ns,
        width_ns: heatmap.width_ns,
        layer,
        direction,
        ends_ns: ends_of(class),
        cell,
    };
    captured.map(row).collect()
}

/// The columns of `heatmap_latency.csv`, in order.
pub fn duration_columns() -> Vec<ResultColumn<Duration>> {
    vec![
        ResultColumn::text("layer", "`syscall`, `vfs` or `block`.", |row: &Duration| row.layer.name()),
        ResultColumn::text("direction", "`read` or `write`.", |row: &Duration| word(row.direction)),
        ResultColumn::signed("since_ns", "Start of the window in ns, on the clock of `ts_ns`.", |row: &Duration| {
            Some(row.since_ns)
        }),
        ResultColumn::integer(
            "window_ns",
            "Length of the window in ns, the same for all windows.",
            |row: &Duration| Some(row.width_ns),
        ),
        ResultColumn::integer("from_ns", "Minimum duration of the class in ns.", |row: &Duration| Some(row.ends_ns.0)),
        ResultColumn::integer("to_ns", "Maximum duration of the class in ns.", |row: &Duration| Some(row.ends_ns.1)),
        ResultColumn::integer("ops", "Number of operations in the cell.", |row: &Duration| Some(row.cell.ops)),
        ResultColumn::integer("bytes", "Number of bytes that they moved.", |row: &Duration| Some(row.cell.bytes)),
    ]
}

/// Cell of time and device offset.
pub struct Place {
    named: Rc<Named>,
    direction: Direction,
    since_ns: i64,
    width_ns: u64,
    from_bytes: u64,
    stretch_bytes: u64,
    cell: Cell,
}

/// Rows by disk, direction, time and device offset.
pub fn places(heatmap: &Finished, names: &Names, trust: &Trust) -> Vec<Place> {
    let captured = heatmap.places.iter().filter(|_| trust.captured[Layer::Block as usize]);
    // There may be half a million cells of a disk.
    let mut known: HashMap<Disk, Rc<Named>> = HashMap::new();
    let row = |&(((capture, dev), direction, since_ns, from_bytes), (cell, stretch_bytes)): &_| {
        let called = || Rc::new(Named::of(&Subject::Entity(Entity::Device(capture, dev)), names));
        let named = known.entry((capture, dev)).or_insert_with(called).clone();
        Place { named, direction, since_ns, width_ns: heatmap.width_ns, from_bytes, stretch_bytes, cell }
    };
    captured.map(row).collect()
}

/// The columns of `heatmap_offset.csv`, in order.
pub fn place_columns() -> Vec<ResultColumn<Place>> {
    vec![
        ResultColumn::text("name", "Name of the disk.", |row: &Place| &row.named.name),
        ResultColumn::text("id", "Device number, `major:minor`.", |row: &Place| &row.named.id),
        subject::host(|row: &Place| &row.named.host),
        ResultColumn::text("direction", "`read` or `write`.", |row: &Place| word(row.direction)),
        ResultColumn::signed("since_ns", "Start of the window in ns, on the clock of `ts_ns`.", |row: &Place| {
            Some(row.since_ns)
        }),
        ResultColumn::integer("window_ns", "Length of the window in ns, the same for all windows.", |row: &Place| {
            Some(row.width_ns)
        }),
        ResultColumn::integer("from_bytes", "Start of the range on the disk in bytes.", |row: &Place| {
            Some(row.from_bytes)
        }),
        ResultColumn::integer(
            "stretch_bytes",
            "Length of the range in bytes, the same for all ranges of a disk.",
            |row: &Place| Some(row.stretch_bytes),
        ),
        ResultColumn::integer("ops", "Number of requests in the cell.", |row: &Place| Some(row.cell.ops)),
        ResultColumn::integer("bytes", "Number of bytes that they moved.", |row: &Place| Some(row.cell.bytes)),
    ]
}
