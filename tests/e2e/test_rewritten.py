"""Captures with parts rewritten by another program: the same rows, with another compression, encoding, name and division."""

import shutil
import subprocess

import duckdb
import polars
import pyarrow
import pyarrow.parquet
import pytest
from conftest import BIN, ROOT, TABLES, analyze

FIXTURE = ROOT / "tests" / "fixtures" / "debian-6.12-nvme"


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    """A capture of several row groups per table, and of several parts in some."""
    out = tmp_path_factory.mktemp("generated") / "capture"
    subprocess.run([BIN / "iostrata-generate", "--events", "300000", "--out", out], check=True, capture_output=True)
    return out


def by_pyarrow(**options):
    return lambda path: pyarrow.parquet.write_table(pyarrow.parquet.ParquetFile(path).read(), path, **options)


def by_duckdb(options):
    def write(path):
        duckdb.sql(f"copy (select * from '{path}') to '{path}.new' (format parquet{options})")
        path.with_name(f"{path.name}.new").rename(path)

    return write


def with_columns_added(path):
    table = pyarrow.parquet.ParquetFile(path).read()
    for name, kind in (("note", pyarrow.string()), ("at", pyarrow.timestamp("us")), ("price", pyarrow.decimal128(9, 2)), ("day", pyarrow.date32())):
        table = table.append_column(name, pyarrow.nulls(len(table), kind))
    pyarrow.parquet.write_table(table, path)


def from_the_end(path):
    pyarrow.parquet.write_table(pyarrow.parquet.ParquetFile(path).read().sort_by([("ts_ns", "descending")]), path)


# Changes to a part that keep its name.
PARTS = {
    "pyarrow": by_pyarrow(),
    "pyarrow-zstd": by_pyarrow(compression="zstd"),
    "pyarrow-second-form": by_pyarrow(data_page_version="2.0"),
    "pyarrow-plain": by_pyarrow(compression="none", use_dictionary=False),
    "pyarrow-small-groups": by_pyarrow(row_group_size=5_000),
    "pyarrow-split": by_pyarrow(compression="zstd", use_dictionary=False, column_encoding={"ts_ns": "BYTE_STREAM_SPLIT"}),
    "duckdb": by_duckdb(""),
    "duckdb-zstd": by_duckdb(", compression zstd, row_group_size 20000"),
    "polars": lambda path: polars.read_parquet(path).write_parquet(path),
    "columns-added": with_columns_added,
    "rows-from-the-end": from_the_end,
}


def part_by_part(write):
    return lambda folder: [write(path) for path in sorted(folder.glob("*.parquet"))]


def renamed(folder):
    """File names as written by Spark."""
    for number, path in enumerate(sorted(folder.glob("*.parquet"), reverse=True)):
        path.rename(folder / f"part-{number:05d}-6a1c2f00-c000.snappy.parquet")


def in_one_file(folder):
    """pyarrow copies the footer metadata of the first part, including its number."""
    name = "data.parquet" if folder.name != "block" else "part-000001.parquet"
    paths = sorted(folder.glob("*.parquet"))
    table = pyarrow.concat_tables([pyarrow.parquet.ParquetFile(path).read() for path in paths])
    for path in paths:
        path.unlink()
    pyarrow.parquet.write_table(table, folder / name)


def divided_anew(folder):
    """Two parts with a recorder's names in place of one, both with the number of the first one in their footers."""
    paths = sorted(folder.glob("*.parquet"))
    table = pyarrow.concat_tables([pyarrow.parquet.ParquetFile(path).read() for path in paths])
    for path in paths:
        path.unlink()
    first = len(table) // 3
    pyarrow.parquet.write_table(table[first:], folder / "part-000001.parquet")
    pyarrow.parquet.write_table(table[:first], folder / "part-000002.parquet")


def in_many_files(folder):
    """Names as written by partitioned writers, with their marker files."""
    for path in sorted(folder.glob("*.parquet")):
        table = polars.read_parquet(path)
        path.unlink()
        for number, piece in enumerate(table.iter_slices(max(1, -(-len(table) // 3)))):
            piece.write_parquet(folder / f"{path.stem}_{number}.parquet")
    (folder / "_SUCCESS").touch()
    (folder / "_metadata.parquet").write_bytes(b"of another program")
    (folder / ".part.crc.parquet").write_bytes(b"of another program")


FOLDERS = {name: part_by_part(write) for name, write in PARTS.items()}
FOLDERS |= {"renamed": renamed, "in-one-file": in_one_file, "in-many-files": in_many_files, "divided-anew": divided_anew}


def copy_of(capture, out, change):
    """Returns a copy of the capture with the folder of each table changed by `change`."""
    shutil.copytree(capture, out)
    for table in TABLES:
        change(out / table)
    return out


def results(capture, out, *options):
    """Returns all tables of a report. The description of the rows present differs, in `quality`, `about` and on the page."""
    told = analyze("report", capture, "--out", out, *options)
    assert told.returncode == 0, told.stderr + told.stdout
    return {path.name: path.read_bytes() for path in out.glob("*.csv") if path.name != "quality.csv"}


@pytest.fixture(scope="module")
def original(generated, tmp_path_factory):
    out = tmp_path_factory.mktemp("original")
    return {capture: results(capture, out / capture.name) for capture in (FIXTURE, generated)}


@pytest.mark.parametrize("way", FOLDERS)
def test_results_are_those_of_the_original(way, generated, original, tmp_path):
    for capture in (FIXTURE, generated):
        place = tmp_path / capture.name
        found = results(copy_of(capture, place / "capture", FOLDERS[way]), place / "out")
        assert found.keys() == original[capture].keys() and len(found) > 15
        assert [name for name in found if found[name] != original[capture][name]] == []
        verdict, what = rows_check(place / "capture")
        assert verdict == "note" and "rewritten by another program" in what, what


def test_filtered_rows_are_refused_unless_they_are_asked_for(tmp_path):
    def filter_block(folder):
        part_by_part(by_duckdb(""))(folder)
        if folder.name == "block":
            for path in folder.glob("*.parquet"):
                polars.read_parquet(path).filter(polars.col("op") == "write").write_parquet(path)

    capture = copy_of(FIXTURE, tmp_path / "capture", filter_block)
    whole, there = (polars.read_parquet(place / "block/*.parquet") for place in (FIXTURE, capture))
    said = f"block: {len(there)} of {len(whole)} rows present"
    assert 0 < len(there) < len(whole)
    refused = analyze("summary", capture)
    assert refused.returncode == 3 and f"excluded: {said}" in refused.stdout + refused.stderr, refused
    taken = analyze("summary", capture, "--partial-rows", "--out", tmp_path / "out")
    assert taken.returncode == 3 and f"partial rows: {said}" in taken.stdout + taken.stderr, taken
    [(read, written)] = duckdb.sql(f"select sum(block_read_bytes), sum(block_write_bytes) from '{tmp_path}/out/summary.csv'").fetchall()
    assert (read, written) == (0, there["bytes"].sum())


def rows_check(capture):
    """Returns the check of `quality` on the rows present."""
    out = capture.with_name("quality")
    told = analyze("quality", capture, "--out", out)
    assert told.returncode in (0, 3), told.stderr
    return duckdb.sql(f"select verdict, found from '{out}/quality.csv' q where q.check = 'rows'").fetchall()[0]


@pytest.mark.parametrize("copy", ["backup.parquet", "part-00001-6a1c-c000.snappy.parquet"])
def test_a_copy_of_a_part_is_named_and_not_counted(copy, original, tmp_path):
    capture = copy_of(FIXTURE, tmp_path / "capture", lambda folder: None)
    shutil.copy(capture / "block/part-000001.parquet", capture / "block" / copy)
    verdict, found = rows_check(capture)
    assert verdict == "note" and f"block/{copy} is a copy of block/part-000001.parquet" in found
    assert results(capture, tmp_path / "out") == original[FIXTURE]


@pytest.mark.parametrize("write", ["pyarrow", "duckdb"])
def test_rows_that_are_there_twice_in_a_part_that_was_written_anew_are_too_many(write, tmp_path):
    capture = copy_of(FIXTURE, tmp_path / "capture", lambda folder: None)
    shutil.copy(capture / "block/part-000001.parquet", capture / "block/anew.parquet")
    PARTS[write](capture / "block/anew.parquet")
    rows = len(polars.read_parquet(FIXTURE / "block/*.parquet"))
    told = analyze("summary", capture)
    said = f"excluded: block: {2 * rows} rows present, {rows} written (block/anew.parquet is not in the list of parts)"
    assert told.returncode == 3 and said in told.stdout + told.stderr, told


@pytest.mark.parametrize("table", ["clock", "loss", "process", "block"])
def test_a_file_of_something_else_is_left_alone(table, original, tmp_path):
    capture = copy_of(FIXTURE, tmp_path / "capture", lambda folder: None)
    duckdb.sql(f"copy (select 1 as answer, [1, 2] as list) to '{capture / table}/top.parquet'")
    duckdb.sql(f"copy (select 1 as answer) to '{capture / table}/answer.parquet'")
    verdict, found = rows_check(capture)
    assert verdict == "note" and f"{table}/answer.parquet has no column ts_ns; {table}/top.parquet cannot be read (" in found, found
    assert results(capture, tmp_path / "out") == original[FIXTURE]


def test_a_table_of_the_recorders_own_that_is_there_twice_is_too_much(tmp_path):
    """Two copies of a table that the recorder itself fills are detected: it has no event account, so the list of parts gives the expected
    number of rows."""
    capture = copy_of(FIXTURE, tmp_path / "capture", lambda folder: None)
    pyarrow.parquet.write_table(pyarrow.parquet.ParquetFile(capture / "clock/part-000001.parquet").read(), capture / "clock/all.parquet")
    verdict, found = rows_check(capture)
    assert verdict == "bad" and "written (clock/all.parquet is not in the list of parts)" in found, found


def test_arguments_are_not_left_in_files_that_a_recorder_did_not_write(tmp_path):
    capture = copy_of(FIXTURE, tmp_path / "capture", lambda folder: None)
    shutil.copy(capture / "process/part-000001.parquet", capture / "process/mine.parquet")
    told = analyze("redact", capture)
    assert told.returncode == 1 and "process/mine.parquet: was not written by the recorder and may contain command lines" in told.stderr, told
