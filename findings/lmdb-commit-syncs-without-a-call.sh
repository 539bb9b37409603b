#!/bin/sh
# Version: LMDB of the Python package lmdb 3.0.0, strace 6.1, Linux 6.18.44.
#
# Behaviour: each commit makes data durable twice, and only one of these is a call that says so: fdatasync() for the pages, and then a write of
# 120 bytes through a second descriptor that was opened with O_DSYNC. Who counts calls of the sync family finds half of the flushes; who counts
# bytes written finds writes that bring a flush each.
#
# Expected: a commit that is one fdatasync().
#
# Seen: 10 commits: 10 fdatasync, 0 fsync, 10 writes of 120 B by a descriptor with O_DSYNC
#
# Why: mdb.c, mdb_env_write_meta() writes the meta page by me_mfd, which mdb_env_open() opens with MDB_DSYNC, so that it needs no second call.
#
# Needs: python3 with venv and pip, strace (apt-get install strace=6.1-0.1).
set -eu

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 2' INT TERM

python3 -m venv "$tmp/venv" && "$tmp/venv/bin/pip" --quiet --disable-pip-version-check install lmdb==3.0.0 || exit 2

cat >"$tmp/commits.py" <<'END'
import sys

import lmdb

environment = lmdb.open(sys.argv[1], map_size=1 << 26)
sys.stdout.write("begin\n")
sys.stdout.flush()
for number in range(10):
    with environment.begin(write=True) as transaction:
        transaction.put(b"key", b"value %d" % number)
sys.stdout.write("end\n")
sys.stdout.flush()
END
cat >"$tmp/probe.py" <<'END'
import re
import subprocess
import sys

place, python = sys.argv[1:]
command = ["strace", "-f", "-o", f"{place}/calls", "-e", "trace=openat,write,pwrite64,writev,pwritev,fsync,fdatasync", python, f"{place}/commits.py", f"{place}/db"]
try:
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
except (OSError, subprocess.CalledProcessError) as error:
    print(error, file=sys.stderr)
    sys.exit(2)
with open(f"{place}/calls") as calls:
    text = calls.read()
synchronous = re.search(r"O_DSYNC[^)]*\) = (\d+)", text)[1]
commits = text.split('"begin\\n"')[1].split('"end\\n"')[0]
fdatasync, fsync = commits.count(" fdatasync("), commits.count(" fsync(")
writes = len(re.findall(rf" pwrite64\({synchronous}, .* = 120\b", commits))
print(f"10 commits: {fdatasync} fdatasync, {fsync} fsync, {writes} writes of 120 B by a descriptor with O_DSYNC")
sys.exit(0 if (fdatasync, fsync, writes) == (10, 0, 10) else 1)
END
python3 "$tmp/probe.py" "$tmp" "$tmp/venv/bin/python"
