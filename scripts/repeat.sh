#!/usr/bin/env bash
# Usage: repeat.sh TIMES BUSY PYTEST ARGUMENTS...
#
# Runs the same tests TIMES times, next to BUSY processes that each keep a CPU busy. Stops at the first failed run.
set -u

cd "$(dirname "$0")/.." || exit
times=$1 busy=$2
shift 2
hogs=()
# shellcheck disable=SC2317,SC2329 # The trap calls it.
over() { kill "${hogs[@]}" 2>/dev/null; }
trap over EXIT
trap 'exit 130' INT TERM
for ((hog = 0; hog < busy; hog++)); do
    while :; do :; done &
    hogs+=($!)
done

for ((run = 1; run <= times; run++)); do
    "$@" || { echo "run $run of $times failed, with $busy busy processes" >&2; exit 1; }
done
echo "$times runs passed, with $busy busy processes"
