#!/bin/sh
# Version: Linux 6.18.44 (x86-64), XFS. By the source: XFS from 6.6 on, and as well ext4 from 6.16 on, whose page cache also has large folios.
#
# Behaviour: write_bytes of /proc/PID/io grows by the size of the whole folio that a write makes dirty. In a file that lies in large folios, a write
# of one byte can count as two mebibytes, though XFS marks and writes only the block concerned. cancelled_write_bytes counts the same.
#
# Expected: at most 4096, a block and a page; proc_pid_io(5) calls write_bytes the bytes sent to the storage layer.
#
# Seen: wrote 1 byte: write_bytes +2097152, device 5120 bytes
#
# Why: mm/page-writeback.c, folio_account_dirtied(), accounts for folio_nr_pages(folio) pages.
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
import os
import sys

path, disk = sys.argv[1:]


def charged():
    with open("/proc/self/io") as counters:
        return int(dict(line.split(": ") for line in counters)["write_bytes"])


def written():
    with open(f"/sys/block/{disk}/stat") as counters:
        return int(counters.read().split()[6]) * 512


file = os.open(path, os.O_RDWR | os.O_CREAT)
os.pwrite(file, bytes(8 << 20), 0)  # in one call, for the cache to take large folios
os.fsync(file)
os.sync()
before, device = charged(), written()
os.pwrite(file, b"x", 4 << 20)
count = charged() - before
os.fsync(file)
device = written() - device
print(f"wrote 1 byte: write_bytes +{count}, device {device} bytes")
sys.exit(0 if count > 4096 and device < count else 1)
END
python3 "$tmp/probe.py" "$tmp/mnt/file" "${loop#/dev/}"
