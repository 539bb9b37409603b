//! `pattern.csv`: where operations are, one after the other, one row for each process, file and disk in each layer and direction.

use std::cmp::Reverse;

use iostrata_capture::op::{Direction, Layer};

use crate::aggregate::pattern::{JUMP_BYTES, Sums};
use crate::entity::{Entity, Scope};
use crate::frame::ResultColumn;
use crate::names::Names;
use crate::partial::Finished;
use crate::tables::summary::word;
use crate::trust::Trust;

/// What the table is.
pub const DOC: &str = "`iostrata-analyze pattern --out DIR`: one row for each process, file and disk that moved bytes in a layer and direction, \
    those with the most operations first. Operations that moved bytes and have a place count, in the order in which they began; of several at \
    the same time, in that in which they were recorded. Each is held against the one before it in the same direction in the same space, which \
    is a file, and of requests the disk: a process that reads two files in turn, each from front to back, \
    reads sequentially. Positions in files say nothing of the disk, so a disk has rows of requests alone; operations on block \
    devices themselves are left out above the block layer.";

/// What a row is made from.
pub struct Row<'a> {
    scope: Scope,
    layer: Layer,
    direction: Direction,
    name: String,
    id: String,
    sums: &'a Sums,
    lost_events: Option<u64>,
}

/// By scope, layer and direction; of each those with the most operations first.
pub fn rows<'a>(finished: &'a Finished, names: &Names, trust: &Trust) -> Vec<Row<'a>> {
    let patterns = finished.order.patterns.iter().filter(|(layer, _)| trust.captured[**layer as usize]);
    let mut all: Vec<(Layer, &(Entity, Direction), &Sums)> =
        patterns.flat_map(|(layer, of)| of.iter().map(move |(whose, sums)| (*layer, whose, sums))).collect();
    all.sort_by_key(|(layer, (entity, direction), sums)| {
        (entity.scope(), *layer, *direction, Reverse((sums.ops, sums.bytes)), *entity)
    });
    let row = |(layer, (entity, direction), sums): (Layer, &(Entity, Direction), &'a Sums)| {
        let (name, id) = names.of(entity);
        let lost_events = trust.known_lost(layer);
        Row { scope: entity.scope(), layer, direction: *direction, name, id, sums, lost_events }
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
    let jumps = format!("Steps of more than {JUMP_BYTES} bytes, forward or back.");
    vec![
        ResultColumn::text("scope", "`process`, `file` or `device`.", |row: &Row| row.scope.name()),
        ResultColumn::text("layer", "`syscall`, `vfs` or `block`.", |row: &Row| row.layer.name()),
        ResultColumn::text("direction", "`read` or `write`.", |row: &Row| word(row.direction)),
        ResultColumn::text("name", "The name, as in `amplification.csv`.", |row: &Row| &row.name),
        ResultColumn::text("id", "The id, as in `amplification.csv`.", |row: &Row| &row.id),
        integer("ops", "Operations that moved bytes and have a place.", |sums| sums.ops),
        integer("bytes", "What they moved. Of a request all of it counts, whoever owns parts of it.", |sums| {
            sums.bytes
        }),
        integer(
            "steps",
            "Those that have one before them in their space. While moments were sampled only what was recorded in the same one counts.",
            |sums| sums.steps,
        ),
        integer("sequential", "Steps that begin where the operation before ended.", |sums| sums.sequential),
        share("sequential_share", "The sequential ratio: `sequential` / `steps`.", |sums| sums.sequential),
        integer("jumps", &jumps, |sums| sums.jumps),
        share("jump_share", "The jump ratio: `jumps` / `steps`.", |sums| sums.jumps),
        ResultColumn::number(
            "seek_avg_bytes",
            "The mean seek distance: from the end of an operation to the begin of the next, forward or back, on average over all steps.",
            |row: &Row| (row.sums.steps > 0).then(|| row.sums.seek_bytes as f64 / row.sums.steps as f64),
        ),
        integer(
            "strided",
            "Steps that are not sequential, and as far from the begin of the operation before as that was from the one before it.",
            |sums| sums.strided,
        ),
        share("strided_share", "`strided` / `steps`.", |sums| sums.strided),
        ResultColumn::signed(
            "stride_bytes",
            "The stride, from begin to begin, that most of these have; 0 is the same place again. Empty where there are none, or more than a \
             thousand strides.",
            |row: &Row| Some(row.sums.stride()?.0),
        ),
        ResultColumn::integer("stride_ops", "How many of these have it.", |row: &Row| Some(row.sums.stride()?.1)),
        ResultColumn::integer(
            "lost_events",
            "Events of the layer that were lost, whosever they were: each of them may have been between two that seem to be neighbours. Empty \
             where nobody knows.",
            |row: &Row| row.lost_events,
        ),
    ]
}
