#!/bin/sh
# Version: Linux 6.18.44 (x86-64), loop driver. By the source: every driver with requests (blk-mq) whose device has a volatile write cache; where
# the device itself does FUA, it takes a flush before the data (PREFLUSH, as journals write).
#
# Behaviour: the tracepoint block_rq_complete fires twice for one write that needs a flush: with its sectors when the data is written, and with
# 0 sectors at the end of the sequence. block_rq_issue fires once. Counts of completions are too high, and what waits for the *first* completion
# measures a latency without the flush, though the submitter waits for the second.
#
# Expected: a completion for an issue. (Partial completions are an exception that is known; the sizes of those add up to the request.)
#
# Seen: one O_DSYNC write: issued [8 sectors], completed [8 sectors, 0 sectors]
#
# Why: block/blk-flush.c ends the data phase and then the whole sequence by blk_mq_end_request(), and blk_update_request() traces both.
#
# Needs: root, python3, tracefs at /sys/kernel/tracing, a free loop device.
set -eu

tmp=$(mktemp -d)
trace=/sys/kernel/tracing/instances/finding-$$
loop=
cleanup() {
    [ ! -d "$trace" ] || rmdir "$trace"
    [ -z "$loop" ] || losetup --detach "$loop"
    rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 2' INT TERM

truncate -s 16M "$tmp/image"
loop=$(losetup --find --show "$tmp/image") || exit 2
mkdir "$trace" || exit 2

cat >"$tmp/probe.py" <<'END'
import mmap
import os
import re
import sys

trace, disk = sys.argv[1:]
dsync = os.open(f"/dev/{disk}", os.O_RDWR | os.O_DIRECT | os.O_DSYNC)
block = mmap.mmap(-1, 4096)  # aligned, as O_DIRECT asks for
with open(f"/sys/block/{disk}/dev") as number:
    major, minor = map(int, number.read().split(":"))
for event in "block_rq_issue", "block_rq_complete":
    for name, value in ("filter", f"dev == {major << 20 | minor}"), ("enable", "1"):
        with open(f"{trace}/events/block/{event}/{name}", "w") as control:
            control.write(value)
os.pwrite(dsync, block, 8192)
with open(f"{trace}/trace") as events:
    seen = re.findall(r"block_rq_(issue|complete): \S+ WS .*? 16 \+ (\d+) ", events.read())
issued, completed = ([int(sectors) for event, sectors in seen if event == which] for which in ("issue", "complete"))


def shown(sizes):
    return "[" + ", ".join(f"{sectors} sectors" for sectors in sizes) + "]"


print(f"one O_DSYNC write: issued {shown(issued)}, completed {shown(completed)}")
sys.exit(0 if issued == [8] and completed == [8, 0] else 1)
END
python3 "$tmp/probe.py" "$trace" "${loop#/dev/}"
