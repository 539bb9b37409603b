#!/bin/sh
# Version: Linux 6.18.44 (x86-64). By the source: from 6.15 on, and stable kernels that took the change (Debian's 6.12.117 has it), up to those
# that copy direct writes into pages of their own (a change of 2026).
#
# Behaviour: write() to a file of btrfs opened with O_DIRECT dirties page cache folios and lets writeback write them, unless the file has no checksums
# (nodatacow, nodatasum). The call succeeds, waits for the data and drops the folios, so neither flags nor the cache afterwards tell. fio --direct=1
# measures the page cache and the writeback of btrfs.
#
# Expected: no folio becomes dirty, as with nodatacow and on XFS and ext4.
#
# Seen: O_DIRECT write of 1 MiB: folios made dirty 256, of a file without checksums 0
#
# Why: fs/btrfs/direct-io.c, btrfs_direct_write(), takes the buffered way where the inode has checksums: a buffer that changes while it is written
# would not match them.
#
# Needs: root, python3, mkfs.btrfs (Debian: btrfs-progs), chattr, tracefs at /sys/kernel/tracing, a free loop device.
set -eu

tmp=$(mktemp -d)
trace=/sys/kernel/tracing/instances/finding-$$
loop=
cleanup() {
    umount "$tmp/mnt" 2>/dev/null || true
    [ ! -d "$trace" ] || rmdir "$trace"
    [ -z "$loop" ] || losetup --detach "$loop"
    rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 2' INT TERM

mkdir "$tmp/mnt"
truncate -s 400M "$tmp/image"
mkfs.btrfs -q "$tmp/image" >/dev/null || exit 2
loop=$(losetup --find --show "$tmp/image") || exit 2
mount "$loop" "$tmp/mnt" || exit 2
touch "$tmp/mnt/plain" "$tmp/mnt/nodatacow"
chattr +C "$tmp/mnt/nodatacow" || exit 2
mkdir "$trace" || exit 2

cat >"$tmp/probe.py" <<'END'
import mmap
import os
import re
import sys

trace, folder = sys.argv[1:]
block = mmap.mmap(-1, 1 << 20)  # aligned, as O_DIRECT asks for
with open(f"{trace}/set_event_pid", "w") as control:
    control.write(str(os.getpid()))
with open(f"{trace}/events/writeback/writeback_dirty_folio/enable", "w") as control:
    control.write("1")


def dirtied(name):
    file = os.open(f"{folder}/{name}", os.O_WRONLY | os.O_DIRECT)
    inode = os.fstat(file).st_ino
    if os.pwrite(file, block, 0) != len(block):
        sys.exit(2)
    with open(f"{trace}/trace") as events:
        return len(re.findall(rf"writeback_dirty_folio: bdi btrfs-\S+ ino={inode} ", events.read()))


plain, unchecked = dirtied("plain"), dirtied("nodatacow")
print(f"O_DIRECT write of 1 MiB: folios made dirty {plain}, of a file without checksums {unchecked}")
sys.exit(0 if plain > 0 and unchecked == 0 else 1)
END
python3 "$tmp/probe.py" "$trace" "$tmp/mnt"
