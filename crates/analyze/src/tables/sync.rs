//! `sync.csv`: how long syncs take, and what they force out.

use iostrata_capture::op::{Layer, Op};

use super::path::{about, all, average_ns, lost, total_ns, whole};
use super::subject::Named;
use crate::aggregate::crossing::{Forced, Kind, Sums};
use crate::aggregate::sample::{Distribution, PERCENTILES};
use crate::frame::ResultColumn;
use crate::names::Names;
use crate::partial::Finished;
use crate::trust::Trust;

/// What the table is.
pub const DOC: &str = "`iostrata-analyze sync --out DIR`: one row for each call that syncs (`fsync`, `fdatasync`, `sync_file_range`, `syncfs`, `sync`, \
    `msync`, those of aio and io_uring), and for writes to files opened with `O_SYNC` or `O_DSYNC`, of all, of each system, process, file and disk; of each \
    those that took most time together first. What was queued while a sync was under way, and what it waits for as in `path.csv`, it forced out; where several waited \
    for the same, the one that began first did, so that rows of one scope add up. A commit of a journal (ext4) counts for the first of those under way \
    when it ended. What others queue for a sync and is neither data of its file nor of the journal's disk, such as trees of btrfs, is \
    not found. Of processes and files there are no percentiles; `latency --file` and `--process` have them.";

/// What a row is made from.
pub struct Row<'a> {
    named: Named,
    kind: Kind,
    op: Op,
    sums: &'a Sums,
    durations: Option<Distribution>,
    /// Whether requests were captured, and whether what file systems do was.
    has: [bool; 2],
    lost_events: Option<u64>,
}

/// By scope; of each those that took most time first.
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
    /// Calls of which it is known what they forced out.
    fn told(&self) -> u64 {
        self.sums.calls.ops.saturating_sub(self.sums.untold)
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
        ResultColumn::integer("ops", "Calls.", |row: &Row| Some(row.sums.calls.ops)),
        ResultColumn::integer("failed", "Those that failed.", |row: &Row| Some(row.sums.failed)),
        ResultColumn::integer("total_ns", "The sum of their durations.", |row: &Row| {
            Some(whole(total_ns(&row.sums.spent)))
        }),
        ResultColumn::integer("avg_ns", "The average of these, rounded.", |row: &Row| average_ns(row.sums)),
    ]);
    for (index, percentile) in PERCENTILES.iter().enumerate() {
        let doc = format!("The {} percentile of these, as in `latency.csv`.", percentile.name);
        columns.push(ResultColumn::integer(percentile.column, doc, move |row: &Row| {
            Some(row.durations.as_ref()?.percentiles[index]?.ns)
        }));
    }
    columns.extend([
        ResultColumn::integer("max_ns", "The longest of these.", |row: &Row| Some(row.sums.max_ns)),
        ResultColumn::integer("waited", "Calls that waited for a block request.", |row: &Row| {
            row.has[0].then_some(row.sums.waited)
        }),
        ResultColumn::integer(
            "untold",
            "Calls of which it is not known what they forced out: of files that lie on no disk that was recorded (an overlay, a network), `msync`, which tells \
             no file, and those that stand for others too (`--cpu-limit`). They are not in what follows.",
            |row: &Row| Some(row.sums.untold),
        ),
        of_requests("requests", "Block requests that the others forced out.", |forced| forced.requests),
        of_requests("data_bytes", "Bytes of files in these.", |forced| forced.data_bytes),
        of_requests("journal_bytes", "Bytes of journals in these.", |forced| forced.journal_bytes),
        of_requests("other_bytes", "All other bytes in these.", |forced| forced.other_bytes),
        of_requests("device_flushes", "Flush commands that the disk was sent meanwhile.", |forced| forced.flushes),
        of_file_system("commits", "Commits of the journal that ended meanwhile.", |forced| forced.commits),
        of_file_system("journal_blocks", "Blocks that these logged.", |forced| forced.journal_blocks),
        ResultColumn::number(
            "bytes_per_sync",
            "`data_bytes`, `journal_bytes` and `other_bytes` by `ops` - `untold`.",
            |row: &Row| {
                let Forced { data_bytes, journal_bytes, other_bytes, .. } = row.sums.forced;
                let bytes = data_bytes.saturating_add(journal_bytes).saturating_add(other_bytes);
                (row.has[0] && row.told() > 0).then(|| bytes as f64 / row.told() as f64)
            },
        ),
        ResultColumn::integer(
            "lost_events",
            "Calls and block requests that were lost, whosever they were. Empty where nobody knows.",
            |row: &Row| row.lost_events,
        ),
    ]);
    columns
}
