"""Checks of an incomplete capture."""

import sys

import duckdb
import polars
import pyarrow.parquet


def rows_by_reader(capture):
    """Returns the rows of each table, as counted by three independent readers; none of them may fail."""
    tables = sorted(folder.name for folder in capture.directory.iterdir() if folder.is_dir())
    counts = []
    for table in tables:
        parts = sorted(capture.directory.glob(f"{table}/*.parquet"))
        if not parts:
            counts.append((table, 0, 0, 0))
            continue
        counts.append((
            table,
            # Every value of every column is read, not only the number of rows.
            len(duckdb.sql(f"select * from '{capture.directory}/{table}/*.parquet'").fetchall()),
            sum(pyarrow.parquet.read_table(part).num_rows for part in parts),
            len(polars.concat([polars.read_parquet(part) for part in parts])),
        ))
    return counts


def check_parts(capture):
    """Checks that every reader reads every part and counts the rows in the list, and that nothing else is left."""
    listed = {}
    for part in capture.manifest["parts"]:
        listed[part["table"]] = listed.get(part["table"], 0) + part["rows"]
    for table, *counts in rows_by_reader(capture):
        assert counts == [listed.get(table, 0)] * 3, table
    left = [path.name for path in capture.directory.rglob(".*") if path.name != ".lock"]
    assert left == [], "only finished parts are left"


# Requests without a captured end (docs/explanation/architecture.md) wait for the next use of their tag, so a killed recorder never records
# them. They come in bursts of up to a queue.
UNSEEN_REQUESTS = 256


def check_no_gaps(capture, blocks, who):
    """Checks that writers of the `blocks` of a file in turn have no gaps up to the completeness time, except for the events in `loss`.
    Returns the end of the last write."""
    last_ns = 0
    until_ns = capture.manifest.get("whole_until_ns", sys.maxsize)
    for table, block, most in [("syscall", "offset_bytes // 4096", 0), ("block", "sector // 8", UNSEEN_REQUESTS)]:
        # Killed before the first flush, the capture has no part, or one without rows.
        if not list(capture.directory.glob(f"{table}/*.parquet")) or capture.one(f"select count(*) from {{{table}}}") == (0,):
            continue
        rows = capture.sql(f"""
            select pid, {block} - min({block}) over (), ts_ns + dur_ns from {{{table}}}
            where {who} and op in ('write', 'pwrite64') order by pid, ts_ns""")
        assert rows, f"nothing in {table}"
        known = [(pid, number) for pid, number, end_ns in rows if (end_ns or 0) <= until_ns]
        missing = sum((after - before - 1) % blocks for (pid, before), (same, after) in zip(known, known[1:]) if pid == same)
        # A busy machine may lose some.
        [lost] = capture.one(f"select coalesce(sum(events), 0) from {{loss}} where class = '{table}'")
        assert missing <= most + lost, f"{missing} of {len(known)} rows are missing in {table}, and {lost} are counted as lost"
        last_ns = max([last_ns, *(end for _, _, end in rows if end)])
    return last_ns
