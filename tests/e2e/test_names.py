"""Names of files, against names known by construction."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

KIB = 1024


def sync(mount):
    subprocess.run(["sync", "-f", mount], check=True)


def names(capture, ino, columns="path, path_origin", dev=None):
    """Returns the distinct rows of an inode number, in order of time."""
    where = f"ino = {ino}" + (f" and dev = {device(dev)}" if dev else "")
    rows = capture.sql(f"select {columns} from {{file}} where {where} order by ts_ns")
    return [row for at, row in enumerate(rows) if row not in rows[:at]]


def device(number):
    """Returns a device number in the kernel's encoding."""
    return os.major(number) << 20 | os.minor(number)


def namespace_of(pid):
    """Returns the number of a mount namespace: mnt:[4026531841]."""
    return int(os.readlink(f"/proc/{pid}/ns/mnt")[5:-1])


def test_a_file_is_named_when_it_is_opened(disk, record, actors):
    disk.settle()
    recorder = record("--device", disk.name)
    writer, path = actors(), disk.mount / "a b" / "füle"
    path.parent.mkdir()
    writer.do(f"f = open({str(path)!r}, 'wb'); f.write(b'x' * 4096); f.flush(); os.fsync(f.fileno())")
    there = path.stat()
    capture = recorder.stop()
    columns = "dev, path, path_origin, mount_namespace, deleted, fd_kind, fs, pid"
    assert names(capture, there.st_ino, columns) == [
        (device(there.st_dev), str(path), "namespace", namespace_of("self"), False, "regular", "ext4", writer.pid)]
    # It was named no later than it was opened.
    assert capture.one(f"""
        select count(*), count_if(n.ts_ns <= s.ts_ns) from {{syscall}} s join {{file}} n using (dev, ino)
        where s.ino = {there.st_ino} and s.op = 'openat'""") == (1, 1)
    capture.check_books()


def test_a_file_that_was_open_before_is_named_when_it_is_written_to(disk, record, actors):
    writer, path = actors(), disk.mount / "before"
    writer.do(f"f = open({str(path)!r}, 'wb', buffering=0)")
    recorder = record("--device", disk.name, "--layers", "syscall")
    writer.do("f.write(b'x' * 4096)")
    capture = recorder.stop()
    assert names(capture, path.stat().st_ino) == [(str(path), "namespace")]
    capture.check_books()


def test_a_file_of_which_only_pages_are_seen_is_named_within_its_file_system(disk, record, actors):
    path = disk.mount / "directory" / "mapped"
    path.parent.mkdir()
    path.write_bytes(bytes(64 * KIB))
    disk.settle()
    writer = actors()
    writer.do(f"f = open({str(path)!r}, 'r+b'); m = mmap.mmap(f.fileno(), 0); f.close()")
    recorder = record("--device", disk.name)
    writer.do("m[:] = b'y' * len(m)")
    sync(disk.mount)
    capture = recorder.stop()
    assert names(capture, path.stat().st_ino, "path, path_origin, mount_namespace, fs") == [
        ("/directory/mapped", "filesystem", None, "ext4")]
    capture.check_books()


def test_what_pages_named_is_named_again_by_who_opens_it(disk, record, actors):
    path = disk.mount / "mapped"
    path.write_bytes(bytes(64 * KIB))
    disk.settle()
    writer = actors()
    writer.do(f"f = open({str(path)!r}, 'r+b'); m = mmap.mmap(f.fileno(), 0); f.close()")
    recorder = record("--device", disk.name)
    writer.do("m[:] = b'y' * len(m)")
    writer.do(f"f = open({str(path)!r}, 'r+b')")
    capture = recorder.stop()
    assert names(capture, path.stat().st_ino) == [("/mapped", "filesystem"), (str(path), "namespace")]


def test_a_loop_devices_backing_file_has_a_name(disk, record):
    """A loop device's backing file has a name: only the kernel has it open, and it is known by its pages, on the file system below."""
    recorder = record("--layers", "fs,block")
    (disk.mount / "file").write_bytes(b"x" * 256 * KIB)
    sync(disk.mount)
    capture = recorder.stop()
    there = disk.image.stat()
    if capture.one(f"select count(*) from {{fs}} where dev = {device(there.st_dev)} and ino = {there.st_ino}") == (0,):
        pytest.skip("the backing file is on a file system whose pages are not seen")
    found = names(capture, there.st_ino, "path, path_origin", there.st_dev)
    assert found and all(str(disk.image).endswith(path) and origin == "filesystem" for path, origin in found), found


def test_a_path_leads_over_a_mount_below_another(disk, record, actors):
    below = disk.mount / "tmp"
    below.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", below], check=True)
    try:
        recorder = record("--layers", "syscall", "--", "dd", "if=/dev/zero", f"of={below}/file", "count=1", "status=none", wait=False)
        capture = recorder.finish()
        there = (below / "file").stat()
        assert names(capture, there.st_ino, "path, path_origin, fd_kind, fs", there.st_dev) == [
            (f"{below}/file", "namespace", "memory", "tmpfs")]
    finally:
        subprocess.run(["umount", below], check=True)


def test_a_process_in_a_mount_namespace_of_its_own_has_its_own_path(disk, record):
    """A process in its own mount namespace has its own path: a file has one path for the recorder, and another in a container."""
    outside = disk.mount / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"x" * 4096)
    inside = disk.mount / "inside"
    inside.mkdir()
    recorder = record("--device", disk.name, "--layers", "syscall")
    script = f"mount --bind {outside} {inside} && readlink /proc/self/ns/mnt && exec dd if={inside}/file of=/dev/null status=none"
    namespace = subprocess.run(["unshare", "-m", "sh", "-c", script], check=True, capture_output=True, text=True).stdout
    capture = recorder.stop()
    assert names(capture, (outside / "file").stat().st_ino, "path, path_origin, mount_namespace") == [
        (str(inside / "file"), "namespace", int(namespace.strip()[5:-1]))]
    assert int(namespace.strip()[5:-1]) != namespace_of("self")


def test_a_file_of_an_overlay_has_its_path_there_and_its_place_below(overlay, record, actors):
    """A file of an overlay has its path there and its location below, as in a container: the call is on the overlay, the pages belong to
    the lower file system."""
    writer, path = actors(), overlay.merged / "new"
    recorder = record("--pid", str(writer.pid))
    writer.do(f"f = open({str(path)!r}, 'wb'); f.write(b'x' * 4096); f.close()")
    capture = recorder.stop()
    seen, below = path.stat(), (overlay.upper / "new").stat()
    columns = "path, path_origin, fs"
    assert names(capture, seen.st_ino, columns, seen.st_dev) == [(str(path), "namespace", "overlay")]
    assert names(capture, below.st_ino, columns, below.st_dev) == [("/upper/new", "filesystem", "ext4")]


def test_a_file_that_is_deleted_says_so_and_where_it_was(disk, record, actors):
    writer, path = actors(), disk.mount / "deleted"
    writer.do(f"f = open({str(path)!r}, 'wb', buffering=0); ino = os.fstat(f.fileno()).st_ino; os.unlink({str(path)!r})")
    ino = int(os.stat(f"/proc/{writer.pid}/fd/3").st_ino)
    recorder = record("--device", disk.name)
    writer.do("f.write(b'x' * 4096)")
    capture = recorder.stop()
    assert names(capture, ino, "path, path_origin, deleted") == [(str(path), "namespace", True)]


def test_a_file_that_gets_a_used_inode_number_gets_a_row(disk, record, actors):
    disk.settle()
    recorder = record("--device", disk.name)
    writer, numbers = actors(), []
    for name in ("one", "two"):
        path = disk.mount / name
        writer.do(f"f = open({str(path)!r}, 'wb'); f.write(b'x' * 4096); f.close()")
        numbers.append(path.stat().st_ino)
        writer.do(f"os.unlink({str(path)!r})")
    capture = recorder.stop()
    if len(set(numbers)) > 1:
        pytest.skip("the file system did not use the number again")
    assert names(capture, numbers[0], "path, deleted") == [(f"{disk.mount}/one", False), (f"{disk.mount}/two", False)]
    # By the rule documented for the table, each write belongs to its file.
    asof = """select n.path, count(*) from (select * from {syscall} where op = 'write' and ino = %d) s
        asof join (select * from {file} where ino = %d) n on s.ts_ns >= n.ts_ns group by 1 order by 1""" % (numbers[0], numbers[0])
    assert capture.sql(asof) == [(f"{disk.mount}/one", 1), (f"{disk.mount}/two", 1)]


def test_a_file_that_was_renamed_is_named_again_when_it_is_met_again(disk, record, actors):
    """A renamed file is named again at its next access: written under one name and moved to another, as databases and object stores do."""
    writer, path = actors(), disk.mount / "file.tmp"
    recorder = record("--device", disk.name)
    writer.do(f"f = open({str(path)!r}, 'wb', buffering=0); f.write(b'x' * 4096)")
    final = path.rename(disk.mount / "file")
    writer.do("f.write(b'x' * 4096)")
    capture = recorder.stop()
    assert names(capture, final.stat().st_ino, "path") == [(str(path),), (str(final),)]


def test_two_hard_links_in_turn_are_not_told_for_ever(disk, record, actors):
    one, other = disk.mount / "one", disk.mount / "other"
    one.write_bytes(b"x" * 4096)
    other.hardlink_to(one)
    recorder = record("--device", disk.name, "--layers", "syscall")
    reader = actors()
    reader.do(f"f = [os.open(path, os.O_RDONLY) for path in ({str(one)!r}, {str(other)!r})]")
    reader.do("for turn in range(10000): os.pread(f[turn % 2], 512, 0)")
    capture = recorder.stop()
    assert sorted(names(capture, one.stat().st_ino, "path")) == [(str(one),), (str(other),)]
    rows, seconds = capture.one("""
        select count(*), (select (max(ts_ns) - min(ts_ns)) / 1e9 from {syscall}) from {file}""")
    assert rows <= 16 * (2 + seconds) + 10, (rows, seconds)
    capture.check_books()


def test_a_path_that_is_too_long_is_told_as_cut(disk, record, actors):
    directory = disk.mount
    for level in range(4):
        directory = directory / (str(level) * 200)
        directory.mkdir()
    path, deep = directory / "file", disk.mount / "/".join(["d"] * 80) / "file"
    whole = disk.mount / ("n" * 255)
    deep.parent.mkdir(parents=True)
    recorder = record("--device", disk.name, "--layers", "syscall")
    writer = actors()
    for file in (path, deep, whole):
        writer.do(f"open({str(file)!r}, 'wb').write(b'x')")
    capture = recorder.stop()
    for file in (path, deep):
        [(found, origin)] = names(capture, file.stat().st_ino)
        assert origin == "cut" and not found.startswith("/") and str(file).endswith("/" + found), found
        assert found.count("/") >= (2 if file == path else 50)
    # A name of maximum length is not truncated.
    assert names(capture, whole.stat().st_ino) == [(str(whole), "namespace")]


def test_a_block_device_is_named_by_the_node_that_was_opened(disk, record):
    node = disk.mount / "node"
    number = os.stat(disk.device).st_rdev
    os.mknod(node, 0o600 | 0o060000, number)
    recorder = record("--device", disk.name, "--layers", "syscall")
    subprocess.run(["dd", f"if={node}", "of=/dev/null", "bs=4k", "count=1", "status=none"], check=True)
    capture = recorder.stop()
    assert names(capture, node.stat().st_ino, "path, fd_kind, fs", number) == [(str(node), "block", "ext4")]


def test_a_synced_directory_and_the_root_of_a_file_system_are_named(disk, record, actors):
    directory = disk.mount / "directory"
    directory.mkdir()
    recorder = record("--device", disk.name, "--layers", "syscall")
    syncer = actors()
    for path in (directory, disk.mount):
        syncer.do(f"f = os.open({str(path)!r}, os.O_RDONLY | os.O_DIRECTORY); os.fsync(f); os.close(f)")
    capture = recorder.stop()
    for path in (directory, disk.mount):
        assert names(capture, path.stat().st_ino, "path, path_origin, fd_kind") == [(str(path), "namespace", "directory")]


def test_files_of_a_file_system_that_is_mounted_nowhere_are_named_within_it(disk, record, actors):
    """Files of a file system that is not mounted anywhere are named relative to it: after a lazy unmount the path that a process once
    opened no longer exists."""
    directory = disk.mount / "directory"
    directory.mkdir()
    writer = actors()
    writer.do(f"f = open({str(directory / 'file')!r}, 'wb', buffering=0)")
    ino = (directory / "file").stat().st_ino
    subprocess.run(["umount", "-l", disk.mount], check=True)
    recorder = record("--device", disk.name, "--layers", "syscall")
    writer.do("f.write(b'x' * 4096)")
    capture = recorder.stop()
    assert names(capture, ino) == [("/directory/file", "filesystem")]


def test_only_files_that_the_filters_let_through_are_named(disk, record, actors):
    stranger = actors()
    recorder = record("--device", disk.name, "--", "dd", "if=/dev/zero", f"of={disk.mount}/own", "count=1", "conv=fsync", "status=none", wait=False)
    stranger.do(f"open({str(disk.mount / 'strange')!r}, 'wb').write(b'x' * 4096)")
    capture = recorder.finish()
    assert capture.sql("select distinct path from {file}") == [(f"{disk.mount}/own",)]


def test_every_file_in_the_other_tables_has_a_name(disk, record, actors):
    disk.settle()
    recorder = record("--device", disk.name)
    script = f"""
import os, mmap
os.chdir({str(disk.mount)!r})
for n in range(300):
    with open(f"f{{n}}", "wb") as f:
        f.write(b"x" * 8192)
        if n % 10 == 0: os.fsync(f.fileno())
with open("m", "w+b") as f:
    f.truncate(1 << 20); m = mmap.mmap(f.fileno(), 0); m[:] = b"y" * len(m)
os.sync()
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    sync(disk.mount)
    capture = recorder.stop()
    # Files that share a request are in `share`, as long as they can be distinguished; 1 is the number of ext4's internal inode.
    for table, dev, where, least in (("block", "file_dev", "class = 'data'", 30), ("share", "file_dev", "class = 'data'", 1),
                                     ("fs", "dev", "fd_kind = 'regular' and t.ino > 1", 301), ("syscall", "dev", "ret >= 0", 301)):
        met, unnamed = capture.one(f"""
            select count(distinct t.ino), count(*) filter (n.path is null)
            from {{{table}}} t left join (select distinct dev, ino, path from {{file}}) n on n.ino = t.ino and n.dev = t.{dev}
            where t.ino is not null and {where}""")
        assert met >= least and unnamed == 0, (table, met, unnamed)
    listed = {str(path): path.stat().st_ino for path in disk.mount.iterdir() if path.is_file()}
    found = dict(capture.sql("select path, ino from {file} where path_origin = 'namespace' and path like '%/mnt/%'"))
    assert {path: ino for path, ino in found.items() if Path(path).is_file()} == listed
    # Each once.
    assert capture.one("select count(*) - count(distinct (ino, path)) from {file} where fd_kind = 'regular'") == (0,)
    capture.check_books()
