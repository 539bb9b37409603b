"""`iostrata-analyze iostat`: against the intervals of the rows by DuckDB, and against sysstat's `iostat -x` beside a recording."""

import csv
import json
import signal
import subprocess
from collections import defaultdict

import duckdb
import pytest
from conftest import ROOT, analyze, require, run, wait_for

KINDS = {"read": ("read",), "write": ("write", "flush", "write_zeroes", "secure_erase"), "discard": ("discard",), "flush": ("device_flush",)}
PLURALS = {"read": "reads", "write": "writes", "discard": "discards", "flush": "flushes"}


def iostat(capture, out, *options):
    """Returns the rows of `iostat.csv`, and what is shown."""
    result = analyze("iostat", capture, "--out", out, *options)
    assert result.returncode == 0, result.stderr
    with open(out / "iostat.csv", newline="") as lines:
        return list(csv.DictReader(lines)), result.stdout


def union_ns(spans):
    """Returns the time in at least one of the spans."""
    total, last = 0, None
    for begin, end in sorted(spans):
        total += max(0, end - (begin if last is None else max(begin, last)))
        last = end if last is None else max(last, end)
    return total


def check(capture, rows, width_ns):
    """Compares all rows with the requests of the capture."""
    query = f"select dev, ts_ns, ts_ns + dur_ns, op, bytes, coalesce(bios, 0) from read_parquet('{capture}/block/*.parquet')"
    requests = [request for request in duckdb.sql(query).fetchall() if not request[3].startswith("driver")]
    begin, end = min(request[1] for request in requests), max(request[2] or request[1] for request in requests)
    sums, spans = defaultdict(lambda: [0, 0, 0, 0, 0]), defaultdict(list)
    for dev, since, until, op, size, bios in requests:
        kind = next(kind for kind, ops in KINDS.items() if op in ops)
        of = sums[dev, (since if until is None else until) // width_ns, kind]
        for place, more in enumerate((1, size, max(0, bios - 1), until is not None, 0 if until is None else until - since)):
            of[place] += more
        if until is not None:
            for window in range(since // width_ns, until // width_ns + 1):
                spans[dev, window].append((max(since, window * width_ns), min(until, (window + 1) * width_ns)))
    disks = {request[0] for request in requests}
    windows = range(begin // width_ns, end // width_ns + 1)
    number = lambda row: (lambda major, minor: int(major) << 20 | int(minor))(*row["id"].split(":"))
    found = {(number(row), int(row["since_ns"]) // width_ns): row for row in rows}
    assert len(found) == len(rows) and found.keys() == {(disk, window) for disk in disks for window in windows}
    for (dev, window), row in found.items():
        covered = min(end, (window + 1) * width_ns) - max(begin, window * width_ns)
        assert int(row["covered_ns"]) == covered
        for kind, plural in PLURALS.items():
            ops, size, merged, timed, total = sums[dev, window, kind]
            assert int(row[plural]) == ops
            assert row[f"{kind}_avg_ns"] == "" if not timed else abs(int(row[f"{kind}_avg_ns"]) - total / timed) <= 0.5
            rate = row[f"{plural}_per_s"]
            assert rate == "" if covered < width_ns and covered < 1e9 and not rate else float(rate) == pytest.approx(ops * 1e9 / covered)
            if kind != "flush":
                assert int(row[f"{kind}_bytes"]) == size
                share = row[f"{kind}_merged_share"]
                assert share == "" if not ops else float(share) == pytest.approx(merged / (ops + merged))
        within = spans[dev, window]
        assert float(row["utilization"]) == pytest.approx(union_ns(within) / covered, abs=1e-9)
        assert float(row["avg_in_flight"]) == pytest.approx(sum(end - begin for begin, end in within) / covered, rel=1e-9, abs=1e-9)
    return sums


@pytest.mark.parametrize("window, width_ns", [("100ms", 100_000_000), ("1s", 1_000_000_000)])
def test_every_window_of_every_disk_is_what_the_rows_say(window, width_ns, generate, tmp_path):
    capture = generate("--events", 60_000, "--part-size", "128KiB")
    rows, _ = iostat(capture, tmp_path, "--window", window, "--threads", 2)
    check(capture, rows, width_ns)


def test_of_a_real_capture_too(tmp_path):
    fixture = ROOT / "tests/fixtures/debian-6.12-nvme"
    rows, shown = iostat(fixture, tmp_path, "--window", "10ms")
    sums = check(fixture, rows, 10_000_000)
    assert any(kind == "flush" for _, _, kind in sums) and sum(of[2] for of in sums.values()) > 0, "flushes and merges"
    assert shown.splitlines()[0].split()[:4] == ["SINCE", "DEVICE", "r/s", "w/s"]


def test_windows_that_would_be_too_many_are_refused(generate, tmp_path):
    capture = generate("--events", 5_000)
    result = analyze("iostat", capture, "--window", "1us")
    assert result.returncode == 1 and "--window 1us: more than 10000 windows" in result.stderr and "expected a window of at least" in result.stderr


def test_sysstat_shows_the_same(record, loop, tmp_path):
    recorder = record("--layers", "block", "--device", loop.name)
    reports = tmp_path / "iostat.json"
    with reports.open("w") as to:
        witness = subprocess.Popen([require("iostat"), "-x", "-y", "-o", "JSON", "1", loop.name], stdout=to, env={"LC_ALL": "C", "S_TIME_FORMAT": "ISO"})
    try:
        options = ["--ioengine=libaio", "--direct=1", "--rw=randrw", "--bs=4k", "--iodepth=4", "--rate_iops=400,200", "--time_based", "--runtime=6"]
        done = run(require("fio"), "--name=work", f"--filename={loop.device}", "--output-format=json", *options)
        assert done.returncode == 0, done.stderr
        whole = lambda: reports.read_text().count('"disk_device"')
        seen = whole()
        # The last interval ends after the load.
        wait_for(lambda: whole() > seen + 1, "an interval of iostat")
    finally:
        witness.send_signal(signal.SIGINT)
        witness.wait(timeout=60)
    capture = recorder.stop(expected=None)
    rows, _ = iostat(capture.directory, tmp_path / "out")
    intervals = json.loads(reports.read_text())["sysstat"]["hosts"][0]["statistics"]
    theirs = [of["disk"][0] for of in intervals if of["disk"][0]["disk_device"] == loop.name]
    job = json.loads(done.stdout)["jobs"][0]
    ours = lambda column, weight=lambda row: 1: sum(float(row[column] or 0) * weight(row) for row in rows if row["name"] == loop.name)
    for kind, letter in (("read", "r"), ("write", "w")):
        per_s = sum(of[f"{letter}/s"] for of in theirs)
        # Of some requests the kernel reports no completion (docs/measurements/validation.md); an interval of iostat is a second within some ms.
        assert ours(PLURALS[kind]) == pytest.approx(job[kind]["total_ios"], rel=0.01, abs=3)
        assert ours(PLURALS[kind]) == pytest.approx(per_s, rel=0.05)
        assert ours(f"{kind}_bytes") / 1024 == pytest.approx(sum(of[f"{letter}kB/s"] for of in theirs), rel=0.05)
        waited_ms = sum(of[f"{letter}_await"] * of[f"{letter}/s"] for of in theirs) / per_s
        assert ours(f"{kind}_avg_ns", lambda row: int(row[PLURALS[kind]])) / ours(PLURALS[kind]) / 1e6 == pytest.approx(waited_ms, rel=0.25, abs=0.1)
    assert ours("avg_in_flight", lambda row: int(row["covered_ns"]) / 1e9) == pytest.approx(sum(of["aqu-sz"] for of in theirs), rel=0.25, abs=0.1)
    # %util is not compared: the kernel counts whole clock ticks at the begin and end of requests, and requests of a timer may begin just after a tick.
    of_time = lambda column: ours(column, lambda row: int(row["covered_ns"]) / 1e9)
    assert 0 < of_time("utilization") <= of_time("avg_in_flight") < 6
