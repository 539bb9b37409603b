//! `sync.csv`: latency of syncs and the writes that they force out.

use iostrata_capture::op::{Layer, Op};

use crate::aggregate::crossing::{Forced, Kind, Sums};
use crate::aggregate::sample::{Distribution, PERCENTILES};
use crate::analyses::path::{about, all, average_ns, lost, total_ns, whole};
use crate::analyses::subject::Named;
use crate::analyses::table::{Table, at_once};
use crate::frame::{self, ResultColumn};
use crate::names::Names;
use crate::partial::Finished;
use crate::trust::Trust;

/// Documentation of the table.
const DOC: &str = "`iostrata-analyze sync --out DIR`: one row for each call that syncs (`fsync`, `fdatasync`, `sync_file_range`, `syncfs`, `sync`, \
    `msync`, those of aio and io_uring), and for writes to files opened with `O_SYNC` or `O_DSYNC`, for `all` and for each system, process, file and disk; in each \
    scope the rows with the most total time come first. A sync forced out the requests that were queued while it was in flight and that it waits for, as in `path.csv`. If several waited \
    for the same request, it counts for the one that began first, so that the rows of a scope add up. A journal commit (ext4) counts for the first of the syncs in flight \
    when it ended. Requests that others queue for a sync and that are neither data of its file nor of the journal on its disk, such as btrfs trees, are \
    not found. There are no percentiles of processes and files; `latency --file` and `--process` have them.";

/// The table.
pub static TABLE: Table = Table {
    name: "sync",
    doc: DOC,
    columns: || frame::markdown(&columns()),
    rows: |results, take| at_once(&columns(), rows(&results.finished, results.names, &results.trust), take),
};

/// Source of a row.
pub struct Row<'a> {
    named: Named,
    kind: Kind,
    op: Op,
    sums: &'a Sums,
    durations: Option<Distribution>,
    /// Whether block requests and file system events were captured.
    has: [bool; 2],
    lost_events: Option<u64>,
}

/// Rows by scope; most total time first.
pub fn rows<'a>(finished: &'a Finished, names: &Names, trust: &Trust) -> Vec<Row<'a>> {
    let missing = trust.missing[Layer::Syscall as usize].at_least;
    all(finished, trust, Kind::syncs)
        .into_iter()
        .map(|((subject, kind, op), sums)| Row {
            named: Named::of(subject, names),
            kind,
            op,
            sums,
            durations: sums.durations.clone().map(|durations| durations.finish(missing)),
            has: [Layer::Block, Layer::Fs].map(|layer| trust.captured[layer as usize]),
            lost_events: lost(trust),
        })
        .collect()
}

impl Row<'_> {
    /// Number of calls with known forced-out requests.
    fn told(&self) -> u64 {
        self.sums.calls.ops.saturating_sub(self.sums.unknown_ops)
    }
}

/// The columns, in order.
pub fn columns<'a>() -> Vec<ResultColumn<Row<'a>>> {
    let [of_requests, of_file_system] = [0, 1].map(|layer| {
        move |name: &str, doc: &str, value: fn(&Forced) -> u64| {
            ResultColumn::integer(name, doc, move |row: &Row| {
                (row.has[layer] && row.told() > 0).then(|| value(&row.sums.forced))
            })
        }
    });
    let mut columns = about(|row: &Row| (&row.named, row.kind, row.op));
    columns.extend([
        ResultColumn::integer("ops", "Number of calls, failed ones included.", |row: &Row| Some(row.sums.calls.ops)),
        ResultColumn::integer("failed", "Number of failed calls.", |row: &Row| Some(row.sums.failed)),
        ResultColumn::integer("total_ns", "Sum of the durations in ns.", |row: &Row| {
            Some(whole(total_ns(&row.sums.spent)))
        }),
        ResultColumn::integer("avg_ns", "Mean duration in ns, rounded.", |row: &Row| average_ns(row.sums)),
    ]);
    for (index, percentile) in PERCENTILES.iter().enumerate() {
        let doc = format!("{} percentile of the duration in ns, as in `latency.csv`.", percentile.name);
        columns.push(ResultColumn::integer(percentile.column, doc, move |row: &Row| {
            Some(row.durations.as_ref()?.percentiles[index]?.ns)
        }));
    }
    columns.extend([
        ResultColumn::integer("max_ns", "Maximum duration in ns.", |row: &Row| Some(row.sums.max_ns)),
        ResultColumn::integer("waited", "Number of calls that waited for a block request.", |row: &Row| {
            row.has[0].then_some(row.sums.waited)
        }),
        ResultColumn::integer(
            "unknown_ops",
            "Number of calls with unknown forced-out requests: calls on files on no recorded disk (overlay, network), `msync`, which names \
             no file, and sampled calls with a weight above 1 (`--cpu-limit`). They are not in the following columns.",
            |row: &Row| Some(row.sums.unknown_ops),
        ),
        of_requests("requests", "Number of block requests that the other calls forced out.", |forced| forced.requests),
        of_requests("data_bytes", "Number of bytes of file data in these requests.", |forced| forced.data_bytes),
        of_requests("journal_bytes", "Number of bytes of journals in these requests.", |forced| forced.journal_bytes),
        of_requests("other_bytes", "Number of all other bytes in these requests.", |forced| forced.other_bytes),
        of_requests("device_flushes", "Number of flush commands sent to the disk meanwhile.", |forced| forced.flushes),
        of_file_system("commits", "Number of journal commits that ended meanwhile.", |forced| forced.commits),
        of_file_system("journal_blocks", "Number of blocks that these commits logged.", |forced| forced.journal_blocks),
        ResultColumn::number(
            "bytes_per_sync",
            "(`data_bytes` + `journal_bytes` + `other_bytes`) / (`ops` - `unknown_ops`).",
            |row: &Row| {
                let Forced { data_bytes, journal_bytes, other_bytes, .. } = row.sums.forced;
                let bytes = data_bytes.saturating_add(journal_bytes).saturating_add(other_bytes);
                (row.has[0] && row.told() > 0).then(|| bytes as f64 / row.told() as f64)
            },
        ),
        ResultColumn::integer(
            "lost_events",
            "Number of lost calls and block requests, of all owners. Empty when not known.",
            |row: &Row| row.lost_events,
        ),
    ]);
    columns
}
