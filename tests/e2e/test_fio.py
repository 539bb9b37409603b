"""fio as an independent check: counts, bytes and percentiles from its JSON, compared with rows of the same operations."""

import csv

import pytest
from conftest import Loop, analyze
from fio import BUCKET, DIGITS, fio

# A rank, its column, and a slightly lower rank, with one operation of a hundred, or three of the longest, in between.
RANKS = {"50": ("p50_ns", "49"), "90": ("p90_ns", "89"), "95": ("p95_ns", "94"), "99": ("p99_ns", "98"), "99.9": ("p999_ns", "99.6")}
PERCENTILE_LIST = sorted({*RANKS, *(lower for _, lower in RANKS.values())}, key=float)
# fio's own time between its two clock readings and the call, for operations of 4 MiB.
FIOS_OWN = 0.05
MIB = 1 << 20


@pytest.fixture
def loop(recordable, public_dir):
    loop = Loop(public_dir, mebibytes=256)
    yield loop
    loop.close()


# Low queue depths: io_uring completes asynchronously, and fio's latency includes the time until it reaps.
@pytest.mark.parametrize("engine, depth, ops", [
    ("psync", 1, {"read": "pread64", "write": "pwrite64"}),
    ("libaio", 4, {"read": "aio_read", "write": "aio_write"}),
    ("io_uring", 2, {"read": "io_uring_read", "write": "io_uring_write"}),
])
@pytest.mark.moments
def test_operations_bytes_and_percentiles_are_fios(engine, depth, ops, loop, record, tmp_path):
    """Operations, bytes and percentiles equal fio's, for synchronous and asynchronous engines.

    For asynchronous engines fio's completion latency excludes the submission (in which a loop device copies): our duration begins with the
    submission, as does fio's total latency.

    By the same clock each operation lies within fio's latency, so for every rank our percentile is no more than fio's. In the other
    direction, delays between fio's clock reading and the call move operations up in fio's ranking: our percentile is no less than fio's of
    a slightly lower rank.
    """
    recorder = record("--device", loop.name, "--comm", "fio", "--layers", "syscall,block")
    [job] = fio(
        "--name=known", f"--filename={loop.device}", "--size=256M", "--io_size=100G", "--number_ios=2500", "--rw=randrw", "--bs=4M",
        "--direct=1", f"--ioengine={engine}", f"--iodepth={depth}", "--scramble_buffers=0", "--clat_percentiles=1", "--lat_percentiles=1",
        "--clocksource=clock_gettime", f"--percentile_list={':'.join(PERCENTILE_LIST)}")
    capture = recorder.stop()
    result = analyze("latency", capture.directory, "--layer", "syscall", "--process", "fio", "--out", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    with open(tmp_path / "out" / "latency.csv", newline="") as lines:
        rows = {row["op"]: row for row in csv.DictReader(lines) if row["phase"] == "total"}
    for direction, op in ops.items():
        fios, row = job[direction], rows[op]
        assert int(row["count"]) == fios["total_ios"] > 1000
        assert capture.one(f"select count(*), sum(ret)::bigint from {{syscall}} where op = '{op}'") == (fios["total_ios"], fios["io_bytes"])
        assert fios["io_bytes"] == 4 * MIB * fios["total_ios"]
        wanted = fios["clat_ns" if engine == "psync" else "lat_ns"]
        known = {f"{float(name):g}": value for name, value in wanted["percentile"].items()}
        for rank, (column, lower) in RANKS.items():
            found = int(row[column])
            assert known[lower] * (1 - FIOS_OWN) <= found <= known[rank] * BUCKET * DIGITS, (direction, rank, found, known)
        assert wanted["mean"] * 0.8 <= int(row["avg_ns"]) <= wanted["mean"] + 1, (direction, row["avg_ns"], wanted["mean"])
