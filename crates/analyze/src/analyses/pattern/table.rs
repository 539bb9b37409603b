//! `pattern.csv`: access pattern (sequential, random, strided), one row for each process, file and disk in each layer and direction.

use std::cmp::Reverse;

use iostrata_capture::op::{Direction, Layer};

use crate::aggregate::sequence::Subject;
use crate::analyses::pattern::aggregate::{JUMP_BYTES, Pattern, Patterns, Sums};
use crate::analyses::subject::{self, Named};
use crate::analyses::summary::word;
use crate::analyses::table::{Table, at_once};
use crate::entity::Entity;
use crate::frame::{self, ResultColumn};
use crate::names::Names;
use crate::trust::Trust;

/// Documentation of the table.
const DOC: &str = "`iostrata-analyze pattern --out DIR`: one row for each process, file and disk that moved bytes in a layer and direction, \
    most operations first. Operations that moved bytes and have an offset count, in the order in which they began; at the same time, in the order in \
    which they were recorded. Each operation is compared with the previous one in the same direction and the same address space: the file, or \
    for block requests the disk. A process that reads two files alternately, each from start to end, reads sequentially. \
    File offsets do not determine disk offsets, so a disk has rows of the block layer only; operations on block \
    devices themselves are excluded above the block layer.";

/// The table.
pub static TABLE: Table = Table {
    name: "pattern",
    doc: DOC,
    columns: || frame::markdown(&columns()),
    rows: |results, take| {
        at_once(&columns(), rows(results.finished.order.of::<Pattern>()?, results.names, &results.trust), take)
    },
};

/// Source of a row.
pub struct Row<'a> {
    named: Named,
    layer: Layer,
    direction: Direction,
    sums: &'a Sums,
    lost_events: Option<u64>,
}

/// Rows by scope, layer and direction; most operations first.
pub fn rows<'a>(patterns: &'a Patterns, names: &Names, trust: &Trust) -> Vec<Row<'a>> {
    let patterns = patterns.iter().filter(|(layer, _)| trust.captured[**layer as usize]);
    let mut all: Vec<(Layer, &(Entity, Direction), &Sums)> =
        patterns.flat_map(|(layer, of)| of.iter().map(move |(whose, sums)| (*layer, whose, sums))).collect();
    all.sort_by_key(|(layer, (entity, direction), sums)| {
        (entity.scope(), *layer, *direction, Reverse((sums.ops, sums.bytes)), *entity)
    });
    let row = |(layer, (entity, direction), sums): (Layer, &(Entity, Direction), &'a Sums)| {
        let (named, lost_events) = (Named::of(&Subject::Entity(*entity), names), trust.known_lost(layer));
        Row { named, layer, direction: *direction, sums, lost_events }
    };
    all.into_iter().map(row).collect()
}

impl Row<'_> {
    fn of_steps(&self, part: u64) -> Option<f64> {
        (self.sums.steps > 0).then(|| part as f64 / self.sums.steps as f64)
    }
}

/// The columns, in order.
pub fn columns<'a>() -> Vec<ResultColumn<Row<'a>>> {
    let integer = |name: &str, doc: &str, value: fn(&Sums) -> u64| {
        ResultColumn::integer(name, doc, move |row: &Row| Some(value(row.sums)))
    };
    let share = |name: &str, doc: &str, value: fn(&Sums) -> u64| {
        ResultColumn::number(name, doc, move |row: &Row| row.of_steps(value(row.sums)))
    };
    let jumps = format!("Number of steps with a seek distance of more than {JUMP_BYTES} bytes, forward or backward.");
    vec![
        ResultColumn::text("scope", "`process`, `file` or `device`.", |row: &Row| row.named.scope),
        ResultColumn::text("layer", "`syscall`, `vfs` or `block`.", |row: &Row| row.layer.name()),
        ResultColumn::text("direction", "`read` or `write`.", |row: &Row| word(row.direction)),
        ResultColumn::text("name", "Name, as in `amplification.csv`.", |row: &Row| &row.named.name),
        ResultColumn::text("id", "Id, as in `amplification.csv`.", |row: &Row| &row.named.id),
        subject::host(|row: &Row| &row.named.host),
        integer("ops", "Number of operations that moved bytes and have an offset.", |sums| sums.ops),
        integer(
            "bytes",
            "Number of bytes that they moved. A block request counts in full, also where others own parts of it.",
            |sums| sums.bytes,
        ),
        integer(
            "steps",
            "Number of operations with a previous one in the same address space. With sampling, only operations of the same time slice count.",
            |sums| sums.steps,
        ),
        integer("sequential", "Number of steps that begin at the end of the previous operation.", |sums| {
            sums.sequential
        }),
        share("sequential_share", "Sequential ratio: `sequential` / `steps`.", |sums| sums.sequential),
        integer("jumps", &jumps, |sums| sums.jumps),
        share("jump_share", "Jump ratio: `jumps` / `steps`.", |sums| sums.jumps),
        ResultColumn::number(
            "seek_avg_bytes",
            "Mean seek distance in bytes over all steps: from the end of an operation to the start of the next, forward or backward.",
            |row: &Row| (row.sums.steps > 0).then(|| row.sums.seek_bytes as f64 / row.sums.steps as f64),
        ),
        integer(
            "strided",
            "Number of steps that are not sequential and have the same distance, from start to start, as the previous step.",
            |sums| sums.strided,
        ),
        share("strided_share", "Strided ratio: `strided` / `steps`.", |sums| sums.strided),
        ResultColumn::signed(
            "stride_bytes",
            "Most frequent stride of these steps in bytes, from start to start; 0 is the same offset again. Empty when there are none, or more \
             than a thousand strides.",
            |row: &Row| Some(row.sums.stride()?.0),
        ),
        ResultColumn::integer("stride_ops", "Number of strided steps with this stride.", |row: &Row| {
            Some(row.sums.stride()?.1)
        }),
        ResultColumn::integer(
            "lost_events",
            "Number of lost events of the layer, of all owners: each may have been between two operations that appear adjacent. Empty \
             when not known.",
            |row: &Row| row.lost_events,
        ),
    ]
}
