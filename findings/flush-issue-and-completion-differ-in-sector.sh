#!/bin/sh
# Version: Linux 6.18.44 (x86-64), loop driver. By the source: from 5.10 or earlier on, every driver with requests (blk-mq).
#
# Behaviour: the tracepoint block_rq_issue has sector 0 for a flush command, block_rq_complete of the same command has 18446744073709551615. Tools
# and scripts that pair the two by (dev, sector), as is usual where there is no pointer to the request, never find the end of a flush: its latency is
# missing, and a start at sector 0 stays behind that a later read of sector 0 may be taken for.
#
# Expected: one request, one sector in both.
#
# Seen: flush issued at sector 0, completed at sector 18446744073709551615
#
# Why: a flush has position -1. include/trace/events/block.h prints blk_rq_trace_sector() at issue, which turns that into 0, and the plain
# blk_rq_pos() at completion.
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
import os
import re
import sys

trace, disk = sys.argv[1:]
device = os.open(f"/dev/{disk}", os.O_RDWR)
with open(f"/sys/block/{disk}/dev") as number:
    major, minor = map(int, number.read().split(":"))
for event in "block_rq_issue", "block_rq_complete":
    for name, value in ("filter", f"dev == {major << 20 | minor}"), ("enable", "1"):
        with open(f"{trace}/events/block/{event}/{name}", "w") as control:
            control.write(value)
os.fsync(device)
with open(f"{trace}/trace") as events:
    sectors = dict(re.findall(r"block_rq_(issue|complete): \S+ FF .*? (\d+) \+ 0 ", events.read()))
print(f"flush issued at sector {sectors.get('issue')}, completed at sector {sectors.get('complete')}")
sys.exit(0 if sectors == {"issue": "0", "complete": str(2**64 - 1)} else 1)
END
python3 "$tmp/probe.py" "$trace" "${loop#/dev/}"
