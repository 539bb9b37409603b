"""Pages that a command leaves dirty when it ends are attributed to it at writeback."""

import os
import signal
from pathlib import Path

import pytest
from conftest import wait_for
from proc import children_of

MIB = 1 << 20

SETTINGS = {"dirty_expire_centisecs": "100", "dirty_writeback_centisecs": "100"}


@pytest.fixture
def soon():
    """Sets the kernel's writeback delay to two seconds instead of half a minute."""
    files = {Path("/proc/sys/vm") / name: value for name, value in SETTINGS.items()}
    before = {file: file.read_text() for file in files}
    for file, value in files.items():
        file.write_text(value)
    yield
    for file, value in before.items():
        file.write_text(value)


def writer(disk, *more):
    return ["--", "sh", "-c", f"dd if=/dev/zero of={disk.mount}/file bs=1M count=3 status=none{''.join(more)}"]


def written(capture):
    return capture.sql("""
        select b.comm, sum(b.owned_bytes), bool_and(b.submitter_comm like 'kworker%') from {block} b
        where op = 'write' and class = 'data' group by 1""")


@pytest.mark.moments
def test_the_recording_goes_on_until_the_command_is_written_back(disk, record, soon):
    disk.settle()
    capture = record("--device", disk.name, *writer(disk), wait=False).finish()
    assert written(capture) == [("dd", 3 * MIB, True)]
    assert capture.manifest["stop_reason"] == "the command ended"
    capture.check_books()


def test_a_command_that_left_nothing_dirty_is_not_waited_for(disk, record):
    disk.settle()
    # Longer than the test waits.
    capture = record("--device", disk.name, "--wait-writeback", "1h", *writer(disk, " conv=fsync"), wait=False).finish()
    assert [row[:2] for row in written(capture)] == [("dd", 3 * MIB)]
    assert capture.manifest["stop_reason"] == "the command ended"


@pytest.mark.parametrize("written", [["count=1"], ["bs=4096", "count=3", "seek=5"], ["bs=1025", "count=1", "seek=700"]])
def test_of_a_page_all_is_clean_when_its_blocks_are_written(disk, record, written):
    """A page is clean when all its blocks are written: the file system has blocks of 1 KiB, so the end of a file is less than a page, and
    so is a part after a hole."""
    assert os.statvfs(disk.mount).f_bsize == 1024
    dd = ["dd", "if=/dev/zero", f"of={disk.mount}/file", *written, "conv=fsync", "status=none"]
    capture = record("--device", disk.name, "--wait-writeback", "1h", "--", *dd, wait=False).finish()
    assert capture.manifest["stop_reason"] == "the command ended"
    size, dirty = [capture.one(query)[0] for query in (
        "select sum(owned_bytes)::bigint from {block} where comm = 'dd' and op = 'write' and class = 'data'",
        "select sum(bytes)::bigint from {fs} where comm = 'dd' and op = 'dirty' and fd_kind = 'regular'")]
    assert size <= dirty and (size < dirty or "bs=4096" in written)


@pytest.mark.moments
def test_what_was_not_written_back_in_time_is_told(disk, record):
    disk.settle()
    recorder = record("--device", disk.name, "--wait-writeback", "0s", *writer(disk), wait=False)
    capture = recorder.finish()
    assert written(capture) == []
    reason = f"the command ended; {3 * MIB} bytes that it wrote were not written back"
    assert capture.manifest["stop_reason"] == reason
    assert reason in recorder.text


def test_a_signal_ends_the_waiting(disk, record):
    disk.settle()
    recorder = record("--device", disk.name, *writer(disk, f"; rm {disk.mount}/file; echo gone >{disk.mount}/gone"))
    wait_for((disk.mount / "gone").exists)
    wait_for(lambda: not children_of(recorder.process.pid), "the command's end")
    capture = recorder.stop(signal.SIGINT)
    assert capture.manifest["stop_reason"] == "SIGINT, after the command had ended"
