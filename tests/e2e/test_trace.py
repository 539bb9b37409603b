"""Single operations, in the format of Chrome's and Perfetto's trace viewers."""

import json
from collections import defaultdict

import pytest
from conftest import ROOT, Capture, analyze

FIXTURE = ROOT / "tests/fixtures/debian-6.12-nvme"


def trace(capture, out, *options):
    result = analyze("trace", capture, "--out", out, *options)
    assert result.returncode == 0, result.stderr
    return json.loads((out / "trace.json").read_text()), result


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return trace(FIXTURE, tmp_path_factory.mktemp("trace"))[0]


def of_phase(events, phase):
    return [event for event in events["traceEvents"] if event["ph"] == phase]


def test_every_operation_is_a_slice_of_its_time(whole):
    slices = [event for event in of_phase(whole, "X") if event["name"] != "device"]
    capture = Capture(FIXTURE)
    for layer in ("syscall", "vfs", "block"):
        found = sorted((event["name"], round(event["ts"] * 1000), round(event["dur"] * 1000)) for event in slices if event["cat"] == layer)
        first = capture.one("select min(ts) from (select min(ts_ns) ts from {syscall} union all select min(ts_ns) from {vfs} union all select min(ts_ns) from {block})")[0]
        # Files in memory reach no device and are excluded, as everywhere.
        known = sorted(capture.sql(f"select op, ts_ns - {first}, dur_ns from {{{layer}}} where dur_ns is not null"))
        assert set(found) <= set(known) and len(found) >= 0.9 * len(known) > 100, layer
    assert {"sync_file", "commit"} <= {event["name"] for event in slices if event["cat"] == "fs"}
    moved = sum(event["args"]["bytes"] for event in slices if event["cat"] == "block" and event["name"] == "write")
    assert (moved,) == capture.one("select sum(bytes)::bigint from {block} where op = 'write' and dur_ns is not null")


def test_slices_of_a_lane_lie_beside_or_within_each_other(whole):
    """Slices of a lane are disjoint or nested: other overlaps are drawn incorrectly, or not at all."""
    lanes = defaultdict(list)
    for event in of_phase(whole, "X"):
        begin = round(event["ts"] * 1000)
        lanes[event["pid"], event["tid"]].append((begin, -(begin + round(event["dur"] * 1000))))
    named = {(event["pid"], event["tid"]) for event in of_phase(whole, "M") if event["name"] == "thread_name"}
    assert lanes.keys() <= named and len(lanes) > 20
    for slices in lanes.values():
        under_way = []
        for begin, end in sorted(slices):
            while under_way and -under_way[-1] <= begin:
                under_way.pop()
            assert not under_way or -end <= -under_way[-1]
            under_way.append(end)


def test_processes_and_disks_have_their_names(whole):
    names = {event["pid"]: event["args"]["name"] for event in of_phase(whole, "M") if event["name"] == "process_name"}
    assert "disk nvme0n1 259:0" in names.values()
    for event in of_phase(whole, "X"):
        assert names[event["pid"]].startswith("disk ") == (event["cat"] == "block")
        # Processes have their IDs as numbers, none of which was reused here.
        if event["cat"] == "syscall":
            assert event["args"]["process"].split("@")[0] == f"{names[event['pid']]} {event['pid']}"
    owners = {event["args"].get("process", "").split()[0] for event in of_phase(whole, "X") if event["cat"] == "block" and "process" in event["args"]}
    assert {"dd", "appender"} <= owners
    manifest = json.loads((FIXTURE / "manifest.json").read_text())
    assert whole["otherData"]["captures"][0]["capture_id"] == manifest["capture_id"] and whole["displayTimeUnit"] == "ns"


def test_it_is_the_same_each_time_and_of_what_is_asked_for(tmp_path, generate):
    capture = generate("--events", 200_000, "--part-size", "1MiB")
    for threads in (1, 2):
        trace(capture, tmp_path / str(threads), "--threads", threads)
    assert (tmp_path / "1/trace.json").read_bytes() == (tmp_path / "2/trace.json").read_bytes()
    some, _ = trace(capture, tmp_path / "some", "--layer", "block", "--process", "postgres", "--until", "2s")
    slices = [event for event in of_phase(some, "X") if event["name"] != "device"]
    assert slices and {event["cat"] for event in slices} == {"block"} and {event["args"]["system"] for event in slices} == {"PostgreSQL"}
    assert max(event["ts"] for event in slices) < 2e6


def test_more_than_there_is_room_for_is_refused(tmp_path):
    result = analyze("trace", FIXTURE, "--out", tmp_path / "out", "--most", 100)
    assert result.returncode == 1 and len(result.stderr.splitlines()) == 1 and "expected at most 100: narrow the selection" in result.stderr
    assert not (tmp_path / "out/trace.json").exists()
    result = analyze("trace", FIXTURE)
    assert result.returncode == 2 and "expected --out DIR" in result.stderr


def test_a_trace_is_the_same_whatever_is_cached(generate, tmp_path):
    capture = generate("--events", 5_000, out=tmp_path / "capture")
    printed = []
    for number in range(2):
        done = analyze("trace", capture, "--cache", "--out", tmp_path / f"trace{number}")
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout.replace(f"trace{number}", "trace"))
    assert printed[0] == printed[1] and not printed[0].startswith("0 "), printed
    files = [(tmp_path / f"trace{number}" / "trace.json").read_bytes() for number in range(2)]
    assert files[0] == files[1] and len(files[0]) > 100_000
