"""Reading /proc of running processes: listed entries may be gone when they are read."""

import contextlib
import ctypes
import glob
import mmap
import os
from pathlib import Path


def texts(pattern):
    """Returns the contents of the files that match a pattern and still exist."""
    for path in map(Path, glob.iglob(pattern)):
        try:
            yield path, path.read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue


def descriptors(pid):
    """Returns the kernel's data of each open file of a process, by name: /proc/PID/fdinfo/FD."""
    for _, text in texts(f"/proc/{pid}/fdinfo/*"):
        fields = (line.split(":", 1) for line in text.splitlines() if ":" in line)
        yield {name: value.strip() for name, value in fields}


def threads_in(pid, state):
    """Returns the threads of a process in a state of proc_pid_stat(5): `D` waits in the kernel, `T` was stopped."""
    return {path for path, text in texts(f"/proc/{pid}/task/*/stat") if text.rpartition(")")[2].split()[0] == state}


def children_of(pid):
    """Returns the children of a process that it has not waited for."""
    return {int(child) for _, text in texts(f"/proc/{pid}/task/*/children") for child in text.split()}


def swapped_bytes(pid):
    """Returns the bytes of a process's memory that are in swap, or on their way there. The kernel keeps pages in memory that a CPU has yet
    to add to the global lists."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(status["VmSwap"].split()[0]) << 10


@contextlib.contextmanager
def kept_in_memory(file):
    """Locks the page cache of a file (mlock(2)): the kernel drops pages of other files only."""
    with open(file, "r+b") as opened, mmap.mmap(opened.fileno(), 0) as mapping:
        view = ctypes.c_char.from_buffer(mapping)
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mlock(ctypes.c_void_p(ctypes.addressof(view)), ctypes.c_size_t(len(mapping))):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        del view
        yield
