#!/usr/bin/env bash
# Usage: repeat.sh TIMES BUSY PYTEST ARGUMENTS...
#
# The same tests so many times, beside so many processes that do nothing but keep a CPU busy. Ends with the first run that fails.
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
    "$@" || { echo "run $run of $times failed, beside $busy busy processes" >&2; exit 1; }
done
echo "$times runs passed, beside $busy busy processes"
