//! `heatmap_latency.csv` and `heatmap_offset.csv`: operations in time and duration, and requests in time and on the disk, a row for each cell
//! that has any.

use std::collections::HashMap;
use std::rc::Rc;

use iostrata_capture::op::{Direction, Layer};

use crate::aggregate::heatmap::{Cell, Disk, ends_of};
use crate::entity::{Entity, device_number};
use crate::frame::ResultColumn;
use crate::names::Names;
use crate::partial::Finished;
use crate::tables::summary::word;
use crate::trust::Trust;

/// What the table of durations is.
pub const LATENCY_DOC: &str = "`iostrata-analyze heatmap --out DIR`: operations that read or write in windows of time and classes of durations, \
    four to each power of two; one row for each cell that has any. There are at most 512 windows; an operation is in the one in which it \
    began. Operations whose duration is not known are not there.";

/// What the table of places is.
pub const OFFSET_DOC: &str = "Requests in windows of time and stretches of the disk, at most 256 up to the farthest place; one row for each cell \
    that has any. A request is in the stretch in which it begins.";

/// A cell of durations.
pub struct Duration {
    since_ns: i64,
    width_ns: u64,
    layer: Layer,
    direction: Direction,
    ends_ns: (u64, u64),
    cell: Cell,
}

/// By layer, direction, time and duration.
pub fn durations(finished: &Finished, trust: &Trust) -> Vec<Duration> {
    let heatmap = &finished.heatmap;
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
        ResultColumn::signed("since_ns", "When the window begins, in the time of `ts_ns`.", |row: &Duration| {
            Some(row.since_ns)
        }),
        ResultColumn::integer("window_ns", "How long it is; all are equally long.", |row: &Duration| {
            Some(row.width_ns)
        }),
        ResultColumn::integer("from_ns", "The least duration of the class.", |row: &Duration| Some(row.ends_ns.0)),
        ResultColumn::integer("to_ns", "The greatest duration of the class.", |row: &Duration| Some(row.ends_ns.1)),
        ResultColumn::integer("ops", "Operations that began then and took so long.", |row: &Duration| {
            Some(row.cell.ops)
        }),
        ResultColumn::integer("bytes", "What they moved.", |row: &Duration| Some(row.cell.bytes)),
    ]
}

/// A cell of places.
pub struct Place {
    name: Rc<str>,
    id: Rc<str>,
    direction: Direction,
    since_ns: i64,
    width_ns: u64,
    from_bytes: u64,
    stretch_bytes: u64,
    cell: Cell,
}

/// By disk, direction, time and place.
pub fn places(finished: &Finished, names: &Names, trust: &Trust) -> Vec<Place> {
    let heatmap = &finished.heatmap;
    let captured = heatmap.places.iter().filter(|_| trust.captured[Layer::Block as usize]);
    // There may be half a million cells of a disk.
    let mut known: HashMap<Disk, (Rc<str>, Rc<str>)> = HashMap::new();
    let row = |&(((capture, dev), direction, since_ns, from_bytes), (cell, stretch_bytes)): &_| {
        let called = || (names.of(&Entity::Device(capture, dev)).0.into(), device_number(dev).into());
        let (name, id) = known.entry((capture, dev)).or_insert_with(called).clone();
        Place { name, id, direction, since_ns, width_ns: heatmap.width_ns, from_bytes, stretch_bytes, cell }
    };
    captured.map(row).collect()
}

/// The columns of `heatmap_offset.csv`, in order.
pub fn place_columns() -> Vec<ResultColumn<Place>> {
    vec![
        ResultColumn::text("name", "The name of the disk.", |row: &Place| &row.name),
        ResultColumn::text("id", "Its number, `major:minor`.", |row: &Place| &row.id),
        ResultColumn::text("direction", "`read` or `write`.", |row: &Place| word(row.direction)),
        ResultColumn::signed("since_ns", "When the window begins, in the time of `ts_ns`.", |row: &Place| {
            Some(row.since_ns)
        }),
        ResultColumn::integer("window_ns", "How long it is; all are equally long.", |row: &Place| Some(row.width_ns)),
        ResultColumn::integer("from_bytes", "Where on the disk the stretch begins.", |row: &Place| {
            Some(row.from_bytes)
        }),
        ResultColumn::integer("stretch_bytes", "How long it is; all of a disk are equally long.", |row: &Place| {
            Some(row.stretch_bytes)
        }),
        ResultColumn::integer("ops", "Requests that began then and there.", |row: &Place| Some(row.cell.ops)),
        ResultColumn::integer("bytes", "What they moved.", |row: &Place| Some(row.cell.bytes)),
    ]
}
