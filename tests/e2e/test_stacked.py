"""Devices that remap bios and make no requests, on Debian's 5.10, 6.1 and 6.12 in virtual machines: rows are bios."""

import csv

import pytest
from conftest import Capture, analyze, require, run
from machine import VM, fetch_kernel, make_payload

MIB = 1 << 20


@pytest.fixture(scope="session")
def payload(tmp_path_factory):
    programs = ["dmsetup", "mdadm", "losetup", "mkfs.ext4", f"{require('dd')}=/payload/bin/dd"]
    return make_payload(tmp_path_factory, "stacked/run.sh", *programs)


@pytest.fixture(scope="session", params=["5.10", "6.1", "6.12"])
def booted(request, payload, tmp_path_factory):
    fetch_kernel(request.param)
    out = tmp_path_factory.mktemp("vm") / request.param
    machine = run(VM / "boot.sh", "--kernel", request.param, "--payload", payload, "--out", out,
                  "--modules", "loop dm-mod raid1 raid0 ext4")
    assert machine.returncode == 0, machine.stdout[-4000:] + machine.stderr[-2000:]
    return out


def counted(out, device):
    """Returns the kernel's counters of a device: bytes read and written."""
    def fields(name):
        return [int(word) for word in (out / device / name).read_text().split()]
    before, after = fields("stat.before"), fields("stat.after")
    return tuple((after[at] - before[at]) * 512 for at in (2, 6))


@pytest.mark.parametrize("device", ["dm-0", "md0", "md1"])
def test_a_bio_that_is_handed_on_is_a_row(booted, device, tmp_path):
    capture = Capture(booted / device / "capture")
    capture.check_books()
    assert (booted / device / "record.code").read_text().strip() == "0", (booted / device / "record.txt").read_text()
    rows = capture.sql("select op, comm, class, evidence, level, sum(bytes)::bigint from {block} group by all order by op")
    # Checked against the kernel's own counters of the device. Some kernels look for partitions when a written device is closed.
    read, written = counted(booted, device)
    assert (read - MIB, written) in ((0, 2 * MIB), (4096, 2 * MIB))
    assert rows == [("read", "dd", "data", "direct", 1, read), ("write", "dd", "data", "direct", 1, written)]
    [book] = capture.manifest["device_books"]
    assert book["device"] == device and book["hands_bios_on"] and book["balanced"], book
    assert (book["kernel"]["read_bytes"], book["kernel"]["write_bytes"]) == (read, written)
    # The duration is known where the kernel reports the end, and null elsewhere.
    untimed = capture.one("select count(*) from {block} where dur_ns is null")[0]
    assert untimed == capture.unseen_ends()
    if device != "md1":
        assert untimed == 0
    assert capture.one("select count(*) from {block} where dur_ns <= 0 or queue_ns is not null or insert_ns is not null") == (0,)
    results = tmp_path / "results"
    assert analyze("summary", capture.directory, "--out", results).returncode == 0
    with open(results / "summary.csv", newline="") as lines:
        [system] = [row for row in csv.DictReader(lines) if row["system"] == "dd"]
    assert (system["block_read_bytes"], system["block_write_bytes"]) == (str(read), str(written))
    assert (float(system["read_amp_bytes"]), float(system["write_amp_bytes"])) == (read / MIB, 1.0)


def test_what_is_written_back_through_a_stack_is_its_writers_once(booted):
    capture = Capture(booted / "owned/capture")
    rows = capture.one("select sum(bytes)::bigint from {block} where op = 'write' and class = 'data' and comm = 'dd' and level = 1")
    assert rows == (MIB,), (booted / "owned/record.txt").read_text()
    began, ended = (int((booted / "owned" / name).read_text()) for name in ("began", "ended"))
    # The wait ends when everything is written back, which the kernel does within 35 s; without that event it would take 40 s and report it.
    assert "not written back" not in (booted / "owned/record.txt").read_text() and ended - began < 120
