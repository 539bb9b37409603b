//! `footprint.csv` and `footprint_windows.csv`: which blocks of files and disks are touched, and how many of them in a while.

use iostrata_capture::op::Layer;

use super::subject::{self, Named};
use crate::aggregate::footprint::{BLOCK_BYTES, Finished as Touched, Window};
use crate::frame::ResultColumn;
use crate::names::Names;
use crate::partial::Finished;
use crate::trust::Trust;

/// What the table is.
pub const DOC: &str = "`iostrata-analyze footprint --out DIR`: one row for all operations of a layer that read or write, for those of each system \
    and for those on each disk. Blocks are 4 KiB of a file, of requests those of the disk; an operation touches each \
    block that it has a byte of. Operations that do not tell where they are (appending writes at the VFS) and, above the block layer, those \
    on block devices themselves are left out. A block of each capture is another one. Up to 57344 different blocks of a row are counted; where there are more, one in 2, 4, … of them, \
    chosen by a hash, is looked at, and the numbers of different blocks, and with them the shares, are estimates: of n that were \
    looked at, which is the number divided by `one_in`, with a standard deviation of 1 / sqrt(n), for `unique_blocks` below 0.6 %. \
    With `--exact` all are counted, in memory that grows with them. An operation of more than 64 MiB is kept as a range, \
    of which all blocks are counted, and not estimated. What was touched before the capture began is not known: the first time in \
    it counts as the first. Of a sample (`--cpu-limit`) different blocks are not known.";

/// What the table of windows is.
pub const WINDOWS_DOC: &str = "The working set: different blocks that operations of a layer touch in windows of time, at most 512 of them; those in \
    which none is touched have no row. Up to 896 different blocks of a window are counted; where there are more, one in 2, 4, …, and numbers \
    are estimates, `unique_blocks` with a standard deviation below 5 %. With `--exact` all are counted, and of operations of more than 64 MiB always.";

/// What a row is made from.
pub struct Row {
    named: Named,
    layer: Layer,
    touched: Touched,
    sampled: bool,
    lost_events: Option<u64>,
}

/// By layer and subject.
pub fn rows(finished: &Finished, names: &Names, trust: &Trust) -> Vec<Row> {
    let subjects = finished.footprint.subjects().into_iter();
    let row = |((layer, subject), touched)| {
        let (named, lost_events) = (Named::of(&subject, names), trust.known_lost(layer));
        Row { named, layer, touched, sampled: trust.sampled, lost_events }
    };
    subjects.filter(|((layer, subject), _)| trust.captured[*layer as usize] && trust.gives(subject)).map(row).collect()
}

/// The columns of `footprint.csv`, in order.
pub fn columns() -> Vec<ResultColumn<Row>> {
    let touched = |name: &str, doc: &str, value: fn(&Touched) -> u64| {
        ResultColumn::integer(name, doc, move |row: &Row| Some(value(&row.touched)))
    };
    let unique = |name: &str, doc: &str, value: fn(&Touched) -> u64| {
        ResultColumn::integer(name, doc, move |row: &Row| (!row.sampled).then(|| value(&row.touched)))
    };
    let share = |name: &str, doc: &str, value: fn(&Touched) -> Option<f64>| {
        ResultColumn::number(name, doc, move |row: &Row| value(&row.touched).filter(|_| !row.sampled))
    };
    let mut columns = subject::columns(|row: &Row| (&row.named, row.layer.name()));
    columns.extend([
        touched("read_blocks", "Blocks that were read, each as often as it was.", |of| of.ways[0].touched),
        touched("write_blocks", "Blocks that were written, each as often as it was.", |of| of.ways[1].touched),
        unique("unique_read_blocks", "Different ones of those that were read.", |of| of.ways[0].unique),
        unique("unique_write_blocks", "Different ones of those that were written.", |of| of.ways[1].unique),
        unique("unique_blocks", "Different blocks, whether read, written or both.", |of| of.unique),
        unique("footprint_bytes", "`unique_blocks` times 4096.", |of| of.unique.saturating_mul(BLOCK_BYTES)),
        share("reread_share", "The share of `read_blocks` that had been read before in the capture.", |of| of.ways[0].again),
        share("overwrite_share", "The overwrite ratio: the share of `write_blocks` that had been written before in the capture.", |of| {
            of.ways[1].again
        }),
        unique("one_in", "One in so many blocks was looked at; 1 where all were.", |of| of.one_in),
        ResultColumn::integer(
            "lost_events",
            "Events of the layer that were lost, whosever they were: what they touched is not counted. Empty where nobody knows.",
            |row: &Row| row.lost_events,
        ),
    ]);
    columns
}

/// A window of a layer.
pub struct InWindow {
    layer: Layer,
    window: Window,
}

/// By layer and time.
pub fn windows(finished: &Finished, trust: &Trust) -> Vec<InWindow> {
    let windows = finished.footprint.windows().into_iter();
    let captured = windows.filter(|(layer, _)| trust.captured_of_total()[*layer as usize] && !trust.sampled);
    captured.map(|(layer, window)| InWindow { layer, window }).collect()
}

/// The columns of `footprint_windows.csv`, in order.
pub fn window_columns() -> Vec<ResultColumn<InWindow>> {
    let integer = |name: &str, doc: &str, value: fn(&Window) -> u64| {
        ResultColumn::integer(name, doc, move |row: &InWindow| Some(value(&row.window)))
    };
    vec![
        ResultColumn::text("layer", "`syscall`, `vfs` or `block`.", |row: &InWindow| row.layer.name()),
        ResultColumn::signed("since_ns", "When the window begins, in the time of `ts_ns`.", |row: &InWindow| {
            Some(row.window.since_ns)
        }),
        integer("window_ns", "How long it is; all of a layer are equally long.", |window| window.width_ns),
        integer("unique_read_blocks", "Different blocks that operations read that began in it.", |window| {
            window.ways[0]
        }),
        integer("unique_write_blocks", "Different blocks that they wrote.", |window| window.ways[1]),
        integer("unique_blocks", "Different blocks, whether read, written or both.", |window| window.unique),
        integer("working_set_bytes", "`unique_blocks` times 4096.", |window| window.unique.saturating_mul(BLOCK_BYTES)),
        integer("one_in", "One in so many blocks was looked at; 1 where all were.", |window| window.one_in),
    ]
}
