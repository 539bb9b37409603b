#!/bin/sh
# Version: Linux 6.18.44 (x86-64), XFS. By the source: from 5.18 on, and on every file system whose page cache has large folios (ext4 from 6.16 on).
#
# Behaviour: posix_fadvise(POSIX_FADV_DONTNEED) of a range of whole, clean, unused pages drops only those folios that lie within the range as a
# whole. Of a file in large folios a range of 4 KiB, or of 64 KiB, drops nothing, and returns 0. A benchmark that makes ranges cold this way reads
# from memory. Offset 0 and length 0 (the whole file) do drop it.
#
# Expected: the pages named are dropped; posix_fadvise(2) excepts pages that are in the range in part, and names no larger unit.
#
# Seen: pages cached 2048; after DONTNEED of 1 page 2048, of 16 pages 2048, of the whole file 0
#
# Why: mm/truncate.c, mapping_try_invalidate() takes folios from find_lock_entries(), which leaves out those that reach beyond the range.
#
# Needs: root, python3, mkfs.xfs (Debian: xfsprogs), a free loop device.
set -eu

tmp=$(mktemp -d)
loop=
cleanup() {
    umount "$tmp/mnt" 2>/dev/null || true
    [ -z "$loop" ] || losetup --detach "$loop"
    rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 2' INT TERM

mkdir "$tmp/mnt"
truncate -s 400M "$tmp/image"
mkfs.xfs -q "$tmp/image" || exit 2
loop=$(losetup --find --show "$tmp/image") || exit 2
mount "$loop" "$tmp/mnt" || exit 2

cat >"$tmp/probe.py" <<'END'
import ctypes
import mmap
import os
import sys

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


def after(file, offset, length):
    os.posix_fadvise(file, offset, length, os.POSIX_FADV_DONTNEED)
    return cached(file)


file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
os.pwrite(file, bytes(SIZE), 0)  # in one call, for the cache to take large folios
os.fsync(file)
whole = cached(file)
one, some, none = after(file, 4 << 20, 4096), after(file, 4 << 20, 65536), after(file, 0, 0)
print(f"pages cached {whole}; after DONTNEED of 1 page {one}, of 16 pages {some}, of the whole file {none}")
sys.exit(0 if one == some == whole and none == 0 else 1)
END
python3 "$tmp/probe.py" "$tmp/mnt/file"
