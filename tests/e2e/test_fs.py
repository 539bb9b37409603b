"""The file system layer (page cache, writeback, journal and sync) against the kernel's own counters."""

import os
import subprocess
import threading
from pathlib import Path

import pytest

MIB = 1 << 20


def pages(capture, pid, path, op):
    """Returns the bytes of an operation of the process on the file, by access path."""
    number = path.stat().st_ino
    return dict(capture.sql(
        f"select via, sum(bytes)::bigint from {{fs}} where op = '{op}' and pid = {pid} and ino = {number} group by via"
    ))


def majors(pid):
    """Returns the number of major faults of a process so far (proc(5), stat, field 12)."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[9])


def cold(disk, mib):
    path = disk.mount / "cold"
    path.write_bytes(bytes(mib << 20))
    disk.settle()
    return path


def test_what_turns_dirty_is_what_the_kernel_charges_the_process_with(disk, record, actors):
    disk.settle()
    writer, path = actors(), disk.mount / "file"
    # On any device: the kernel counts everything that the process dirties.
    recorder = record("--pid", str(writer.pid))
    before = writer.io()["write_bytes"]
    writer.do(f"f = open({str(path)!r}, 'wb'); f.write(b'x' * (8 << 20)); f.flush()")
    charged = writer.io()["write_bytes"] - before
    capture = recorder.stop()
    assert pages(capture, writer.pid, path, "dirty") == {"call": 8 * MIB}
    # In addition to the data, metadata of the file system: the kernel charges it to the process too.
    everything = f"select sum(bytes)::bigint from {{fs}} where op = 'dirty' and pid = {writer.pid}"
    assert capture.one(everything) == (charged,)
    assert pages(capture, writer.pid, path, "fill_write") == {"call": 8 * MIB}
    assert pages(capture, writer.pid, path, "fill") == {}
    assert capture.one("select distinct fs from {fs} where op = 'dirty' and fd_kind = 'regular'") == ("ext4",)
    capture.check_books()


def test_nothing_is_missing_or_double_where_what_is_gathered_is_taken_all_the_time(disk, record, actors):
    """No event is missing or duplicated if aggregated rows are collected continuously: at the shortest interval the slots are emptied ten
    times a second, in interrupts of the programs that fill them."""
    disk.settle()
    writers = [actors() for _ in range(4)]
    paths = [disk.mount / f"file{number}" for number in range(len(writers))]
    recorder = record("--layers", "fs", "--flush-interval", "100ms", *(word for writer in writers for word in ("--pid", str(writer.pid))))
    before = [writer.io()["write_bytes"] for writer in writers]
    # Small files, created and truncated: each page enters the cache again.
    work = "[(lambda f: (f.write(b'x' * 65536), f.close()))(open({!r}, 'wb', buffering=0)) for _ in range(600)]"
    threads = [threading.Thread(target=writer.do, args=(work.format(str(path)),)) for writer, path in zip(writers, paths)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    charged = [writer.io()["write_bytes"] - was for writer, was in zip(writers, before)]
    capture = recorder.stop()
    capture.check_books()
    assert capture.lost() == 0
    for writer, bytes_charged in zip(writers, charged):
        assert capture.one(f"select sum(bytes)::bigint from {{fs}} where op = 'dirty' and pid = {writer.pid}") == (bytes_charged,)


def test_a_large_write_is_a_handful_of_rows(disk, record, actors):
    disk.settle()
    recorder = record("--device", disk.name)
    writer, path = actors(), disk.mount / "file"
    writer.do(f"f = open({str(path)!r}, 'wb', buffering=0); [f.write(b'x' * (1 << 20)) for _ in range(128)]")
    capture = recorder.stop()
    number = path.stat().st_ino
    rows, size = capture.one(f"select count(*), sum(bytes)::bigint from {{fs}} where op = 'dirty' and ino = {number}")
    # One for each CPU that it ran on, for each second that it took.
    seconds = capture.one(f"select (max(ts_ns + dur_ns) - min(ts_ns)) / 1e9 from {{fs}} where ino = {number} and op = 'dirty'")[0]
    assert size == 128 * MIB and rows <= os.cpu_count() * (1 + seconds), (rows, seconds)


def test_what_is_written_through_a_mapping_says_so(disk, record, actors):
    path = cold(disk, 2)
    recorder = record("--device", disk.name)
    writer = actors()
    writer.do(f"f = open({str(path)!r}, 'r+b'); m = mmap.mmap(f.fileno(), 0); m[:] = b'y' * len(m)")
    # Into the mapping by a call on another file: also a fault, for the kernel and for the caller.
    other = disk.mount / "other"
    writer.do(f"g = open({str(other)!r}, 'w+b', buffering=0); g.truncate(1 << 20); n = mmap.mmap(g.fileno(), 0)")
    writer.do(f"z = open({str(path)!r}, 'rb', buffering=0); z.readinto(n)")
    capture = recorder.stop()
    assert pages(capture, writer.pid, path, "dirty") == {"mapping": 2 * MIB}
    assert pages(capture, writer.pid, other, "dirty") == {"mapping": MIB}


def test_a_cold_read_fills_the_cache_and_a_warm_one_does_not(disk, record, actors):
    path = cold(disk, 8)
    recorder = record("--device", disk.name)
    reader = actors()
    # From now on everything that the read itself needs is cached.
    reader.do("len(open('/proc/self/stat', 'rb').read())")
    before = reader.io()["read_bytes"]
    reader.do(f"len(open({str(path)!r}, 'rb').read())")
    reader.do(f"len(open({str(path)!r}, 'rb').read())")
    charged = reader.io()["read_bytes"] - before
    capture = recorder.stop()
    assert pages(capture, reader.pid, path, "fill") == {"call": 8 * MIB}
    number = path.stat().st_ino
    from_device = f"select sum(bytes)::bigint from {{block}} where op = 'read' and pid = {reader.pid}"
    assert capture.one(f"{from_device} and ino = {number}") == (8 * MIB,)
    assert capture.one(from_device) == (charged,)
    asked = capture.one(f"select sum(ret)::bigint from {{syscall}} where op = 'read' and pid = {reader.pid} and ino = {number}")
    assert asked == (16 * MIB,)


def test_faults_that_read_are_the_kernels_major_faults(disk, record, actors):
    path = cold(disk, 4)
    reader = actors()
    reader.do(f"f = open({str(path)!r}, 'rb'); m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)")
    reader.do("m.madvise(mmap.MADV_RANDOM); x = m[5 << 12]")
    recorder = record("--device", disk.name)
    before, charged = majors(reader.pid), reader.io()["read_bytes"]
    reader.do("x = [m[page << 12] for page in range(7, 1024, 3)]")
    faults, charged = majors(reader.pid) - before, reader.io()["read_bytes"] - charged
    capture = recorder.stop()
    assert faults == len(range(7, 1024, 3))
    assert pages(capture, reader.pid, path, "fault") == {"mapping": faults * 4096}
    assert pages(capture, reader.pid, path, "fill") == {"mapping": charged}
    assert capture.one("select sum(events)::bigint from {fs} where op = 'fault'") == (faults,)


def test_commits_log_what_the_journal_writes(disk, record, actors):
    disk.settle()
    recorder = record("--device", disk.name)
    writer, path = actors(), disk.mount / "log"
    writer.do(f"f = os.open({str(path)!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)")
    writer.do("for _ in range(50): os.write(f, b'l' * 4096); os.fsync(f)")
    capture = recorder.stop()
    commits, blocks, size, longest = capture.one(
        "select count(*), sum(blocks)::bigint, sum(bytes)::bigint, max(dur_ns) from {fs} where op = 'commit' and blocks > 0"
    )
    block_bytes = os.statvfs(disk.mount).f_bsize
    assert commits >= 50 and size == blocks * block_bytes and longest > 0
    # The journal's superblock is also written now and then.
    journal = capture.one("select sum(bytes)::bigint from {block} where class = 'journal' and op = 'write'")[0]
    assert 0 <= journal - size <= 4 * block_bytes, (journal, size, commits)
    assert capture.sql("select distinct comm[:5], ino from {fs} where op = 'commit'") == [("jbd2/", None)]
    # The file system's part of an fsync lies within the call.
    longer = capture.one(f"""
        select count(*), count_if(f.ts_ns >= s.ts_ns and f.ts_ns + f.dur_ns <= s.ts_ns + s.dur_ns)
        from {{fs}} f asof join (select * from {{syscall}} where op = 'fsync' and pid = {writer.pid}) s on f.ts_ns >= s.ts_ns
        where f.op = 'sync_file' and f.pid = {writer.pid}""")
    assert longer == (50, 50)


def test_what_the_allocator_reads_is_nobodys_file(disk, record):
    """Block groups that ext4's allocator reads into the page cache at the first write belong to no file: neither a call nor a page fault
    requested them."""
    disk.settle()
    recorder = record("--device", disk.name)
    subprocess.run(["dd", "if=/dev/zero", f"of={disk.mount / 'file'}", "bs=4k", "count=1", "conv=fsync", "status=none"], check=True)
    capture = recorder.stop()
    assert capture.sql("select op, via, fd_kind from {fs} where ino = 1 group by all") == [("fill", "call", None)]
    assert capture.one("select count(*) from {fs} where op = 'fault'") == (0,)
    assert capture.one("select count(*) from {file} where ino = 1") == (0,)


def test_an_inode_is_written_back_by_whoever_syncs_the_file_system(disk, record, actors):
    disk.settle()
    recorder = record("--device", disk.name)
    writer, path = actors(), disk.mount / "file"
    writer.do(f"f = open({str(path)!r}, 'wb'); f.write(b'x' * (3 << 20)); f.flush()")
    subprocess.run(["sync", "-f", disk.mount], check=True)
    capture = recorder.stop()
    number = path.stat().st_ino
    who = "select distinct comm[:7] from {fs} where op = 'writeback' and bytes > 0"
    assert capture.one(f"select sum(bytes)::bigint, min(dur_ns) > 0 from {{fs}} where op = 'writeback' and ino = {number}") == (3 * MIB, True)
    assert capture.sql(who) == [("kworker",)]
    assert capture.one("select count(*) from {fs} where op = 'sync_fs'")[0] >= 1


def test_only_what_a_command_did_to_the_file_system_is_in_its_capture(disk, record, actors):
    disk.settle()
    stranger = actors()
    path = disk.mount / "command"
    stranger.do(f"f = open({str(disk.mount / 'stranger')!r}, 'wb'); f.write(b'x' * (1 << 20)); f.flush()")
    recorder = record("--device", disk.name, "--wait-writeback", "0s", "--", "dd", "if=/dev/zero", f"of={path}", "bs=64k", "count=16", "conv=fsync", "status=none", wait=False)
    recorder.process.wait()
    stranger.do("f.write(b'x' * (1 << 20)); f.flush()")
    capture = recorder.finish()
    dirtied = capture.sql("select ino, sum(bytes)::bigint from {fs} where op = 'dirty' and fd_kind = 'regular' group by ino")
    assert dirtied == [(path.stat().st_ino, MIB)]
    assert capture.sql("select distinct comm from {fs} where op in ('dirty', 'sync_file')") == [("dd",)]


@pytest.mark.parametrize("system", ["xfs", "btrfs"])
def test_other_file_systems_tell_of_dirty_pages_and_syncs(recordable, tmp_path, record, actors, system):
    image, mount = tmp_path / "disk.img", tmp_path / "mnt"
    mount.mkdir()
    with open(image, "wb") as file:
        file.truncate(512 << 20)
    made = subprocess.run([f"mkfs.{system}", "-q", image], capture_output=True, text=True)
    if made.returncode != 0:
        pytest.skip(f"mkfs.{system}: {made.stderr.strip()}")
    device = subprocess.run(["losetup", "-f", "--show", image], check=True, capture_output=True, text=True).stdout.strip()
    try:
        mounted = subprocess.run(["mount", device, mount], capture_output=True, text=True)
        if mounted.returncode != 0:
            pytest.skip(f"this kernel does not mount {system}: {mounted.stderr.strip()}")
        recorder = record("--device", device)
        writer, path = actors(), mount / "file"
        writer.do(f"f = open({str(path)!r}, 'wb'); f.write(b'x' * (2 << 20)); f.flush(); os.fsync(f.fileno()); f.close()")
        capture = recorder.stop()
        assert pages(capture, writer.pid, path, "dirty") == {"call": 2 * MIB}
        assert capture.sql(f"select fs, dur_ns, count(*) from {{fs}} where op = 'sync_file' and pid = {writer.pid} group by all") == [(system, None, 1)]
    finally:
        subprocess.run(["umount", mount], check=False)
        subprocess.run(["losetup", "-d", device], check=True)
