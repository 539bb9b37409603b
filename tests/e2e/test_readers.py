"""Captures as read by other programs: every documented table, and every nanosecond."""

import json
import os
import signal
import subprocess
from pathlib import Path

import duckdb
import pandas
import polars
import pyarrow.dataset
import pytest
from conftest import BIN, ROOT, TABLES, run, wait_for

FIXTURE = ROOT / "tests" / "fixtures" / "debian-6.12-nvme"


# Built by scripts/setup.sh from tests/readers.
READERS = Path(os.environ.get("IOSTRATA_CACHE", Path.home() / ".cache/iostrata")) / "readers"
SCRIPT = [READERS / "node", READERS / "js" / "read.mjs"]
COMMANDS = {"arrow-go": [READERS / "go"], "parquet-go": [READERS / "go"], "hyparquet": SCRIPT, "parquet-wasm": SCRIPT}


def counts(capture):
    """Returns rows by table, on which all readers agree. No table may be missing for any of them."""
    found = {}
    for table in TABLES:
        files = f"{capture}/{table}/*.parquet"
        rows = {duckdb.sql(f"select count(*) from '{files}'").fetchall()[0][0], polars.read_parquet(files).height,
                pyarrow.dataset.dataset(capture / table).count_rows(), len(pandas.read_parquet(capture / table))}
        assert len(rows) == 1, (table, rows)
        found[table] = rows.pop()
    return found


def test_a_table_without_rows_can_be_queried(disk, record, tmp_path):
    """A table without rows can be queried: of layers that were not selected, or cannot be captured on the kernel, and tables without
    events."""
    capture = record("--layers", "block", "--", "dd", "if=/dev/zero", f"of={disk.mount}/x", "bs=4k", "count=8", "oflag=direct", "status=none").finish()
    rows = counts(capture.directory)
    assert rows["block"] > 0 and rows["clock"] > 0 and rows["loss"] == rows["syscall"] == rows["vfs"] == rows["fs"] == rows["share"] == 0


def test_a_capture_that_is_recovered_has_every_table(disk, record, tmp_path):
    recorder = record("--layers", "block", "--device", disk.name, "--flush-interval", "200ms")
    wait_for(lambda: list(recorder.out.glob("clock/.part-*.groups")))
    recorder.process.send_signal(signal.SIGKILL)
    recorder.process.wait()
    assert run(BIN / "iostrata-analyze", "recover", recorder.out).returncode == 0
    assert counts(recorder.out)["vfs"] == 0
    listed = {line.split('"file":"')[1].split("/")[0] for line in (recorder.out / "parts.jsonl").read_text().splitlines() if '"file":"' in line}
    assert listed == set(TABLES)


def test_an_import_has_every_table(tmp_path):
    (tmp_path / "trace.csv").write_text("0,R,0,512,1577808000000000\n")
    made = run(BIN / "iostrata-analyze", "import", "--format", "alibaba", "--out", tmp_path / "capture", tmp_path / "trace.csv")
    assert made.returncode == 0, made.stderr
    rows = counts(tmp_path / "capture")
    assert rows == dict.fromkeys(TABLES, 0) | {"block": 1, "clock": 2}


def test_pandas_reads_every_value_exactly_whatever_is_asked_for(tmp_path):
    """pandas reads every value exactly for any query: without metadata it converts nullable integers to floats."""
    out = tmp_path / "capture"
    subprocess.run([BIN / "iostrata-generate", "--events", "20000", "--out", out], check=True, capture_output=True)
    missing = 0
    for table in TABLES:
        truth = duckdb.sql(f"select * from '{out}/{table}/*.parquet'").fetchall()
        for options in ({}, {"dtype_backend": "pyarrow"}, {"dtype_backend": "numpy_nullable"}):
            frame = pandas.read_parquet(out / table, **options)
            rows = [tuple(None if pandas.isna(value) else value for value in row) for row in frame.itertuples(index=False, name=None)]
            assert rows == truth, (table, options)
            assert not [name for name, kind in frame.dtypes.items() if str(kind).startswith("float")], table
        missing += sum(value is None for row in truth for value in row)
    assert missing > 1000


@pytest.mark.parametrize("backend", ["pyarrow", "numpy_nullable"])
def test_pandas_reads_nullable_nanoseconds_exactly_with_a_nullable_back_end(backend):
    """pandas reads nullable nanoseconds exactly with a nullable back end, from an older capture without metadata: by default such a column
    becomes floats, which cannot represent nanoseconds since 1970."""
    query = f"select start_ns from '{FIXTURE}/block/*.parquet'"
    truth = [ns for ns, in duckdb.sql(query).fetchall()]
    assert None in truth
    frame = pandas.read_parquet(FIXTURE / "block", engine="pyarrow", dtype_backend=backend)
    assert [None if pandas.isna(ns) else int(ns) for ns in frame["start_ns"]] == truth
    floats = pandas.read_parquet(FIXTURE / "block", engine="pyarrow")["start_ns"]
    assert floats.dtype == float and [None if pandas.isna(ns) else int(ns) for ns in floats] != truth


def as_text(value):
    """Returns a value as the programs in tests/readers print it: numbers of JavaScript are not exact."""
    return value if value is None else str(value).lower() if isinstance(value, bool) else str(value)


@pytest.fixture(scope="module")
def generated(generate):
    return generate("--events", 20_000, "--part-size", "256KiB")


@pytest.mark.skipif(not (READERS / "pins").exists(), reason="scripts/setup.sh could not build the readers of npm and Go")
@pytest.mark.parametrize("reader", COMMANDS)
@pytest.mark.parametrize("which", ["recorded", "generated"])
def test_readers_of_npm_and_go_have_every_value(reader, which, generated):
    """Every value of every table, in each of the encodings that the recorder chooses by column."""
    capture, rows = FIXTURE if which == "recorded" else generated, 0
    for table in TABLES:
        files = sorted((capture / table).glob("*.parquet"))
        truth = [[as_text(value) for value in row] for file in files for row in duckdb.sql(f"select * from '{file}'").fetchall()]
        done = run(*COMMANDS[reader], reader, *files)
        assert done.returncode == 0, done.stderr
        assert [json.loads(line) for line in done.stdout.splitlines()] == truth, table
        rows += len(truth)
    assert rows > 1_000
