"""Tests run only by `make soak`, by their name: maximum numbers of operations in flight, full completion rings, broken chains, and programs
that their own threads restart.
"""

import subprocess
from pathlib import Path

import pytest
from test_rings import BLOCK, check_ends, counted, lost_bytes, programs, without_row, workload  # noqa: F401, fixtures


@pytest.mark.parametrize("what, number", [
    ("direct-deep", 32768), ("direct-workers", 30000), ("direct-polled", 32768), ("linked", 8000), ("direct-cancelled", 4000)])
def test_rings_as_large_as_can_be(workload, what, number):  # noqa: F811
    (read, _, operations, failures), capture = workload("rings", what, number)
    check_ends(capture, read, operations, failures)
    assert operations == number * (4 if what == "linked" else 1)


@pytest.mark.parametrize("number", [1000, 8000])
def test_many_completions_beyond_the_ring(workload, number):  # noqa: F811
    (read, written, *_), capture = workload("rings", "overflow", number, expected=None)
    rows, bytes_of_rows = counted(capture, "io_uring_read")
    assert rows + without_row(capture).get("io_uring_not_told", 0) == number
    assert bytes_of_rows == rows * BLOCK and read - bytes_of_rows == lost_bytes(capture)[0]
    assert counted(capture, "io_uring_write") == (number, written)
    assert capture.one("select count(*) from {syscall} where op like 'io_uring_%' and ret != requested_bytes") == (0,)
    capture.check_books()


@pytest.mark.parametrize("number, context", [(30000, 32768), (50000, 60000)])
def test_one_submission_of_as_many_as_a_context_takes(workload, number, context):  # noqa: F811
    (read, operations), capture = workload("contexts", "batch", number, arguments=[context])
    assert counted(capture, "aio_read") == (operations, read) == (number, number * BLOCK)
    assert without_row(capture) == {} and capture.lost() == 0


def test_a_program_that_its_threads_run_anew_for_ever(disk, record, tmp_path):
    program, execs = tmp_path / "thread_exec", 5000
    subprocess.run(["gcc", "-O2", "-o", program, Path(__file__).with_name("thread_exec.c"), "-lpthread"], check=True)
    (disk.mount / "file").write_bytes(b"x" * 64)
    capture = record("--layers", "syscall", "--", program, str(execs), disk.mount / "file").finish()
    inode = (disk.mount / "file").stat().st_ino
    found = capture.one(f"select count(*), count(distinct tid), count(distinct pid), sum(ret) from {{syscall}} where op = 'read' and ino = {inode}")
    assert found == (execs, execs, 1, 16 * execs)
    capture.check_books()
