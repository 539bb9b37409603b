"""amplification.csv: bytes from the application to the device, against the kernel's counters."""

import csv
import subprocess

import pytest
from conftest import analyze

MIB = 1 << 20

NUMBERS = ("application_bytes", "device_bytes", "absorbed_bytes", "mapping_bytes", "call_bytes", "device_readahead_bytes",
           "device_data_bytes", "device_journal_bytes", "device_metadata_bytes", "cached_bytes")


def amplification(capture, out):
    result = analyze("summary", capture.directory, "--out", out)
    assert result.returncode == 0, result.stderr
    with open(out / "amplification.csv", newline="") as lines:
        rows = [row | {name: int(row[name] or 0) for name in NUMBERS} for row in csv.DictReader(lines)]
    return rows


def one(rows, **wanted):
    (row,) = [row for row in rows if all(row[name] == value for name, value in wanted.items())]
    return row


@pytest.mark.moments
def test_every_scope_adds_up_to_the_devices_counters(disk, record, actors, tmp_path):
    old = disk.mount / "old"
    old.write_bytes(bytes(4 * MIB))
    disk.settle()
    writer, mapper, reader = actors(), actors(), actors()
    recorder = record("--device", disk.name)
    files = {name: disk.mount / name for name in ("written", "mapped", "deleted")}
    writer.do(f"f = open({str(files['written'])!r}, 'wb'); f.write(b'x' * (2 << 20)); f.close()")
    writer.do(f"f = open({str(files['deleted'])!r}, 'wb'); f.write(b'x' * (1 << 20)); f.close(); os.unlink(f.name)")
    mapper.do(f"f = open({str(files['mapped'])!r}, 'w+b'); f.truncate(1 << 20); m = mmap.mmap(f.fileno(), 0); m[:] = b'y' * len(m)")
    reader.do(f"len(open({str(old)!r}, 'rb').read()); len(open({str(old)!r}, 'rb').read())")
    subprocess.run(["sync", "-f", disk.mount], check=True)
    capture = recorder.stop()
    book = capture.check_device(disk.name, busy=True)["rows"]
    rows = amplification(capture, tmp_path / "results")

    for scope in ("total", "system", "process", "cgroup", "file", "device"):
        for direction in ("read", "write"):
            device = sum(row["device_bytes"] for row in rows if (row["scope"], row["direction"]) == (scope, direction))
            assert device == book[f"{direction}_bytes"], (scope, direction)
    total = one(rows, scope="total", direction="write")
    classes = sum(total[f"device_{name}_bytes"] for name in ("data", "journal", "metadata"))
    assert classes == total["device_bytes"] == book["write_bytes"]

    def of(actor, direction):
        (row,) = [row for row in rows if row["id"].startswith(f"{actor.pid}@") and row["direction"] == direction]
        return row

    # Three MiB were written, of which one was deleted before writeback.
    wrote = of(writer, "write")
    assert (wrote["call_bytes"], wrote["device_bytes"], wrote["absorbed_bytes"]) == (3 * MIB, 2 * MIB, MIB)
    assert abs(float(wrote["amplification"]) - 2 / 3) < 1e-9 and wrote["evidence_inode_bytes"] == str(2 * MIB)
    mapped = of(mapper, "write")
    assert (mapped["mapping_bytes"], mapped["call_bytes"], mapped["device_bytes"]) == (MIB, 0, MIB)
    # The second read of the same file is served by the cache.
    read = of(reader, "read")
    assert (read["call_bytes"], read["cached_bytes"], read["device_bytes"]) == (8 * MIB, 4 * MIB, 4 * MIB)
    assert read["device_readahead_bytes"] > 3 * MIB and float(read["amplification"]) == 0.5

    number = files["written"].stat()
    file = one(rows, scope="file", direction="write", name=str(files["written"]))
    assert file["id"].startswith(f"7:{number.st_dev & 0xff}:{number.st_ino}@")
    assert (file["application_bytes"], file["device_bytes"], float(file["amplification"])) == (2 * MIB, 2 * MIB, 1)
    assert one(rows, scope="device", direction="write")["name"] == disk.name
    assert one(rows, scope="device", direction="write")["application_bytes"] == 4 * MIB


def test_files_that_had_one_inode_number_are_told_apart(disk, record, actors, tmp_path):
    writer = actors()
    old, new = disk.mount / "old", disk.mount / "new"
    recorder = record("--device", disk.name)
    writer.do(f"f = open({str(old)!r}, 'wb'); f.write(b'x' * (1 << 20)); os.fsync(f.fileno()); ino = os.fstat(f.fileno()).st_ino")
    writer.do(f"f.close(); os.unlink({str(old)!r}); g = open({str(new)!r}, 'wb'); g.write(b'x' * (2 << 20)); os.fsync(g.fileno())")
    writer.do("assert os.fstat(g.fileno()).st_ino == ino; g.close()")
    rows = amplification(recorder.stop(), tmp_path / "results")
    rows = {name: one(rows, scope="file", direction="write", name=str(name)) for name in (old, new)}
    assert [rows[name]["device_bytes"] for name in (old, new)] == [MIB, 2 * MIB]
    assert [rows[name]["application_bytes"] for name in (old, new)] == [MIB, 2 * MIB]
    assert rows[old]["id"].split("@")[0] == rows[new]["id"].split("@")[0] and rows[old]["id"] != rows[new]["id"]


def test_direct_io_is_its_files_too(disk, record, actors, tmp_path):
    path = disk.mount / "direct"
    path.write_bytes(bytes(2 * MIB))
    disk.settle()
    actor = actors()
    recorder = record("--device", disk.name)
    actor.do(f"b = mmap.mmap(-1, 1 << 20); f = os.open({str(path)!r}, os.O_RDWR | os.O_DIRECT)")
    actor.do("os.pwritev(f, [b], 0); os.preadv(f, [b], 1 << 20); os.pwritev(f, [b], 1 << 20)")
    rows = amplification(recorder.stop(), tmp_path / "results")
    for direction, count in (("write", 2), ("read", 1)):
        row = one(rows, scope="file", direction=direction, name=str(path))
        assert (row["application_bytes"], row["device_bytes"]) == (count * MIB, count * MIB)
        assert row["evidence_direct_bytes"] == str(count * MIB) and float(row["amplification"]) == 1


@pytest.mark.moments
def test_an_overlay_counts_nothing_twice(disk, overlay, record, actors, tmp_path):
    """A write through an overlay is counted once, though call, pages and requests belong to different files."""
    (overlay.lower / "old").write_bytes(bytes(2 * MIB))
    disk.settle()
    actor, merged = actors(), overlay.merged
    recorder = record("--pid", str(actor.pid))
    actor.do(f"f = open({str(merged / 'new')!r}, 'wb'); f.write(b'x' * (1 << 20)); f.flush(); os.fsync(f.fileno()); f.close()")
    actor.do(f"len(open({str(merged / 'old')!r}, 'rb').read())")
    rows = amplification(recorder.stop(), tmp_path / "results")
    wrote, read = [next(row for row in rows if row["id"].startswith(f"{actor.pid}@") and row["direction"] == direction)
                   for direction in ("write", "read")]
    assert (wrote["application_bytes"], wrote["mapping_bytes"], wrote["cached_bytes"], wrote["device_bytes"]) == (MIB, 0, MIB, MIB)
    assert (read["application_bytes"], read["mapping_bytes"], read["cached_bytes"]) == (2 * MIB, 0, 2 * MIB)
    assert read["device_data_bytes"] + read["device_readahead_bytes"] == 2 * MIB
    # Its bitmaps and extents are read as well.
    assert read["amplification_low"] == read["amplification"] and 1 <= float(read["amplification"]) < 1.01
    above = one(rows, scope="file", direction="write", name=str(merged / "new"))
    assert (above["application_bytes"], above["amplification"], above["amplification_high"]) == (MIB, "", "")
    (below,) = [row for row in rows if row["scope"] == "file" and row["name"].endswith("]/upper/new")]
    assert (below["application_bytes"], below["device_bytes"]) == (0, MIB)


def test_a_block_device_is_no_file_and_has_its_ratio(disk, record, actors, tmp_path):
    subprocess.run(["umount", disk.mount], check=True)
    actor = actors()
    try:
        recorder = record("--device", disk.name)
        actor.do(f"f = open('/dev/{disk.name}', 'r+b'); f.write(b'x' * (1 << 20)); f.flush(); os.fsync(f.fileno()); f.close()")
        rows = amplification(recorder.stop(), tmp_path / "results")
    finally:
        subprocess.run(["mount", f"/dev/{disk.name}", disk.mount], check=False)
    (device,) = [row for row in rows if row["scope"] == "device" and row["direction"] == "write"]
    assert (device["name"], device["application_bytes"], device["device_bytes"]) == (disk.name, MIB, MIB)
    (file,) = [row for row in rows if row["scope"] == "file" and row["direction"] == "write"]
    assert (file["name"], file["application_bytes"], file["device_bytes"]) == ("(unknown)", MIB, MIB)


def test_what_a_sequential_reader_of_a_mapping_used_is_between_the_bounds(disk, record, actors, tmp_path):
    path = disk.mount / "old"
    path.write_bytes(bytes(4 * MIB))
    disk.settle()
    reader = actors()
    reader.do(f"f = open({str(path)!r}, 'rb'); m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)")
    recorder = record("--device", disk.name)
    reader.do("x = m[:]")
    rows = amplification(recorder.stop(), tmp_path / "results")
    # By its pages alone: the descriptor was opened before, and no call was made on it.
    (name,) = {row["name"] for row in rows if row["id"].startswith(f"7:{path.stat().st_dev & 0xff}:{path.stat().st_ino}@")}
    assert name == f"[7:{path.stat().st_dev & 0xff}]/old"
    row = one(rows, scope="file", direction="read", name=name)
    assert row["device_bytes"] == 4 * MIB and 0 < row["mapping_bytes"] <= 4 * MIB
    assert float(row["amplification_low"]) == 1 <= float(row["amplification"]) <= float(row["amplification_high"])
