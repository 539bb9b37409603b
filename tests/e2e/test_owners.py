"""Attribution of writes, for workloads with a known result."""

import os
import subprocess
import time

import pytest
from conftest import Loop, require, run, wait_for
from proc import swapped_bytes, threads_in

MIB = 1 << 20

def write(path, mib, byte="x"):
    return f"f = open({str(path)!r}, 'wb'); f.write(b'{byte}' * ({mib} << 20)); f.close()"


def sync(disk):
    subprocess.run(["sync", "-f", disk.mount], check=True)


def owned(capture):
    """Returns the bytes of data written to the device by owner; None is unattributed."""
    return dict(capture.sql("""
        select pid, sum(bytes)::bigint from {part} where op = 'write' and class in ('data', 'swap') group by pid"""))


def evidence(capture, pid):
    return [row[0] for row in capture.sql(f"select distinct evidence from {{block}} where pid = {pid} and op = 'write' order by 1")]


def test_each_writer_owns_its_bytes_and_who_syncs_owns_none(disk, record, actors):
    disk.settle()
    recorder = record("--device", disk.name)
    one, other = actors(), actors()
    before = [actor.io()["write_bytes"] for actor in (one, other)]
    one.do(write(disk.mount / "one", 1))
    other.do(write(disk.mount / "other", 2))
    counted = [actor.io()["write_bytes"] - start for actor, start in zip((one, other), before)]
    third = actors()
    third.do(f"f = os.open({str(disk.mount)!r}, os.O_RDONLY); os.fsync(f); os.sync()")
    capture = recorder.stop()
    assert owned(capture) == {one.pid: MIB, other.pid: 2 * MIB}
    # The kernel's count also includes metadata that a process dirties itself: on a file system without a journal, such as this machine's
    # may be, an access time is enough for a page.
    assert all(0 <= pages - data <= 4 * 4096 for pages, data in zip(counted, (MIB, 2 * MIB))), counted
    assert evidence(capture, one.pid) == ["inode"]
    capture.check_books()
    capture.check_device(disk.name, busy=True)


def test_fsync_by_another_process_changes_no_owner(disk, record, actors):
    disk.settle()
    recorder = record("--device", disk.name)
    writer, syncer = actors(), actors()
    writer.do(write(disk.mount / "file", 4))
    syncer.do(f"f = os.open({str(disk.mount / 'file')!r}, os.O_RDWR); os.fsync(f)")
    capture = recorder.stop()
    assert owned(capture) == {writer.pid: 4 * MIB}
    submitters = capture.sql("select distinct submitter_pid from {block} where class = 'data' and op = 'write'")
    assert submitters == [(syncer.pid,)]


def test_a_writer_that_is_gone_still_owns_what_a_worker_writes(disk, record, actors):
    disk.settle()
    recorder = record("--device", disk.name)
    writer = actors()
    writer.do(write(disk.mount / "file", 3))
    writer.end()
    sync(disk)
    capture = recorder.stop()
    assert owned(capture) == {writer.pid: 3 * MIB}
    workers = capture.sql("select distinct submitter_comm from {block} where class = 'data' and op = 'write'")
    assert all(comm.startswith("kworker") for (comm,) in workers), workers
    # Name and start time are the writer's at that time.
    name = f"select distinct b.comm, p.exe from {{block}} b join {{process}} p using (pid, start_ns) where pid = {writer.pid}"
    comm, exe = capture.one(name)
    assert comm.startswith("python") and "python" in exe


@pytest.mark.parametrize("synced", [True, False])
def test_what_is_written_through_a_mapping(disk, record, actors, synced):
    path = disk.mount / "file"
    path.write_bytes(bytes(2 * MIB))
    disk.settle()
    recorder = record("--device", disk.name)
    writer = actors()
    writer.do(f"f = open({str(path)!r}, 'r+b'); m = mmap.mmap(f.fileno(), 0); m[:] = b'y' * len(m)")
    if synced:
        writer.do("m.flush()")
    writer.end()
    sync(disk)
    assert owned(recorder.stop()) == {writer.pid: 2 * MIB}


def test_two_processes_that_write_one_file_own_each_its_half(disk, record, actors):
    path = disk.mount / "file"
    disk.settle()
    recorder = record("--device", disk.name)
    one, other = actors(), actors()
    one.do(f"f = os.open({str(path)!r}, os.O_RDWR | os.O_CREAT)")
    other.do(f"f = os.open({str(path)!r}, os.O_RDWR)")
    for step in range(16):
        one.do(f"os.pwrite(f, b'1' * (1 << 18), {step} << 18)")
        other.do(f"os.pwrite(f, b'2' * (1 << 18), (4 << 20) + ({step} << 18))")
    sync(disk)
    capture = recorder.stop()
    assert owned(capture) == {one.pid: 4 * MIB, other.pid: 4 * MIB}
    assert evidence(capture, other.pid) == ["page"]
    capture.check_books()


def test_what_a_loop_device_changes_in_a_file_is_not_its_makers(disk, record, actors):
    """Changes of a loop device to a file are not attributed to the file's creator: the pages are dirtied by a kernel worker, like pages
    that writeback failed to write, but the worker does change them."""
    maker, image = actors(), disk.mount / "image"
    recorder = record("--device", disk.name)
    maker.do(f"f = open({str(image)!r}, 'wb'); f.write(b'x' * (8 << 20)); f.flush(); os.fsync(f.fileno()); f.close()")
    loop = subprocess.run(["losetup", "--find", "--show", image], check=True, capture_output=True, text=True).stdout.strip()
    try:
        command = f"dd if=/dev/zero of={loop} bs=1M count=4 oflag=direct status=none"
        subprocess.run(command.split(), check=True)
    finally:
        subprocess.run(["losetup", "-d", loop], check=True)
    subprocess.run(["sync", "-f", disk.mount], check=True)
    capture = recorder.stop()
    owners = capture.sql(f"""
        select pid = {maker.pid} as maker, list_distinct(list(evidence)), sum(bytes)::bigint from {{part}}
        where class = 'data' and op = 'write' group by all order by maker desc""")
    # The file was clean when the loop device was attached: from then on only it had dirty pages of the file, in one kernel worker or in
    # several.
    assert owners[0] == (True, ["inode"], 8 * MIB), owners
    assert owners[1][::2] == (False, 4 * MIB) and set(owners[1][1]) <= {"inode", "page"} and len(owners) == 2, owners


def test_pages_in_turn_are_each_their_writers(disk, record, actors):
    """Alternating pages are attributed to their writers: requests carry pages of two processes, and rows give the number of each."""
    path = disk.mount / "file"
    path.write_bytes(bytes(MIB))
    disk.settle()
    recorder = record("--device", disk.name)
    one, other = actors(), actors()
    for actor in (one, other):
        actor.do(f"f = os.open({str(path)!r}, os.O_RDWR)")
    for page in range(0, 256, 2):
        one.do(f"os.pwrite(f, b'1' * 4096, {page} << 12)")
        other.do(f"os.pwrite(f, b'2' * 4096, {page + 1} << 12)")
    sync(disk)
    capture = recorder.stop()
    assert owned(capture) == {one.pid: MIB // 2, other.pid: MIB // 2}
    number = path.stat().st_ino
    assert capture.sql("select distinct ino, evidence, class from {share}") == [(number, "page", "data")]
    requests = "select count(*) from {block} where shared_bytes > 0"
    assert capture.one(requests) == capture.one("select count(*) from (select distinct ts_ns, dev, sector from {share})")
    capture.check_books()
    capture.check_device(disk.name, busy=True)


def test_only_what_a_filter_lets_through_has_a_part_in_a_shared_request(disk, record, actors):
    path = disk.mount / "file"
    path.write_bytes(bytes(MIB))
    disk.settle()
    stranger, wanted = actors(), actors()
    recorder = record("--pid", str(wanted.pid))
    for actor in (stranger, wanted):
        actor.do(f"f = os.open({str(path)!r}, os.O_RDWR)")
    for page in range(0, 256, 2):
        stranger.do(f"os.pwrite(f, b'1' * 4096, {page} << 12)")
        wanted.do(f"os.pwrite(f, b'2' * 4096, {page + 1} << 12)")
    sync(disk)
    capture = recorder.stop()
    assert owned(capture) == {wanted.pid: MIB // 2, None: MIB // 2}
    assert capture.one("select count(*) from {share}") == (0,)


@pytest.mark.parametrize("scheduler", ["none", "mq-deadline"])
def test_bios_that_are_merged_keep_their_owners(disk, record, actors, scheduler):
    """Merged bios keep their owners: direct writes of two processes to neighbouring blocks, while others hold up the queue, are attributed
    correctly whatever is merged."""
    disk.choose_scheduler(scheduler)
    path = disk.mount / "file"
    path.write_bytes(bytes(8 * MIB))
    disk.settle()
    recorder = record("--device", disk.name)
    one, other = actors(), actors()
    # Threads, so that many requests wait at once and neighbours can be merged.
    for actor, first in ((one, 0), (other, 1)):
        actor.do("import threading; b = mmap.mmap(-1, 4096); b[:] = b'd' * 4096")
        actor.do(f"f = os.open({str(path)!r}, os.O_RDWR | os.O_DIRECT)")
        actor.do(
            f"w = lambda k: [os.pwritev(f, [b], p << 12) for p in range({first} + 2 * k, 2048, 16)]; "
            "t = [threading.Thread(target=w, args=(k,)) for k in range(8)]"
        )
    one.do("[x.start() for x in t]")
    other.do("[x.start() for x in t]")
    for actor in (one, other):
        actor.do("[x.join() for x in t]")
    capture = recorder.stop()
    assert owned(capture) == {one.pid: 4 * MIB, other.pid: 4 * MIB}
    capture.check_books()
    capture.check_device(disk.name, busy=True)


def wait_for_waiting(actor, count):
    """Waits until this number of threads of the actor waits for I/O."""
    deadline = time.monotonic() + 60
    while len(threads_in(actor.pid, "D")) < count:
        if time.monotonic() > deadline:
            pytest.skip("this kernel's loop driver writes to a file system that is frozen")
        time.sleep(0.01)


@pytest.fixture
def upper(disk):
    """A device with its image on a file system that can be frozen."""
    upper = Loop(disk.mount)
    yield upper
    upper.close()


def test_requests_that_absorb_others_keep_all_owners(disk, upper, record, actors):
    """Requests that absorb others keep all owners: a request that absorbs an older one takes its start time, which distinguishes uses of a
    request, and an absorbed request need not begin with its first bio."""
    upper.choose_scheduler("mq-deadline")
    recorder = record("--device", upper.name)
    one, other = actors(), actors()
    for actor in (one, other):
        actor.do("import threading; b = mmap.mmap(-1, 4096); b[:] = b'd' * 4096; t = []")
        actor.do(f"f = os.open({upper.device!r}, os.O_RDWR | os.O_DIRECT)")
        actor.do("w = lambda p: (t.append(threading.Thread(target=os.pwritev, args=(f, [b], p << 12))), t[-1].start())")
    # Requests held up by a frozen file system use up the device's tags, so that later ones wait and can be merged.
    subprocess.run(["fsfreeze", "--freeze", disk.mount], check=True)
    try:
        one.do("[w(1024 + 4 * p) for p in range(140)]")
        wait_for_waiting(one, 140)
        # The last one of each group closes the gap, so that a request grows by it, and then by the request after it.
        older_behind = [(one, 2), (other, 0), (one, 1)]
        grown_in_front = [(one, 18), (other, 17), (one, 15), (other, 16)]
        waiting = {one: 140, other: 0}
        for actor, page in older_behind + grown_in_front:
            actor.do(f"w({page})")
            waiting[actor] += 1
            wait_for_waiting(actor, waiting[actor])
    finally:
        subprocess.run(["fsfreeze", "--unfreeze", disk.mount], check=True)
    for actor in (one, other):
        actor.do("[x.join() for x in t]")
    capture = recorder.stop()
    assert owned(capture) == {actor.pid: count * 4096 for actor, count in waiting.items()}
    merged = capture.sql("select bytes, pid, owned_bytes, shared_bytes, insert_ns is not null from {block} where bios > 1 order by sector")
    assert merged == [(3 * 4096, other.pid, 4096, 8192, True), (4 * 4096, one.pid, 8192, 8192, True)]
    capture.check_books()
    capture.check_device(upper.name, busy=True)


def small_files(disk, writers, count):
    """Creates files that are neighbours on the disk, written by alternating writers; returns writers by inode number."""
    disk.settle()
    for number in range(count):
        path = disk.mount / f"small-{number:03}"
        writers[number % len(writers)].do(f"f = os.open({str(path)!r}, os.O_WRONLY | os.O_CREAT); os.write(f, b's' * 16384); os.close(f)")
    sync(disk)
    return {(disk.mount / f"small-{number:03}").stat().st_ino: writers[number % len(writers)].pid for number in range(count)}


def test_files_that_are_merged_into_one_request_keep_their_owners(disk, record, actors):
    writers = [actors(), actors()]
    recorder = record("--device", disk.name)
    files = small_files(disk, writers, 6)
    capture = recorder.stop()
    assert capture.one("select count(*) from {block} where bios > 1 and shared_bytes > 0") > (0,), "nothing was merged"
    parts = capture.sql("select pid, ino, sum(bytes)::bigint from {part} where op = 'write' and class = 'data' group by all")
    assert sorted(parts) == sorted((pid, ino, 16384) for ino, pid in files.items())
    capture.check_books()


def test_of_more_files_than_can_be_told_apart_the_owners_remain(disk, record, actors):
    writers = [actors(), actors()]
    recorder = record("--device", disk.name)
    files = small_files(disk, writers, 64)
    capture = recorder.stop()
    assert capture.one("select max(bios) from {block}") > (16,), "nothing was merged"
    assert owned(capture) == {writer.pid: 32 * 16384 for writer in writers}
    parts = capture.sql("select pid, ino, sum(bytes) from {part} where op = 'write' and class = 'data' and ino is not null group by all")
    assert all(files[ino] == pid and size <= 16384 for pid, ino, size in parts), parts


def test_a_file_that_is_deleted_in_time_is_never_written(disk, record, actors):
    disk.settle()
    recorder = record("--device", disk.name)
    writer = actors()
    writer.do(write(disk.mount / "file", 4))
    writer.do(f"os.unlink({str(disk.mount / 'file')!r})")
    sync(disk)
    capture = recorder.stop()
    assert owned(capture) == {}
    assert capture.one(f"select sum(ret) from {{syscall}} where pid = {writer.pid} and op = 'write'") == (4 * MIB,)


def test_an_inode_number_that_is_used_again_has_a_new_owner(disk, record, actors):
    first, second = disk.mount / "first", disk.mount / "second"
    disk.settle()
    recorder = record("--device", disk.name)
    old, new = actors(), actors()
    old.do(write(first, 1))
    sync(disk)
    number = os.stat(first).st_ino
    old.do(f"os.unlink({str(first)!r})")
    new.do(write(second, 2))
    assert os.stat(second).st_ino == number, "ext4 takes the lowest free number"
    sync(disk)
    assert owned(recorder.stop()) == {old.pid: MIB, new.pid: 2 * MIB}


def test_direct_writes_are_their_submitters(disk, record):
    disk.settle()
    recorder = record("--device", disk.name)
    dd = subprocess.Popen(["dd", "if=/dev/zero", f"of={disk.mount}/file", "bs=64k", "count=32", "oflag=direct", "status=none"])
    assert dd.wait() == 0
    capture = recorder.stop()
    assert owned(capture) == {dd.pid: 2 * MIB}
    assert evidence(capture, dd.pid) == ["direct"]


def test_data_journal_and_metadata_are_told_apart_and_add_up(disk, record, actors):
    """Data, journal and metadata are distinguished and add up: for 4 KiB appends, each with fsync, the sum of the classes equals the
    device's counter."""
    # Blocks of a deleted directory must not be replayed: from then on the journal has revoke records too.
    for name in range(300):
        (disk.mount / "gone" / f"{name:0200}").parent.mkdir(exist_ok=True)
        (disk.mount / "gone" / f"{name:0200}").touch()
    sync(disk)
    subprocess.run(["rm", "-r", disk.mount / "gone"], check=True)
    disk.settle()
    recorder = record("--device", disk.name)
    writer = actors()
    writer.do(f"f = os.open({str(disk.mount / 'log')!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)")
    writer.do("for _ in range(1000): os.write(f, b'l' * 4096); os.fsync(f)")
    sync(disk)
    capture = recorder.stop()
    written = dict(capture.sql("select class, sum(bytes) from {part} where op = 'write' group by class"))
    assert written["data"] == 1000 * 4096
    block_bytes = os.statvfs(disk.mount).f_bsize
    assert written["journal"] >= 1000 * 2 * block_bytes, "at least a descriptor and a commit block each time"
    assert written["metadata"] > 0
    assert capture.one("select count(*) from {block} where class = 'metadata' and submitter_comm like 'jbd2/%'") == (0,)
    assert owned(capture) == {writer.pid: 1000 * 4096}
    journal = capture.sql("select distinct evidence, pid, submitter_comm from {block} where class = 'journal'")
    assert all(row[:2] == ("none", None) and row[2].startswith("jbd2/") for row in journal), journal
    book = capture.check_device(disk.name, busy=True)
    assert sum(written.values()) == book["rows"]["write_bytes"]


class Uninitialized(Loop):
    """A file system with inode tables that are zeroed only after it is mounted."""

    def prepare(self):
        subprocess.run(["mkfs.ext4", "-q", "-E", "nodiscard,lazy_itable_init=1,lazy_journal_init=0", self.image], check=True)


def test_what_ext4_zeroes_for_inodes_is_metadata_of_nobody(recordable, tmp_path, record):
    disk, mount = Uninitialized(tmp_path), tmp_path / "mnt"
    mount.mkdir()
    try:
        recorder = record("--device", disk.name)
        # Without pauses.
        subprocess.run(["mount", "-o", "init_itable=0", disk.device, mount], check=True)
        try:
            wait_for(lambda: "ITABLE_ZEROED" in run(require("dumpe2fs"), disk.device, check=True).stdout, "tables of inodes")
        finally:
            subprocess.run(["umount", mount], check=True)
        capture = recorder.stop()
        rows = capture.sql("select class, pid, sum(bytes) from {block} where submitter_comm = 'ext4lazyinit' and bytes > 0 group by all")
        assert [row[:2] for row in rows] == [("metadata", None)] and rows[0][2] > 1 * MIB, rows
        assert capture.one("select count(*) from {block} where class = 'data'") == (0,)
        capture.check_device(disk.name, busy=True)
    finally:
        disk.close()


def test_a_cold_sequential_read_is_mostly_readahead(disk, record):
    path = disk.mount / "file"
    path.write_bytes(bytes(8 * MIB))
    number = path.stat().st_ino
    disk.settle()
    recorder = record("--device", disk.name)
    dd = subprocess.Popen(["dd", f"if={path}", "of=/dev/null", "bs=64k", "status=none"])
    assert dd.wait() == 0
    capture = recorder.stop()
    read = dict(capture.sql(f"select class, sum(bytes) from {{block}} where op = 'read' and ino = {number} group by class"))
    assert read["readahead"] > 7 * MIB
    assert 8 * MIB <= sum(read.values()) <= 8.1 * MIB
    owners = capture.sql(f"select distinct pid, evidence from {{block}} where ino = {number}")
    assert owners == [(dd.pid, "direct")]


def test_swapping_is_told_as_such(recordable, tmp_path, record, actors):
    image = tmp_path / "swap.img"
    image.write_bytes(bytes(32 * MIB))
    subprocess.run(["mkswap", "-q", image], check=True)
    device = subprocess.run(["losetup", "-f", "--show", image], check=True, capture_output=True, text=True).stdout.strip()
    try:
        swapped = subprocess.run(["swapon", device], capture_output=True, text=True)
        if swapped.returncode != 0:
            pytest.skip(f"this kernel does not swap to a loop device: {swapped.stderr.strip()}")
        try:
            actor = actors()
            actor.do("m = mmap.mmap(-1, 4 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS); m[:] = os.urandom(len(m))")
            recorder = record("--device", device)
            # MADV_PAGEOUT (5.4)
            actor.do("m.madvise(21)")
            paged_out = swapped_bytes(actor.pid)
            actor.do("len(m[:])")
            capture = recorder.stop()
        finally:
            subprocess.run(["swapoff", device], check=True)
    finally:
        subprocess.run(["losetup", "-d", device], check=True)
    sums = dict(capture.sql("select op, sum(bytes)::bigint from {block} where class = 'swap' group by all"))
    # Pages may still be cached when they are read back; memory of other processes is also paged out if the kernel looks for cold pages
    # (DAMON).
    assert sums["write"] >= paged_out > 3 * MIB and set(sums) <= {"read", "write"}, sums
    assert capture.one("select count(*) from {block} where class != 'swap' and op in ('read', 'write')") == (0,)
    # Memory of any process; reclaim that writes it may run in any process.
    assert capture.sql("select distinct pid from {block} where op = 'write'") == [(None,)]


def test_swapping_that_began_before_the_recording_is_told_as_such(disk, upper, record, actors):
    """Swap I/O that began before the recording is classified as such: only the flags of a request in flight are known."""
    subprocess.run(["mkswap", "-q", upper.device], check=True, capture_output=True)
    swapped = subprocess.run(["swapon", upper.device], capture_output=True, text=True)
    if swapped.returncode != 0:
        pytest.skip(f"this kernel does not swap to a loop device: {swapped.stderr.strip()}")
    try:
        actor = actors()
        actor.do("m = mmap.mmap(-1, 1 << 16, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS); m[:] = os.urandom(len(m))")
        # Requests held up by a frozen file system are in flight for as long.
        subprocess.run(["fsfreeze", "--freeze", disk.mount], check=True)
        try:
            actor.do("m.madvise(21)")
            under_way = swapped_bytes(actor.pid)
            recorder = record("--device", upper.name)
        finally:
            subprocess.run(["fsfreeze", "--unfreeze", disk.mount], check=True)
        actor.do("len(m[:])")
        capture = recorder.stop()
    finally:
        subprocess.run(["swapoff", upper.device], check=True)
    rows = capture.sql("select class, submitter_pid is null, sum(bytes)::bigint from {block} where op = 'write' group by all")
    assert any(unseen and size >= under_way for _, unseen, size in rows) and under_way > 0, (rows, under_way)
    assert {io_class for io_class, _, _ in rows} == {"swap"}, rows


def test_a_block_device_without_a_file_system_has_data_and_owners(recordable, tmp_path, record, actors):
    image = tmp_path / "bare.img"
    with open(image, "wb") as file:
        file.truncate(16 * MIB)
    device = subprocess.run(["losetup", "-f", "--show", image], check=True, capture_output=True, text=True).stdout.strip()
    try:
        recorder = record("--device", device)
        writer = actors()
        writer.do(f"f = os.open({device!r}, os.O_WRONLY); os.write(f, b'b' * (1 << 20)); os.fsync(f)")
        capture = recorder.stop()
        assert owned(capture) == {writer.pid: MIB}
        assert capture.one(f"select sum(ret) from {{syscall}} where pid = {writer.pid} and op = 'write' and fd_kind = 'block'") == (MIB,)
    finally:
        subprocess.run(["losetup", "-d", device], check=True)
