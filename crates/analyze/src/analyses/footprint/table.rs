//! `footprint.csv` and `footprint_windows.csv`: footprint and working set, in blocks of files and disks.

use iostrata_capture::op::Layer;

use crate::analyses::footprint::aggregate::{BLOCK_BYTES, Finished as Touched, Footprint, Window};
use crate::analyses::subject::{self, Named};
use crate::analyses::table::{Table, at_once};
use crate::frame::{self, ResultColumn};
use crate::names::Names;
use crate::trust::Trust;

/// Documentation of `footprint.csv`.
const DOC: &str = "`iostrata-analyze footprint --out DIR`: one row for all operations of a layer that read or write, for those of each system \
    and for those on each disk. Blocks are 4 KiB of a file, for block requests 4 KiB of the disk; an operation touches each \
    block of which it covers a byte. Operations without an offset (appending writes at the VFS) and, above the block layer, those \
    on block devices themselves are excluded. Blocks of different captures are different blocks. Up to 57344 distinct blocks of a row are counted. Beyond that, one in 2, 4, … of them \
    is sampled by a hash, and the numbers of distinct blocks and the shares are estimates. With n sampled blocks \
    (the number divided by `sampling_factor`) the relative standard deviation is 1 / sqrt(n), for `unique_blocks` below 0.6 %. \
    With `--exact` all are counted, in memory that grows with them. An operation of more than 64 MiB is kept as a range: \
    all its blocks are counted, not estimated. Accesses before the capture began are not known: the first access in \
    the capture counts as the first. With sampling (`--cpu-limit`) distinct blocks are not known.";

/// Documentation of `footprint_windows.csv`.
const WINDOWS_DOC: &str = "Working set: distinct blocks that operations of a layer touch in time windows, at most 512 windows; windows without \
    any have no row. Up to 896 distinct blocks of a window are counted. Beyond that, one in 2, 4, … is sampled, and the numbers \
    are estimates, `unique_blocks` with a standard deviation below 5 %. With `--exact` all are counted; those of operations of more than 64 MiB always are.";

/// The table.
pub static TABLE: Table = Table {
    name: "footprint",
    doc: DOC,
    columns: || frame::markdown(&columns()),
    rows: |results, take| {
        at_once(&columns(), rows(results.finished.of::<Footprint>()?, results.names, &results.trust), take)
    },
};

/// The table by time window.
pub static WINDOWS: Table = Table {
    name: "footprint_windows",
    doc: WINDOWS_DOC,
    columns: || frame::markdown(&window_columns()),
    rows: |results, take| {
        at_once(&window_columns(), windows(results.finished.of::<Footprint>()?, &results.trust), take)
    },
};

/// Source of a row.
pub struct Row {
    named: Named,
    layer: Layer,
    touched: Touched,
    sampled: bool,
    lost_events: Option<u64>,
}

/// Rows by layer and subject.
pub fn rows(footprint: &Footprint, names: &Names, trust: &Trust) -> Vec<Row> {
    let subjects = footprint.subjects().into_iter();
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
        touched("read_blocks", "Number of block reads; a block counts at each read.", |of| of.ways[0].touched),
        touched("write_blocks", "Number of block writes; a block counts at each write.", |of| of.ways[1].touched),
        unique("unique_read_blocks", "Number of distinct blocks read.", |of| of.ways[0].unique),
        unique("unique_write_blocks", "Number of distinct blocks written.", |of| of.ways[1].unique),
        unique("unique_blocks", "Number of distinct blocks read, written or both.", |of| of.unique),
        unique("footprint_bytes", "`unique_blocks` times 4096 bytes.", |of| of.unique.saturating_mul(BLOCK_BYTES)),
        share("reread_share", "Share of `read_blocks` that were read before in the capture.", |of| of.ways[0].again),
        share("overwrite_share", "Overwrite ratio: share of `write_blocks` that were written before in the capture.", |of| {
            of.ways[1].again
        }),
        unique("sampling_factor", "Sampling factor: one in this many blocks was sampled; 1 when all were.", |of| of.sampling_factor),
        ResultColumn::integer(
            "lost_events",
            "Number of lost events of the layer, of all owners: the blocks that they touched are not counted. Empty when not known.",
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

/// Rows by layer and time.
pub fn windows(footprint: &Footprint, trust: &Trust) -> Vec<InWindow> {
    let windows = footprint.windows().into_iter();
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
        ResultColumn::signed("since_ns", "Start of the window in ns, on the clock of `ts_ns`.", |row: &InWindow| {
            Some(row.window.since_ns)
        }),
        integer("window_ns", "Length of the window in ns, the same for all windows of a layer.", |window| {
            window.width_ns
        }),
        integer(
            "unique_read_blocks",
            "Number of distinct blocks read by operations that began in the window.",
            |window| window.ways[0],
        ),
        integer("unique_write_blocks", "Number of distinct blocks that they wrote.", |window| window.ways[1]),
        integer("unique_blocks", "Number of distinct blocks read, written or both.", |window| window.unique),
        integer("working_set_bytes", "`unique_blocks` times 4096 bytes.", |window| {
            window.unique.saturating_mul(BLOCK_BYTES)
        }),
        integer(
            "sampling_factor",
            "Sampling factor: one in this many blocks was sampled; 1 when all were.",
            |window| window.sampling_factor,
        ),
    ]
}
