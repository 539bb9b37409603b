#!/bin/sh
# Version: Linux 6.18.44 (x86-64). By the source: any 5.10 or newer.
#
# Behaviour: two files of two file systems that were mounted one after the other have the same st_dev and the same st_ino. File systems without a
# disk (tmpfs, overlayfs, NFS, FUSE, btrfs subvolumes) take the lowest anonymous device number that is free, so the next mount gets that of the last
# one unmounted, and tmpfs numbers its inodes from 1 in each. A trace that tells files apart by (device, inode) adds the files of one container that
# ended to those of the next.
#
# Expected: as with PIDs, a number that was just given up is not given away at once; or the pair is unique for the time the machine runs.
#
# Seen: one tmpfs: device D inode 2, the next: device D inode 2, with D the same number
#
# Why: fs/super.c, get_anon_bdev(), takes the lowest free number from an IDA; mm/shmem.c, shmem_get_inode(), numbers by mount (from 5.9 on).
#
# Needs: root, unshare (util-linux). Other mounts made by anyone at the same moment may take the number, hence some tries.
set -eu

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 2' INT TERM

cat >"$tmp/mounts.sh" <<'END'
set -eu
for name in first second; do
    mount -t tmpfs none "$1/mnt"
    echo "$name" >"$1/mnt/$name"
    stat --format 'device %d inode %i' "$1/mnt/$name"
    umount "$1/mnt"
done
END
mkdir "$tmp/mnt"
try=1
while [ "$try" -le 5 ]; do
    unshare --mount sh "$tmp/mounts.sh" "$tmp" >"$tmp/seen" || exit 2
    first=$(head -n 1 "$tmp/seen") second=$(tail -n 1 "$tmp/seen")
    [ "$first" != "$second" ] || break
    try=$((try + 1))
done
echo "one tmpfs: $first, the next: $second"
[ "$first" = "$second" ]
