//! The documentation of everything that can be read, made from the declarations: of captures `docs/reference/schema.md`, of results `docs/reference/csv.md`.

use std::fmt::Write;

use arrow::datatypes::DataType;
use iostrata_capture::op::{FdKind, Op};
use iostrata_capture::{SCHEMA_VERSION, TableId, list};

use crate::event::Phase;
use crate::{frame, tables};

/// Of captures, as Markdown.
pub fn captures() -> String {
    let mut text = format!(
        "# The capture (schema version {SCHEMA_VERSION})\n\n\
         Made by `iostrata-analyze schema` from the declarations in the code: edit those. What the analyzer makes of captures: \
         [csv.md](csv.md).\n\n\
         A capture is a directory with `manifest.json`, the list of its parts and one folder of Parquet parts for each table. \
         `ts_ns` is nanoseconds since the Unix epoch; device numbers are `major << 20 | minor`. `null` means not known or not \
         applicable, never zero.\n"
    );
    parts(&mut text);
    section(
        &mut text,
        "## What a part says of itself",
        "In the key-value metadata of its footer: `iostrata.capture` (`parts_id` of `manifest.json`: of a recording its `capture_id`), \
         `iostrata.table` and `iostrata.part` (its number). So a copy of a part under another name, or a part of another capture, is known \
         as one. Parts of earlier recorders have none of it. The Arrow schema there has an entry `pandas`, from which pandas knows which integers may be \
         missing.",
    );
    for table in TableId::ALL {
        section(&mut text, &format!("## `{table}`"), table.declared().doc);
        text.push_str("| column | type | meaning |\n| --- | --- | --- |\n");
        for column in (table.declared().columns)() {
            let null = if column.nullable { " or null" } else { "" };
            let _ = writeln!(text, "| `{}` | {}{null} | {} |", column.name, kind(&column.data_type), column.doc);
        }
    }
    section(&mut text, "## Operations", "The words in `op`.");
    words(&mut text, Op::ALL.iter().map(|op| (op.name(), op.doc())));
    section(&mut text, "## File kinds", "The words in `fd_kind`.");
    words(&mut text, FdKind::ALL.iter().map(|kind| (kind.name(), kind.doc())));
    text
}

fn parts(text: &mut String) {
    section(
        text,
        &format!("## `{}`", list::FILE_NAME),
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
            "replacing",
            "A part of the same rows that is about to take the place of the one of its name, or has: until it is `finished`, its \
             size is the old one's or this one.",
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

/// Of results, as Markdown.
pub fn results() -> String {
    let mut text = format!(
        "# Results (version {})\n\n\
         Made by `iostrata-analyze schema` from the declarations in the code: edit those. What they are made from: \
         [schema.md](schema.md).\n\n",
        tables::VERSION
    );
    text.push_str(
        "Every analysis writes its tables where `--out DIR` says, as CSV (RFC 4180), and `about.json` beside them, which says of each of these \
         files what it was made of and by what. An empty cell means not captured, not known or not \
         defined, never zero. System calls and VFS operations count as reads and writes only on regular files and block \
         devices; I/O on files in memory is left out of all. A block request belongs to its owner, with what rows \
         of `share` say is of others; what has no owner goes by its class: `(journal)`, `(metadata)`, `(flush)`, \
         `(swap)`, `(discard)`, and `(unknown)` for data. Discards, flushes of a device, and commands of zones and drivers are in \
         `latency.csv` but neither reads nor writes; a flush that a sync asks for is a write of no bytes, as the kernel counts it. So \
         reads and writes add up to the kernel's counters, where nothing was filtered by process or sampled, less the recorder's own I/O; of disks \
         that keep no count (`queue/iostats` 0) they are more. A layer that one of several captures lacks is left out of all.",
    );
    text.push('\n');
    section(
        &mut text,
        "## For spreadsheets",
        "Names stand in CSV as they are, and whoever ran on the recorded machine chose them. A spreadsheet takes a cell for a formula that begins with `=`, \
         `+`, `-` or `@`. With `--safe-csv` an apostrophe stands before each text that begins with one of these, also in full width (`＝`, `＋`, \
         `－`, `＠`), or with a tab or an end of a line, and all texts are in quotes, because where the separator is a semicolon what is behind one \
         would be a cell of its own. Numbers are as they are, also those below zero, and so are JSON and Parquet (the option cannot be combined with --format). Names are not exact then; \
         `about.json` says it (`safe_csv`).",
    );
    for table in tables::Table::ALL {
        section(&mut text, &format!("## `{}`", table.file()), table.doc());
        text.push_str(&table.columns());
    }
    section(&mut text, &format!("## `{}`", tables::compare::FILE), tables::compare::DOC);
    text.push_str(&frame::markdown(&tables::compare::columns()));
    section(&mut text, "## Phases", "The words in `phase`.");
    words(&mut text, Phase::ALL.iter().map(|phase| (phase.name(), phase.doc())));
    text
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
