#!/bin/sh
# Version: fio 3.33 (Debian 12, 3.33-3), engine psync. Newer versions count both.
#
# Behaviour: of a job with fdatasync=1 the JSON says under "sync" that "total_ios" is 0, beside the latencies of 1023 syncs ("N" of "lat_ns"). With
# fsync=1 both are 1023. Who takes syncs per second or a check of completeness from total_ios finds a job that never synced.
#
# Expected: total_ios is N, whichever call makes the data durable.
#
# Seen: fsync=1: total_ios 1023, N 1023; fdatasync=1: total_ios 0, N 1023
#
# Why: ioengines.c, td_io_queue(), of 3.33 counts only DDIR_SYNC, which is fsync; the latency is sampled for every kind of sync.
#
# Needs: fio (apt-get install fio=3.33-3), python3.
set -eu

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 2' INT TERM

cat >"$tmp/probe.py" <<'END'
import json
import subprocess
import sys


def counts(option):
    command = ["fio", "--name=job", f"--directory={sys.argv[1]}", "--size=4m", "--bs=4k", "--rw=write", "--ioengine=psync", option, "--output-format=json"]
    [job] = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)["jobs"]
    return job["sync"]["total_ios"], job["sync"]["lat_ns"]["N"]


try:
    fsync, fdatasync = counts("--fsync=1"), counts("--fdatasync=1")
except (OSError, subprocess.CalledProcessError) as error:
    print(error, file=sys.stderr)
    sys.exit(2)
print("fsync=1: total_ios {}, N {}; fdatasync=1: total_ios {}, N {}".format(*fsync, *fdatasync))
sys.exit(0 if fsync == (1023, 1023) and fdatasync == (0, 1023) else 1)
END
python3 "$tmp/probe.py" "$tmp"
