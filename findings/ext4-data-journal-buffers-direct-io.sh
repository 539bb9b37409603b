#!/bin/sh
# Version: Linux 6.18.44 (x86-64), ext4 mounted with data=journal, or a file with `chattr +j`.
#
# Behaviour: a file opens with O_DIRECT, and a write of 1 MiB through it returns at once with nothing sent to the device: it is in the page cache. A
# write of 3 bytes at offset 1 works as well. Nothing says that O_DIRECT does nothing. A benchmark with direct I/O measures memory there, and
# what reaches the disk comes later, once for the journal and once for its place.
#
# Expected: EINVAL at open(), as file systems without direct I/O answer (open(2)), or direct I/O.
#
# Seen: O_DIRECT with data=ordered: 1048576 B to the device, 3 bytes at 1: EINVAL; with data=journal: 0 B to the device, 3 bytes at 1: 3
#
# Why: fs/ext4/file.c, ext4_should_use_dio() refuses it for inodes that journal data, and the write goes on as a buffered one.
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

cat >"$tmp/probe.py" <<'END'
import errno
import mmap
import os
import sys

disk, path = sys.argv[1:]


def written():
    with open(f"/sys/block/{disk}/stat") as counted:
        return int(counted.read().split()[6]) * 512


made = os.open(path, os.O_RDWR | os.O_CREAT)
os.pwrite(made, bytes(1 << 20), 0)
os.sync()
direct = os.open(path, os.O_RDWR | os.O_DIRECT)
before = written()
os.pwrite(direct, mmap.mmap(-1, 1 << 20), 0)
size = written() - before
try:
    unaligned = os.pwrite(direct, b"abc", 1)
except OSError as error:
    unaligned = errno.errorcode[error.errno]
print(f"{size} B to the device, 3 bytes at 1: {unaligned}")
END

truncate -s 128M "$tmp/image"
mkdir "$tmp/mount"
loop=$(losetup --find --show "$tmp/image") || exit 2
mkfs.ext4 -q "$loop" || exit 2
for mode in ordered journal; do
    mount -o "data=$mode" "$loop" "$tmp/mount" || exit 2
    python3 "$tmp/probe.py" "${loop#/dev/}" "$tmp/mount/file" >"$tmp/$mode"
    umount "$tmp/mount"
done
ordered=$(cat "$tmp/ordered")
journal=$(cat "$tmp/journal")
echo "O_DIRECT with data=ordered: $ordered; with data=journal: $journal"
[ "$ordered" = "1048576 B to the device, 3 bytes at 1: EINVAL" ] && [ "$journal" = "0 B to the device, 3 bytes at 1: 3" ]
