"""`record --min-latency`: which requests have rows, what is counted of the others, and what the analyzer no longer says."""

import csv
import json

import pytest
from conftest import BIN, analyze, run
from fio import fio

READS = 2000


@pytest.fixture
def slow_only(record, loop, tmp_path):
    """Records reads of a disk with a minimum latency. Returns the capture and the change of the disk's counters."""

    def recorded(least):
        recorder = record("--device", loop.name, "--min-latency", least, out=tmp_path / least)
        before = loop.stat()
        fio("--name=work", f"--filename={loop.device}", "--ioengine=libaio", "--direct=1", "--rw=randread", "--bs=4k", "--iodepth=8",
            f"--number_ios={READS}", "--norandommap")
        moved = {name: count - before[name] for name, count in loop.stat().items()}
        return recorder.stop(), moved
    return recorded


def short_of(capture):
    incomplete = capture.manifest["books"]["incomplete"]
    return incomplete["short_requests"], incomplete["short_io"]


def test_a_request_is_a_row_or_counted(slow_only):
    for least, least_ns in {"100us": 100_000, "1h": 3600 * 10**9}.items():
        capture, moved = slow_only(least)
        capture.check_books()
        assert capture.manifest["filters"]["min_latency_ns"] == least_ns
        rows = capture.sql("select dur_ns, op, bytes from {block}")
        # The kernel does not report the completion of a few: these have a row without a duration.
        assert sum(ns is None for ns, _, _ in rows) <= capture.unseen_ends()
        assert all(ns is None or ns >= least_ns for ns, _, _ in rows)
        short, io = short_of(capture)
        reads = [length for _, op, length in rows if op == "read"]
        assert io["read_ops"] + len(reads) == moved["read_ops"] >= READS
        assert io["read_bytes"] + sum(reads) == moved["read_bytes"] and short >= io["read_ops"]
        assert (len(reads) > 0) if least == "100us" else short >= READS - capture.unseen_ends()


def test_what_depends_on_all_requests_is_empty_and_said(slow_only, tmp_path):
    capture, _ = slow_only("1h")
    short, _ = short_of(capture)
    result = analyze("summary", capture.directory, "--out", tmp_path / "summary")
    assert result.returncode == 0, result.stderr
    rows = capture.one("select count(*) from {block}")[0]
    said = f"block: {rows} requests of {rows + short}, without those that took less than 3600s"
    assert f"excluded: {said}; --partial-rows analyzes these" in result.stdout
    with open(tmp_path / "summary" / "summary.csv", newline="") as lines:
        *_, total = csv.DictReader(lines)
    assert int(total["syscall_read_ops"]) >= READS
    assert {total[name] for name in total if name.startswith("block_") or "_amp_" in name} == {""}
    assert said in json.loads((tmp_path / "summary" / "about.json").read_text())["files"]["summary.csv"]["rows_there"][0]
    for analysis in ("latency", "sizes", "queue", "iostat", "heatmap", "amplification"):
        result = analyze(analysis, capture.directory, "--out", tmp_path / analysis)
        assert result.returncode == 0 and "excluded: block" in result.stdout, (analysis, result.stdout, result.stderr)
    assert said in analyze("latency", capture.directory, "--partial-rows").stdout
    assert f"{short} requests that took less than the minimum latency" in analyze("quality", capture.directory).stdout


def test_the_slow_requests_are_analyzed_where_asked_for(slow_only, tmp_path):
    capture, _ = slow_only("100us")
    result = analyze("latency", capture.directory, "--partial-rows", "--layer", "block", "--out", tmp_path / "latency")
    assert result.returncode == 0 and "partial rows: block:" in result.stdout, result.stderr
    with open(tmp_path / "latency" / "latency.csv", newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if (row["op"], row["phase"]) == ("read", "total")]
    assert rows and all(int(row["min_ns"]) >= 100_000 for row in rows)


def test_short_writes_are_counted_with_their_bytes(record, loop, tmp_path):
    recorder = record("--device", loop.name, "--min-latency", "1h", "--layers", "block", out=tmp_path / "run")
    fio("--name=work", f"--filename={loop.device}", "--direct=1", "--rw=write", "--bs=64k", "--size=1M")
    capture = recorder.stop()
    short, io = short_of(capture)
    assert io["write_bytes"] + (capture.one("select sum(bytes) from {block} where op = 'write'")[0] or 0) == 1 << 20 and short >= 16


@pytest.mark.parametrize("arguments, what", [
    (["--min-latency", "0ms"], "expected a time above zero"), (["--min-latency", "10"], "--min-latency"),
    (["--min-latency", "10ms", "--layers", "syscall"], "expected the layer block"), (["--min-latency", "10ms", "--cpu-limit", "50"], "--cpu-limit")])
def test_a_wrong_command_line_is_one_of_usage(tmp_path, arguments, what):
    done = run(BIN / "iostrata", "record", "--out", tmp_path / "run", *arguments)
    assert done.returncode == 2 and what in done.stderr, done.stderr
