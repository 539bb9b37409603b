#!/bin/sh
# Version: fio 3.33 (Debian 12, 3.33-3), engine psync.
#
# Behaviour: no percentile of fio is greater than 17.11276032 s: slower operations are counted in the last bucket, and its middle is reported. A
# read that takes 20 s (the job is stopped meanwhile) has "max" 19.99 s and 100th percentile 17.11 s in the same object of the JSON. Nothing says
# that the bucket is the last one, so a device that loses a request until the kernel's timeout (30 s for NVMe and SCSI) looks faster than it is.
#
# Expected: the 100th percentile is at least the maximum less the width of a bucket (1.6 %), or the report says that it is cut off.
#
# Seen: max 19.99 s, p100 17112760320 ns
#
# Why: stat.h has FIO_IO_U_PLAT_GROUP_NR = 29 groups of 64 buckets; plat_val_to_idx() in stat.c gives all beyond 2^34 ns the last index.
#
# Needs: fio (apt-get install fio=3.33-3), python3.
set -eu

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 2' INT TERM

cat >"$tmp/probe.py" <<'END'
import json
import os
import signal
import subprocess
import sys
import time

STOPPED_S = 20


def latencies(directory):
    """Returns the maximum and the 100th percentile of a job that is stopped for a while, in nanoseconds."""
    report = f"{directory}/report.json"
    job = subprocess.Popen(["fio", "--name=job", f"--directory={directory}", "--size=4m", "--bs=4k", "--rw=randread", "--ioengine=psync",
                            "--direct=1", "--thread", "--time_based", f"--runtime={STOPPED_S + 5}", "--percentile_list=100",
                            "--output-format=json", f"--output={report}"])
    time.sleep(3)
    os.kill(job.pid, signal.SIGSTOP)
    time.sleep(STOPPED_S)
    os.kill(job.pid, signal.SIGCONT)
    if job.wait() != 0:
        sys.exit(2)
    with open(report) as lines:
        told = json.load(lines)["jobs"][0]["read"]["clat_ns"]
    return told["max"], told["percentile"]["100.000000"]


# The signal may find the job between two reads; then none of them took long.
for _ in range(3):
    longest, p100 = latencies(sys.argv[1])
    if longest > 18e9:
        break
else:
    print("no read was under way when the job was stopped", file=sys.stderr)
    sys.exit(2)
print(f"max {longest / 1e9:.2f} s, p100 {p100} ns")
sys.exit(0 if p100 == 17112760320 else 1)
END
python3 "$tmp/probe.py" "$tmp"
