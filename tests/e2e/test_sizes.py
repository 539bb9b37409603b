"""Sizes of operations, against DuckDB, and for a workload with known sizes."""

import csv

import duckdb
import pytest
from conftest import ROOT, analyze

FIXTURE = ROOT / "tests/fixtures/debian-6.12-nvme"
OPS = {"read": ("read", "pread64", "readv", "preadv"), "write": ("write", "pwrite64", "writev", "pwritev", "flush")}


def sizes(capture, out, *selection):
    """Returns the rows of `sizes.csv`."""
    result = analyze("sizes", capture, "--out", out, *selection)
    assert result.returncode == 0, result.stderr
    with open(out / "sizes.csv", newline="") as lines:
        return list(csv.DictReader(lines))


def expected(capture, layer, way):
    """Returns, by the maximum size of the class: operations, bytes, bios, average and exact percentiles, where there are enough values."""
    size = "bytes" if layer == "block" else "greatest(ret, 0)"
    bios = "sum(bios)" if layer == "block" else "null"
    # Only calls on regular files and block devices count as data.
    data = "true" if layer == "block" else "fd_kind in ('regular', 'block')"
    query = f"""select case when {size} = 0 then 0 else (2 ** ceil(log2({size})))::bigint end as class, count(*), sum({size}), {bios},
        avg(dur_ns), max(dur_ns), count(dur_ns), quantile_disc(dur_ns, [0.5, 0.9, 0.99])
        from read_parquet('{capture}/{layer}/*.parquet') where op in {OPS[way]} and {data} group by all"""
    return {of: values for of, *values in duckdb.connect().execute(query).fetchall()}


@pytest.mark.parametrize("layer", ["syscall", "vfs", "block"])
@pytest.mark.parametrize("way", ["read", "write"])
def test_every_class_is_duckdbs(layer, way, generate, tmp_path):
    capture = generate("--events", 100_000, "--files", 500, "--part-size", "128KiB")
    found = {int(row["to_bytes"]): row for row in sizes(capture, tmp_path) if (row["layer"], row["direction"]) == (layer, way)}
    wanted = expected(capture, layer, way)
    assert found.keys() == wanted.keys() and len(found) > 3
    every = sum(count for count, *_ in wanted.values())
    for most, (count, total, bios, average, longest, timed, exact) in wanted.items():
        row = found[most]
        assert (int(row["ops"]), int(row["bytes"]), int(row["max_ns"])) == (count, total, longest)
        assert int(row["from_bytes"]) == (most // 2 + 1 if most > 1 else most)
        assert float(row["ops_share"]) == pytest.approx(count / every) and abs(int(row["avg_ns"]) - average) <= 0.5
        assert (row["bios_per_request"] == "") == (bios is None)
        assert bios is None or float(row["bios_per_request"]) == pytest.approx(int(bios) / count)
        for name, needs, value in zip(("p50", "p90", "p99"), (2, 10, 100), exact):
            assert (row[f"{name}_ns"] != "") == (timed >= needs)
            assert timed < needs or value <= int(row[f"{name}_ns"]) <= value * 1.001


@pytest.mark.parametrize("way", ["read", "write"])
def test_requests_of_a_real_capture_count_whole_whoever_owns_parts_of_them(way, tmp_path):
    found = {int(row["to_bytes"]): row for row in sizes(FIXTURE, tmp_path) if (row["layer"], row["direction"]) == ("block", way)}
    wanted = expected(FIXTURE, "block", way)
    assert {most: (int(row["ops"]), int(row["bytes"])) for most, row in found.items()} == {
        most: (count, int(total)) for most, (count, total, *_) in wanted.items()}
    for most, (count, _, bios, *_) in wanted.items():
        assert float(found[most]["bios_per_request"]) == pytest.approx(int(bios) / count)
    assert max(float(row["bios_per_request"]) for row in found.values()) > 2, "some were merged"


def test_of_one_process_there_are_its_sizes(tmp_path):
    """Sizes of one process are available: appends of one size all fall into one class."""
    (row,) = sizes(FIXTURE, tmp_path, "--process", "appender", "--layer", "syscall")
    query = f"""select count(*), min(ret), max(ret) from read_parquet('{FIXTURE}/syscall/*.parquet')
        where comm = 'appender' and op = 'write' and fd_kind = 'regular'"""
    count, least, most = duckdb.connect().execute(query).fetchone()
    assert (int(row["ops"]), row["direction"], row["ops_share"]) == (count, "write", "1.0") and least == most
    assert int(row["from_bytes"]) <= least <= int(row["to_bytes"])
