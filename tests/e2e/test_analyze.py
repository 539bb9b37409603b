"""The analyzer's numbers against DuckDB's own over the same Parquet files."""

import csv
import math
import shutil
import subprocess
import sys

import pytest
from conftest import BIN, ROOT, Capture, analyze, run

FIXTURE = ROOT / "tests/fixtures/debian-6.12-nvme"


def table(directory, name):
    with open(directory / name, newline="") as file:
        return list(csv.DictReader(file))


def summarized(capture, out, *options):
    result = analyze("summary", capture, "--out", out, *options)
    assert result.returncode == 0, result.stderr
    return {row["system"]: row for row in table(out, "summary.csv")}


def test_sums_are_duckdbs_sums(tmp_path):
    """Systems of the fixture are command names, or classes of what nobody owns, so each is one GROUP BY."""
    rows = summarized(FIXTURE, tmp_path)
    capture = Capture(FIXTURE)
    compared = 0
    for layer, done in (("syscall", "greatest(ret, 0)"), ("vfs", "greatest(ret, 0)"), ("block", "bytes")):
        kinds = {"read": "'read', 'pread64', 'readv'", "write": "'write', 'pwrite64', 'writev', 'flush', 'write_zeroes'"}
        for direction, ops in kinds.items():
            where = "" if layer == "block" else "and fd_kind in ('regular', 'block')"
            nobodys = "case when class in ('data', 'readahead') then '(unknown)' else '(' || class || ')' end"
            system = f"coalesce(comm, {nobodys})" if layer == "block" else "comm"
            sums = capture.sql(
                f"select {system}, count(*), sum({done})::bigint, avg(dur_ns) from {{{layer}}} where op in ({ops}) {where} group by 1"
            )
            for comm, count, total, mean in sums:
                row = rows[comm.split("/")[0]]
                assert int(row[f"{layer}_{direction}_ops"]) == count
                assert int(row[f"{layer}_{direction}_bytes"]) == total
                assert abs(int(row[f"{layer}_{direction}_avg_ns"]) - mean) <= 1
                compared += 1
    assert compared >= 6


def nearest_rank(values, quantile):
    return sorted(values)[max(math.ceil(quantile * len(values)), 1) - 1]


def test_percentiles_are_the_nearest_rank_of_duckdbs_values(tmp_path):
    summarized(FIXTURE, tmp_path, "--exact")
    capture = Capture(FIXTURE)
    values = [v for (v,) in capture.sql("select dur_ns from {syscall} where comm = 'dd' and op = 'write'")]
    row = next(r for r in table(tmp_path, "latency.csv") if (r["system"], r["layer"], r["op"]) == ("dd", "syscall", "write"))
    assert int(row["count"]) == len(values)
    assert (int(row["min_ns"]), int(row["max_ns"])) == (min(values), max(values))
    for column, quantile in (("p50_ns", 0.5), ("p90_ns", 0.9), ("p99_ns", 0.99)):
        assert int(row[column]) == nearest_rank(values, quantile), column
    assert row["p9999_ns"] == "", "no p99.99 of a few hundred values"


def test_the_device_phase_is_what_queue_and_insert_leave(tmp_path):
    summarized(FIXTURE, tmp_path, "--exact")
    expected = Capture(FIXTURE).one(
        "select count(*), max(dur_ns - queue_ns - coalesce(insert_ns, 0)) from {block} where comm = 'dd' and op = 'read'"
    )
    rows = table(tmp_path, "latency.csv")
    row = next(r for r in rows if (r["system"], r["layer"], r["op"], r["phase"]) == ("dd", "block", "read", "device"))
    assert (int(row["count"]), int(row["max_ns"])) == expected


def test_any_number_of_threads_gives_the_same_bytes(tmp_path):
    for threads in ("1", "2", "7"):
        summarized(FIXTURE, tmp_path / threads, "--threads", threads)
    for name in ("summary.csv", "latency.csv"):
        assert len({(tmp_path / threads / name).read_bytes() for threads in ("1", "2", "7")}) == 1


def test_a_layer_that_was_not_captured_is_an_empty_cell(disk, record, tmp_path):
    recorder = record("--layers", "block", "--device", disk.name)
    subprocess.run(["dd", "if=/dev/zero", f"of={disk.mount}/x", "bs=4k", "count=9", "oflag=direct", "status=none"], check=True)
    capture = recorder.stop()
    row = summarized(capture.directory, tmp_path / "out")["dd"]
    assert row["block_write_ops"] == "9" and row["syscall_write_ops"] == "" and row["vfs_write_ops"] == ""
    assert row["write_amp_bytes"] == "" and row["write_amp_ops"] == ""


def test_a_truncated_part_is_named(tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(FIXTURE, copy)
    part = next((copy / "block").glob("*.parquet"))
    part.write_bytes(part.read_bytes()[:-10])
    result = analyze("summary", copy)
    assert result.returncode == 1
    assert result.stderr.startswith(f"iostrata-analyze: {part}: ") and result.stderr.count("\n") == 1


def test_every_table_is_read_by_duckdb_pandas_and_pyarrow():
    import pandas
    import pyarrow.dataset

    capture = Capture(FIXTURE)
    for part in capture.manifest["parts"]:
        path = FIXTURE / part["file"]
        assert len(pandas.read_parquet(path)) == part["rows"]
        assert pyarrow.dataset.dataset(path).count_rows() == part["rows"]
    for name in ("syscall", "vfs", "block", "process"):
        rows = sum(part["rows"] for part in capture.manifest["parts"] if part["table"] == name)
        assert capture.one(f"select count(*) from {{{name}}}") == (rows,)


@pytest.mark.parametrize("program", ["iostrata", "iostrata-analyze"])
def test_programs_say_what_they_can(program):
    result = run(BIN / program, "--help")
    assert result.returncode == 0 and "Exit codes" in result.stdout


def test_the_notebook_draws_its_figure(tmp_path):
    summarized(FIXTURE, tmp_path)
    result = run(ROOT / "notebooks/run", tmp_path, env={"PYTHON": sys.executable, "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)})
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "amplification.png").stat().st_size > 10_000
    assert (tmp_path / "amplification.pdf").read_bytes().startswith(b"%PDF")
