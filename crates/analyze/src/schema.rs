//! The documentation of everything that can be read: `docs/schema.md`, made from the declarations.

use std::fmt::Write;

use arrow::datatypes::DataType;
use iostrata_capture::op::{FdKind, Op};
use iostrata_capture::{SCHEMA_VERSION, list, tables};

use crate::event::Phase;
use crate::{amplification, frame, latency, loss, quality, sizes, summary, timeline, top};

/// All of it, as Markdown.
pub fn markdown() -> String {
    let mut text = format!(
        "# Tables and columns\n\n\
         Made by `iostrata-analyze schema` from the declarations in the code: edit those.\n\n\
         ## The capture (schema version {SCHEMA_VERSION})\n\n\
         A capture is a directory with `manifest.json`, the list of its parts and one folder of Parquet parts for each table. \
         `ts_ns` is nanoseconds since the Unix epoch; device numbers are `major << 20 | minor`. `null` means not known or not \
         applicable, never zero.\n"
    );
    parts(&mut text);
    for table in tables::all() {
        section(&mut text, &format!("### `{}`", table.name), table.doc);
        text.push_str("| column | type | meaning |\n| --- | --- | --- |\n");
        for column in &table.columns {
            let null = if column.nullable { " or null" } else { "" };
            let _ = writeln!(text, "| `{}` | {}{null} | {} |", column.name, kind(&column.data_type), column.doc);
        }
    }
    section(&mut text, "### Operations", "The words in `op`.");
    words(&mut text, Op::ALL.iter().map(|op| (op.name(), op.doc())));
    section(&mut text, "### File kinds", "The words in `fd_kind`.");
    words(&mut text, FdKind::ALL.iter().map(|kind| (kind.name(), kind.doc())));
    results(&mut text);
    text
}

fn parts(text: &mut String) {
    section(
        text,
        &format!("### `{}`", list::FILE_NAME),
        "The list of parts: a JSON object a line, in the order in which it happened, each with one of these members. A part is \
         there if its last line says that it was finished. A last line without an end was cut off, and is none. \
         `manifest.json` says nothing of parts.",
    );
    let members = [
        (
            "finished",
            "A part that is on the disk: its `table`, its path in the capture (`file`), `rows`, size (`bytes`), and the least and \
             greatest `ts_ns` (`first_ts_ns`, `last_ts_ns`; null where it has no rows).",
        ),
        (
            "removed",
            "The path of a part that was deleted, or is about to be, so that the capture takes no more than `--max-disk`. What \
             began until the greatest `last_ts_ns` of a removed part of events may be missing.",
        ),
        (
            "removed_sum",
            "Sums of removed parts of a `table`, of which no line is left: how many `parts`, `rows`, `bytes`, and the greatest \
             `last_ts_ns`.",
        ),
    ];
    words(text, members.into_iter());
}

fn results(text: &mut String) {
    section(
        text,
        "## Results",
        "`iostrata-analyze summary --out DIR` writes four CSV files. An empty cell means not captured, not known or not \
         defined, never zero. System calls and VFS operations count as reads and writes only on regular files and block \
         devices; I/O on files in memory is left out of all. A block request belongs to its owner, with what rows \
         of `share` say is of others; what has no owner goes by its class: `(journal)`, `(metadata)`, `(flush)`, \
         `(swap)`, `(discard)`, and `(unknown)` for data. Requests that the kernel's I/O counters \
         leave out, discards and device flushes are in `latency.csv` but neither reads nor writes, so that reads and \
         writes add up to the kernel's counters. A layer that one of several captures lacks is left out of all.",
    );
    section(text, "### `summary.csv`", "One row for each system, by name.");
    text.push_str(&frame::markdown(&summary::columns(Default::default())));
    section(
        text,
        "### `amplification.csv`",
        "Bytes on their way from the application to the device, one row for each system, process, cgroup, file and device and \
         each direction that has any. Each scope has all bytes once, and what is nobody's in a row of its own, so the rows of \
         one scope add up to the kernel's counters of the devices. How an owner is known, and what remains uncertain: \
         docs/attribution.md. Memory follows the number of processes, cgroups and files.",
    );
    text.push_str(&frame::markdown(&amplification::columns()));
    section(
        text,
        "### `latency.csv`",
        "One row for each system, layer, operation and phase that occurred. A percentile q of n values is the value of \
         rank ceil(q n), counted from 1 in ascending order. It is empty where n (1 - q) < 1, because no value lies \
         beyond it then. Beyond 512 values percentiles come from HDR histograms with three significant digits, and are \
         at most 0.1 % above the exact value; `--exact` keeps all values. All other columns are exact. Rows whose phase \
         is not known are not counted in it. The bounds hold whatever durations those operations had that are missing, \
         `untimed` and `lost_events` together: with m of them a percentile lies between the recorded values of rank \
         ceil(q (n + m)) - m and ceil(q (n + m)), and has no upper bound where that is more than n, which is where more than \
         1 - q of all are missing. Of an average, a least and a greatest value no bound is known once anything is missing.",
    );
    text.push_str(&frame::markdown(&latency::columns()));
    section(
        text,
        "### `loss.csv`",
        "What was lost when: one row for each time, table and cause, seconds that touch taken together; then what was lost at no \
         known time. For each table and cause the rows add up to the books in the manifest, of a recording that was cut off to its \
         table `loss`. Times are those at which a loss was told: of events that the recorder had and could not write that is up to \
         a flush interval after they happened.",
    );
    text.push_str(&frame::markdown(&loss::report::columns()));
    section(
        text,
        "### `timeline.csv`",
        "`iostrata-analyze timeline --out DIR`: one row for each window of time, those included in which nothing happened. An operation \
         counts in the window in which it began, as with `--since` and `--until`. Windows are a second long, or as long as `--window` says; without that \
         they are doubled until there are at most 10000.",
    );
    text.push_str(&frame::markdown(&timeline::columns()));
    section(
        text,
        "### `sizes.csv`",
        "`iostrata-analyze sizes --out DIR`: one row for each layer, direction and size class that has operations. A class is of sizes up to \
         a power of two, and more than half of it. Of the file system layer there is none, because a row there is of many operations.",
    );
    text.push_str(&frame::markdown(&sizes::columns()));
    section(
        text,
        "### `top.csv`",
        "`iostrata-analyze top --out DIR`: in each scope and layer the processes, cgroups, files and disks that did most, by bytes, or by what \
         `--by` says, in that order; then a row for all others, so that the rows of a scope and layer add up to the layer's total.",
    );
    text.push_str(&frame::markdown(&top::columns()));
    section(
        text,
        "### `quality.csv`",
        "`iostrata-analyze quality --out DIR`: whether captures can be trusted, a check in each row.",
    );
    text.push_str(&frame::markdown(&quality::columns()));
    section(text, "### Phases", "The words in `phase`.");
    words(text, Phase::ALL.iter().map(|phase| (phase.name(), phase.doc())));
}

fn section(text: &mut String, heading: &str, body: &str) {
    let _ = writeln!(text, "\n{heading}\n\n{body}\n");
}

fn words<'a>(text: &mut String, words: impl Iterator<Item = (&'a str, &'a str)>) {
    text.push_str("| word | meaning |\n| --- | --- |\n");
    for (word, meaning) in words {
        let _ = writeln!(text, "| `{word}` | {meaning} |");
    }
}

fn kind(data_type: &DataType) -> String {
    match data_type {
        DataType::Int64 => "int64".into(),
        DataType::Int32 => "int32".into(),
        DataType::Boolean => "boolean".into(),
        DataType::Utf8 => "text".into(),
        DataType::Dictionary(_, values) => format!("{}, dictionary", kind(values)),
        other => other.to_string(),
    }
}
