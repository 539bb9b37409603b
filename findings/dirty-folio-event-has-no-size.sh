#!/bin/sh
# Version: Linux 6.18.44 (x86-64), XFS and btrfs. By the source: from 5.18 on for XFS, from 6.16 on for ext4.
#
# Behaviour: the tracepoint writeback_dirty_folio fires once for a folio of any size, and none of its fields says the size. Writing the same 8 MiB
# makes some events on XFS, whose folios are large, and one for each 4 KiB on btrfs, whose are not. Bytes made dirty, counted as events times the
# page size, are too few by a factor that follows from the file system, the size of the writes and the free memory.
#
# Expected: one event for each page, as its predecessor writeback_dirty_page had, or a field with the size.
#
# Seen: 8 MiB written: 4 events on xfs, 2048 on btrfs; fields: name, ino, index
#
# Why: mm/page-writeback.c, folio_account_dirtied(), has the number of pages and traces the folio alone (include/trace/events/writeback.h).
#
# Needs: root, python3, mkfs.xfs and mkfs.btrfs (Debian: xfsprogs, btrfs-progs), tracefs at /sys/kernel/tracing, a free loop device.
set -eu

tmp=$(mktemp -d)
trace=/sys/kernel/tracing/instances/finding-$$
loop=
release() {
    umount "$tmp/mnt" 2>/dev/null || true
    [ -z "$loop" ] || losetup --detach "$loop"
    loop=
}
cleanup() {
    release
    [ ! -d "$trace" ] || rmdir "$trace"
    rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 2' INT TERM

cat >"$tmp/probe.py" <<'END'
import os
import re
import sys

trace, path = sys.argv[1:]
SIZE = 8 << 20
file = os.open(path, os.O_RDWR | os.O_CREAT)
inode = os.fstat(file).st_ino
with open(f"{trace}/set_event_pid", "w") as control:
    control.write(str(os.getpid()))
with open(f"{trace}/trace", "w"):
    pass  # empties it
with open(f"{trace}/events/writeback/writeback_dirty_folio/enable", "w") as control:
    control.write("1")
if os.pwrite(file, bytes(SIZE), 0) != SIZE:
    sys.exit(2)
with open(f"{trace}/trace") as events:
    print(len(re.findall(rf"writeback_dirty_folio: bdi \S+ ino={inode} ", events.read())))
END
mkdir "$tmp/mnt"
mkdir "$trace" || exit 2
events() {
    rm -f "$tmp/image"
    truncate -s 400M "$tmp/image"
    "mkfs.$1" -q "$tmp/image" >/dev/null || exit 2
    loop=$(losetup --find --show "$tmp/image") || exit 2
    mount "$loop" "$tmp/mnt" || exit 2
    python3 "$tmp/probe.py" "$trace" "$tmp/mnt/file" >"$tmp/events.$1" || exit 2
    release
}
events xfs
events btrfs
large=$(cat "$tmp/events.xfs") small=$(cat "$tmp/events.btrfs")
fields=$(sed -n 's/.*field:[^;]* \([a-z]*\)[^a-z;]*;.*/\1/p' "$trace/events/writeback/writeback_dirty_folio/format" | grep -v '^common' | tail -n 3 | paste -s -d ' ')
echo "8 MiB written: $large events on xfs, $small on btrfs; fields: $fields"
[ "$large" -gt 0 ] && [ "$large" -lt 256 ] && [ "$small" -eq 2048 ] && [ "$fields" = "name ino index" ]
