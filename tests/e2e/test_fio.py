"""fio as the witness: its own counts, bytes and percentiles, from its JSON, against ours of the same operations."""

import csv

import pytest
from conftest import Loop, analyze
from fio import fio

# fio's percentiles are middles of buckets that are a 64th wide.
WITHIN = 0.02
PERCENTILES = {"50": "p50_ns", "90": "p90_ns", "95": "p95_ns", "99": "p99_ns", "99.9": "p999_ns"}
MIB = 1 << 20


@pytest.fixture
def loop(recordable, public_dir):
    loop = Loop(public_dir, mebibytes=256)
    yield loop
    loop.close()


# Few under way: io_uring completes where nobody looks, and fio's time goes on until it does.
@pytest.mark.parametrize("engine, depth, ops", [
    ("psync", 1, {"read": "pread64", "write": "pwrite64"}),
    ("libaio", 4, {"read": "aio_read", "write": "aio_write"}),
    ("io_uring", 2, {"read": "io_uring_read", "write": "io_uring_write"}),
])
def test_operations_bytes_and_percentiles_are_fios(engine, depth, ops, loop, record, tmp_path):
    """
    Of what waits and what does not. Where it does not, fio's completion latency leaves out the submission (in which a loop device
    copies): ours begins where that begins, as does fio's total latency.
    """
    recorder = record("--device", loop.name, "--comm", "fio", "--layers", "syscall,block")
    [job] = fio(
        "--name=known", f"--filename={loop.device}", "--size=256M", "--io_size=100G", "--number_ios=2500", "--rw=randrw", "--bs=4M",
        "--direct=1", f"--ioengine={engine}", f"--iodepth={depth}", "--scramble_buffers=0", "--clat_percentiles=1", "--lat_percentiles=1",
        f"--percentile_list={':'.join(PERCENTILES)}")
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
        apart = {name: int(row[column]) / known[name] - 1 for name, column in PERCENTILES.items()}
        apart["mean"] = int(row["avg_ns"]) / wanted["mean"] - 1
        assert all(abs(part) <= WITHIN for part in apart.values()), (engine, direction, apart)
