#!/usr/bin/env bash
# Usage: test-e2e.sh PYTEST ARGUMENTS...
#
# Runs the end-to-end tests in two processes, to use all CPUs. Tests that record on the machine itself run one at a time: they drop its page
# cache, count its processes and load it. All other tests, offline or in virtual machines, run in parallel, at lower priority until
# these have ended. Their output appears when both have ended.
set -u

cd "$(dirname "$0")/.." || exit
printed=$(mktemp)
children=()
# Ends all children and prints the output, however the script ends.
# shellcheck disable=SC2317,SC2329 # The trap calls it.
over() {
    trap '' INT TERM
    kill "${children[@]}" 2>/dev/null
    wait
    cat "$printed"
    rm -f "$printed"
}
trap over EXIT
trap 'exit 130' INT TERM

nice -n 10 "$@" -m "not machine" tests/e2e >"$printed" 2>&1 &
children+=($!)
"$@" -m machine tests/e2e &
children+=($!)

wait "${children[1]}"
machine=$?
# Nothing is left to yield to. Only root may do this, and whoever may not waits longer.
renice -n 0 -p "${children[0]}" >/dev/null 2>&1 || true
wait "${children[0]}"
beside=$?
children=()

# 5: no tests were selected.
for code in "$machine" "$beside"; do
    if [[ $code -ne 0 && $code -ne 5 ]]; then exit "$code"; fi
done
exit $((machine == 5 && beside == 5 ? 5 : 0))
