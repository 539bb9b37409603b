#!/usr/bin/env bash
# Usage: test-e2e.sh PYTEST ARGUMENTS...
#
# The end-to-end tests in two processes, so that no CPU waits. What records on the machine itself goes one by one: such tests empty its page
# cache, count its processes and load it. All others, offline or in virtual machines, go beside them and get the CPU time that they leave;
# what they print is shown when both are over.
set -u

cd "$(dirname "$0")/.." || exit
printed=$(mktemp)
children=()
# Nobody outlives this, and what was printed is shown however it ends.
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
wait "${children[0]}"
beside=$?
children=()

# 5: none of the tests was asked for.
for code in "$machine" "$beside"; do
    if [[ $code -ne 0 && $code -ne 5 ]]; then exit "$code"; fi
done
exit $((machine == 5 && beside == 5 ? 5 : 0))
