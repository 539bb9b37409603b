"""Reading what /proc tells of processes that go on: what is listed may be gone when it is read."""

import ctypes
import glob
import mmap
from pathlib import Path


def texts(pattern):
    """The files of a pattern that are there when they are read, with what they say."""
    for path in map(Path, glob.iglob(pattern)):
        try:
            yield path, path.read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue


def descriptors(pid):
    """What the kernel says of each open file of a process, by name: /proc/PID/fdinfo/FD."""
    for _, text in texts(f"/proc/{pid}/fdinfo/*"):
        fields = (line.split(":", 1) for line in text.splitlines() if ":" in line)
        yield {name: value.strip() for name, value in fields}


def threads_in(pid, state):
    """The threads of a process that are in a state, as proc_pid_stat(5) has it: `D` waits in the kernel, `T` was stopped."""
    return {path for path, text in texts(f"/proc/{pid}/task/*/stat") if text.rpartition(")")[2].split()[0] == state}


def children_of(pid):
    """Processes that a process has started and has not seen end."""
    return {int(child) for _, text in texts(f"/proc/{pid}/task/*/children") for child in text.split()}


def swapped_bytes(pid):
    """What of a process's memory is in swap, or on its way there. The kernel leaves pages in memory that a CPU has yet to put into the lists of all."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(status["VmSwap"].split()[0]) << 10


def cached_bytes(path):
    """Bytes of a file that are in the page cache (mincore(2))."""
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0, flags=mmap.MAP_SHARED) as mapped:
        pages = (ctypes.c_ubyte * -(-len(mapped) // mmap.PAGESIZE))()
        first = ctypes.c_char.from_buffer(mapped)
        failed = ctypes.CDLL(None, use_errno=True).mincore(ctypes.c_void_p(ctypes.addressof(first)), ctypes.c_size_t(len(mapped)), pages)
        # The mapping cannot end while something points into it.
        del first
    assert not failed, ctypes.get_errno()
    return mmap.PAGESIZE * sum(page & 1 for page in pages)
