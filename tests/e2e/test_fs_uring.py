"""Pages that io_uring workers fill or dirty are classified by the operation, not by the registers of the worker."""

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
    """Reads by workers are not counted as faults of a mapping.

    Every byte is read by a recorded call, so no byte remains for mappings. Bytes that were not cached are no hits.
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
    """Fills for a buffered io_uring write are no reads: fio's writes are done by workers because the file system cannot avoid blocking."""
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
    """A fill for a partial page write is no read of the caller: the write of part of a page in a cold file reads the page; the same page
    read by another process is a read."""
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
