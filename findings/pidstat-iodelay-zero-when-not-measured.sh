#!/bin/sh
# Version: sysstat 12.6.1 (Debian 12, 12.6.1-1), Linux 6.18.44; by the source every kernel since 5.14.
#
# Behaviour: `pidstat -d` prints 0 under iodelay for a process that does nothing but wait for the disk, since the kernel does not measure it unless
# kernel.task_delayacct is 1, which is not the default any more. Nothing says so. A process that is started after `sysctl kernel.task_delayacct=1`
# has delays.
#
# Expected: the delay, or a sign that there is none to be had, as iotop gives.
#
# Seen: iodelay of a reader: task_delayacct 0: 0; task_delayacct 1: 54 clock ticks
#
# Why: field 42 of /proc/PID/stat (delayacct_blkio_ticks) is 0 for tasks without delay accounting (kernel/delayacct.c, off since e4042ad49235), and
# pidstat prints what it finds there.
#
# Needs: root (the sysctl is set and put back), python3, apt-get.
set -eu

tmp=$(mktemp -d)
setting=/proc/sys/kernel/task_delayacct
[ -w "$setting" ] || exit 2
was=$(cat "$setting")
cleanup() {
    echo "$was" >"$setting"
    rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 2' INT TERM

(cd "$tmp" && apt-get -qq download sysstat=12.6.1-1 2>/dev/null && dpkg-deb -x sysstat_*.deb .) || exit 2

cat >"$tmp/probe.py" <<'END'
import os
import subprocess
import sys

pidstat, path, setting = sys.argv[1:]
READER = """
import mmap, os, sys
file = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECT)
block = mmap.mmap(-1, 4096)
print(flush=True)
while True:
    for offset in range(0, 64 << 20, 4096):
        os.preadv(file, [block], offset)
"""
with open(path, "wb") as made:
    made.write(os.urandom(64 << 20))
    made.flush()
    os.fsync(made.fileno())


def iodelay(accounting):
    with open(setting, "w") as switch:
        switch.write(accounting)
    with subprocess.Popen([sys.executable, "-c", READER, path], stdout=subprocess.PIPE) as reader:
        reader.stdout.readline()
        command = [pidstat, "-d", "-p", str(reader.pid), "1", "3"]
        shown = subprocess.run(command, capture_output=True, check=True, text=True, env=dict(os.environ, S_TIME_FORMAT="ISO", LC_ALL="C")).stdout
        reader.kill()
    rows = [line.split() for line in shown.splitlines() if f" {reader.pid} " in line]
    heads = [line.split() for line in shown.splitlines() if "iodelay" in line]
    return sum(int(row[head.index("iodelay")]) for row, head in zip(rows, heads) if row[0] != "Average:")


off, on = iodelay("0"), iodelay("1")
print(f"iodelay of a reader: task_delayacct 0: {off}; task_delayacct 1: {on} clock ticks")
sys.exit(0 if off == 0 < on else 1)
END
python3 "$tmp/probe.py" "$tmp/usr/bin/pidstat" "$tmp/data" "$setting"
