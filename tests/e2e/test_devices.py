"""Devices that cannot be checked against kernel counters, or only within bounds: the result of an analysis must not depend on that."""

import contextlib
import csv
import re
import subprocess
import time
from pathlib import Path

import pytest
from conftest import analyze, require, run

MIB = 1 << 20


@pytest.fixture
def loop(loop):
    yield loop
    keep_count(loop, True)


def keep_count(loop, on):
    Path(f"/sys/block/{loop.name}/queue/iostats").write_text("1" if on else "0")


def write(device, mebibytes, seek=0):
    return ["dd", "if=/dev/zero", f"of={device}", "bs=1M", f"count={mebibytes}", f"seek={seek}", "oflag=direct", "conv=notrunc"]


def table(command, capture, tmp_path, name=None):
    """Returns the rows of a command's CSV."""
    out = tmp_path / f"results-{command}"
    result = analyze(command, capture.directory, "--out", out)
    assert result.returncode in (0, 3), result.stderr
    with open(out / f"{name or command}.csv", newline="") as lines:
        return list(csv.DictReader(lines))


def quality(capture, tmp_path, check):
    [row] = [row for row in table("quality", capture, tmp_path) if row["check"] == check]
    return row


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


def test_a_disk_that_keeps_no_count_is_told_to_have_no_witness(loop, record, tmp_path):
    keep_count(loop, False)
    recorder = record("--device", loop.name)
    subprocess.run(write(loop.device, 8), check=True, capture_output=True)
    capture = recorder.stop()
    [book] = capture.manifest["device_books"]
    assert (book["counting"], book["kernel"]["write_bytes"], book["uncounted"]["write_bytes"]) == ("never", 0, 8 * MIB)
    assert "not checked against kernel counters" in recorder.text and f"{8 * MIB} B" in recorder.text
    found = quality(capture, tmp_path, "devices")
    assert found["verdict"] == "note" and "are not checked" in found["found"]
    assert f"{8 * MIB} bytes" in found["found"]


def test_a_disk_that_stops_counting_while_it_is_recorded_is_noticed(loop, record, tmp_path):
    recorder = record("--device", loop.name)
    subprocess.run(write(loop.device, 8), check=True, capture_output=True)
    keep_count(loop, False)
    subprocess.run(write(loop.device, 8, seek=8), check=True, capture_output=True)
    keep_count(loop, True)
    capture = recorder.stop()
    [book] = capture.manifest["device_books"]
    assert (book["counting"], book["balanced"]) == ("partly", True)
    assert (book["rows"]["write_bytes"], book["uncounted"]["write_bytes"]) == (8 * MIB, 8 * MIB)
    [row] = [row for row in table("summary", capture, tmp_path) if row["system"] == "dd"]
    assert int(row["block_write_bytes"]) == 16 * MIB
    found = quality(capture, tmp_path, "devices")
    assert found["verdict"] == "note" and "was changed during the recording" in found["found"]


@contextlib.contextmanager
def running(*command):
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.moments
def test_a_recording_within_a_load_has_narrow_edges_and_says_what_the_counters_allow(loop, record, tmp_path):
    """A recording during a continuous load has narrow edges, and states the range that the counters allow."""
    fio = [require("fio"), "--name=load", f"--filename={loop.device}", "--rw=randwrite", "--bs=4k", "--direct=1", "--ioengine=psync",
           "--size=64M", "--time_based", "--runtime=300"]
    with running(*fio):
        before = loop.stat()["write_ops"]
        while loop.stat()["write_ops"] == before:
            time.sleep(0.01)
        recorder = record("--device", loop.name, "--duration", "4s", wait=False)
        capture = recorder.finish()
    [book] = capture.manifest["device_books"]
    assert book["balanced"] and book["edges"]["write_bytes"] > 0, book
    share = book["edges"]["write_bytes"] / (book["edges"]["write_bytes"] + book["kernel"]["write_bytes"])
    assert share < 0.1, book
    [line] = [line for line in recorder.text.splitlines() if line.startswith("device") and f"{loop.name}:" in line]
    least, most = book["kernel"]["write_bytes"], book["kernel"]["write_bytes"] + book["edges"]["write_bytes"]
    assert re.search(rf"writes \(\d+ B\) captured, .*kernel counted .* \({least} to {most} B\)", line), line
    assert line.endswith(": consistent"), line
    found = quality(capture, tmp_path, "devices")
    if share > 0.01:
        assert found["verdict"] == "note" and f"{least} to {most} written" in found["found"]
    else:
        assert found["verdict"] == "good"


def test_synchronous_writes_with_flushes_agree_to_the_byte(loop, record):
    """Synchronous writes with flushes agree to the byte: each write is a flush sequence with separate completions of data and end, and
    either may be missed."""
    before = loop.stat()
    recorder = record("--device", loop.name)
    fio = run(require("fio"), "--name=sync", f"--filename={loop.device}", "--rw=randwrite", "--bs=4k", "--direct=1", "--sync=dsync",
              "--size=4M", "--fdatasync=4", "--number_ios=1000")
    assert fio.returncode == 0, fio.stderr
    after = loop.stat()
    capture = recorder.stop(expected=0)
    capture.check_books()
    written = after["write_bytes"] - before["write_bytes"]
    assert capture.one("select sum(bytes)::bigint from {block} where op = 'write'") == (written,)
    assert capture.one("select count(*) from {block} where op = 'write' and bytes = 0") == (0,)
    book = capture.check_device(loop.name)
    assert book["rows"]["write_bytes"] == book["kernel"]["write_bytes"]
    assert capture.lost() == 0, "what nobody saw end is a row"
    ops = capture.one("select count(*) from {block} where op in ('write', 'flush')")[0]
    assert ops + book["unseen_flushes"] == after["write_ops"] - before["write_ops"]


@pytest.fixture
def zram(recordable):
    """A zram device of 64 MiB for one test."""
    control = Path("/sys/class/zram-control")
    if not control.exists():
        pytest.skip("this kernel has no zram")
    number = (control / "hot_add").read_text().strip()
    Path(f"/sys/block/zram{number}/disksize").write_text(str(64 * MIB))
    yield f"zram{number}"
    (control / "hot_remove").write_text(number)


def sectors(name):
    fields = [int(word) for word in Path(f"/sys/block/{name}/stat").read_text().split()]
    return fields[2] * 512, fields[6] * 512


def test_a_device_that_makes_no_requests_has_rows_of_bios(zram, record, tmp_path):
    before = sectors(zram)
    capture = record("--device", zram, "--", *write(f"/dev/{zram}", 4), wait=False).finish()
    after = sectors(zram)
    assert after[1] - before[1] == 4 * MIB
    rows = capture.sql("select op, comm, class, evidence, sum(bytes)::bigint, sum(owned_bytes)::bigint, count(dur_ns) = count(*) from {block} group by all")
    assert rows == [("write", "dd", "data", "direct", 4 * MIB, 4 * MIB, True)]
    [row] = [row for row in table("summary", capture, tmp_path) if row["system"] == "dd"]
    assert (row["block_write_bytes"], row["write_amp_bytes"]) == (str(4 * MIB), "1.0")
    latency = [row for row in table("summary", capture, tmp_path, "latency") if row["layer"] == "block"]
    assert latency, "how long a bio took is known"


def test_the_rows_of_bios_are_held_against_the_counters_of_their_driver(zram, record, tmp_path):
    recorder = record("--device", zram)
    subprocess.run(write(f"/dev/{zram}", 4), check=True, capture_output=True)
    subprocess.run(["dd", f"if=/dev/{zram}", "of=/dev/null", "bs=1M", "count=2", "iflag=direct"], check=True, capture_output=True)
    capture = recorder.stop()
    [book] = capture.manifest["device_books"]
    assert book["hands_bios_on"] and book["balanced"], book
    assert (book["kernel"]["read_bytes"], book["kernel"]["write_bytes"]) == (2 * MIB, 4 * MIB)
    assert (book["rows"]["read_bytes"], book["rows"]["write_bytes"]) == (2 * MIB, 4 * MIB)
    found = quality(capture, tmp_path, "devices")
    assert found["verdict"] == "note" and "its rows are bios" in found["found"]


def test_a_file_system_on_such_a_device_has_its_owners(zram, record, tmp_path):
    run(require("mkfs.ext4"), "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", f"/dev/{zram}", check=True)
    mount = tmp_path / "mnt"
    mount.mkdir()
    subprocess.run(["mount", "-o", "no_prefetch_block_bitmaps", f"/dev/{zram}", mount], check=True)
    try:
        subprocess.run(["sync", "-f", mount], check=True)
        recorder = record("--device", zram)
        subprocess.run(["dd", "if=/dev/zero", f"of={mount}/file", "bs=64k", "count=32", "conv=fsync"], check=True, capture_output=True)
        capture = recorder.stop()
    finally:
        subprocess.run(["umount", mount], check=True)
    assert capture.one("select sum(owned_bytes)::bigint from {block} where class = 'data' and comm = 'dd' and op = 'write'") == (2 * MIB,)
    assert capture.one("select sum(bytes) > 0 from {block} where class = 'journal'") == (True,)


def test_the_journal_reads_nothing_that_it_is_about_to_write(disk, record, tmp_path):
    """jbd2's thread brings blocks of its log into the cache of the device without reading them."""
    recorder = record("--device", disk.name)
    before = disk.stat()["read_bytes"]
    subprocess.run(["dd", "if=/dev/zero", f"of={disk.mount}/file", "bs=4k", "count=50", "oflag=sync"], check=True, capture_output=True)
    read = disk.stat()["read_bytes"] - before
    capture = recorder.stop()
    pages = dict(capture.sql("select op, sum(bytes)::bigint from {fs} where comm like 'jbd2/%' and op in ('fill', 'fill_write') group by all"))
    assert pages.get("fill_write", 0) > 0, "the journal had to take blocks of its log into the cache"
    assert pages.get("fill", 0) == 0 and capture.one("select coalesce(sum(bytes), 0) from {block} where op = 'read'")[0] == read
