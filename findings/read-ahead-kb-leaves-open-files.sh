#!/bin/sh
# Version: Linux 6.18.44 (x86-64), seen on ext4 and XFS.
#
# Behaviour: writing read_ahead_kb changes nothing for files that are open: a file opened before goes on with requests of 128 KiB, one opened
# after has 64 KiB. posix_fadvise(POSIX_FADV_NORMAL) on the old descriptor takes the new value over. A database that keeps its files open, and a
# benchmark that opens its file once, do not see what a tuning tool sets.
#
# Expected: it is a setting of the device's queue (queue-sysfs.rst: "maximum number of kilobytes to read-ahead for filesystems on this block device").
#
# Seen: mean read: 126144 B at 128 KiB; at 64 KiB: opened before 126144 B, opened after 64776 B, opened before and POSIX_FADV_NORMAL 64776 B
#
# Why: mm/readahead.c, file_ra_state_init() copies ra_pages of the backing device into the struct file when it is opened.
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

cat >"$tmp/probe.py" <<'END'
import os
import sys

disk, path = sys.argv[1:]
SIZE = 16 << 20
with open(path, "wb") as made:
    made.write(os.urandom(SIZE))
    made.flush()
    os.fsync(made.fileno())


def counters():
    """Reads completed and bytes read."""
    with open(f"/sys/block/{disk}/stat") as counted:
        fields = [int(field) for field in counted.read().split()]
    return fields[0], fields[2] * 512


def set_to(kib):
    with open(f"/sys/block/{disk}/queue/read_ahead_kb", "w") as setting:
        setting.write(str(kib))


def mean(file):
    """Bytes a request when the file is read through, cold."""
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    reads, size = counters()
    for offset in range(0, SIZE, 4096):
        os.pread(file, 4096, offset)
    after = counters()
    return (after[1] - size) // max(1, after[0] - reads)


set_to(128)
old = os.open(path, os.O_RDONLY)
before = mean(old)
set_to(64)
new = os.open(path, os.O_RDONLY)
opened_before, opened_after = mean(old), mean(new)
os.posix_fadvise(old, 0, 0, os.POSIX_FADV_NORMAL)
taken_over = mean(old)
print(
    f"mean read: {before} B at 128 KiB; at 64 KiB: opened before {opened_before} B, opened after {opened_after} B, "
    f"opened before and POSIX_FADV_NORMAL {taken_over} B"
)
large, small = (before, opened_before), (opened_after, taken_over)
sys.exit(0 if min(large) > 100_000 and max(small) < 70_000 else 1)
END
python3 "$tmp/probe.py" "${loop#/dev/}" "$tmp/mount/file"
