#!/usr/bin/env bash
# Draws the figures of the recorded captures in tests/fixtures, each into its own directory below DIR.
#
#   scripts/figures.sh [DIR]     default: results/figures
set -euo pipefail

bin=${IOSTRATA_BIN:-${CARGO_TARGET_DIR:-${IOSTRATA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/iostrata}/target}/release}
mkdir -p "${1:-results/figures}"
out=$(cd "${1:-results/figures}" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/.."

for capture in tests/fixtures/*/; do
    results=$out/$(basename "$capture")
    # These captures are a few seconds long: one-second windows would be too coarse.
    for analysis in report "timeline --window 50ms"; do
        # shellcheck disable=SC2086 # words
        "$bin/iostrata-analyze" $analysis "$capture" --out "$results" >/dev/null || [[ $? -eq 3 ]] # 3: the capture is incomplete
    done
    notebooks/run "$results"
done
