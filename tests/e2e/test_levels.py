"""Stacked devices: every request has its level, and no total adds two levels."""

import shutil
import subprocess
import uuid

import pytest
from conftest import Disk, analyze, run, summary_rows

MIB = 1024 * 1024


@pytest.fixture
def lower(recordable, tmp_path):
    (tmp_path / "lower").mkdir()
    disk = Disk(tmp_path / "lower")
    yield disk
    disk.close()


@pytest.fixture
def upper(lower, tmp_path):
    """A disk with its file on another one: ext4 on loop on ext4 on loop."""
    (tmp_path / "upper").mkdir()
    disk = Disk(tmp_path / "upper", backing=lower.mount)
    # The file's blocks are allocated in advance: otherwise writes to the upper disk also change metadata of the lower one.
    subprocess.run(["fallocate", "-l", str(64 * MIB), disk.mount / "data"], check=True)
    write(disk, "data", 64)
    lower.settle()
    disk.settle()
    yield disk
    disk.close()


def write(disk, name, mebibytes):
    command = f"dd if=/dev/zero of={disk.mount}/{name} bs=1M count={mebibytes} oflag=direct conv=notrunc status=none"
    subprocess.run(command.split(), check=True)


def device(capture, name):
    return next(device for device in capture.manifest["devices"] if device["name"] == name)


def summary(capture, out, *options):
    """Returns the sum of a column over all systems, and the output."""
    result = analyze("summary", capture.directory, "--out", out, *options)
    assert result.returncode == 0, result.stderr
    rows = summary_rows(out / "summary.csv")
    return lambda column: sum(int(row[column]) for row in rows), result.stdout


def moved(before, after):
    return {key: after[key] - before[key] for key in after}


def both(record, *disks):
    return record(*[word for disk in disks for word in ("--device", disk.name)])


def test_no_total_adds_two_levels(lower, upper, record, tmp_path):
    recorder = both(record, lower, upper)
    before = lower.stat(), upper.stat()
    write(upper, "data", 32)
    upper.settle()
    lower.settle()
    below, above = (moved(*stats) for stats in zip(before, (lower.stat(), upper.stat())))
    capture = recorder.stop()

    level = device(capture, lower.name)["level"]
    assert device(capture, upper.name)["on"] == [lower.name]
    assert device(capture, upper.name)["level"] == level + 1
    assert capture.sql("select distinct dev, level from {block} order by level") == [
        (device(capture, lower.name)["dev"], level),
        (device(capture, upper.name)["dev"], level + 1),
    ]
    for disk in (lower, upper):
        capture.check_device(disk.name, busy=True)
    assert below["write_bytes"] >= 32 * MIB and above["write_bytes"] >= 32 * MIB

    columns = ("read_ops", "read_bytes", "write_ops", "write_bytes")
    for options, counters in (((), below), (("--level", str(level)), below), (("--level", str(level + 1)), above)):
        total, text = summary(capture, tmp_path / "results", *options)
        assert {column: total(f"block_{column}") for column in columns} == {column: counters[column] for column in columns}
        other = above if counters is below else below
        assert f"{other['read_bytes']} bytes read and {other['write_bytes']} written; the totals are of level" in text, text


def test_a_device_alone_is_taken_whatever_its_level(lower, upper, record, tmp_path):
    recorder = both(record, upper)
    before = upper.stat()
    write(upper, "data", 8)
    upper.settle()
    counted = moved(before, upper.stat())
    total, text = summary(recorder.stop(), tmp_path / "results")
    assert total("block_write_bytes") == counted["write_bytes"] >= 8 * MIB
    assert "excluded: " not in text


def test_a_device_that_appears_later_has_its_level(lower, record, tmp_path):
    recorder = record("--comm", "dd")
    (tmp_path / "later").mkdir()
    later = Disk(tmp_path / "later", backing=lower.mount)
    try:
        write(later, "data", 4)
        capture = recorder.stop()
    finally:
        later.close()
    assert later.name not in [device["name"] for device in capture.manifest["devices"]]
    levels = dict(capture.sql("select dev, level from {block} where op = 'write' and bytes >= 65536 group by all"))
    levels.pop(lower.number, None)
    assert list(levels.values()) == [device(capture, lower.name)["level"] + 1]


def test_a_disk_without_others_below_is_the_lowest(disk, record, tmp_path):
    """A disk without others below has the lowest level: the file of a loop device in memory is on no disk."""
    shm = subprocess.run(["findmnt", "-no", "FSTYPE", "/dev/shm"], capture_output=True, text=True, check=False).stdout.split()
    if not shm or shm[-1] != "tmpfs":
        pytest.skip("/dev/shm is not tmpfs here")
    image = f"/dev/shm/iostrata-{uuid.uuid4()}"
    try:
        subprocess.run(["truncate", "-s", "16M", image], check=True)
        name = run("losetup", "-f", "--show", image, check=True).stdout.strip().removeprefix("/dev/")
        capture = record("--duration", "200ms", "--device", name).finish()
        subprocess.run(["losetup", "-d", f"/dev/{name}"], check=True)
    finally:
        subprocess.run(["rm", "-f", image], check=True)
    assert (device(capture, name)["level"], device(capture, name)["on"]) == (0, [])


def why_no_dm():
    if not shutil.which("dmsetup"):
        return "there is no dmsetup here"
    version = run("dmsetup", "version")
    if version.returncode:
        return "this kernel has no dm: " + " ".join(version.stderr.split())
    return None


def test_dm_linear_is_a_level_of_its_own(lower, record, tmp_path):
    """dm-linear is a separate level: its rows are the bios sent to it, which continue to the disk below under that disk's name."""
    if reason := why_no_dm():
        pytest.skip(reason)
    image = tmp_path / "dm.img"
    subprocess.run(["truncate", "-s", "64M", image], check=True)
    below = run("losetup", "-f", "--show", image, check=True).stdout.strip()
    name = f"iostrata-{uuid.uuid4()}"
    try:
        subprocess.run(["dmsetup", "create", name, "--table", f"0 131072 linear {below} 0"], check=True)
        capture = record("--", "dd", "if=/dev/zero", f"of=/dev/mapper/{name}", "bs=1M", "count=16", "oflag=direct").finish()
    finally:
        subprocess.run(["dmsetup", "remove", name], check=False)
        subprocess.run(["losetup", "-d", below], check=False)
    dm = next(device for device in capture.manifest["devices"] if device["name"].startswith("dm-"))
    disk = device(capture, below.removeprefix("/dev/"))
    assert (dm["on"], dm["level"]) == ([disk["name"]], disk["level"] + 1)
    rows = capture.sql("select dev, level, sum(bytes)::bigint from {block} where comm = 'dd' and op = 'write' group by all order by level")
    assert rows == [(disk["dev"], disk["level"], 16 * MIB), (dm["dev"], dm["level"], 16 * MIB)]
