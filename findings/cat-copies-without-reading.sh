#!/bin/sh
# Version: coreutils 9.1 (Debian 12, 9.1-1), strace 6.1, Linux 6.18.44.
#
# Behaviour: `cat FILE >OTHER` reads and writes nothing: it copies with copy_file_range(), with a length of 9.2e18 bytes, so a trace of read() and
# write() has no byte of the data, and a sum of requested bytes is beyond anything. `cat FILE | cat` reads and writes as ever.
#
# Expected: the textbook's loop of read() and write(), which is why cat is what tracers are tried with.
#
# Seen: to a file: read 0 B, write 0 B, copy_file_range 1048576 B of 9223372035781033984 requested; to a pipe: read 1048576 B, write 1048576 B
#
# Why: src/cat.c, since 9.1: copy_cat() tries copy_file_range() first where input and output are regular files.
#
# Needs: coreutils 9.1 or later, strace (apt-get install strace=6.1-0.1), python3; a temporary folder on a disk.
set -eu

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 2' INT TERM

cat >"$tmp/probe.py" <<'END'
import os
import re
import subprocess
import sys

SIZE = 1 << 20
CALL = re.compile(r"(read|write|copy_file_range)\((\d+),.*?(\d+)(?:, 0\)|\)) += (\d+)$")
os.chdir(sys.argv[1])
with open("data", "wb") as made:
    made.write(os.urandom(SIZE))


def traced(output):
    """By call: bytes moved, and the most that one asked for."""
    command = ["strace", "-e", "trace=read,write,copy_file_range", "-o", "calls", "cat", "data"]
    subprocess.run(command, stdout=output, check=True)
    moved, most = {"read": 0, "write": 0, "copy_file_range": 0}, 0
    with open("calls") as calls:
        found = [match for match in map(CALL.search, calls) if match]
    opened = {"read": None, "write": "1", "copy_file_range": None}
    for call, descriptor, asked, got in (match.groups() for match in found):
        # Of the data alone: what is read of libraries is smaller than what cat reads at once.
        if opened[call] in (None, descriptor) and int(asked) > 4096:
            moved[call] += int(got)
            most = max(most, int(asked))
    return moved, most


try:
    with open("copy", "wb") as copy:
        to_file, asked = traced(copy)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as reader:
        to_pipe, _ = traced(reader.stdin)
except (OSError, subprocess.CalledProcessError) as error:
    print(error, file=sys.stderr)
    sys.exit(2)
print(
    f"to a file: read {to_file['read']} B, write {to_file['write']} B, copy_file_range {to_file['copy_file_range']} B of {asked} requested; "
    f"to a pipe: read {to_pipe['read']} B, write {to_pipe['write']} B"
)
is_so = to_file == {"read": 0, "write": 0, "copy_file_range": SIZE} and to_pipe == {"read": SIZE, "write": SIZE, "copy_file_range": 0}
sys.exit(0 if is_so and asked > 1 << 62 else 1)
END
python3 "$tmp/probe.py" "$tmp"
