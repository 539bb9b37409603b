"""Devices whose counters are no witness, or one with room: what is for the comparison alone must not change the answer."""

import csv
import subprocess
from pathlib import Path

import pytest
from conftest import Loop, analyze

MIB = 1 << 20


@pytest.fixture
def loop(recordable, tmp_path):
    loop = Loop(tmp_path)
    yield loop
    keep_count(loop, True)
    loop.close()


def keep_count(loop, on):
    Path(f"/sys/block/{loop.name}/queue/iostats").write_text("1" if on else "0")


def write(device, mebibytes, seek=0):
    return ["dd", "if=/dev/zero", f"of={device}", "bs=1M", f"count={mebibytes}", f"seek={seek}", "oflag=direct", "conv=notrunc"]


def table(command, capture, tmp_path, name=None):
    """The rows of a command's CSV."""
    out = tmp_path / f"results-{command}"
    result = analyze(command, capture.directory, "--out", out)
    assert result.returncode in (0, 3), result.stderr
    with open(out / f"{name or command}.csv", newline="") as lines:
        return list(csv.DictReader(lines))


def total(rows, column, **wanted):
    return sum(int(row[column] or 0) for row in rows if all(row[key] == value for key, value in wanted.items()))


def test_a_disk_that_keeps_no_count_counts_in_every_analysis(loop, record, tmp_path):
    keep_count(loop, False)
    recorder = record("--device", loop.name, "--", *write(loop.device, 32), wait=False)
    capture = recorder.finish()
    requests, moved = capture.one("select count(*), sum(bytes)::bigint from {block} where op = 'write'")
    assert (moved, capture.one("select count(*) from {block} where flags & 512 = 0")) == (32 * MIB, (0,))
    [row] = [row for row in table("summary", capture, tmp_path) if row["system"] == "dd"]
    assert (int(row["block_write_ops"]), int(row["block_write_bytes"])) == (requests, 32 * MIB)
    assert {row[f"write_amp_bytes{bound}"] for bound in ("", "_low", "_high")} == {"1.0"}
    # Every analysis has the same requests.
    top = table("top", capture, tmp_path)
    assert total(top, "write_bytes", scope="device", layer="block") == 32 * MIB
    assert total(top, "write_ops", scope="device", layer="block") == requests
    assert total(table("sizes", capture, tmp_path), "ops", layer="block", direction="write") == requests
    heat = table("heatmap", capture, tmp_path, "heatmap_offset")
    assert (total(heat, "ops"), total(heat, "bytes")) == (requests, 32 * MIB)
    assert total(table("pattern", capture, tmp_path), "ops", layer="block", scope="device", direction="write") == requests
    [footprint] = [row for row in table("footprint", capture, tmp_path) if row["layer"] == "block" and row["scope"] == "device"]
    assert (int(footprint["footprint_bytes"]), int(footprint["write_blocks"])) == (32 * MIB, 32 * MIB // 4096)
    latency = [row for row in table("summary", capture, tmp_path, "latency") if (row["layer"], row["op"]) == ("block", "write")]
    assert {int(row["count"]) for row in latency if row["phase"] == "total"} == {requests}, latency
    for command in ("queue", "arrivals"):
        rows = [row for row in table(command, capture, tmp_path) if row["layer"] == "block"]
        assert rows and max(int(row["ops"]) for row in rows) == requests, rows


def test_the_journal_reads_nothing_that_it_is_about_to_write(disk, record, tmp_path):
    """jbd2's thread takes blocks of its log into the cache of the device, which reads none of them."""
    recorder = record("--device", disk.name)
    before = disk.stat()["read_bytes"]
    subprocess.run(["dd", "if=/dev/zero", f"of={disk.mount}/file", "bs=4k", "count=50", "oflag=sync"], check=True, capture_output=True)
    read = disk.stat()["read_bytes"] - before
    capture = recorder.stop()
    pages = dict(capture.sql("select op, sum(bytes)::bigint from {fs} where comm like 'jbd2/%' and op in ('fill', 'fill_write') group by all"))
    assert pages.get("fill_write", 0) > 0, "the journal had to take blocks of its log into the cache"
    assert pages.get("fill", 0) == 0 and capture.one("select coalesce(sum(bytes), 0) from {block} where op = 'read'")[0] == read
