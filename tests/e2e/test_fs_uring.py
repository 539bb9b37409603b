"""Pages that io_uring's workers bring into the cache or change: told by what they are for, not by whose registers a worker has."""

import csv
import subprocess
from pathlib import Path

import pytest
from conftest import analyze, require

MIB = 1 << 20
RINGS, READS, BYTES = 48, 16, 4096


@pytest.fixture
def uring_workers(tmp_path):
    program = tmp_path / "uring_workers"
    source = Path(__file__).with_name("uring_workers.c")
    subprocess.run([require("clang"), "-O2", "-Wall", "-Werror", "-o", program, source], check=True)
    return program


def test_reads_by_workers_are_no_faults_of_a_mapping(uring_workers, disk, record, tmp_path):
    """
    Every byte is read by a call that is told, so nothing is left to have come by a mapping. What was not in the cache is no hit.
    """
    path = disk.mount / "cold"
    path.write_bytes(bytes(RINGS * READS << 16))
    disk.settle()
    recorder = record("--device", disk.name)
    read = int(subprocess.run([uring_workers, path, str(RINGS)], check=True, capture_output=True, text=True).stdout)
    capture = recorder.stop()
    assert read == RINGS * READS * BYTES
    number = path.stat().st_ino
    filled = capture.one(f"select sum(bytes)::bigint from {{fs}} where ino = {number} and op = 'fill'")
    assert filled == capture.one(f"select sum(bytes)::bigint from {{block}} where ino = {number} and op = 'read'") and filled[0] >= read
    assert capture.sql(f"select distinct via from {{fs}} where ino = {number}") == [("call",)]
    assert analyze("amplification", capture.directory, "--out", tmp_path / "out").returncode == 0
    with open(tmp_path / "out" / "amplification.csv", newline="") as lines:
        [row] = [row for row in csv.DictReader(lines) if row["scope"] == "file" and row["id"].split(":")[2].split("@")[0] == str(number)]
    assert (row["mapping_bytes"], row["io_uring_bytes"], row["amplification_low"]) == ("0", str(read), row["amplification"])


def test_what_a_buffered_writer_brings_into_the_cache_is_not_read(disk, record):
    """fio writes by io_uring, whose workers do it for want of a file system that does not wait. Nothing is read."""
    disk.settle()
    path = disk.mount / "written"
    recorder = record("--device", disk.name)
    subprocess.run([
        require("fio"), "--name=writer", f"--filename={path}", "--ioengine=io_uring", "--rw=write", "--bs=64k", "--size=4m", "--direct=0",
        "--iodepth=4", "--fallocate=none", "--output-format=terse",
    ], check=True, capture_output=True)
    capture = recorder.stop()
    number = path.stat().st_ino
    filled = capture.sql(f"select op, sum(bytes)::bigint from {{fs}} where ino = {number} and op in ('fill', 'fill_write') group by op")
    assert filled == [("fill_write", 4 * MIB)]


def test_what_a_write_must_read_first_is_no_read_of_its_caller(disk, record, actors):
    """A part of a page is written into a cold file: the page is read for the write. The same by another is a read."""
    path = disk.mount / "cold"
    path.write_bytes(bytes(MIB))
    disk.settle()
    recorder = record("--device", disk.name)
    writer, reader = actors(), actors()
    writer.do(f"f = os.open({str(path)!r}, os.O_RDWR); os.pwrite(f, b'x' * 100, 100)")
    reader.do(f"f = os.open({str(path)!r}, os.O_RDONLY); os.posix_fadvise(f, 0, 0, os.POSIX_FADV_RANDOM); os.pread(f, 100, 1 << 19)")
    capture = recorder.stop()
    number = path.stat().st_ino
    filled = capture.sql(f"select pid, op, sum(bytes)::bigint from {{fs}} where ino = {number} and op like 'fill%' group by all order by 2")
    assert filled == [(reader.pid, "fill", 4096), (writer.pid, "fill_write", 4096)]
