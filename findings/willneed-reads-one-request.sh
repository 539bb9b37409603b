#!/bin/sh
# Version: Linux 6.18.44 (x86-64), any file system with the generic page cache (seen on ext4, XFS and btrfs).
#
# Behaviour: posix_fadvise(POSIX_FADV_WILLNEED), readahead(2) and madvise(MADV_WILLNEED) of 32 MiB read no more than the larger of the device's
# read_ahead_kb and its greatest request, and return success. Here that is 1 MiB. Who warms a cache this way before a measurement measures a cold
# one. madvise(MADV_POPULATE_READ) reads all of it.
#
# Expected: readahead(2): "populates the page cache with data from a file"; only that it may return before that is done is said.
#
# Seen: read of 32 MiB: fadvise 1048576 B, readahead 1048576 B, madvise 1048576 B, populate 33554432 B
#
# Why: mm/readahead.c, force_page_cache_ra() cuts the count to max(bdi->io_pages, ra->ra_pages) before it begins, for every caller.
#
# Needs: root (loop device, mount), python3, e2fsprogs.
set -eu

tmp=$(mktemp -d)
loop=
cleanup() {
    ! mountpoint -q "$tmp/mount" || umount "$tmp/mount"
    [ -z "$loop" ] || losetup --detach "$loop"
    rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 2' INT TERM

truncate -s 128M "$tmp/image"
mkdir "$tmp/mount"
loop=$(losetup --find --show "$tmp/image") || exit 2
mkfs.ext4 -q "$loop" || exit 2
mount "$loop" "$tmp/mount" || exit 2
queue=/sys/block/${loop#/dev/}/queue
echo 512 >"$queue/max_sectors_kb"
echo 1024 >"$queue/read_ahead_kb"

cat >"$tmp/probe.py" <<'END'
import ctypes
import mmap
import os
import sys
import time

disk, path = sys.argv[1:]
SIZE = 32 << 20
MADV_POPULATE_READ = 22
libc = ctypes.CDLL(None, use_errno=True)


def counters():
    """Bytes read, and requests in flight."""
    with open(f"/sys/block/{disk}/stat") as counted:
        fields = [int(field) for field in counted.read().split()]
    return fields[2] * 512, fields[8]


file = os.open(path, os.O_RDWR | os.O_CREAT)
os.pwrite(file, os.urandom(SIZE), 0)
os.fsync(file)
view = mmap.mmap(file, SIZE)


def read_by(act):
    """Bytes that the device read for it, when no more come."""
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    before, _ = counters()
    act()
    last, since = counters(), time.monotonic()
    while time.monotonic() - since < 1:
        time.sleep(0.05)
        if (now := counters()) != last or now[1]:
            last, since = now, time.monotonic()
    return last[0] - before


def readahead():
    if libc.readahead(file, ctypes.c_int64(0), ctypes.c_size_t(SIZE)):
        sys.exit(2)


fadvise = read_by(lambda: os.posix_fadvise(file, 0, SIZE, os.POSIX_FADV_WILLNEED))
called = read_by(readahead)
madvise = read_by(lambda: view.madvise(mmap.MADV_WILLNEED))
populate = read_by(lambda: view.madvise(MADV_POPULATE_READ))
print(f"read of 32 MiB: fadvise {fadvise} B, readahead {called} B, madvise {madvise} B, populate {populate} B")
small = all(0 < size <= 2 << 20 for size in (fadvise, called, madvise))
sys.exit(0 if small and populate >= SIZE - (2 << 20) else 1)
END
python3 "$tmp/probe.py" "${loop#/dev/}" "$tmp/mount/file"
