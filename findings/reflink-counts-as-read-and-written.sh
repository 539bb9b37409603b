#!/bin/sh
# Version: Linux 6.18.44 (x86-64), XFS with reflink (the default of mkfs.xfs 6.1.0); btrfs is the same.
#
# Behaviour: copy_file_range() adds what it "copied" to rchar and wchar of /proc/PID/io also where the file system only made the blocks shared.
# read_bytes and write_bytes of the same file stay at zero, and the device writes a log record. A ratio of write_bytes or device bytes to wchar
# (write amplification) goes toward zero for cp, which copies this way by default; FICLONE, which does the same, counts nothing.
#
# Expected: wchar counts bytes that were written, as it does for write(), or the two ways to share blocks count alike.
#
# Seen: copy_file_range of 32 MiB: wchar +33554432, write_bytes +0, device 1536 bytes; FICLONE: wchar +0
#
# Why: fs/read_write.c, vfs_copy_file_range(), calls add_rchar() and add_wchar() with the result of the file system's remap_file_range().
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
import fcntl
import os
import sys

SIZE = 32 << 20
FICLONE = 0x40049409
folder, disk = sys.argv[1:]


def charged():
    with open("/proc/self/io") as counters:
        return {name: int(value) for name, value in (line.split(": ") for line in counters)}


def written():
    with open(f"/sys/block/{disk}/stat") as counters:
        return int(counters.read().split()[6]) * 512


def create(name):
    return os.open(f"{folder}/{name}", os.O_RDWR | os.O_CREAT)


source, copy, clone = create("source"), create("copy"), create("clone")
os.pwrite(source, os.urandom(SIZE), 0)
os.sync()
before, device = charged(), written()
done = 0
while done < SIZE:
    done += os.copy_file_range(source, copy, SIZE - done, done, done)
os.fsync(copy)
copied, device = charged(), written() - device
fcntl.ioctl(clone, FICLONE, source)
cloned = charged()
wchar, bytes_written, by_ioctl = (copied["wchar"] - before["wchar"], copied["write_bytes"] - before["write_bytes"], cloned["wchar"] - copied["wchar"])
print(f"copy_file_range of 32 MiB: wchar +{wchar}, write_bytes +{bytes_written}, device {device} bytes; FICLONE: wchar +{by_ioctl}")
sys.exit(0 if wchar == SIZE and bytes_written < SIZE // 100 and device < SIZE // 100 and by_ioctl == 0 else 1)
END
python3 "$tmp/probe.py" "$tmp/mnt" "${loop#/dev/}"
