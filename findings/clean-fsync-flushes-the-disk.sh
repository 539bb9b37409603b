#!/bin/sh
# Version: Linux 6.18.44 (x86-64): ext4, XFS, btrfs; a device with a volatile write cache.
#
# Behaviour: on ext4 and XFS fsync() of a file that nobody has changed since the last one sends a flush to the device each time, also through a
# descriptor that was opened read-only, while btrfs sends none. sync() with nothing dirty sends one on ext4, and none on the others. So the flushes of
# a disk do not say that something was made durable, and a program that syncs to be sure costs each of them on two of three file systems.
#
# Expected: nothing is dirty, so nothing is to be done.
#
# Seen: flushes of 10 fsync(), 10 fsync() read-only, 10 sync(): ext4 10, 10, 10; xfs 10, 10, 0; btrfs 0, 0, 0
#
# Why: ext4_sync_file() (fs/ext4/fsync.c) asks for a barrier where no commit of the journal will send one, and ext4_sync_fs() likewise; XFS calls
# blkdev_issue_flush() where its log was not forced (fs/xfs/xfs_file.c, xfs_file_fsync()): either may have earlier direct writes in the device's
# cache. btrfs_sync_file() skips an inode that is in the log already.
#
# Needs: root (loop device, mount), python3, e2fsprogs, xfsprogs, btrfs-progs.
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
import os
import sys
import time

disk, path = sys.argv[1:]


def flushes():
    with open(f"/sys/block/{disk}/stat") as counted:
        return int(counted.read().split()[15])


def of(act):
    before = flushes()
    for _ in range(10):
        act()
    return flushes() - before


written = os.open(path, os.O_RDWR | os.O_CREAT)
os.pwrite(written, os.urandom(1 << 20), 0)
os.fsync(written)
read_only = os.open(path, os.O_RDONLY)
# Twice, so that the file system itself has nothing left to write.
for _ in range(2):
    os.sync()
    time.sleep(0.5)
print("%d, %d, %d" % (of(lambda: os.fsync(written)), of(lambda: os.fsync(read_only)), of(os.sync)))
END

shown=
for kind in ext4 xfs btrfs; do
    rm -f "$tmp/image"
    truncate -s 512M "$tmp/image"
    mkdir -p "$tmp/mount"
    loop=$(losetup --find --show "$tmp/image") || exit 2
    "mkfs.$kind" -q "$loop" >"$tmp/mkfs" 2>&1 || exit 2
    mount -t "$kind" "$loop" "$tmp/mount" || exit 2
    shown="$shown${shown:+; }$kind $(python3 "$tmp/probe.py" "${loop#/dev/}" "$tmp/mount/file")"
    umount "$tmp/mount"
    losetup --detach "$loop"
    loop=
done
echo "flushes of 10 fsync(), 10 fsync() read-only, 10 sync(): $shown"
[ "$shown" = "ext4 10, 10, 10; xfs 10, 10, 0; btrfs 0, 0, 0" ]
