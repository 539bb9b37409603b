#!/usr/bin/env bash
# Tests the virtual machine harness on every kernel line: boots each, writes to
# its disk, and checks the results on the host.
#
#   tests/vm/smoke.sh [LINE...]
#
# Exit code: 0 passed, 77 nothing failed but some kernel was not available, 1 failed.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache="${IOSTRATA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/iostrata}/kernels"
[[ $# -gt 0 ]] || set -- 5.10 6.1 6.12
written_sectors=$((16 * 1024 * 1024 / 512)) # what smoke/run.sh writes

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r "$here/smoke" "$work/payload"
# dd because busybox's has no fdatasync.
"$here/payload.sh" "$work/payload" mkfs.ext4 dd

# Prints what is wrong with line $1, if anything.
check() {
    local line=$1 out=$work/out-$1 code=0 before after option
    "$here/boot.sh" --kernel "$line" --payload "$work/payload" --out "$out" >&2 || code=$?
    [[ $code -eq 42 ]] || { echo "exit code $code instead of run.sh's 42"; cat "$out/console.log" >&2; return; }
    [[ $(<"$out/uname") == "$(<"$cache/$line/release")" ]] || echo "another kernel: $(<"$out/uname")"
    [[ -e $out/btf ]] || echo "no BTF"
    # Field 7 of a disk's stat file: sectors (of 512 bytes) written.
    before=$(awk '{ print $7 }' "$out/stat.before")
    after=$(awk '{ print $7 }' "$out/stat.after")
    echo "smoke.sh: $line: $((after - before)) sectors written, at least $written_sectors expected" >&2
    [[ $((after - before)) -ge $written_sectors ]] || echo "$((after - before)) sectors written"
    # Requirements of iostrata's programs; the last one is needed for fentry.
    for option in BPF_SYSCALL BPF_EVENTS DEBUG_INFO_BTF FTRACE KPROBES DYNAMIC_FTRACE_WITH_DIRECT_CALLS; do
        grep -q "^CONFIG_$option=y" "$cache/$line/config" || echo "CONFIG_$option is off"
    done
}

passed=0 failed=0 skipped=0
for line in "$@"; do
    code=0
    "$here/kernels.sh" "$line" >&2 || code=$?
    if [[ $code -eq 77 ]]; then
        skipped=$((skipped + 1))
        continue
    fi
    wrong="can't get the kernel"
    if [[ $code -eq 0 ]]; then wrong=$(check "$line"); fi
    if [[ -z $wrong ]]; then
        passed=$((passed + 1))
        echo "ok $line"
    else
        failed=$((failed + 1))
        echo "FAILED $line: $wrong"
    fi
done
echo "$passed passed, $failed failed, $skipped skipped"
[[ $failed -eq 0 ]] || exit 1
[[ $skipped -eq 0 ]] || exit 77
