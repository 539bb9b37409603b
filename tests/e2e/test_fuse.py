"""I/O of a daemon for calls on its FUSE file system is counted once in totals: bindfs, from Debian, forwards each call."""

import csv
import os
import subprocess

import pytest
from conftest import analyze, require, wait_for

KIB = 1024
BYTES = 4096 * KIB

# A cold read and a synced write of one file through the file system of a daemon.
WORK = """
{bindfs} -f --no-allow-other "$1" "$2" & daemon=$!
while ! mountpoint -q "$2"; do sleep 0.05; done
dd if=/dev/zero of="$2/written" bs=64k count=64 conv=fsync status=none
dd if="$2/cold" of=/dev/null bs=64k status=none
umount "$2"
wait $daemon
"""


@pytest.fixture
def bound(disk):
    """A directory with an uncached file, and a mount point for it."""
    source, target = disk.mount / "source", disk.mount / "target"
    source.mkdir()
    target.mkdir()
    (source / "cold").write_bytes(os.urandom(BYTES))
    disk.settle()
    return source, target


def tables(capture, out):
    # With selected processes, the loop device is a disk like the one that programs are read from.
    told = analyze("report", capture.directory, "--out", out)
    assert told.returncode == 0, told.stderr
    def read(name):
        return list(csv.DictReader((out / name).open()))

    return {row["system"]: row for row in read("summary.csv")}, read("amplification.csv"), read("timeline.csv"), told.stdout


def test_calls_on_fuse_and_those_of_its_daemon_are_counted_once(disk, bound, record, tmp_path):
    capture = record("--", "sh", "-c", WORK.format(bindfs=require("bindfs")), "work", *bound).finish()
    summary, amplification, timeline, said = tables(capture, tmp_path / "out")
    daemon, total = summary["bindfs"], summary["(total)"]
    for direction in ("read", "write"):
        column = f"syscall_{direction}_bytes"
        # Both rows are shown, each with its own I/O.
        assert int(summary["dd"][column]) >= BYTES and int(daemon[column]) >= BYTES
        everyone = sum(int(row[column]) for system, row in summary.items() if system != "(total)")
        assert int(total[column]) == everyone - int(daemon[column]) and total[f"served_{direction}_bytes"] == daemon[column]
        assert sum(int(window[column]) for window in timeline) == int(total[column])
        of_total, = (row for row in amplification if row["scope"] == "total" and row["direction"] == direction)
        assert int(of_total["call_bytes"]) == int(total[column])
        # All I/O of the daemon may have been its own: the bounds include that.
        assert float(of_total["amplification_low"]) <= int(of_total["device_bytes"]) / everyone < float(of_total["amplification"])
        low = float(total[f"{direction}_amp_bytes_low"])
        assert low == pytest.approx(int(total[f"block_{direction}_bytes"]) / everyone)
    # The written file reaches the device once.
    dev, = (device["dev"] for device in capture.manifest["devices"] if device["name"] == disk.name)
    data, written = capture.one(f"""
        select sum(bytes) filter (class = 'data'), sum(bytes) from {{block}} where op = 'write' and dev = {dev}""")
    # The total also has the journal of the disk that the programs are read from, to which others may write.
    assert data == BYTES and written < 1.2 * BYTES, (written, total)
    assert float(total["write_amp_bytes"]) == pytest.approx(int(total["block_write_bytes"]) / int(total["syscall_write_bytes"]))
    assert "counted once: FUSE daemons serve calls" in said


def test_a_daemon_that_is_recorded_alone_counts(disk, bound, record, tmp_path):
    """A daemon that is recorded alone is counted: its calls are then the topmost recorded ones."""
    source, target = bound
    daemon = subprocess.Popen([require("bindfs"), "-f", "--no-allow-other", source, target])
    try:
        wait_for(lambda: os.path.ismount(target))
        recorder = record("--pid", str(daemon.pid))
        subprocess.run(["dd", "if=/dev/zero", f"of={target}/written", "bs=64k", "count=64", "conv=fsync", "status=none"], check=True)
        capture = recorder.stop()
    finally:
        subprocess.run(["umount", target], check=False)
        daemon.wait()
    assert capture.manifest["servers"] == [{"pid": daemon.pid, "start_ns": capture.one(f"select max(start_ns) from {{process}} where pid = {daemon.pid}")[0]}]
    summary, *_ = tables(capture, tmp_path / "out")
    assert summary["(total)"]["syscall_write_bytes"] == summary["bindfs"]["syscall_write_bytes"] == str(BYTES)
    assert summary["(total)"]["served_write_bytes"] == "0"
