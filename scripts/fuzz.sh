#!/usr/bin/env bash
# Fuzzes the inputs of the analyzer, starting from the seeds of its tests and the corpus (docs/explanation/reliability.md).
#
#   scripts/fuzz.sh SECONDS [TARGET...]     targets: manifest, list, sidecar, rules, parquet, partial, import (default: all)
#
# Inputs that fail go to fuzz/found; the tests run them from then on. FUZZ_KEEP=1 rebuilds the corpus from the inputs with the most
# coverage.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
cache=${IOSTRATA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/iostrata}
time=${1:?expected the number of seconds}
shift
[[ $# -gt 0 ]] || set -- manifest list sidecar rules parquet partial import

# Limits per input: seconds, and KiB of address space of the process. A failed allocation ends the process, even for memory that it
# would not use. The sanitizers reserve terabytes of address space and would find little: no input reaches unsafe code of the project.
timeout=20
most_kib=2097152
# Maximum length of a generated input, and of an input kept in the corpus.
declare -A longest=([manifest]=32768 [list]=4096 [sidecar]=49152 [rules]=8192 [parquet]=32768 [partial]=16384 [import]=16384)
declare -A longest_kept=([manifest]=1536 [list]=1024 [sidecar]=3072 [rules]=384 [parquet]=4096 [partial]=448 [import]=1024)

version=0.13.2
if [[ $("$cache/cargo-fuzz/bin/cargo-fuzz" --version 2>/dev/null) != *"$version" ]]; then
    echo "fuzz: installing cargo-fuzz $version"
    cargo install -q --locked --root "$cache/cargo-fuzz" --version "$version" cargo-fuzz
fi

# Inputs become captures in memory if /dev/shm is usable.
place=$(mktemp -d -p /dev/shm iostrata-fuzz.XXXXXX 2>/dev/null || mktemp -d)
trap 'rm -rf "$place"' EXIT

IOSTRATA_FUZZ_SEEDS=$place/seeds cargo test -q --release --workspace --locked --test it -- \
    --exact fuzz::write_seeds --ignored >/dev/null

# A stable toolchain accepts the instrumentation flags only with RUSTC_BOOTSTRAP.
export RUSTC_BOOTSTRAP=1 RUSTC_WRAPPER=$PWD/fuzz/rustc-wrapper
export TMPDIR=$place POLARS_MAX_THREADS=1 MALLOC_ARENA_MAX=1
cp Cargo.lock fuzz/Cargo.lock
"$cache/cargo-fuzz/bin/cargo-fuzz" build --fuzz-dir fuzz --sanitizer none
programs=${CARGO_TARGET_DIR:-fuzz/target}/$(rustc -vV | sed -n 's/^host: //p')/release

# Runs a target with limited memory: fuzz TARGET ARGUMENT...
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
