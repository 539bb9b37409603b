#!/bin/sh
# Version: Linux 6.18.44 (x86-64): ext4 and XFS, both of which have large folios; btrfs 6.18 has none by default.
#
# Behaviour: of a file that was read sequentially before, one byte changed through a shared mapping and synced writes 1 MiB to the device on ext4
# and on XFS: the whole folio that readahead made. The same byte by pwrite() writes one block of 4 KiB.
#
# Expected: a page of 4 KiB, which is what is mapped, faults and is dirtied.
#
# Seen: data written for one byte: ext4 1048576 B by mapping, 4096 B by pwrite; xfs 1048576 B by mapping, 4096 B by pwrite
#
# Why: the fault marks the folio dirty as a whole (ext4_page_mkwrite(), iomap_page_mkwrite(): the range is that of the folio), while a write by
# a call marks the blocks that it changed.
#
# Needs: root (loop device, mount), python3, e2fsprogs, xfsprogs.
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

cat >"$tmp/probe.py" <<'END'
import mmap
import os
import sys

disk, path = sys.argv[1:]
SIZE = 32 << 20


def written():
    with open(f"/sys/block/{disk}/stat") as counted:
        return int(counted.read().split()[6]) * 512


def of(act):
    """Bytes that the device wrote for it."""
    before = written()
    act()
    return written() - before


with open(path, "wb") as made:
    made.write(os.urandom(SIZE))
    made.flush()
    os.fsync(made.fileno())
    os.posix_fadvise(made.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
file = os.open(path, os.O_RDWR)
while os.read(file, 1 << 20):
    pass
view = mmap.mmap(file, SIZE)


def mapped(place):
    view[place] ^= 255
    view.flush(place, mmap.PAGESIZE)


def called(place):
    os.pwrite(file, b"x", place)
    os.fdatasync(file)


# The least of three: one may have the times of the inode to write as well.
os.fsync(file)
print(min(of(lambda: mapped(place << 20)) for place in (5, 9, 13)), min(of(lambda: called(place << 20)) for place in (17, 21, 25)))
END

shown=
is_so=1
for kind in ext4 xfs; do
    rm -f "$tmp/image"
    truncate -s 512M "$tmp/image"
    mkdir -p "$tmp/mount"
    loop=$(losetup --find --show "$tmp/image") || exit 2
    echo 1024 >"/sys/block/${loop#/dev/}/queue/read_ahead_kb"
    "mkfs.$kind" -q "$loop" >"$tmp/mkfs" 2>&1 || exit 2
    mount -t "$kind" -o lazytime "$loop" "$tmp/mount" || exit 2
    found=$(python3 "$tmp/probe.py" "${loop#/dev/}" "$tmp/mount/file")
    shown="$shown${shown:+; }$kind ${found% *} B by mapping, ${found#* } B by pwrite"
    [ "${found% *}" -ge 262144 ] && [ "${found#* }" -eq 4096 ] || is_so=
    umount "$tmp/mount"
    losetup --detach "$loop"
    loop=
done
echo "data written for one byte: $shown"
[ -n "$is_so" ]
