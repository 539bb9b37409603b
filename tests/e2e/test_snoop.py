"""`iostrata snoop`: each request against fio's report and a capture of the same run, the minimum latency, files, owners and the formats."""

import csv
import json
import os
import signal
import subprocess
import sys

import pytest
from conftest import BIN, run, wait_for
from fio import fio as jobs

SNOOP = BIN / "iostrata", "snoop"


@pytest.fixture
def snoop(spawn):
    """Starts `iostrata snoop` into a file and waits until it counts requests."""

    def start(output, *arguments):
        with output.open("wb") as to:
            process = spawn(*SNOOP, *arguments, stdout=to, stderr=subprocess.PIPE, text=True)
        # The header is printed once everything is attached.
        wait_for(lambda: output.stat().st_size or process.poll() is not None, "the header")
        assert process.poll() is None, process.communicate()
        return process
    return start


def end(process):
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=60)
    assert process.returncode in (0, 3) and "lost" not in told, told
    return told


def rows_of(output):
    """Returns the complete lines so far."""
    text = output.read_text()
    return list(csv.DictReader(text[:text.rfind("\n") + 1].splitlines()))


def fio(loop, *options, filename=None):
    return jobs("--name=work", f"--filename={filename or loop.device}", "--ioengine=libaio", "--direct=1", "--bs=4k", "--iodepth=8", "--size=8M",
                *options)[0]


def test_each_request_is_a_line_with_the_values_of_the_capture(snoop, record, loop, tmp_path):
    output = tmp_path / "requests.csv"
    recorder = record("--layers", "block", "--device", loop.name)
    process = snoop(output, "--device", loop.name, "--format", "csv")
    job = fio(loop, "--rw=randrw")
    told = end(process)
    capture = recorder.stop(expected=None)
    rows = [row for row in rows_of(output) if row["comm"] == "fio"]
    expected = capture.sql("select pid, op, bytes, sector * 512, error from {block} where comm = 'fio'")
    found = [(int(row["pid"]), row["op"], int(row["bytes"]), int(row["offset_bytes"]), int(row["error"])) for row in rows]
    # A request whose completion the kernel does not report to one of them is a row when the request is used again, or at the end.
    differing = len(set(found) ^ set(expected))
    assert differing <= 2 * capture.unseen_ends() + 2 and ", 0 not shown" in told, (differing, told)
    for op in ("read", "write"):
        assert abs(sum(row["op"] == op for row in rows) - job[op]["total_ios"]) <= capture.unseen_ends() + 1
    assert {row["disk"] for row in rows} == {loop.name} and {row["file"] for row in rows} == {""}
    timed = [row for row in rows if row["lat_ns"]]
    assert len(timed) >= 0.99 * len(rows) and all(0 <= int(row["q2d_ns"]) <= int(row["lat_ns"]) for row in timed)


def test_only_slow_requests_leave_the_kernel(snoop, loop, tmp_path):
    outputs = {name: tmp_path / f"{name}.csv" for name in ("all", "slow", "none")}
    options = {"all": [], "slow": ["--min-latency", "100us"], "none": ["--min-latency", "1h"]}
    processes = {name: snoop(outputs[name], "--device", loop.name, "--format", "csv", *options[name]) for name in outputs}
    job = fio(loop, "--rw=randread")
    told = {name: end(process) for name, process in processes.items()}
    latencies = {name: [int(row["lat_ns"]) for row in rows_of(output) if row["lat_ns"]] for name, output in outputs.items()}
    reads = job["read"]["total_ios"]
    assert len(latencies["all"]) >= reads - 5 and "took less" not in told["all"]
    assert latencies["none"] == [] and all(ns >= 100_000 for ns in latencies["slow"])
    short = {name: int(told[name].split(" took less than --min-latency")[0].split()[-1]) for name in ("slow", "none")}
    assert short["none"] >= reads - 5 and abs(short["slow"] + len(latencies["slow"]) - short["none"]) <= 5, (told, len(latencies["slow"]))
    # Each program reads the clock for itself.
    assert abs(sum(ns >= 100_000 for ns in latencies["all"]) - len(latencies["slow"])) <= 0.2 * reads


WRITE = """
import os, sys
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
os.pwrite(file, bytes(65536), 0)
os.sync()
"""


def test_files_are_named_for_direct_and_buffered_io(snoop, disk, tmp_path):
    output = tmp_path / "requests.csv"
    process = snoop(output, "--device", disk.name, "--format", "csv")
    buffered, direct = disk.mount / "some" / "buffered", disk.mount / "direct"
    buffered.parent.mkdir()
    run(sys.executable, "-c", WRITE, str(buffered))
    fio(disk, "--rw=write", filename=direct)
    end(process)
    written = {}
    for row in rows_of(output):
        if row["op"] == "write" and row["file"]:
            written[row["file"], row["comm"]] = written.get((row["file"], row["comm"]), 0) + int(row["bytes"])
    # Of one request the kernel may not report the completion: it is shown without a duration.
    writer = os.path.basename(sys.executable)[:15]
    assert written.pop((str(direct), "fio")) == 8 << 20 and written == {(str(buffered), writer): 65536}


def test_a_table_with_the_latencies_of_each_process_at_the_end(snoop, loop, tmp_path):
    output = tmp_path / "requests.txt"
    process = snoop(output, "--device", loop.name)
    job = fio(loop, "--rw=randread")
    end(process)
    lines = output.read_text().splitlines()
    assert lines[0].split() == ["TIME", "PID", "COMM", "DISK", "OP", "BYTES", "OFFSET", "Q2D(us)", "LAT(us)", "FILE"]
    [summary] = [line for line in lines if line.startswith("pid ") and ", fio: " in line]
    timed = [line for line in lines if line.split()[2:5] == ["fio", loop.name, "read"] and line.split()[8] != "-"]
    count = int(summary.split(", fio: ")[1].split()[0])
    assert count == len(timed) and abs(count - job["read"]["total_ios"]) <= 5
    latencies = [float(line.split()[8]) for line in timed]
    average, least, most = (float(part.split()[1]) for part in summary.split("requests, ")[1].replace("µs", "").split(", "))
    assert (least, most) == (min(latencies), max(latencies)) and average == pytest.approx(sum(latencies) / count, abs=0.2)
    counts = []
    for line in lines[lines.index(summary) + 1:]:
        bounds, number = line.split("µs")
        low, high = map(int, bounds.split("–"))
        counts.append(int(number.split()[0]))
        # Printed latencies are rounded.
        assert abs(sum(low <= latency < high + 1 for latency in latencies) - counts[-1]) <= 0.02 * count + 2, line
        if sum(counts) == count:
            break
    assert sum(counts) == count


def test_json_has_the_fields_of_csv(spawn, loop, tmp_path):
    output = tmp_path / "requests.jsonl"
    with output.open("wb") as to:
        process = spawn(*SNOOP, "--device", loop.name, "--format", "json", stdout=to, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: (fio(loop, "--rw=randread", "--number_ios=20"), output.stat().st_size)[1], "a request")
    end(process)
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert list(rows[0]) == ["ts_ns", "pid", "comm", "disk", "op", "bytes", "offset_bytes", "q2d_ns", "lat_ns", "error", "file", "submitter_pid",
                             "submitter_comm"]
    assert {(row["disk"], row["op"], row["bytes"], row["file"]) for row in rows if row["comm"] == "fio"} == {(loop.name, "read", 4096, None)}


@pytest.mark.parametrize("arguments, what", [
    (["--min-latency", "0ms"], "expected a time above zero"), (["--min-latency", "10"], "--min-latency"), (["--format", "xml"], "xml"),
    (["--pid", "0"], "--pid"), (["--layers", "block"], "--layers")])
def test_a_wrong_command_line_is_one_of_usage(arguments, what):
    done = run(BIN / "iostrata", "snoop", *arguments)
    assert done.returncode == 2 and what in done.stderr
