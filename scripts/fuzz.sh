#!/usr/bin/env bash
# Fuzzes what the analyzer reads, from the seeds of its tests and the corpus on (docs/explanation/reliability.md).
#
#   scripts/fuzz.sh SECONDS [TARGET...]     targets: manifest, list, sidecar, rules, parquet, partial, import; all of them without one
#
# What something is found with comes into fuzz/found, where the tests run it from then on. FUZZ_KEEP=1 makes the corpus anew of
# what covers the most.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
cache=${IOSTRATA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/iostrata}
time=${1:?for how many seconds}
shift
[[ $# -gt 0 ]] || set -- manifest list sidecar rules parquet partial import

# No input may take longer, in seconds, or bring the process to take more, in KiB of address space: that an allocation fails ends
# it, whether the memory would have been used or not. The sanitizers, which take terabytes of it, have little to find here: the
# project has no unsafe code that an input comes to.
timeout=20
most_kib=2097152
# The longest input that is tried, and the longest that is kept in the corpus.
declare -A longest=([manifest]=32768 [list]=4096 [sidecar]=49152 [rules]=8192 [parquet]=32768 [partial]=16384 [import]=16384)
declare -A longest_kept=([manifest]=1536 [list]=1024 [sidecar]=3072 [rules]=384 [parquet]=4096 [partial]=448 [import]=1024)

version=0.13.2
if [[ $("$cache/cargo-fuzz/bin/cargo-fuzz" --version 2>/dev/null) != *"$version" ]]; then
    echo "fuzz: installing cargo-fuzz $version"
    cargo install -q --locked --root "$cache/cargo-fuzz" --version "$version" cargo-fuzz
fi

# Inputs become captures in memory, if there is room for that.
place=$(mktemp -d -p /dev/shm iostrata-fuzz.XXXXXX 2>/dev/null || mktemp -d)
trap 'rm -rf "$place"' EXIT

IOSTRATA_FUZZ_SEEDS=$place/seeds cargo test -q --release --workspace --locked --test it -- \
    --exact fuzz::write_seeds --ignored >/dev/null

# The instrumentation is not for this toolchain otherwise.
export RUSTC_BOOTSTRAP=1 RUSTC_WRAPPER=$PWD/fuzz/rustc-wrapper
export TMPDIR=$place POLARS_MAX_THREADS=1 MALLOC_ARENA_MAX=1
cp Cargo.lock fuzz/Cargo.lock
"$cache/cargo-fuzz/bin/cargo-fuzz" build --fuzz-dir fuzz --sanitizer none
programs=${CARGO_TARGET_DIR:-fuzz/target}/$(rustc -vV | sed -n 's/^host: //p')/release

# A target with little memory: fuzz TARGET ARGUMENT...
fuzz() { (ulimit -v "$most_kib" -c 0 && exec "$programs/$1" "${@:2}" -timeout="$timeout" -rss_limit_mb=$((most_kib / 1024))); }

found=0
for target in "$@"; do
    [[ -n ${longest[$target]:-} ]] || { echo "fuzz: no target $target" >&2; exit 2; }
    corpus=$cache/fuzz/$target
    mkdir -p "$corpus" "fuzz/corpus/$target" "fuzz/found/$target"
    echo "fuzz: $target for $time s"
    fuzz "$target" "$corpus" "fuzz/corpus/$target" "$place/seeds/$target" -max_total_time="$time" -max_len="${longest[$target]}" \
        -print_final_stats=1 -artifact_prefix="fuzz/found/$target/" || found=1
    if [[ -n ${FUZZ_KEEP:-} ]]; then
        kept=$place/kept
        rm -rf "$kept"
        mkdir "$kept"
        fuzz "$target" "$kept" "$corpus" "fuzz/corpus/$target" -set_cover_merge=1 -use_counters=0 \
            -max_len="${longest_kept[$target]}"
        rm -rf "fuzz/corpus/$target"
        mv "$kept" "fuzz/corpus/$target"
    fi
done
exit "$found"
