"""Asynchronous operations: every way in which one can end, none confused with another."""

import os
import subprocess
from pathlib import Path

import pytest
from fio import fio

BLOCK = 4096
MIB = 1 << 20


@pytest.fixture(scope="session")
def programs(tmp_path_factory):
    """`rings` (io_uring) and `contexts` (Linux aio), compiled."""
    directory = tmp_path_factory.mktemp("programs")
    for name, libraries in (("rings", ["-luring"]), ("contexts", [])):
        source = Path(__file__).with_name(f"{name}.c")
        subprocess.run(["gcc", "-O2", "-o", directory / name, source, *libraries], check=True)
    return directory


@pytest.fixture
def workload(disk, programs, record):
    """Runs one of the programs on a file of a disk during a recording; returns its own count, and the capture."""
    def run(program, what, number, *options, expected=0, size=None, arguments=()):
        path = disk.mount / "file"
        path.write_bytes(b"x" * (size or max(number, 1) * BLOCK))
        disk.settle()
        # Room for all records at once: on a busy machine nobody may drain the rings while tens of thousands of operations complete.
        recorder = record("--device", disk.name, "--memory", "256MiB", "--ring-size", "64MiB", *options)
        done = subprocess.run([programs / program, what, path, str(number), *map(str, arguments)], capture_output=True, text=True)
        capture = recorder.stop(expected=expected)
        capture.text = recorder.text
        assert done.returncode == 0, done.stderr
        every_number_fits(capture.manifest)
        return [int(word) for word in done.stdout.split()], capture
    return run


def every_number_fits(value):
    """Checks that numbers of a manifest fit into signed 64-bit integers, as some languages read them."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            every_number_fits(one)
    elif isinstance(value, int):
        assert -2**63 <= value < 2**63


def counted(capture, pattern):
    return capture.one(f"select count(*), coalesce(sum(ret), 0)::bigint from {{syscall}} where op like '{pattern}'")


def without_row(capture):
    return {row["kind"]: row["calls"] for row in capture.manifest["books"]["without_row"]}


def lost_bytes(capture):
    """Returns the upper bound of the bytes of lost calls and of those in flight: read, written."""
    books = capture.manifest["books"]
    amounts = [account["lost_io"] for account in books["accounts"] if account["class"] == "syscall"]
    amounts.append(books["incomplete"]["unfinished_io"])
    return tuple(sum(amount[f"{way}_bytes"] for amount in amounts) for way in ("read", "write"))


@pytest.mark.parametrize("what, number", [
    ("direct-deep", 4096), ("direct-deep", 30000), ("direct-workers", 2000), ("direct-polled", 2000)])
def test_each_operation_of_a_deep_ring_has_a_row(workload, what, number):
    (read, _, operations, _), capture = workload("rings", what, number)
    assert counted(capture, "io_uring_read") == (operations, read) == (number, number * BLOCK)
    assert capture.one("select count(distinct offset_bytes), min(dur_ns) > 0 from {syscall} where op = 'io_uring_read'") == (number, True)
    assert without_row(capture) == {} and capture.manifest["books"]["incomplete"]["unfinished_async"] == 0
    capture.check_books()


@pytest.mark.parametrize("what, number", [("linked", 100), ("direct-cancelled", 500)])
def test_what_is_cancelled_before_it_begins_is_no_operation_and_leaves_nothing(workload, what, number):
    (read, _, operations, failures), capture = workload("rings", what, number)
    assert failures > 0
    check_ends(capture, read, operations, failures)


def check_ends(capture, read, operations, failures):
    """Checks that each operation that began has a row. An operation cancelled before that has no file yet: it is not counted, and leaves
    nothing behind."""
    rows = "select count(*), coalesce(sum(greatest(ret, 0)), 0)::bigint, count(*) filter (ret < 0) from {syscall} where op = 'io_uring_read'"
    count, moved, failed = capture.one(rows)
    assert (count - failed, moved) == (operations - failures, read) and failed <= failures
    assert without_row(capture) == {} and capture.manifest["books"]["incomplete"]["unfinished_async"] == 0
    capture.check_books()


@pytest.mark.parametrize("options", [("--numjobs=4", "--iodepth=32"), ("--numjobs=8", "--iodepth=1"), ("--numjobs=4", "--iodepth=32", "--thread")])
def test_processes_that_have_the_same_addresses_are_told_apart(disk, record, options):
    for job in range(8):
        (disk.mount / f"job.{job}.0").write_bytes(b"x" * 4 * MIB)
    disk.settle()
    recorder = record("--device", disk.name)
    [job] = fio("--name=job", f"--directory={disk.mount}", "--size=4M", "--rw=randwrite", "--bs=4k", "--ioengine=libaio", "--direct=1",
                "--group_reporting", *options)
    capture = recorder.stop()
    write = job["write"]
    assert counted(capture, "aio_write") == (write["total_ios"], write["io_bytes"])
    capture.check_books()


def test_completions_beyond_the_ring_are_counted_and_given_to_nobody(workload):
    (read, written, *_), capture = workload("rings", "overflow", 200, expected=None)
    rows, bytes_of_rows = counted(capture, "io_uring_read")
    missing = without_row(capture).get("io_uring_not_told", 0)
    assert rows + missing == 200
    assert bytes_of_rows == rows * BLOCK and read - bytes_of_rows == lost_bytes(capture)[0]
    assert counted(capture, "io_uring_write") == (200, written)
    # No write has the start time of a read, half a second earlier.
    assert capture.one("select count(*) from {syscall} where op like 'io_uring_%' and ret != requested_bytes") == (0,)
    assert capture.one("select max(dur_ns) < 400000000 from {syscall} where op = 'io_uring_write'") == (True,)
    capture.check_books()


def test_operations_that_ask_for_no_completion_are_counted_with_their_bytes(workload):
    (_, written, *_), capture = workload("rings", "skip", 50, expected=3)
    assert without_row(capture) == {"io_uring_skipped": 50}
    assert lost_bytes(capture) == (0, written)
    assert counted(capture, "io_uring_write") == (0, 0)
    assert counted(capture, "io_uring_fsync") == (50, 0)
    assert "IOSQE_CQE_SKIP_SUCCESS" in capture.text
    capture.check_books()


@pytest.mark.parametrize("what, number", [("multishot", 10), ("eventfd", 1)])
def test_what_is_no_file_counts_as_no_operation_of_one(workload, what, number):
    _, capture = workload("rings", what, number)
    assert counted(capture, "io_uring_%") == (0, 0)
    incomplete = capture.manifest["books"]["incomplete"]
    assert incomplete["unfinished_async"] == 0 and without_row(capture) == {}


def test_an_append_is_where_it_went(workload):
    number, size = 20, 3 * BLOCK
    (_, written, *_), capture = workload("rings", "append", number, size=size)
    places = capture.sql("select offset_bytes from {syscall} where op = 'io_uring_write' order by ts_ns")
    assert places == [(size + i * BLOCK,) for i in range(number)] and written == number * BLOCK


def test_where_an_append_of_aio_went_is_not_known(workload):
    _, capture = workload("contexts", "append", 20)
    assert capture.one("select count(*), count(offset_bytes) from {syscall} where op = 'aio_write'") == (20, 0)


def test_splices_of_io_uring_are_rows_of_their_file(workload):
    (read, written, *_), capture = workload("rings", "splice", 64)
    assert counted(capture, "io_uring_splice_in") == (64, read)
    assert counted(capture, "io_uring_splice_out") == (64, written)
    assert capture.one("select sum(offset_bytes) from {syscall} where op = 'io_uring_splice_in'") == (sum(i * BLOCK for i in range(64)),)


def test_vectors_of_registered_buffers_are_recorded(workload, programs, tmp_path):
    probe = tmp_path / "probe"
    probe.write_bytes(b"x" * BLOCK)
    if subprocess.run([programs / "rings", "vectors", probe, "1"], capture_output=True).returncode != 0:
        pytest.skip("this kernel has no vectors of registered buffers (Linux 6.15)")
    (read, written, *_), capture = workload("rings", "vectors", 64)
    assert counted(capture, "io_uring_read") == (32, read)
    assert counted(capture, "io_uring_write") == (32, written)


@pytest.mark.parametrize("what", ["direct-workers", "direct-polled", "direct-polled-workers"])
def test_what_a_worker_does_has_its_clients_name(workload, what):
    (read, _, operations, _), capture = workload("rings", what, 500, "--comm", "rings")
    assert counted(capture, "io_uring_read") == (operations, read)
    # Requests without a captured queueing, which are counted, have no owner.
    owned, unowned, unowned_bytes, workers = capture.one("""select sum(owned_bytes) filter (comm = 'rings'), count(*) filter (evidence = 'none'),
        coalesce(sum(bytes) filter (evidence = 'none'), 0), count(*) filter (comm like 'iou-%') from {block} where op = 'read'""")
    assert (owned + unowned_bytes, workers) == (read, 0)
    assert unowned <= capture.manifest["books"]["incomplete"]["unidentified_requests"] <= 5


@pytest.mark.parametrize("number, context", [(100, 128), (1100, 4096), (2000, 128), (5000, 8192)])
def test_what_the_kernel_takes_of_one_submission_is_what_counts(workload, number, context):
    (read, operations), capture = workload("contexts", "batch", number, arguments=[context])
    assert counted(capture, "aio_read") == (operations, read) == (number, number * BLOCK)
    assert without_row(capture) == {} and capture.lost() == 0
    capture.check_books()


def test_a_submission_that_is_refused_is_none(workload):
    _, capture = workload("contexts", "refused", 1)
    assert capture.lost() == 0 and without_row(capture) == {}
    capture.check_books()


def test_ends_that_a_program_reads_from_memory_are_counted(workload):
    number = 300
    (read, operations), capture = workload("contexts", "from-memory", number, expected=None)
    unfinished = capture.manifest["books"]["incomplete"]["unfinished_async"]
    assert operations == number == unfinished + without_row(capture).get("aio_not_asked", 0)
    assert lost_bytes(capture) == (read, 0)
    assert counted(capture, "aio_read") == (0, 0)


def test_no_end_is_given_to_one_of_two_that_have_one_name(workload):
    number = 40
    (read, operations), capture = workload("contexts", "again", number, expected=3)
    rows, bytes_of_rows = counted(capture, "aio_read")
    assert rows + sum(without_row(capture).values()) == operations == number
    assert bytes_of_rows + lost_bytes(capture)[0] == read
    capture.check_books()


# Four processes write through one descriptor with a shared position; each offset is written once.
SHARERS = """
import os, sys
file = os.open(sys.argv[1], os.O_WRONLY | int(sys.argv[2]))
children = []
for _ in range(4):
    if (child := os.fork()) == 0:
        for _ in range(500):
            os.write(file, b"x" * 512)
        os._exit(0)
    children.append(child)
for child in children:
    os.waitpid(child, 0)
"""


@pytest.mark.parametrize("flags", [0, os.O_APPEND])
def test_the_places_of_writers_that_share_a_position_are_right_or_not_known(disk, record, flags):
    path = disk.mount / "file"
    path.write_bytes(b"")
    recorder = record("--device", disk.name, "--layers", "syscall")
    subprocess.run(["python3", "-c", SHARERS, path, str(flags)], check=True)
    capture = recorder.stop()
    calls, known, different = capture.one(
        "select count(*), count(offset_bytes), count(distinct offset_bytes) from {syscall} where op = 'write' and fd_kind = 'regular'")
    assert calls == 2000 and known == different and known > 0


def test_vectors_of_more_than_any_call_moves_are_no_negative_sizes(disk, record):
    source, target = disk.mount / "source", disk.mount / "target"
    source.write_bytes(b"x" * MIB)
    script = f"""
import ctypes, os
libc = ctypes.CDLL(None)
source, target = os.open({str(source)!r}, os.O_RDONLY), os.open({str(target)!r}, os.O_RDWR | os.O_CREAT)
libc.syscall(326, source, None, target, None, ctypes.c_ulong(-1), 0)
vectors = (ctypes.c_ulong * 4)(0, 2**63 - 1, 0, 2**63 - 1)
libc.syscall(20, target, vectors, 2)
"""
    capture = record("--device", disk.name, "--layers", "syscall", "--", "python3", "-c", script).finish()
    assert capture.one("select count(*), sum(ret) from {syscall} where op = 'copy_file_range_out'") == (1, MIB)
    assert capture.one("select count(*) from {syscall} where requested_bytes < 0") == (0,)
