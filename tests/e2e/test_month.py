"""A month of events at maximum rate: the resources of the recorder do not grow with the number of events."""

import os
import re
import statistics
import time
from pathlib import Path

import pytest
from proc import descriptors
from test_memory import Load

# About a million events per second for an hour equal a month at a thousand per second; the machine's maximum rate is sufficient.
SECONDS = int(os.environ.get("IOSTRATA_MONTH_SECONDS", 3600 if os.environ.get("IOSTRATA_SOAK") else 20))
# The memory retained by the allocator settles in the first minute.
GROWTH = 1.02 if SECONDS >= 600 else 1.10
# Entry size of maps that allocate on demand (BPF_F_NO_PREALLOC); all others are preallocated.
ENTRY = 72
# In the map of forked processes an entry stays as long as the process lives.
FORKED = 16


def requests_of_the_disks():
    """Returns the maximum number of requests of the disks: tags of the queues and of the I/O scheduler, and one for flushes. Each has an
    entry after its first use."""
    requests = 0
    for disk in Path("/sys/block").iterdir():
        for queue in disk.glob("mq/*"):
            requests += int((queue / "nr_tags").read_text()) + int((disk / "queue/nr_requests").read_text()) + 1
    return requests


def taken(pid):
    """Returns resident memory, open files, and memory of the maps, which are files of the process: preallocated, and allocated on demand."""
    rss = int(re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[1]) * 1024
    files = list(descriptors(pid))
    maps = {file["map_id"]: (int(file["map_flags"], 16) & 1, int(file["memlock"])) for file in files if "map_id" in file}
    assert {by_entry for by_entry, _ in maps.values()} == {0, 1}
    return rss, len(files), *(sum(size for by_entry, size in maps.values() if by_entry == which) for which in (0, 1))


@pytest.mark.moments
def test_what_the_recorder_takes_does_not_grow_with_the_events(record):
    load = Load(rate=())
    samples = []
    try:
        # Other processes of that name may exist.
        recorder = record("--pid", load.process.pid, "--rotate-interval", f"{max(1, SECONDS // 60)}s", "--max-disk", "1GiB")
        began = time.monotonic()
        while time.monotonic() - began < SECONDS:
            samples.append(taken(recorder.process.pid))
            time.sleep(SECONDS / 200)
    finally:
        load.close()
    capture = recorder.stop(expected=None)
    capture.check_books()
    seen = sum(account["seen"] for account in capture.manifest["books"]["accounts"])
    parts = len(capture.manifest["parts"]) + sum(removed["parts"] for removed in capture.manifest["removed"])
    tenth = len(samples) // 10
    # The minimum of open files: a part that is finished and one that begins are open together now and then.
    of = (statistics.median, min, statistics.median, statistics.median)
    tenths = [[take(values) for take, values in zip(of, zip(*samples[begin:begin + tenth]))] for begin in range(0, 10 * tenth, tenth)]
    second, last = tenths[1], tenths[-1]
    print(f"{seen} events in {SECONDS} s, {parts} parts, lost {capture.lost_events()}; memory, files, maps by tenths: {tenths}")
    assert parts > 20 and seen > 5_000 * SECONDS
    assert last[0] <= GROWTH * second[0] and max(rss for rss, *_ in samples) <= 64 << 20
    assert abs(last[1] - second[1]) <= 2 and last[2] == second[2]
    assert last[3] - second[3] <= ENTRY * (FORKED + requests_of_the_disks())
