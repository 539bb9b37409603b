"""Commands with the kernel's own counters of all processes that they start, and rows of the same processes."""

import json
import os
import subprocess
import sys

# Runs a command for each line of input, and waits for all processes that it leaves behind. The kernel adds the counters of an ended process
# to those of the process that waited for it, so orphans are adopted and waited for too.
WRAPPER = """
import ctypes, json, os, subprocess, sys
ctypes.CDLL(None).prctl(36, 1)
def account():
    with open("/proc/self/io") as lines:
        return {name: int(value) for name, value in (line.split(":") for line in lines)}
for line in sys.stdin:
    before = account()
    with open(sys.argv[1], "wb") as log:
        code = subprocess.call(json.loads(line), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        while True:
            os.wait()
    except ChildProcessError:
        pass
    after = account()
    print(json.dumps({name: after[name] - before[name] for name in after} | {"code": code}), flush=True)
"""

# Operations that count in `rchar` and `wchar`. Linux aio, io_uring and splice do not.
READS = ("read", "pread64", "readv", "preadv", "preadv2", "sendfile_in", "copy_file_range_in")
WRITES = ("write", "pwrite64", "writev", "pwritev", "pwritev2", "sendfile_out", "copy_file_range_out")


class Witnessed:
    """A process that runs commands, all of which `--pid` records."""

    def __init__(self, log):
        self.log = log
        self.process = subprocess.Popen([sys.executable, "-c", WRAPPER, log], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self.process.pid

    def run(self, *command):
        """Returns the kernel's counters of a command and all its descendants, its exit code, and the end of its output."""
        self.process.stdin.write(json.dumps([str(word) for word in command]) + "\n")
        self.process.stdin.flush()
        account = json.loads(self.process.stdout.readline())
        return account, account.pop("code"), self.log.read_text(errors="replace")[-2000:]

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def recorded(capture, during):
    """Returns the bytes of rows of a period, in a capture of these processes only: bytes returned by calls, and bytes that the kernel
    charges to them. Those are read when a bio is submitted, and written when a page becomes dirty or a direct bio is submitted.
    """
    calls = f"select coalesce(sum(ret), 0)::bigint from {{{{syscall}}}} where {during} and ret > 0 and op in {{}}"
    requests = f"select coalesce(sum(bytes), 0)::bigint from {{part}} where {during} and pid is not null and "
    dirtied = f"select coalesce(sum(bytes), 0)::bigint from {{fs}} where {during} and op = 'dirty'"
    return {
        "rchar": capture.one(calls.format(READS))[0],
        "wchar": capture.one(calls.format(WRITES))[0],
        "read_bytes": capture.one(requests + "op = 'read'")[0],
        "write_bytes": capture.one(dirtied)[0] + capture.one(requests + "op = 'write' and evidence = 'direct'")[0],
    }


def padding(capture, during, block):
    """Returns the maximum of zeroes needed for direct writes that end or begin within a block of their file. Where no data existed before,
    the file system zero-fills the block, which the disk writes and the kernel charges to no process (`iomap_dio_zero` in
    fs/iomap/direct-io.c).
    """
    return capture.one(f"""
        select coalesce(sum(offset_bytes % {block} + ({block} - (offset_bytes + ret) % {block}) % {block}), 0)::bigint from {{syscall}}
        where {during} and ret > 0 and flags & {os.O_DIRECT} != 0 and op in {(*WRITES, "aio_write", "io_uring_write")}""")[0]


def unidentified_bytes(capture, during):
    """Returns the bytes of reads without an owner that may be these processes' own: requests that were not seen when they were queued. Unlike
    those of kernel threads they have no submitter, and the capture counts them.
    """
    unseen = "op = 'read' and evidence = 'none' and submitter_pid is null"
    counted = capture.manifest["books"]["incomplete"]["unidentified_requests"]
    rows, reads = capture.one(f"select count(*) filter ({unseen}), count(*) from {{block}} where op = 'read'")
    # Two CPUs that write one slot at once are rare.
    assert rows <= counted and rows * 1_000 <= reads, (rows, counted, reads)
    return capture.one(f"select coalesce(sum(bytes), 0)::bigint from {{block}} where {during} and {unseen}")[0]
