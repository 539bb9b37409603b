#!/bin/sh
# Version: Linux 6.18.44 (x86-64), any file system with the generic page cache (seen on ext4, XFS and btrfs).
#
# Behaviour: preadv2(RWF_NOWAIT) of what is not in the page cache returns EAGAIN and starts reading it from the device all the same. A program that
# asks this way whether data is cached causes the I/O that it looks for, and finds the data cached the next time.
#
# Expected: no I/O; readv(2) describes a read that returns at once where it would have to go to the storage.
#
# Seen: first EAGAIN with 0 pages cached, then 1 page cached, and the same call returns 4096
#
# Why: mm/filemap.c, filemap_get_pages(): without IOCB_NOIO it calls page_cache_sync_ra() also for IOCB_NOWAIT, and then does not wait for the folio.
#
# Needs: python3, a temporary folder on a disk (not tmpfs).
set -eu

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 2' INT TERM

cat >"$tmp/probe.py" <<'END'
import ctypes
import errno
import mmap
import os
import sys
import time

SIZE = 8 << 20
libc = ctypes.CDLL(None, use_errno=True)


def cached(file):
    """Pages of the file in the page cache, by mincore()."""
    pages = (ctypes.c_ubyte * (SIZE // mmap.PAGESIZE))()
    with mmap.mmap(file, SIZE) as view:
        start = ctypes.c_char.from_buffer(view)
        if libc.mincore(ctypes.c_void_p(ctypes.addressof(start)), ctypes.c_size_t(SIZE), pages):
            sys.exit(2)
        del start
    return sum(page & 1 for page in pages)


def read(file):
    try:
        return os.preadv(file, [bytearray(4096)], 1 << 20, os.RWF_NOWAIT)
    except OSError as error:
        return errno.errorcode[error.errno]


file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
os.pwrite(file, bytes(SIZE), 0)
os.fsync(file)
os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
before = cached(file)
if before:
    sys.exit("the file stays in the cache here: nothing to be shown")
first, until = read(file), time.monotonic() + 10
while not cached(file) and time.monotonic() < until:
    time.sleep(0.01)
after, again = cached(file), read(file)
while again == "EAGAIN" and time.monotonic() < until:  # the page is there and is still being read
    time.sleep(0.01)
    again = read(file)
print(f"first {first} with {before} pages cached, then {after} page cached, and the same call returns {again}")
sys.exit(0 if first == "EAGAIN" and after > 0 and again == 4096 else 1)
END
python3 "$tmp/probe.py" "$tmp/file"
