#!/usr/bin/env bash
# Boots one of Debian's cloud kernels in an emulated machine (no KVM needed) and
# runs a payload in it.
#
#   tests/vm/boot.sh --kernel LINE --payload DIR --out DIR [--timeout SECONDS]
#       [--disk-mib N] [--memory-mib N] [--cpus N] [--modules "loop xfs ..."]
#       [--append "KERNEL PARAMETERS"] [--disk FILE] [--disk-iops N]
#
# LINE: 5.10, 6.1 or 6.12, fetched by kernels.sh before. The payload's run.sh is
# run as root in /payload; DIR/root/ is laid over / (see payload.sh). It finds an
# empty disk at /dev/nvme0n1 and writes results to /out, which arrive in --out
# (a directory that is new or empty), next to console.log. The shell there is
# dash, the other tools are busybox's unless the payload includes the real ones.
# --disk: the disk is this file, which is kept. --disk-iops: limits the disk to
# this number of requests per second. --timeout (1200): only ends a machine that
# hangs; a busy host makes an emulated machine many times slower.
#
# Exit code: run.sh's; 125 when the machine did not come up, crashed or ran out
# of time (then with the console's last lines); 2 for wrong usage or a missing
# tool, kernel or module. If run.sh fails, the console's last lines are printed, too.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache="${IOSTRATA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/iostrata}/kernels"
line='' payload='' out='' modules='' append='' disk='' disk_iops=0
timeout=1200 disk_mib=512 memory_mib=1024 cpus=2

usage() { echo "boot.sh: $*" >&2; sed -n '5,8s/^# *//p' "$0" >&2; exit 2; }
while [[ $# -gt 0 ]]; do
    [[ $# -ge 2 ]] || usage "$1 needs a value"
    case "$1" in
        --kernel) line=$2 ;;
        --payload) payload=$2 ;;
        --out) out=$2 ;;
        --timeout) timeout=$2 ;;
        --disk-mib) disk_mib=$2 ;;
        --memory-mib) memory_mib=$2 ;;
        --cpus) cpus=$2 ;;
        --modules) modules=$2 ;;
        --append) append=$2 ;;
        --disk) disk=$2 ;;
        --disk-iops) disk_iops=$2 ;;
        *) usage "unknown option $1" ;;
    esac
    shift 2
done
[[ -n $line && -n $payload && -n $out ]] || usage "--kernel, --payload and --out are needed"
[[ -x $payload/run.sh ]] || usage "no executable $payload/run.sh"
[[ -f $cache/$line/vmlinuz ]] || usage "no $line kernel in $cache: run tests/vm/kernels.sh $line"
command -v qemu-system-x86_64 >/dev/null || usage "no qemu-system-x86_64 (package qemu-system-x86)"
mkdir -p "$out"
# Results of an earlier run would be mistaken for this one's.
[[ -z $(ls -A "$out") ]] || usage "$out isn't empty"

work=$(mktemp -d)
qemu_pid=''
# shellcheck disable=SC2317 # the trap calls it
cleanup() {
    if [[ -n $qemu_pid ]]; then kill "$qemu_pid" 2>/dev/null || true; fi
    rm -rf "$work"
}
trap cleanup EXIT
# Runs the EXIT trap on an interrupt, so that no emulator is left behind.
trap 'exit 130' INT
trap 'exit 143' TERM

"$here/initramfs.sh" "$cache/$line" "$payload" "$work/initramfs" "$modules" || exit 2
truncate -s "${disk_mib}M" "${disk:=$work/disk}"
# Sparse; as large as the memory, so that all that fits into /out fits here.
truncate -s "${memory_mib}M" "$work/results"

# Reasons for these options. The first three work around bugs of Debian 12's QEMU
# 7.2, each observed here:
#  thread=single  With a host thread for each virtual processor, one may translate
#                 code that another is patching (static keys, ftrace, kprobes, BPF
#                 trampolines) and keep the intermediate state, an int3: "Oops:
#                 int3" in some boots, and a hang in every run that traces under
#                 load. Alternating on one thread they are still two processors for
#                 the kernel. The price: one waits up to 0.1 s for its turn while
#                 the other computes, so --cpus 1 is faster for patching.
#  taskset        With thread=single the guest's memory barriers are left out, but
#                 devices have a thread of their own. Without barriers, each may miss
#                 what the other has written last: a rung doorbell of the NVMe disk,
#                 so requests wait 30 s for their timeout, and after the second one
#                 the disk is gone (3 of 7 runs with many requests in flight). On one
#                 CPU each sees all that the other has written. The emulator computes
#                 on one thread anyway.
#  cx16=off       cmpxchg16b, used in every kmalloc of 6.12, sometimes corrupts
#                 the flags register: one boot in six ended in a crash.
#  la57=off       Four levels of page tables, as on most machines.
# And for the kernel:
#  oops=panic panic=-1 (with -no-reboot) end the emulator at once on a crash.
#  tsc=reliable   A busy host can make the clock's watchdog distrust the TSC, and
#                 the clock source would change during a test.
#  no_timer_check A busy host can deliver the timer's interrupts too late while the
#                 kernel tests them, which then panics.
#  loglevel=4     Errors only, so that the console shows the payload's output.
# shellcheck disable=SC2054 # commas are QEMU's
qemu=(
    qemu-system-x86_64 -nodefaults -no-user-config -display none -no-reboot
    -accel tcg,thread=single -machine q35 -cpu max,cx16=off,la57=off
    -smp "$cpus" -m "$memory_mib"
    -kernel "$cache/$line/vmlinuz" -initrd "$work/initramfs"
    -append "console=ttyS0 loglevel=4 oops=panic panic=-1 tsc=reliable no_timer_check random.trust_cpu=on $append"
    -chardev "file,id=console,path=$out/console.log" -serial chardev:console
    # cache=unsafe: the guest's flushes need not reach the host's disk.
    -drive "file=$disk,if=none,id=disk,format=raw,cache=unsafe,discard=unmap,throttling.iops-total=$disk_iops"
    -device nvme,serial=iostrata-test,drive=disk
    -drive "file=$work/results,if=none,id=results,format=raw,cache=unsafe"
    -device virtio-blk-pci,drive=results
)
# One of the CPUs that this process may use and that are online; which one, is left to chance.
host_cpus=()
IFS=, read -r -a ranges < <(taskset -pc $$ | sed 's/.*: *//')
for range in "${ranges[@]}"; do
    mapfile -t -O "${#host_cpus[@]}" host_cpus < <(seq "${range%-*}" "${range#*-}")
done
host_cpu=${host_cpus[RANDOM % ${#host_cpus[@]}]}

started=$EPOCHREALTIME
timeout -k 5 "$timeout" taskset -c "$host_cpu" "${qemu[@]}" </dev/null >"$work/qemu.log" 2>&1 &
qemu_pid=$!
qemu_code=0
wait "$qemu_pid" || qemu_code=$?
qemu_pid=''
seconds=$(awk -v a="$started" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }')

# An empty result disk is not a tar file; an incompletely written one has no exit
# code.
code=$(tar -x -O -f "$work/results" vm/exit-code 2>/dev/null || true)
if [[ $qemu_code -ne 0 || ! $code =~ ^[0-9]+$ ]]; then
    if [[ $qemu_code -eq 124 || $qemu_code -eq 137 ]]; then
        why="not done after $timeout s"
    else
        why="no results (QEMU's exit code $qemu_code)"
    fi
    {
        echo "boot.sh: $line: $why. The console's last lines:"
        tail -n 40 "$out/console.log" || true
        cat "$work/qemu.log"
    } >&2
    exit 125
fi
boot_seconds=$(tar -x -O -f "$work/results" vm/boot-seconds)
tar -x -f "$work/results" -C "$out" --strip-components=1 --no-same-owner out
{
    if [[ $code -ne 0 ]]; then
        echo "boot.sh: $line: run.sh failed. The console's last lines:"
        tail -n 40 "$out/console.log" || true
        echo "The last messages in its results:"
        find "$out" -name '*.txt' -size +0 -printf '%T@ %p\n' | sort -n | tail -n 3 | cut -d ' ' -f 2- | xargs -r -d '\n' tail -n 5 || true
    fi
    echo "boot.sh: $line ($(<"$cache/$line/release")): up after $boot_seconds s, done after $seconds s, exit code $code"
} >&2
exit "$code"
