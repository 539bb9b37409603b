"""Imports of blktrace's files: they agree with blkparse and btt, and with the recorder's rows of the same requests."""

import csv
import json
import re
import statistics
import struct
import subprocess
import time
from pathlib import Path

import duckdb
import pytest
from conftest import BIN, Capture, analyze, require, run
from machine import VM, fetch_kernel, make_payload

LINES = ["5.10", "6.1", "6.12"]
# Requests take 1/60 s each: compared with that, the tracing overhead on an emulated processor is negligible.
IOPS = 60
# Tolerance of averages, as documented by the project.
TOLERANCE = 0.01

Q2C, D2C = "dur_ns", "dur_ns - queue_ns - coalesce(insert_ns, 0)"


def imported(out, *files, **options):
    return run(BIN / "iostrata-analyze", "import", "--format", "blktrace", "--out", out, *files, **options)


# Output of blktrace, blkparse and btt of one run.


@pytest.fixture(scope="module", params=LINES)
def left(request, tmp_path_factory):
    """Output of a machine with blktrace and the recorder on the same disk at the same time."""
    line = request.param
    fetch_kernel(line)
    programs = ["mkfs.ext4", "fstrim", "blktrace", f"{require('dd')}=/usr/local/bin/dd"]
    payload = make_payload(tmp_path_factory, "blktrace/run.sh", *programs)
    out = tmp_path_factory.mktemp("vm") / "out"
    machine = run(VM / "boot.sh", "--kernel", line, "--payload", payload, "--out", out,
                  "--modules", "mq-deadline", "--disk-iops", str(IOPS))
    assert machine.returncode == 0, machine.stdout + machine.stderr
    return out


@pytest.fixture(scope="module", params=["single", "mixed"])
def phase(request, left, tmp_path_factory):
    """A phase, with the import of its trace, the recorder's capture, and blkparse's merged stream."""
    directory = left / request.param
    files = sorted(directory.glob("nvme0n1.blktrace.*"))
    assert len(files) == 2 and "dropped 0" in (directory / "blktrace.txt").read_text()
    out = tmp_path_factory.mktemp("import") / "capture"
    result = imported(out, *files)
    assert result.returncode == 0 and result.stdout.count("\n") == 1, result.stdout + result.stderr
    recorded = Capture(directory / "capture")
    recorded.check_books()
    assert (directory / "record.code").read_text().strip() == "0" and recorded.lost() == 0 and recorded.unseen_ends() == 0
    merged = out.parent / "merged.bin"
    subprocess.run([require("blkparse"), "-q", "-O", "-D", directory, "-i", "nvme0n1", "-d", merged], check=True, capture_output=True)
    return request.param, directory, Capture(out), recorded, merged


def btt(merged):
    """Returns btt's averages over all devices in nanoseconds, with the number of bios, by btt's name."""
    told = run(require("btt"), "-i", merged, cwd=merged.parent)
    assert told.returncode == 0, told.stderr
    rows = re.findall(r"^(\w2\w)\s+[\d.]+\s+([\d.]+)\s+[\d.]+\s+(\d+)$", told.stdout, re.MULTILINE)
    return {name: (float(seconds) * 1e9, int(count)) for name, seconds, count in rows}


def by_request(part, trace, recorded, which=""):
    """Returns a time of each request: from the trace, and from the capture."""
    timed = f"""select op, sector, bytes, row_number() over (partition by op, sector, bytes order by ts_ns), {part} from {{block}} {which}"""
    theirs, ours = [{tuple(of): ns for *of, ns in capture.sql(timed)} for capture in (trace, recorded)]
    assert theirs.keys() == ours.keys()
    return [(theirs[of], ours[of]) for of in theirs]


@pytest.mark.parametrize("phase", ["single"], indirect=True)
def test_averages_are_those_of_btt(phase):
    """Averages of the import, and of the recorder's rows, equal btt's. btt's averages are over bios, and for a flush sequence up to its data."""
    _, _, trace, recorded, merged = phase
    theirs = btt(merged)
    assert theirs["Q2C"][1] == theirs["D2C"][1] == 300
    # To the digits that btt prints.
    assert trace.one(f"select count(*), abs(avg({Q2C}) - {theirs['Q2C'][0]}) < 1, abs(avg({D2C}) - {theirs['D2C'][0]}) < 1 from {{block}}") == (300, True, True)
    for part in (Q2C, D2C):
        pairs = by_request(part, trace, recorded)
        assert len(pairs) == 300
        # An emulated processor may be descheduled between the two clock readings. That affects few requests, or the averages differ.
        steady = sorted(pairs, key=lambda pair: abs(pair[0] - pair[1]))[:-6]
        off = sum(ours for _, ours in steady) / sum(blktraces for blktraces, _ in steady) - 1
        print(f"{recorded.directory}: {part} {off}")
        assert abs(off) < TOLERANCE, (recorded.directory, part, off)


def test_counts_and_bytes_are_those_of_blkparse(phase):
    _, directory, trace, _, _ = phase
    told = subprocess.run([require("blkparse"), "-D", directory, "-i", "nvme0n1"], check=True, capture_output=True, text=True).stdout
    total = told[told.index("Total ("):] if "Total (" in told else told[told.index("CPU"):]
    theirs = {(way, what): (int(count), int(kib)) for way, what, count, kib in
              re.findall(r"(Reads?|Writes?) (Queued|Dispatches|Completed|Merges):\s+(\d+),\s+(\d+)KiB", total)}
    ours = {way: trace.one(f"""select count(*) filter (bytes > 0 or op = 'device_flush'), sum(bytes)::bigint // 1024, sum(bios - 1) filter (bios > 0)::bigint,
            count(*) from {{block}} where op in {ops}""")
            for way, ops in (("Read", "('read', 'device_flush')"), ("Write", "('write', 'discard', 'flush')"))}
    for way, (issued, kib, merges, _) in ours.items():
        assert theirs[f"{way}", "Dispatches"] == (issued, kib)
        assert theirs[f"{way}", "Merges"][0] == merges
        assert theirs[f"{way}s", "Completed"][1] == kib
    assert theirs["Reads", "Completed"][0] == ours["Read"][3]
    # Requests of a flush sequence complete once more at its end.
    assert theirs["Writes", "Completed"][0] >= ours["Write"][3]


def test_every_request_is_one_of_the_recorder(phase):
    """Operation, sector, size, merges and submitter of each request equal the recorder's; times agree in the median."""
    name, _, trace, recorded, _ = phase
    assert (trace.manifest["devices"][0]["name"], len(trace.manifest["devices"])) == ("nvme0n1", 1)
    row = """op, sector, bytes, bios, requeues, error, dev, flags & 59, coalesce(submitter_comm, comm), insert_ns is null,
        row_number() over (partition by op, sector, bytes order by ts_ns)"""
    ours, theirs = [sorted(capture.sql(f"select {row} from {{block}}"), key=str) for capture in (trace, recorded)]
    assert ours == theirs and len(ours) == trace.manifest["books"]["accounts"][0]["written"]
    operations = {operation for operation, *_ in ours}
    assert operations >= ({"read", "write"} if name == "single" else {"read", "write", "flush", "device_flush", "discard"})
    assert name == "single" or max(bios for _, _, _, bios, *_ in ours) > 1
    # Per request, and the median: an emulated processor may be descheduled between the two clock readings. blktrace reads the wall clock once, the
    # recorder often.
    off_ns = statistics.median(abs(ours - blktraces) for blktraces, ours in by_request("ts_ns", trace, recorded))
    assert off_ns < 50_000_000, off_ns
    for part in (Q2C, D2C):
        pairs = by_request(part, trace, recorded, "where op in ('read', 'write', 'discard')")
        assert len(pairs) > 100
        off = statistics.median(abs(blktraces / ours - 1) for blktraces, ours in pairs)
        assert off < TOLERANCE * (1 if name == "single" else 10), (part, off)


def test_what_the_trace_cannot_know_is_not_there(phase):
    _, _, trace, recorded, _ = phase
    assert trace.one("select count(pid), count(tid), count(comm), count(ino), sum(owned_bytes)::bigint, min(evidence), max(evidence) from {block}") == (
        0, 0, 0, 0, 0, "none", "none")
    assert trace.one("select count(*) from {block} where submitter_pid is null and op != 'device_flush'") == (0,)
    assert trace.manifest["books"]["incomplete"]["unidentified_requests"] == 0
    # Not flagged are the superblock, and reads and writes through the disk's own pages.
    classes = "select class, count(*) from {block} where op in ('read', 'write') group by all"
    ours, theirs = dict(trace.sql(classes)), dict(recorded.sql(classes))
    # Linux 5.10 does not mark journal writes as metadata.
    marked, = recorded.one("select count(*) from {block} where class = 'journal' and flags & 2 > 0 and op = 'write'")
    assert sum(ours.values()) == sum(theirs.values()) and ours.get("journal", 0) == marked, (ours, theirs)
    assert marked in (0, theirs.get("journal", 0)), theirs


def test_a_merged_stream_is_the_files(phase, tmp_path):
    """The import of a merged stream equals that of the files: `blkparse -d` counts time from the first record, and leaves that of notices unchanged."""
    _, directory, trace, _, merged = phase
    result = run(BIN / "iostrata-analyze", "import", "--format", "blktrace", "--out", tmp_path / "stream", "-", stdin=merged.open())
    assert result.returncode == 0, result.stderr
    stream = Capture(tmp_path / "stream")
    row = "op, sector, bytes, bios, dur_ns, queue_ns, insert_ns, submitter_comm"
    assert stream.sql(f"select {row} from {{block}} order by all") == trace.sql(f"select {row} from {{block}} order by all")
    starts = [capture.one("select min(ts_ns) from {block}")[0] for capture in (stream, trace)]
    assert abs(starts[0] - starts[1]) < 50_000_000, starts
    # The same with the CPUs' records one after another, as from `blktrace -o -`.
    pieces = b"".join(file.read_bytes() for file in sorted(directory.glob("nvme0n1.blktrace.*")))
    (tmp_path / "pieces").write_bytes(pieces)
    assert imported(tmp_path / "again", tmp_path / "pieces").returncode == 0
    row += ", ts_ns"
    assert Capture(tmp_path / "again").sql(f"select {row} from {{block}} order by all") == trace.sql(f"select {row} from {{block}} order by all")


# Synthetic traces.

DISK, OTHER = 8 << 20, 8 << 20 | 16
READ, WRITE, SYNC, META, NOTIFY = (1 << bit for bit in (16, 17, 19, 28, 26))
ACTIONS = {"Q": 1, "M": 2, "F": 3, "G": 4, "R": 6, "D": 7, "C": 8, "I": 12, "X": 13, "A": 15}
NAME, CLOCK = NOTIFY, NOTIFY | 1
BEGIN_NS = 1_700_000_000_000_000_000


class Trace:
    """A trace, which begins with the records that every trace has."""

    def __init__(self, order="<", device=DISK, cpu=0, clock=True):
        self.order, self.device, self.cpu, self.sequence, self.bytes = order, device, cpu, 0, b""
        if clock:
            self.note(5, CLOCK, struct.pack(order + "II", *divmod(BEGIN_NS, 10**9)))
        self.note(6, NAME, b"writer\0".ljust(16, b"\0"))

    def note(self, time, action, payload, pid=7):
        head = struct.pack(self.order + "IIQQIIIIIHH", 0x65617407, 0, time, 0, 0, action, pid, self.device, self.cpu, 0, len(payload))
        self.bytes += head + payload

    def add(self, time, action, sector, size, flags=WRITE, error=0, payload=b""):
        self.sequence += 1
        self.bytes += struct.pack(self.order + "IIQQIIIIIHH", 0x65617407, self.sequence, time, sector, size, ACTIONS[action] | flags, 7,
                                  self.device, self.cpu, error & 0xffff, len(payload)) + payload
        return self

    def write(self, path):
        path.write_bytes(self.bytes)
        return path


def rows(capture, columns="ts_ns - 1700000000000000000 + 5, dur_ns, queue_ns, insert_ns, op, sector, bytes, bios, requeues, submitter_pid, submitter_comm"):
    return duckdb.sql(f"select {columns} from '{capture}/block/*.parquet' order by all").fetchall()


@pytest.mark.parametrize("order", "<>")
def test_both_byte_orders_are_read(order, tmp_path):
    trace = Trace(order)
    for time, action in ((10, "Q"), (11, "G"), (12, "I"), (20, "D"), (50, "C")):
        trace.add(time, action, 80, 4096, WRITE | SYNC)
    result = imported(tmp_path / "out", trace.write(tmp_path / "sda.blktrace.0"))
    assert (result.returncode, result.stdout) == (0, f"1 request of 1 disk in 40ns: {tmp_path / 'out'}\n"), result.stderr
    assert rows(tmp_path / "out") == [(10, 40, 2, 8, "write", 80, 4096, 1, 0, 7, "writer")]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert [(device["dev"], device["name"]) for device in manifest["devices"]] == [(DISK, "sda")]
    assert manifest["clock"]["offset_ns"] == BEGIN_NS - 5


def latency(capture):
    """Returns the rows of latency.csv, as dictionaries, and the output of the command."""
    told = analyze("latency", capture, "--exact", "--out", capture.parent / "latency")
    assert told.returncode == 0, told.stderr
    with open(capture.parent / "latency" / "latency.csv", newline="") as lines:
        return list(csv.DictReader(lines)), told.stdout


@pytest.mark.parametrize("inserts", [False, True])
def test_of_a_trace_that_has_no_queueing_the_device_is_timed(inserts, tmp_path):
    """Without queueing events (`blktrace -a issue -a complete`) the device phase is measured. A request with only one end has no duration."""
    trace, took = Trace(), [20 + number % 7 for number in range(1000)]
    for number, ns in enumerate(took):
        if inserts:
            trace.add(100 + number * 50, "I", number * 8, 4096, READ)
        trace.add(103 + number * 50, "D", number * 8, 4096, READ).add(103 + number * 50 + ns, "C", number * 8, 4096, READ)
    trace.add(90_000, "C", 80_000, 512, READ)
    result = imported(tmp_path / "out", trace.write(tmp_path / "sda.blktrace.0"))
    assert result.returncode == 0 and "`device` (D2C) is the only known phase" in result.stdout, result.stdout + result.stderr
    found, said = latency(tmp_path / "out")
    by_phase = {row["phase"]: row for row in found}
    assert by_phase.keys() == ({"device", "insert"} if inserts else {"device"})
    device = by_phase["device"]
    ranked = sorted(took)
    assert [device[name] for name in ("count", "untimed", "min_ns", "p50_ns", "p99_ns", "max_ns")] == [
        "1000", "1", *(str(ns) for ns in (ranked[0], ranked[499], ranked[989], ranked[-1]))]
    assert not inserts or (by_phase["insert"]["min_ns"], by_phase["insert"]["max_ns"]) == ("3", "3")
    assert "not known: queueing times of requests" in said


@pytest.mark.parametrize("pack", ["gzip", "zstd", "xz"])
def test_compressed_files_are_those_that_were_compressed(pack, tmp_path):
    trace = Trace()
    for number in range(100):
        trace.add(100 + number * 10, "Q", number * 8, 4096).add(101 + number * 10, "D", number * 8, 4096).add(109 + number * 10, "C", number * 8, 4096)
    plain = trace.write(tmp_path / "sda.blktrace.0")
    packed = tmp_path / "packed" / "sda.blktrace.0.packed"
    packed.parent.mkdir()
    packed.write_bytes(subprocess.run([require(pack), "-c", plain], check=True, capture_output=True).stdout)
    for out, file in (("plain", plain), ("again", packed)):
        assert imported(tmp_path / out, file).returncode == 0
    assert rows(tmp_path / "again") == rows(tmp_path / "plain") and len(rows(tmp_path / "plain")) == 100
    assert [json.loads((tmp_path / out / "manifest.json").read_text())["devices"][0]["name"] for out in ("plain", "again")] == ["sda"] * 2


def test_cpus_and_disks_are_put_in_order_of_time(tmp_path):
    """CPUs and disks are sorted by time: requests queued on one CPU and completed on another, each disk separately. The numbers of files give no
    order."""
    first, second = Trace(), Trace(cpu=1, clock=False)
    other = Trace(device=OTHER, clock=False)
    for number in range(1000):
        first.add(100 + number * 10, "Q", number * 8, 4096).add(101 + number * 10, "D", number * 8, 4096)
        second.add(105 + number * 10, "C", number * 8, 4096)
        other.add(100 + number * 10, "Q", number * 8, 4096, READ).add(102 + number * 10, "D", number * 8, 4096, READ)
        other.add(108 + number * 10, "C", number * 8, 4096, READ)
    files = [second.write(tmp_path / "sda.blktrace.1"), other.write(tmp_path / "sdb.blktrace.0"), first.write(tmp_path / "sda.blktrace.0")]
    assert imported(tmp_path / "out", *files).returncode == 0
    told = duckdb.sql(f"select dev, op, dur_ns, queue_ns, count(*) from '{tmp_path}/out/block/*.parquet' group by all order by all").fetchall()
    assert told == [(DISK, "write", 5, 1, 1000), (OTHER, "read", 8, 2, 1000)]
    assert analyze("report", tmp_path / "out", "--out", tmp_path / "tables").returncode == 0


def test_merges_requeues_errors_and_splits(tmp_path):
    trace = Trace()
    # A back merge, a front merge, and two requests that are merged into one.
    trace.add(10, "Q", 8, 4096).add(11, "G", 8, 4096).add(12, "Q", 16, 4096).add(13, "M", 16, 4096).add(14, "Q", 0, 4096).add(15, "F", 0, 4096)
    trace.add(16, "Q", 24, 4096).add(17, "G", 24, 4096).add(18, "M", 24, 4096).add(20, "D", 0, 16384).add(30, "C", 0, 16384)
    # Requeued, and failed in the end.
    trace.add(40, "Q", 100, 512).add(41, "D", 100, 512).add(42, "R", 100, 512).add(45, "D", 100, 512).add(50, "C", 100, 512, error=-5)
    # Split in two.
    trace.add(60, "Q", 200, 8192).add(61, "X", 200, 4096, payload=struct.pack(">Q", 208)).add(62, "D", 200, 4096).add(63, "D", 208, 4096)
    trace.add(70, "C", 200, 4096).add(75, "C", 208, 4096)
    assert imported(tmp_path / "out", trace.write(tmp_path / "sda.blktrace.0")).returncode == 0
    told = rows(tmp_path / "out", "sector, bytes, bios, requeues, error, dur_ns, queue_ns")
    assert told == [(0, 16384, 4, 0, 0, 16, 6), (100, 512, 1, 1, -5, 10, 5), (200, 4096, 1, 0, 0, 10, 2), (208, 4096, 1, 0, 0, 15, 3)]


def test_what_is_missing_is_unknown_and_counted(tmp_path):
    trace = Trace()
    trace.add(10, "D", 8, 4096).add(20, "C", 8, 4096)  # begun before the trace
    trace.add(30, "C", 80, 4096, READ)
    trace.add(40, "Q", 800, 4096).add(41, "D", 800, 4096)  # ended after it
    trace.add(50, "Q", 880, 4096)
    trace.sequence += 3
    trace.add(60, "Q", 900, 512, READ).add(61, "D", 900, 512, READ).add(69, "C", 900, 512, READ)
    result = imported(tmp_path / "out", trace.write(tmp_path / "sda.blktrace.0"))
    assert result.returncode == 3, result.stderr
    said = ["3 records of the trace are missing, by their numbers", "1 issued request had not completed when the trace ended: it has no row",
            "1 bio or request was not issued before the trace ended: it has no row"]
    assert result.stdout.splitlines()[1:] == said
    assert rows(tmp_path / "out") == [
        (20, None, None, None, "write", 8, 4096, 1, 0, None, None), (30, None, None, None, "read", 80, 4096, 1, 0, None, None),
        (60, 9, 1, None, "read", 900, 512, 1, 0, 7, "writer")]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["books"]["incomplete"]["unidentified_requests"] == 2
    assert manifest["layers"]["block"]["how"] == "; ".join(["imported from a trace (blktrace)", *said])


def test_a_disk_that_sends_its_bios_on_is_a_level_above(tmp_path):
    upper, lower = Trace(device=253 << 20), Trace(device=DISK, cpu=1, clock=False)
    upper.add(10, "Q", 8, 4096).add(30, "C", 8, 4096)
    lower.add(11, "A", 2056, 4096, payload=struct.pack(">IIQ", 253 << 20, DISK, 8)).add(12, "Q", 2056, 4096).add(13, "D", 2056, 4096)
    lower.add(28, "C", 2056, 4096)
    assert imported(tmp_path / "out", upper.write(tmp_path / "dm-0.blktrace.0"), lower.write(tmp_path / "sda.blktrace.1")).returncode == 0
    assert rows(tmp_path / "out", "dev >> 20, level, sector, dur_ns") == [(8, 0, 2056, 16), (253, 1, 8, 20)]


@pytest.mark.parametrize("change, expected", [
    # Truncated before any request completed: there is no request in it.
    (lambda whole: whole[:-1], "the trace files have no requests"),
    (lambda whole: whole[:56] + b"x" * 200, "record 2: byte 56: begins with 0x787878"),
    (lambda whole: whole[:56 - 5], "the trace files have no requests"),
    (lambda whole: b"\x08" + whole[1:], "record 1: byte 0: is of version 8 of blktrace's format, expected 7"),
    (lambda whole: b"\0" * 4096, "begins with 0x00000000, expected a record of blktrace"), (lambda whole: b"", "the trace files have no requests"),
])
def test_what_is_no_trace_is_refused_and_leaves_nothing(change, expected, tmp_path):
    whole = Trace().add(10, "Q", 8, 4096).add(20, "C", 8, 4096).bytes
    (tmp_path / "sda.blktrace.0").write_bytes(change(whole))
    result = imported(tmp_path / "capture", tmp_path / "sda.blktrace.0")
    assert result.returncode == 1 and expected in result.stderr and result.stderr.count("\n") == 1, result.stderr
    assert not (tmp_path / "capture").exists()


def test_memory_does_not_follow_the_length_of_the_trace(tmp_path):
    peaks = {}
    for requests in (20_000, 400_000):
        trace, record = Trace(), struct.Struct("<IIQQIIIIIHH")
        with open(tmp_path / f"{requests}.blktrace.0", "wb") as file:
            file.write(trace.bytes)
            for number in range(requests):
                for step, action in enumerate((1, 7, 8)):
                    file.write(record.pack(0x65617407, number * 3 + step + 1, 10 + number * 1000 + step * 100, number * 8, 4096, action | WRITE, 7, DISK, 0, 0, 0))
        command = [BIN / "iostrata-analyze", "import", "--format", "blktrace", "--out", tmp_path / str(requests), tmp_path / f"{requests}.blktrace.0"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        peak = 0
        while process.poll() is None:
            told = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
            peak = int(told[1]) / 1024 if told else peak
            time.sleep(0.005)
        assert process.returncode == 0
        peaks[requests] = peak
        assert duckdb.sql(f"select count(*), sum(bytes)::bigint, max(dur_ns) from '{tmp_path}/{requests}/block/*.parquet'").fetchall() == [(requests, requests * 4096, 200)]
    print(f"peak MiB by requests: {peaks}")
    # 400,000 requests are 58 MB of trace. One row group of their rows is kept in memory, whatever their number.
    assert peaks[400_000] < peaks[20_000] + 40, peaks
