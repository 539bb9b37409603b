#!/usr/bin/env bash
# Records a small workload on an ext4 loop device and prints the report of iostrata-analyze. If BPF programs cannot be loaded on
# this machine, it prints the reason and analyzes the recorded capture in tests/fixtures instead.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
bin=${CARGO_TARGET_DIR:-${IOSTRATA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/iostrata}/target}/release
fixture=tests/fixtures/debian-6.12-nvme

sudo=
if [[ $(id -u) -ne 0 ]]; then sudo=$(command -v sudo || true); fi

instead() {
    echo "demo: $1"
    echo "demo: showing the recorded capture $fixture instead:"
    echo
    "$bin/iostrata-analyze" summary "$fixture"
    exit
}

if [[ $(id -u) -ne 0 && -z $sudo ]]; then instead "recording needs root, and sudo is not installed"; fi
if ! checked=$($sudo "$bin/iostrata" check); then
    instead "cannot load BPF programs on this machine: $(grep -E '^(privilege|BTF)|not captured' <<<"$checked" | head -n 3 | tr -s ' \n' ' ')"
fi

work=$(mktemp -d)
device='' recorder=''
cleanup() {
    if [[ -n $recorder ]]; then $sudo kill -TERM "$recorder" 2>/dev/null || true; fi
    if mountpoint -q "$work/mnt"; then $sudo umount "$work/mnt"; fi
    if [[ -n $device ]]; then $sudo losetup -d "$device"; fi
    $sudo rm -rf "$work"
}
trap cleanup EXIT

mkdir "$work/mnt"
truncate -s 256M "$work/disk.img"
mkfs.ext4 -q "$work/disk.img"
device=$($sudo losetup -f --show "$work/disk.img") || instead "no loop device available to record"
$sudo mount "$device" "$work/mnt"

echo "demo: recording ${device#/dev/}"
$sudo "$bin/iostrata" record --out "$work/run1" --device "${device#/dev/}" &
recorder=$!
until [[ -e $work/run1/manifest.json ]]; do
    kill -0 "$recorder" 2>/dev/null || { echo "demo: the recorder did not start" >&2; exit 1; }
    sleep 0.1
done

dd_in_root() { $sudo dd "$@" status=none; }
echo "demo: 10 MiB with one fdatasync"
dd_in_root if=/dev/zero of="$work/mnt/large" bs=1M count=10 conv=fdatasync
echo "demo: ten synchronous writes of 4 KiB"
for i in {1..10}; do dd_in_root if=/dev/zero of="$work/mnt/small-$i" bs=4k count=1 oflag=sync; done
echo "demo: 5 MiB buffered, written by writeback"
dd_in_root if=/dev/zero of="$work/mnt/later" bs=1M count=5
$sudo sync -f "$work/mnt/later"
echo "demo: a cold read of 10 MiB"
echo 3 | $sudo tee /proc/sys/vm/drop_caches >/dev/null
dd_in_root if="$work/mnt/large" of=/dev/null bs=1M

$sudo kill -TERM "$recorder"
wait "$recorder"
recorder=
echo
mkdir -p results
"$bin/iostrata-analyze" report "$work/run1" --out results # input of `make figures RESULTS=results`
