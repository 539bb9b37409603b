#!/bin/sh
# Version: Linux 6.18.44 (x86-64), loop driver. By the source: every driver with requests (blk-mq) whose device has a volatile write cache.
#
# Behaviour: an fsync() that has nothing to write adds one to the *writes completed* of /sys/block/DISK/stat and /proc/diskstats, with no sectors,
# besides the one in the flush column. A direct write with O_DSYNC of 4096 bytes is two writes. So w/s of iostat has the fsyncs of databases in it,
# and wareq-sz (bytes by write) is half of what was written in a piece.
#
# Expected: flushes have columns of their own since 5.5 (admin-guide/iostats.rst), hence writes are writes.
#
# Seen: fsync of a clean device: writes +1, sectors +0, flushes +1; O_DSYNC write of 4096 bytes: writes +2, sectors +8, flushes +2
#
# Why: the flush column counts the command that goes to the device. The request that waits for it is a REQ_OP_WRITE without data, which
# blk_account_io_done() counts when the flush sequence is over and RQF_FLUSH_SEQ is no longer set (block/blk-flush.c, blk_flush_restore_request()).
#
# Needs: root, python3, a free loop device.
set -eu

tmp=$(mktemp -d)
loop=
cleanup() {
    [ -z "$loop" ] || losetup --detach "$loop"
    rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 2' INT TERM

truncate -s 16M "$tmp/image"
loop=$(losetup --find --show "$tmp/image") || exit 2

cat >"$tmp/probe.py" <<'END'
import mmap
import os
import sys

disk = sys.argv[1]


def counted():
    """Writes, sectors and flushes completed."""
    with open(f"/sys/block/{disk}/stat") as counters:
        fields = [int(field) for field in counters.read().split()]
    return fields[4], fields[6], fields[15]


def growth(act):
    before = counted()
    act()
    return tuple(after - now for after, now in zip(counted(), before))


plain = os.open(f"/dev/{disk}", os.O_RDWR | os.O_DIRECT)
dsync = os.open(f"/dev/{disk}", os.O_RDWR | os.O_DIRECT | os.O_DSYNC)
block = mmap.mmap(-1, 4096)  # aligned, as O_DIRECT asks for
empty = growth(lambda: os.fsync(plain))
write = growth(lambda: os.pwrite(dsync, block, 8192))
shown = "writes +{}, sectors +{}, flushes +{}"
print(f"fsync of a clean device: {shown.format(*empty)}; O_DSYNC write of 4096 bytes: {shown.format(*write)}")
sys.exit(0 if empty == (1, 0, 1) and write == (2, 8, 2) else 1)
END
python3 "$tmp/probe.py" "${loop#/dev/}"
