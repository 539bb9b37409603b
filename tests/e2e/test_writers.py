"""Several processes write one file: the owner of each page, against the known writes. Folios are single pages, or many pages each."""

import csv
import os
import random
import subprocess

import pytest
from conftest import Disk, analyze

MIB = 1 << 20
PAGE = 4096


def written(capture):
    """Returns the bytes of data written to the device, by owner."""
    return dict(capture.sql("""
        select pid, sum(bytes)::bigint from {part} where op = 'write' and class = 'data' group by pid"""))


def by_evidence(capture):
    return dict(capture.sql("""
        select evidence, sum(bytes)::bigint from {part} where op = 'write' and class = 'data' group by evidence"""))


def shared_file(disk, mib, read_before):
    """A file that is on the device; if it was read before, it is cached in folios as large as the kernel makes them."""
    path = disk.mount / "shared"
    path.write_bytes(bytes(mib * MIB))
    disk.settle()
    if read_before:
        subprocess.run(["cat", path], check=True, stdout=subprocess.DEVNULL)
    return path


def open_for(actor, path):
    actor.do(f"f = os.open({str(path)!r}, os.O_RDWR)")
    return actor


def sync(path):
    subprocess.run(["sync", path], check=True)


def quality(capture, tmp_path, check):
    assert analyze("quality", capture.directory, "--out", tmp_path / "quality").returncode == 0
    with open(tmp_path / "quality" / "quality.csv", newline="") as lines:
        [row] = [row for row in csv.DictReader(lines) if row["check"] == check]
    return row


@pytest.mark.parametrize("read_before", [False, True])
def test_each_has_what_it_wrote_of_folios_that_both_changed(disk, record, actors, read_before):
    """Each process owns its bytes of folios that both changed: alternating 8 KiB writes, one after the other; the second process finds the
    folios dirty, if they are large."""
    path = shared_file(disk, 16, read_before)
    recorder = record("--device", disk.name)
    writers = [open_for(actors(), path) for _ in range(2)]
    for number, actor in enumerate(writers):
        actor.do(f"for place in range({number}, {16 * MIB >> 13}, 2): os.pwrite(f, b'{number}' * 8192, place << 13)")
    sync(path)
    capture = recorder.stop()
    assert written(capture) == {actor.pid: 8 * MIB for actor in writers}
    assert set(by_evidence(capture)) == {"page"}
    capture.check_books()


@pytest.mark.parametrize("read_before", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_whoever_wrote_a_page_last_has_it(disk, record, actors, read_before, seed):
    """The last writer of a page owns it, for random writers, offsets and sizes with occasional syncs.

    Pages written by one process only since the last sync are never uncertain, if written in whole pages; where several processes wrote
    parts of one page, the rows say so.
    """
    chance, mib = random.Random(seed), 4
    path = shared_file(disk, mib, read_before)
    block = os.statvfs(disk.mount).f_bsize
    recorder = record("--device", disk.name)
    writers = [open_for(actors(), path) for _ in range(4)]
    truth, several, dirty = {}, 0, {}

    def settle():
        """Writes a page's blocks back to the device, attributed to its last writer."""
        nonlocal several
        sync(path)
        for owner, in_doubt, blocks in dirty.values():
            truth[owner] = truth.get(owner, 0) + len(blocks) * block
            several += in_doubt * len(blocks) * block
        dirty.clear()

    for _ in range(300):
        if chance.random() < 0.02:
            settle()
        actor = chance.choice(writers)
        if chance.random() < 0.7:
            size = PAGE * chance.choice([1, 2, 2, 4, 16])
            begin = chance.randrange(0, mib * MIB - size, PAGE)
        else:
            size = chance.randrange(1, 3 * PAGE)
            begin = chance.randrange(0, mib * MIB - size)
        actor.do(f"os.pwrite(f, b'x' * {size}, {begin})")
        last = (begin + size - 1) // block
        for page in range(begin // PAGE, (begin + size - 1) // PAGE + 1):
            whole = begin <= page * PAGE and begin + size >= (page + 1) * PAGE
            owner, in_doubt, blocks = dirty.get(page, (actor.pid, False, set()))
            blocks |= set(range(page * PAGE // block, (page + 1) * PAGE // block)) & set(range(begin // block, last + 1))
            dirty[page] = (actor.pid, not whole and (in_doubt or owner != actor.pid), blocks)
    settle()
    capture = recorder.stop()
    assert written(capture) == truth
    assert by_evidence(capture).get("folio", 0) >= several
    if not read_before:
        assert by_evidence(capture).get("page", 0) > 0
    capture.check_books()


def test_a_mapping_beside_a_writer_leaves_doubt_and_it_is_said(disk, record, actors, tmp_path):
    """A mapping beside a writer leaves doubt, which is reported: stores into a dirty page by a mapping are not traced, so owners of the
    file's pages are uncertain while it is mapped."""
    path = shared_file(disk, 1, False)
    recorder = record("--device", disk.name)
    writer, mapper = open_for(actors(), path), open_for(actors(), path)
    writer.do(f"os.pwrite(f, b'1' * {MIB // 2}, 0)")
    mapper.do(f"m = mmap.mmap(f, {MIB}); m[{MIB // 2}:] = b'2' * {MIB // 2}; m[:10] = b'2' * 10")
    sync(path)
    capture = recorder.stop()
    assert written(capture) == {writer.pid: MIB // 2, mapper.pid: MIB // 2}
    assert by_evidence(capture) == {"folio": MIB}
    row = quality(capture, tmp_path, "attribution")
    assert row["verdict"] == "note" and f"{MIB} bytes of pages or folios that several" in row["found"], row
    assert analyze("amplification", capture.directory, "--out", tmp_path / "out").returncode == 0
    with open(tmp_path / "out" / "amplification.csv", newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["scope"] == "process" and int(row["evidence_folio_bytes"])]
    assert len(rows) == 2
    for row in rows:
        asked = int(row["application_bytes"])
        assert float(row["amplification_low"]) == 0.0 and float(row["amplification_high"]) == pytest.approx(MIB / asked)


def test_as_many_pages_are_remembered_as_may_be_dirty(recordable, tmp_path, record, actors):
    """As many pages are remembered as may be dirty: every other page of 512 MiB, which is twice as many as 65,536."""
    disk, mib = Disk(tmp_path, mebibytes=800), 512
    try:
        path = disk.mount / "shared"
        recorder = record("--device", disk.name)
        writers = [actors() for _ in range(2)]
        writers[0].do(f"f = os.open({str(path)!r}, os.O_RDWR | os.O_CREAT)")
        open_for(writers[1], path)
        pages = mib * MIB // PAGE
        for number, actor in enumerate(writers):
            actor.do(f"for page in range({number}, {pages}, 2): os.pwrite(f, b'x' * {PAGE}, page * {PAGE})")
        sync(path)
        for actor in writers:
            actor.end()
        capture = recorder.stop()
        assert written(capture) == {actor.pid: mib * MIB // 2 for actor in writers}
        [table] = [table for table in capture.manifest["books"]["tables"] if table["name"] == "pieces of files"]
        # An entry covers 16 pages; other files with several writers have some, too.
        assert table["forgotten"] == 0 and pages // 32 <= table["given"] <= pages // 4, table
        assert capture.manifest["books"]["incomplete"]["forgotten_owner_bytes"] == 0
        row = quality(capture, tmp_path, "owners")
        assert row["verdict"] == "good" and f"pieces of files: {table['given']} added" in row["found"], row
    finally:
        disk.close()


def test_a_file_that_is_clean_begins_anew(disk, record, actors):
    """A clean file starts again: the process that dirties it owns it alone, whoever wrote it before."""
    path = shared_file(disk, 1, False)
    recorder = record("--device", disk.name)
    writers = [open_for(actors(), path) for _ in range(2)]
    for actor in writers * 2:
        actor.do(f"os.pwrite(f, b'x' * {MIB}, 0)")
        sync(path)
    capture = recorder.stop()
    assert written(capture) == {actor.pid: 2 * MIB for actor in writers}
    assert set(by_evidence(capture)) == {"inode"}


def test_pages_that_were_dirty_before_are_not_taken_for_whose_file_it_is_now(disk, record, actors):
    """Pages that were dirty before the recording are not attributed to the current writer of the file: one process has dirty pages at the
    start; another writes other pages then."""
    path = shared_file(disk, 1, False)
    before, after = open_for(actors(), path), open_for(actors(), path)
    before.do(f"os.pwrite(f, b'1' * {MIB // 2}, 0)")
    recorder = record("--device", disk.name)
    after.do(f"os.pwrite(f, b'2' * {MIB // 2}, {MIB // 2})")
    sync(path)
    capture = recorder.stop()
    assert written(capture) == {None: MIB // 2, after.pid: MIB // 2}
    assert by_evidence(capture)["page"] == MIB // 2
