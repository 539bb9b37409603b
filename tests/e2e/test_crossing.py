"""Latency breakdown of calls, and data written by syncs: against DuckDB, which joins calls and requests, and against fio's report."""

import csv
import os
import subprocess

import duckdb
import pytest
from conftest import ROOT, analyze, require
from fio import fio as jobs
from proc import kept_in_memory
from test_load import fast_disk  # noqa: F401

FIXTURE = ROOT / "tests/fixtures/debian-6.12-nvme"
PARTS = ("no_request", "rest", "queue", "device", "unknown")


def fio(disk, *arguments):
    """Runs fio on a file of its own and returns its report."""
    return jobs("--name=known", f"--filename={disk.mount / 'file'}", "--size=16M", *arguments)[0]


def table(name, capture, out, *arguments):
    """Returns the rows of a table by scope, name and call. The last requests before the end of a recording may be lost, which the exit code reports."""
    result = analyze(name, capture, "--out", out, *arguments)
    assert result.returncode in (0, 3), result.stderr
    with open(out / f"{name}.csv", newline="") as lines:
        return {(row["scope"], row["name"], row["kind"], row["op"]): row for row in csv.DictReader(lines)}


def recorded(record, disk, out, *arguments):
    recorder = record("--device", disk.name, out=out)
    job = fio(disk, *arguments)
    return recorder.stop(expected=None), job


def test_direct_reads_are_what_the_requests_of_their_threads_are(fast_disk, record, tmp_path):  # noqa: F811
    (fast_disk.mount / "file").write_bytes(bytes(16 << 20))
    capture, job = recorded(record, fast_disk, tmp_path / "run", "--rw=randread", "--bs=4k", "--ioengine=psync", "--direct=1", "--numjobs=2",
                            "--group_reporting", "--io_size=8M")
    row = table("path", capture.directory, tmp_path / "out")["system", "fio", "direct_read", "pread64"]
    # As joined by DuckDB: each request is within the one call of its thread, with all of its time.
    ops, total, queued, device, joined = capture.one("""
        with calls as (select tid, ts_ns, ts_ns + dur_ns as end_ns, dur_ns from {syscall} where op = 'pread64' and flags & 16384 <> 0),
        joined as (select c.ts_ns, queue_ns + coalesce(insert_ns, 0) as queued, b.dur_ns from calls c
            join {block} b on b.tid = c.tid and b.ts_ns between c.ts_ns and c.end_ns and b.op = 'read' and b.evidence = 'direct')
        select (select count(*) from calls), (select sum(dur_ns)::bigint from calls), sum(queued)::bigint, sum(dur_ns - queued)::bigint, count(*)
        from joined""")
    assert ops == joined == job["read"]["total_ios"] == 4096
    assert [int(row[name]) for name in ("waited", "queue_ns", "device_ns", "no_request_ns")] == [ops, queued, device, 0]
    assert int(row["total_ns"]) == total and int(row["unknown_ns"]) == 0
    assert int(row["device_ns"]) > 0.2 * total


def test_what_is_in_the_page_cache_waits_for_nothing(disk, record, tmp_path):
    (disk.mount / "file").write_bytes(bytes(16 << 20))
    subprocess.run(["sync", "-f", disk.mount], check=True)
    # Otherwise the kernel may drop some of them beside other load, and a read of these takes as long as all others together.
    with kept_in_memory(disk.mount / "file"):
        capture, job = recorded(record, disk, tmp_path / "run", "--rw=read", "--bs=4k", "--ioengine=psync", "--invalidate=0")
    row = table("path", capture.directory, tmp_path / "out", "--file", "*/file")["all", "", "read", "pread64"]
    assert capture.one("select count(*) from {block} where op = 'read'") == (0,)
    assert (int(row["ops"]), int(row["waited"]), float(row["no_request_share"])) == (job["read"]["total_ios"], 0, 1)
    assert int(row["total_ns"]) == capture.one("select sum(dur_ns)::bigint from {syscall} where op = 'pread64'")[0]


def test_a_cold_read_waits_for_its_readahead(disk, record, tmp_path):
    (disk.mount / "file").write_bytes(bytes(16 << 20))
    subprocess.run(["sync", "-f", disk.mount], check=True)
    capture, job = recorded(record, disk, tmp_path / "run", "--rw=read", "--bs=4k", "--ioengine=psync", "--invalidate=1")
    row = table("path", capture.directory, tmp_path / "out", "--file", "*/file")["all", "", "read", "pread64"]
    requests, = capture.one("select count(*) from {block} where op = 'read' and comm = 'fio' and ino is not null")
    assert int(row["ops"]) == job["read"]["total_ios"]
    assert 1 <= int(row["waited"]) <= requests and int(row["device_ns"]) > 0 and int(row["no_request_ns"]) > 0


@pytest.mark.parametrize("call, options", [
    ("fsync", ["--fsync=1"]), ("fdatasync", ["--fdatasync=1"]), ("pwrite64", ["--sync=1"]),
])
def test_each_sync_forces_out_what_was_written_before_it(call, options, disk, record, tmp_path):
    capture, job = recorded(record, disk, tmp_path / "run", "--rw=write", "--bs=8k", "--io_size=1M", "--ioengine=psync", "--fallocate=none", *options)
    kind = "sync_write" if call == "pwrite64" else "sync"
    rows = table("sync", capture.directory, tmp_path / "out")
    row = rows["all", "", kind, call]
    # fio does not sync after the last write, and does not count fdatasync.
    written = job["write"]["total_ios"] - (kind == "sync")
    assert job["write"]["total_ios"] == 128 and (call != "fsync" or written == job["sync"]["total_ios"])
    assert int(row["ops"]) == written and row["failed"] == "0"
    # All of it, and nothing twice.
    assert int(row["data_bytes"]) == written << 13
    assert int(row["requests"]) <= capture.one("select count(*) from {block} where op = 'write'")[0]
    journal, blocks, commits = capture.one("""
        select (select coalesce(sum(bytes), 0)::bigint from {block} where class = 'journal'),
            (select coalesce(sum(blocks), 0)::bigint from {fs} where op = 'commit'), (select count(*) from {fs} where op = 'commit')""")
    # Each write appends, and so changes the file size, which is journaled.
    assert written <= int(row["commits"]) <= commits and 0 < int(row["journal_blocks"]) <= blocks
    assert 0.95 * journal <= int(row["journal_bytes"]) <= journal
    # The same values for the process, the file and the disk.
    for scope in ("process", "file", "device"):
        (other,) = [row for (of, _, _, op), row in rows.items() if (of, op) == (scope, call)]
        assert [other[name] for name in ("ops", "data_bytes", "commits")] == [row[name] for name in ("ops", "data_bytes", "commits")]
    # Time of the calls, most of which is spent on requests.
    path = table("path", capture.directory, tmp_path / "out")["all", "", kind, call]
    total, = capture.one(f"select sum(dur_ns)::bigint from {{syscall}} where op = '{call}'")
    assert int(path["total_ns"]) == int(row["total_ns"]) == total and int(path["waited"]) >= written


def test_operations_that_go_on_beside_their_thread_have_their_own_requests(fast_disk, record, tmp_path):  # noqa: F811
    (fast_disk.mount / "file").write_bytes(bytes(16 << 20))
    for engine, op in (("libaio", "aio_read"), ("io_uring", "io_uring_read")):
        capture, job = recorded(record, fast_disk, tmp_path / engine, "--rw=randread", "--bs=4k", f"--ioengine={engine}", "--iodepth=4",
                                "--direct=1", "--io_size=4M")
        row = table("path", capture.directory, tmp_path / "out")["system", "fio", "direct_read", op]
        assert int(row["ops"]) == job["read"]["total_ios"] == 1024
        assert int(row["waited"]) >= 0.99 * 1024 and float(row["unknown_share"]) < 0.02, row
        # Each request belongs to one operation: their total time is that of the requests, except for late completions to the program.
        queued, device = capture.one("""
            select sum(queue_ns + coalesce(insert_ns, 0))::bigint, sum(dur_ns - queue_ns - coalesce(insert_ns, 0))::bigint
            from {block} where op = 'read' and evidence = 'direct' and comm = 'fio' and class = 'data'""")
        assert int(row["device_ns"]) == pytest.approx(device, rel=0.02) and int(row["queue_ns"]) == pytest.approx(queued, rel=0.05)


def test_the_time_of_calls_is_all_of_it_and_rows_of_a_scope_add_up(tmp_path):
    rows = table("path", FIXTURE, tmp_path)
    for row in rows.values():
        assert sum(int(row[f"{part}_ns"]) for part in PARTS) == int(row["total_ns"])
    syncs = table("sync", FIXTURE, tmp_path)
    assert {key for key in rows if key[2] in ("sync", "sync_write")} >= syncs.keys() and syncs
    for columns, all_rows in ((("ops", "total_ns"), rows), (("requests", "data_bytes", "journal_bytes", "commits", "journal_blocks"), syncs)):
        for column in columns:
            sums = {}
            for (scope, _, kind, op), row in all_rows.items():
                sums.setdefault((kind, op), {}).setdefault(scope, []).append(int(row[column]))
            for of, by_scope in sums.items():
                assert sum(by_scope["all"]) == sum(by_scope["system"]), (of, column)


def test_without_requests_time_is_not_told_apart(tmp_path):
    row = table("path", FIXTURE, tmp_path, "--layer", "syscall")["all", "", "sync", "fsync"]
    assert int(row["total_ns"]) > 0 and all(row[f"{part}_ns"] == row[f"{part}_share"] == "" for part in PARTS) and row["waited"] == ""


def cache_of(capture, out, *arguments):
    """Returns rows of cache.csv by scope and name."""
    assert analyze("cache", capture, "--out", out, *arguments).returncode in (0, 3)
    with open(out / "cache.csv", newline="") as lines:
        return {(row["scope"], row["name"]): row for row in csv.DictReader(lines)}


@pytest.mark.moments
def test_reads_through_the_cache_hit_and_miss(disk, record, tmp_path):
    (disk.mount / "file").write_bytes(bytes(16 << 20))
    subprocess.run(["sync", "-f", disk.mount], check=True)
    found = {}
    for name, options in {"cold": ("--rw=read", "--invalidate=1"), "warm": ("--rw=read", "--invalidate=0"),
                          "random": ("--rw=randread", "--invalidate=1", "--io_size=1M", "--fadvise_hint=0")}.items():
        before = disk.stat()["read_bytes"]
        capture, job = recorded(record, disk, tmp_path / name, "--bs=4k", "--ioengine=psync", *options)
        row = cache_of(capture.directory, tmp_path / f"{name}-out", "--file", "*/file")["all", ""]
        assert int(row["read_ops"]) == job["read"]["total_ios"] and int(row["read_bytes"]) == job["read"]["io_bytes"]
        filled, ahead = capture.one("""
            select (select coalesce(sum(bytes), 0)::bigint from {fs} where op = 'fill' and fd_kind = 'regular'),
                (select coalesce(sum(bytes), 0)::bigint from {block} where class = 'readahead' and ino is not null)""")
        assert (int(row["filled_bytes"]), int(row["readahead_bytes"])) == (filled, ahead)
        found[name] = {**row, "device_bytes": disk.stat()["read_bytes"] - before}
    cold, warm, random = (found[name] for name in ("cold", "warm", "random"))
    # Each page was filled once; most calls hit, because of readahead.
    assert int(cold["filled_bytes"]) == 16 << 20 and float(cold["hit_pages_share"]) == 0 and 0.5 < float(cold["hit_ops_share"]) < 1
    assert 0 < int(cold["readahead_bytes"]) <= 16 << 20 and cold["unused_bytes"] == "0"
    # Except for pages that the kernel dropped since the first read, for other processes or because a virtual machine returns memory: the disk's
    # counters have what was read again.
    missing = warm["device_bytes"]
    assert abs(int(warm["filled_bytes"]) - missing) < 1 << 19, warm
    assert min(float(warm["hit_ops_share"]), float(warm["hit_pages_share"])) > 0.95 - missing / (16 << 20), warm
    # Reads around each offset fill more pages than are used.
    filled = int(random["filled_bytes"])
    assert int(random["unused_bytes"]) == max(0, filled - (1 << 20)) and int(random["miss_ops"]) > 100


def test_what_is_overwritten_in_the_cache_is_absorbed(disk, record, tmp_path):
    recorder = record("--device", disk.name, out=tmp_path / "run")
    with open(disk.mount / "file", "wb", buffering=0) as file:
        for _ in range(8):
            file.seek(0)
            file.write(bytes(1 << 20))
        os.fsync(file.fileno())
    capture = recorder.stop(expected=None)
    row = cache_of(capture.directory, tmp_path / "out", "--file", "*/file")["all", ""]
    assert [int(row[name]) for name in ("write_bytes", "dirtied_bytes", "write_absorbed_bytes")] == [8 << 20, 1 << 20, 7 << 20]


def test_what_the_cache_did_is_duckdbs(tmp_path):
    rows = cache_of(FIXTURE, tmp_path / "cache")
    calls = "op in ('read', 'pread64', 'readv', 'preadv', 'preadv2', 'aio_read', 'io_uring_read', 'sendfile_in', 'copy_file_range_in', 'splice_in')"
    through = f"{calls} and fd_kind in ('regular', 'block') and flags & 16384 = 0"
    query = f"""
        select (select count(*) from '{FIXTURE}/syscall/*.parquet' where {through}),
            (select sum(greatest(ret, 0))::bigint from '{FIXTURE}/syscall/*.parquet' where {through}),
            (select sum(bytes)::bigint from '{FIXTURE}/fs/*.parquet' where op = 'fill' and via is distinct from 'mapping' and fd_kind = 'regular'),
            (select sum(bytes)::bigint from '{FIXTURE}/fs/*.parquet' where op = 'dirty' and fd_kind = 'regular'),
            (select sum(bytes)::bigint from '{FIXTURE}/block/*.parquet' where class = 'readahead')"""
    (expected,) = duckdb.sql(query).fetchall()
    row = rows["all", ""]
    assert tuple(int(row[name]) for name in ("read_ops", "read_bytes", "filled_bytes", "dirtied_bytes", "readahead_bytes")) == expected
    # Absorbed bytes equal those in amplification.csv.
    assert analyze("amplification", FIXTURE, "--out", tmp_path / "amplification").returncode == 0
    with open(tmp_path / "amplification" / "amplification.csv", newline="") as lines:
        absorbed = {(row["scope"].replace("total", "all"), row["name"], row["id"], row["direction"]): row["absorbed_bytes"] for row in csv.DictReader(lines)}
    compared = 0
    for row in rows.values():
        for direction in ("read", "write"):
            other = absorbed.get((row["scope"], row["name"], row["id"], direction))
            assert other is None or other == row[f"{direction}_absorbed_bytes"]
            compared += other is not None
    assert compared > 10


def test_direct_writes_of_others_are_nothing_that_a_sync_forced_out(disk, record, tmp_path):
    """Direct writes of another thread are not attributed to a sync: one thread writes past the cache, another syncs the same file repeatedly."""
    (disk.mount / "file").write_bytes(bytes(16 << 20))
    subprocess.run(["sync", "-f", disk.mount], check=True)
    recorder = record("--device", disk.name, out=tmp_path / "run")
    writer = subprocess.Popen([require("fio"), "--name=direct", f"--filename={disk.mount / 'file'}", "--size=16M", "--rw=randwrite", "--bs=4k",
                               "--direct=1", "--ioengine=psync", "--io_size=4M"], stdout=subprocess.DEVNULL)
    syncs = 0
    with open(disk.mount / "file", "r+b") as file:
        while writer.poll() is None:
            os.fsync(file.fileno())
            syncs += 1
    assert writer.returncode == 0
    capture = recorder.stop(expected=None)
    written, = capture.one("select sum(bytes)::bigint from {block} where op = 'write' and evidence = 'direct' and class = 'data'")
    rows = {row["op"]: row for (scope, _, _, _), row in table("sync", capture.directory, tmp_path / "out", "--file", "*/file").items() if scope == "all"}
    assert written >= 4 << 20 and int(rows["fsync"]["ops"]) == syncs > 10
    assert int(rows["fsync"]["data_bytes"]) < 0.1 * written and rows["fsync"]["unknown_ops"] == "0"


def test_a_copy_reads_on_its_reading_side(disk, record, tmp_path):
    (disk.mount / "from").write_bytes(os.urandom(4 << 20))
    subprocess.run(["sync", "-f", disk.mount], check=True)
    with open(disk.mount / "from", "rb") as source:
        os.posix_fadvise(source.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    recorder = record("--device", disk.name, out=tmp_path / "run")
    with open(disk.mount / "from", "rb") as source, open(disk.mount / "to", "wb") as target:
        assert os.sendfile(target.fileno(), source.fileno(), 0, 4 << 20) > 0
    capture = recorder.stop(expected=None)
    rows = table("path", capture.directory, tmp_path / "out")
    read, write = rows["all", "", "read", "sendfile_in"], rows["all", "", "write", "sendfile_out"]
    assert int(read["waited"]) == 1 and int(read["device_ns"]) > 0 and write["waited"] == "0"
    cached = cache_of(capture.directory, tmp_path / "cache", "--process", "python*")["all", ""]
    assert int(cached["miss_ops"]) >= 1


def test_what_an_overlay_forced_out_is_not_told(overlay, record, tmp_path):
    recorder = record("--comm", "dd", out=tmp_path / "run")
    subprocess.run(["dd", "if=/dev/zero", f"of={overlay.merged}/file", "bs=64k", "count=4", "conv=fsync"], check=True, capture_output=True)
    capture = recorder.stop(expected=None)
    row = table("sync", capture.directory, tmp_path / "out")["system", "dd", "sync", "fsync"]
    assert (row["ops"], row["unknown_ops"], row["data_bytes"]) == ("1", "1", ""), row
