"""The live view shows what is recorded, without cost to the recording."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
from conftest import BIN, analyze, run, summary_rows, wait_for
from test_record import MIB, dd

HEADER = ["TIME", "SYSTEM", "EVENT", "PID", "TID", "COMM", "SIZE", "OFFSET", "LAT(us)", "RET"]
LIVE_LINE = re.compile(r"^live      (\d+) rows shown, (\d+) not shown(?:: (.*))?$", re.MULTILINE)


def live_line(text):
    """Returns rows shown, rows not shown, and the reason, from the recorder's final report."""
    shown, not_shown, why = LIVE_LINE.search(text).groups()
    return int(shown), int(not_shown), why


def operations(capture):
    """Returns the number of rows of the capture that a live view shows."""
    return sum(part["rows"] for part in capture.manifest["parts"] if part["table"] in ("syscall", "vfs", "fs", "block"))


def view(*arguments, **options):
    """A running `iostrata record --live` without a capture."""
    command = [BIN / "iostrata", "record", "--live", *arguments]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([str(word) for word in command], text=True, **{**streams, **options})


def rest_of(process):
    """Returns the rest of both streams. `communicate` would omit data that `readline` has buffered."""
    text, report = process.stdout.read(), process.stderr.read()
    process.wait(timeout=60)
    return text, report


@pytest.fixture
def table(recordable, disk):
    """Starts a live table of the disk, and waits for its first rows."""
    process = view("--device", disk.name)
    assert process.stdout.readline().split() == HEADER
    yield process
    if process.poll() is None:
        process.kill()
    process.communicate()


def test_what_dd_wrote_is_in_the_table_with_its_owner(disk, table, tmp_path):
    dd("if=/dev/zero", f"of={disk.mount}/x", "bs=64k", "count=4", "conv=fsync")
    table.send_signal(signal.SIGINT)
    text, report = rest_of(table)
    assert table.returncode == 0, report
    rows = [line.split() for line in text.splitlines()]
    assert all(len(row) == len(HEADER) for row in rows) and HEADER not in rows
    assert live_line(report) == (len(rows), 0, None)

    written = [row for row in rows if row[2] == "SYSCALL_WRITE"]
    assert [(row[1], *row[5:8], row[9]) for row in written] == [
        ("dd", "dd", "65536", str(number * 65536), "65536") for number in range(4)
    ]
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{6}", written[0][0]) and re.fullmatch(r"\d+\.\d", written[0][8])
    (synced,) = [row for row in rows if row[2] == "SYSCALL_FSYNC"]
    assert synced[6:8] == ["-", "-"] and synced[9] == "0"
    owned = [row for row in rows if row[2] == "BLOCK_WRITE" and row[1] == "dd"]
    assert sum(int(row[6]) for row in owned) >= 4 * 65536
    assert {tuple(row[3:6]) for row in owned} == {tuple(written[0][3:6])}
    # Journal requests are unattributed, and have no process.
    journal = [row for row in rows if row[1] == "(journal)"]
    assert journal and all(row[3:6] == ["-", "-", "-"] for row in journal)
    assert "capture " not in report and "INCONSISTENT" not in report and "processed" in report


@pytest.mark.moments
def test_rows_come_while_it_records_and_nothing_follows_them(disk, table):
    dd("if=/dev/zero", f"of={disk.mount}/x", "bs=4k", "count=1", "oflag=direct")
    assert select.select([table.stdout], [], [], 60)[0]


@pytest.mark.moments
def test_what_the_kernel_side_gathers_is_shown_though_nothing_follows_it(disk, actors):
    """Aggregated rows are shown though no event follows: a record of `fs` stays in the kernel until its slot is needed for something else,
    which never happens here."""
    writer, path = actors(), disk.mount / "file"
    process = view("--pid", str(writer.pid), "--layers", "fs")
    try:
        assert process.stdout.readline().split() == HEADER
        writer.do(f"f = open({str(path)!r}, 'wb'); f.write(b'x' * 65536); f.flush()")
        shown = b""
        while b"FS_DIRTY" not in shown:
            assert select.select([process.stdout], [], [], 60)[0], "the row is still in the kernel"
            shown += os.read(process.stdout.fileno(), 1 << 16)
    finally:
        process.kill()
        process.communicate()


def test_without_a_directory_nothing_is_left_behind(disk, tmp_path):
    target = disk.mount / "x"
    command = ["dd", "status=none", "if=/dev/zero", f"of={target}", "bs=4k", "count=3", "oflag=direct"]
    before = sorted(os.listdir(tmp_path))
    process = view("--device", disk.name, "--format", "json", "--", *command, cwd=tmp_path)
    text, report = process.communicate(timeout=60)
    assert process.returncode == 0, report
    assert sorted(os.listdir(tmp_path)) == before
    rows = [json.loads(line) for line in text.splitlines()]
    assert [row["bytes"] for row in rows if row["event"] == "SYSCALL_WRITE"] == [4096] * 3
    assert sum(row["bytes"] for row in rows if row["event"] == "BLOCK_WRITE" and row["class"] == "data") == 3 * 4096


def test_a_command_that_fails_gives_its_code(recordable):
    process = view("--", "sh", "-c", "exit 7")
    report = process.communicate(timeout=60)[1]
    assert process.returncode == 7 and "the command ended with code 7" in report


@pytest.mark.moments
def test_json_says_what_the_capture_says(disk, record, tmp_path):
    rules = tmp_path / "rules.toml"
    rules.write_text('[[system]]\nname = "copier"\nrules = [{ exe = "*/dd", cmdline = "*copied*" }]\n')
    disk.settle()
    with open(tmp_path / "rows.json", "wb") as output:
        arguments = ["--device", disk.name, "--live", "--format", "json", "--rules", rules]
        recorder = record(*arguments, stdout=output)
        dd("if=/dev/zero", f"of={disk.mount}/copied", "bs=64k", "count=32", "conv=fdatasync")
        dd("if=/dev/zero", f"of={disk.mount}/other", "bs=4k", "count=8", "oflag=sync")
        dd("if=/dev/zero", f"of={disk.mount}/later", "bs=1M", "count=2")
        disk.settle()
        dd(f"if={disk.mount}/copied", "of=/dev/null", "bs=1M")
        capture = recorder.stop()
    rows = [json.loads(line) for line in (tmp_path / "rows.json").read_text().splitlines()]
    assert live_line(recorder.text) == (len(rows), 0, None)
    assert len(rows) == operations(capture) > 50

    def shown(layer, *names):
        return sorted(tuple(str(row[name]) for name in names) for row in rows if row["layer"] == layer)

    def kept(query):
        return sorted(tuple(str(value) for value in row) for row in capture.sql(query))

    file_fields = ("ts_ns", "lat_ns", "pid", "tid", "comm", "op", "offset_bytes", "requested_bytes", "ret", "ino", "fd_kind")
    for layer in ("syscall", "vfs"):
        if capture.manifest["layers"][layer]["captured"]:
            columns = ", ".join(file_fields).replace("lat_ns", "dur_ns")
            assert shown(layer, *file_fields) == kept(f"select {columns} from {{{layer}}}")
    fs_fields = ("ts_ns", "op", "pid", "comm", "bytes", "offset_bytes", "via", "ino", "events", "blocks")
    assert shown("fs", *fs_fields) == kept(f"select {', '.join(fs_fields)} from {{fs}}")
    block_fields = ("ts_ns", "lat_ns", "pid", "comm", "op", "bytes", "offset_bytes", "ret", "class", "evidence", "submitter_comm")
    columns = ", ".join(block_fields).replace("lat_ns", "dur_ns").replace("offset_bytes", "sector * 512").replace("ret", "error")
    assert shown("block", *block_fields) == kept(f"select {columns} from {{block}}")
    for op in ("read", "write"):
        bytes_shown = sum(row["bytes"] or 0 for row in rows if row["layer"] == "syscall" and row["op"] == op)
        assert (bytes_shown,) == capture.one(f"select sum(ret) from {{syscall}} where op = '{op}' and ret >= 0")
    assert sum(row["bytes"] for row in rows if row["system"] == "copier" and row["event"] == "SYSCALL_WRITE") == 2 * MIB

    # The owner according to the analyzer, by the same rules.
    result = analyze("summary", capture.directory, "--rules", rules, "--out", tmp_path / "results")
    assert result.returncode == 0, result.stderr
    requests = Counter((row["system"], row["op"]) for row in rows if row["layer"] == "block")
    for line in summary_rows(tmp_path / "results" / "summary.csv"):
        reads, writes, flushes = (requests[line["system"], op] for op in ("read", "write", "flush"))
        assert (int(line["block_read_ops"]), int(line["block_write_ops"])) == (reads, writes + flushes), line


MANY_WRITES = """
import os, sys
f = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
for _ in sys.stdin:
    for _ in range(5_000): os.pwrite(f, b'x', 0)
    print("done", flush=True)
"""


@pytest.mark.moments
def test_a_reader_that_stands_still_loses_nothing_of_the_capture(disk, record):
    reading, writing = os.pipe()
    recorder = record("--device", disk.name, "--live", "--format", "json", stdout=writing)
    os.close(writing)
    writer = subprocess.Popen([sys.executable, "-c", MANY_WRITES, disk.mount / "x"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    for burst in range(1, 61):
        writer.stdin.write("go\n")
        writer.stdin.flush()
        assert writer.stdout.readline() == "done\n"
        # This number of events fits into the rings however busy the machine is: only a missing reader could cause a loss.
        wait_for(lambda: (health := recorder.status())["drained_events"] >= 5_000 * burst and health["queued_bytes"] == 0)
    writer.communicate()
    capture = recorder.stop()
    assert capture.lost_events() == {}
    capture.check_books()
    capture.check_device(disk.name)
    assert capture.one("select count(*) from {syscall} where op = 'pwrite64'") == (300_000,)

    shown, not_shown, why = live_line(recorder.text)
    assert shown + not_shown == operations(capture)
    assert not_shown > shown > 0 and why == "the output was too slow"
    # A late reader receives exactly the rows shown, in complete lines.
    with os.fdopen(reading) as late:
        assert len([json.loads(line) for line in late]) == shown


@pytest.mark.moments
def test_a_slow_reader_is_told_what_it_does_not_see(disk):
    process = view("--device", disk.name)
    process.stdout.readline()
    subprocess.run([sys.executable, "-c", MANY_WRITES, disk.mount / "x"], input="go\n" * 60, stdout=subprocess.DEVNULL, text=True, check=True)
    # The reader continues now.
    time.sleep(1)
    seen = [process.stdout.readline()]
    while "not shown" not in seen[-1]:
        seen.append(process.stdout.readline())
    assert re.fullmatch(r"\(\d+ rows not shown: the output is too slow\)\n", seen[-1])
    process.terminate()
    rest, report = rest_of(process)
    shown, not_shown, why = live_line(report)
    assert shown == len([line for line in seen + rest.splitlines() if not line.startswith("(")])
    assert not_shown > 0 and why == "the output was too slow"


def test_a_reader_that_goes_away_ends_a_recording_for_it_alone(table):
    table.stdout.close()
    # Although nothing is printed in the meantime.
    assert table.wait(timeout=10) == 0
    report = table.stderr.read()
    assert re.search("^stopped   standard output was closed$", report, re.MULTILINE), report
    table.stdout, table.stderr = None, None


@pytest.mark.moments
def test_a_reader_that_goes_away_leaves_the_capture_alone(disk, record):
    reading, writing = os.pipe()
    recorder = record("--device", disk.name, "--live", stdout=writing)
    os.close(writing)
    os.close(reading)
    time.sleep(0.5)
    dd("if=/dev/zero", f"of={disk.mount}/x", "bs=4k", "count=8", "oflag=direct")
    capture = recorder.stop()
    assert capture.manifest["stop_reason"] == "SIGTERM"
    assert capture.one("select count(*) from {syscall} where op = 'write' and comm = 'dd'") == (8,)
    assert live_line(recorder.text) == (0, operations(capture), "standard output was closed")


def test_an_output_that_cannot_be_written_is_an_error(disk):
    with open("/dev/full", "wb") as full:
        process = view("--device", disk.name, stdout=full)
        report = process.communicate(timeout=60)[1]
    assert process.returncode == 1
    assert live_line(report)[2].startswith("standard output cannot be written: No space left on device")


def test_nobody_listening_at_all_is_no_crash(disk):
    reading, writing = os.pipe()
    process = view("--device", disk.name, stdout=writing, stderr=writing)
    os.close(writing)
    os.close(reading)
    assert process.wait(timeout=30) == 0


def test_on_a_terminal_no_progress_line_is_drawn_over_the_table(disk):
    """On a terminal no progress line is drawn over the table, for a recording long enough for a progress line, and a table with rows."""
    master, slave = pty.openpty()
    write = f"dd if=/dev/zero of={disk.mount}/x bs=4k count=8 oflag=direct status=none; sleep 2"
    process = view("--", "sh", "-c", write, stdout=slave, stderr=slave)
    os.close(slave)
    text = b""
    while True:
        try:
            text += os.read(master, 65536)
        except OSError:  # The other end is closed.
            break
    os.close(master)
    text = text.decode()
    assert process.wait(timeout=60) == 0, text
    assert text.split()[: len(HEADER)] == HEADER and len(re.findall(r" SYSCALL_WRITE +\d+ +\d+ dd ", text)) == 8, text
    assert "events/s" not in text and "rows shown" in text


def test_help_says_what_the_columns_are():
    text = run(BIN / "iostrata", "record", "--help").stdout
    for word in ("SYSTEM", "TIME", "UTC", "SIZE", "OFFSET", "RET", "not shown"):
        assert word in text
