"""`iostrata hist`: against fio's operations, the kernel's counters of the disk, and the rows of a capture of the same run."""

import json
import os
import signal
import subprocess
from datetime import datetime, timezone

import pytest
from conftest import BIN, require, require_machine, run, wait_for
from fio import fio as jobs

HIST = BIN / "iostrata", "hist"


@pytest.fixture
def hist(spawn, tmp_path):
    """Starts `iostrata hist` and waits until it counts."""

    def start(*arguments, output=tmp_path / "hist.jsonl", **options):
        lines = output.read_bytes().count(b"\n") if output.exists() else 0
        process = spawn(*HIST, "--output", output, "--flush-every", 1, *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
        wait_for(lambda: output.exists() and output.read_bytes().count(b"\n") > lines or process.poll() is not None, "a line")
        assert process.poll() is None, process.communicate()
        return process
    return start


def end(process, output):
    """Ends it, and returns its snapshots and what it showed. Of some requests the kernel reports no completion (docs/measurements/validation.md)."""
    process.send_signal(signal.SIGTERM)
    shown, told = process.communicate(timeout=60)
    assert process.returncode in (0, 3) and (process.returncode == 0) == ("in no histogram" not in told), told
    missing = sum(int(word) for word in told.split("in no histogram:")[-1].split() if word.isdigit()) if process.returncode else 0
    return [json.loads(line) for line in output.read_text().splitlines()], shown, missing


def fio(loop, *options, operations=3000):
    """Reads and writes a disk directly, and returns fio's report."""
    return jobs("--name=work", f"--filename={loop.device}", "--ioengine=libaio", "--direct=1", "--rw=randrw", "--bs=4k", "--iodepth=8",
                f"--number_ios={operations}", "--norandommap", *options)[0]


def histogram(snapshots, op=None):
    """Returns the sums of the buckets of all snapshots."""
    sums = {}
    for of in (of for snapshot in snapshots for of in snapshot["latency_histogram"] if op is None or of["op"] == op):
        assert of["total"] == sum(bucket["count"] for bucket in of["buckets"])
        for bucket in of["buckets"]:
            assert (bucket["bucket_low"], bucket["bucket_high"]) == (bucket["slot"] and 1 << bucket["slot"], (2 << bucket["slot"]) - 1)
            sums[bucket["slot"]] = sums.get(bucket["slot"], 0) + bucket["count"]
    return sums


def test_each_operation_of_fio_is_in_one_bucket(hist, record, loop, tmp_path):
    output = tmp_path / "hist.jsonl"
    recorder = record("--layers", "block", "--device", loop.name)
    process = hist("--device", loop.name, "--interval", "0.2", "--by", "op")
    before = loop.stat()
    job = fio(loop)
    moved = {name: count - before[name] for name, count in loop.stat().items()}
    snapshots, shown, missing = end(process, output)
    capture = recorder.stop(expected=None)
    for op, name in (("read", "read_ops"), ("write", "write_ops")):
        total = sum(histogram(snapshots, op).values())
        assert job[op]["total_ios"] == moved[name] and 0 <= moved[name] - total <= missing, (op, total, moved)
        slots = "case when us < 2 then 0 else floor(log2(us))::int end"
        rows = dict(capture.sql(f"""select {slots}, count(*) from (select (dur_ns - queue_ns - coalesce(insert_ns, 0)) // 1000 as us
            from {{block}} where dur_ns is not null and op = '{op}') group by 1"""))
        # Two programs read the clock one after the other: some requests are in the next bucket.
        counted = histogram(snapshots, op)
        differing = sum(abs(counted.get(slot, 0) - rows.get(slot, 0)) for slot in counted.keys() | rows.keys())
        assert differing <= 0.1 * total, (counted, rows)
    # The intervals follow one another.
    for snapshot in snapshots:
        assert list(snapshot) == ["timestamp", "iso_timestamp", "interval_s", "latency_histogram", "inflight"]
        time = datetime.fromisoformat(snapshot["iso_timestamp"])
        assert snapshot["iso_timestamp"].endswith("+00:00") and time == datetime.fromtimestamp(snapshot["timestamp"], timezone.utc)
        assert snapshot["inflight"][0].items() >= {"device_id": loop.number, "device_name": loop.name}.items()
        assert all(of["device_id"] == loop.number and of["device_name"] == loop.name for of in snapshot["latency_histogram"])
    ends = [snapshot["timestamp"] for snapshot in snapshots]
    assert ends[-1] - ends[0] == pytest.approx(sum(snapshot["interval_s"] for snapshot in snapshots[1:]), abs=0.1)
    assert f"disk = {loop.name}, op = read" in shown and f"in flight: {loop.name} " in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_in_flight_is_what_the_kernel_counts(hist, loop, tmp_path):
    output = tmp_path / "hist.jsonl"
    process = hist("--device", loop.name, "--interval", "0.1")
    load = subprocess.Popen([require("fio"), "--name=load", f"--filename={loop.device}", "--ioengine=libaio", "--direct=1", "--rw=randread", "--bs=4k",
                             "--iodepth=16", "--time_based", "--runtime=600"], stdout=subprocess.DEVNULL)
    counts = lambda: [json.loads(line)["inflight"][0]["count"] for line in output.read_text().splitlines()]
    try:
        wait_for(lambda: any(counts()), "requests in flight")
        # A reader that begins in the middle has the same.
        other = hist("--device", loop.name, "--interval", "0.1", output=tmp_path / "other.jsonl")
        wait_for(lambda: '"count":' in (tmp_path / "other.jsonl").read_text().split('"inflight"')[-1], "a snapshot")
        second, _, _ = end(other, tmp_path / "other.jsonl")
    finally:
        load.terminate()
        load.wait(timeout=60)
    assert {count for snapshot in second for count in [snapshot["inflight"][0]["count"]]} <= set(range(17))
    seen = len(counts())
    wait_for(lambda: len(counts()) > seen + 1, "a snapshot after the load")
    snapshots, _, _ = end(process, output)
    assert snapshots[-1]["inflight"] == [{"device_id": loop.number, "device_name": loop.name, "count": 0}]
    assert max(counts()) <= 16


def test_the_time_in_the_queue_is_counted_where_it_is_asked_for(hist, loop, tmp_path):
    outputs = {flag: tmp_path / f"hist{flag}.jsonl" for flag in ("", "--queued")}
    processes = {flag: hist("--device", loop.name, "--interval", "1", *([flag] if flag else []), output=output) for flag, output in outputs.items()}
    queue = os.path.join("/sys/block", loop.name, "queue/scheduler")
    with open(queue) as file:
        choice = file.read()
    if "mq-deadline" in choice:
        with open(queue, "w") as file:
            file.write("mq-deadline")
    with open(os.path.join(os.path.dirname(queue), "nr_requests"), "w") as file:
        file.write("256")
    # More than the driver takes at once (128), and each large enough that fio is not slower: the others wait in the scheduler.
    before = loop.stat()["read_ops"]
    fio(loop, "--bs=256k", "--iodepth=256", "--iodepth_batch_submit=256", "--rw=randread", "--loops=4", operations=20_000)
    moved = loop.stat()["read_ops"] - before
    assert moved > 1000
    means = {}
    for flag, process in processes.items():
        sums = histogram(end(process, outputs[flag])[0])
        means[flag] = sum(slot * count for slot, count in sums.items()) / sum(sums.values())
        assert 0.99 * moved <= sum(sums.values()) <= moved
    assert means["--queued"] > means[""] + 0.2, means


def test_a_line_is_whole_or_not_there_after_a_kill(hist, loop, tmp_path):
    output = tmp_path / "hist.jsonl"
    process = hist("--device", loop.name, "--interval", "0.1")
    wait_for(lambda: len(output.read_text().splitlines()) > 3, "lines")
    process.kill()
    process.wait()
    before = [json.loads(line) for line in output.read_text().splitlines()]
    with open(output, "a") as file:
        file.write('{"timestamp":17')
    process = hist("--device", loop.name, "--interval", "0.1", "--fsync")
    snapshots, _, _ = end(process, output)
    assert snapshots[:len(before)] == before and len(snapshots) > len(before)


def test_a_reader_that_has_enough_ends_it(loop):
    require_machine()
    process = subprocess.Popen([*map(str, HIST), "--device", loop.name, "--interval", "0.1", "--output", "-", "--flush-every", "1"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert json.loads(process.stdout.readline())["inflight"][0]["device_name"] == loop.name
    process.stdout.close()
    told = process.communicate(timeout=60)[1]
    assert process.returncode == 3 and "in no histogram" in told or (process.returncode, told) == (0, ""), told


@pytest.mark.parametrize("queued", [[], ["--queued"]])
def test_processes_have_histograms_of_their_own(hist, loop, tmp_path, queued):
    outputs = {name: tmp_path / f"{name}.jsonl" for name in ("all", "fio", "other")}
    arguments = {"all": ["--by", "process"], "fio": ["--comm", "fio"], "other": ["--comm", "other"]}
    processes = {name: hist("--device", loop.name, "--interval", "0.2", *arguments[name], *queued, output=output) for name, output in outputs.items()}
    job = fio(loop)
    run(require("dd"), f"if={loop.device}", "of=/dev/null", "bs=64k", "count=64", "iflag=direct")
    counts, texts = {}, {}
    for name, process in processes.items():
        snapshots, texts[name], missing = end(process, outputs[name])
        assert missing <= 2
        counts[name] = [(of.get("comm"), of.get("pid"), of["total"]) for snapshot in snapshots for of in snapshot["latency_histogram"]]
    of_fio, of_dd = ([row for row in counts["all"] if row[0] == comm] for comm in ("fio", "dd"))
    operations = job["read"]["total_ios"] + job["write"]["total_ios"]
    assert sum(total for *_, total in of_fio) == pytest.approx(operations, abs=2) and len({pid for _, pid, _ in of_fio}) == 1
    assert sum(total for *_, total in of_dd) == pytest.approx(64, abs=1)
    # A filter selects, and divides nothing.
    assert {row[:2] for row in counts["fio"]} == {(None, None)}
    assert sum(total for *_, total in counts["fio"]) == pytest.approx(operations, abs=2) and counts["other"] == []
    assert f"disk = {loop.name}, process = fio {of_fio[0][1]}" in texts["all"] and max(map(len, texts["all"].splitlines())) <= 80


@pytest.mark.parametrize("arguments, code, expected", [
    (["--interval", "soon"], 2, "expected a time such as 60s or 5m"),
    (["--interval", "0"], 2, "expected at least 100ms"),
    (["--by", "disk"], 2, "possible values: op, process"),
    (["--no-output", "--fsync"], 2, "cannot be used with"),
    (["--output", "-", "--rotate-size", "1MiB"], 2, "hist: --rotate-size: the output is the standard output, expected a file"),
    (["--flush-every", "0"], 2, "is not in 1..=100000"),
    (["--device", "nosuchdisk"], 1, "--device nosuchdisk: there is no such block device"),
    (["--output", "/nowhere/hist.jsonl"], 1, "--output /nowhere/hist.jsonl: /nowhere: cannot open: No such file or directory"),
])
def test_what_cannot_be_is_one_line(arguments, code, expected, recordable):
    done = run(*HIST, "--duration", "1s", *arguments)
    assert done.returncode == code and expected in done.stderr, done
    assert len(done.stderr.splitlines()) == 1 or "Usage: " in done.stderr or "For more information" in done.stderr


def test_the_help_has_examples():
    shown = run(*HIST, "--help")
    assert shown.returncode == 0 and "Examples:" in shown.stdout and "--queued" in shown.stdout
