#!/usr/bin/env bash
# Checks dependencies: licences and sources (deny.toml), advisories, and that the oldest promised Rust compiles everything.
set -euo pipefail

cd "$(dirname "$0")/.."
cache=${IOSTRATA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/iostrata}
deny=$cache/tools/bin/cargo-deny

"$deny" check --hide-inclusion-graph licenses bans sources

# A new advisory is no fault of the change that is tested, so it is shown and fails nothing.
database=https://github.com/RustSec/advisory-db
if GIT_TERMINAL_PROMPT=0 timeout 20 git ls-remote --exit-code "$database" HEAD >/dev/null 2>&1; then
    "$deny" check --hide-inclusion-graph advisories || echo "lint: there are advisories about dependencies, see above"
else
    echo "lint: advisories about dependencies were not checked: $database cannot be reached"
fi

oldest=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
case $(rustc --version) in
"rustc $oldest."*) ;; # clippy has compiled everything with it
*)
    if ! command -v rustup >/dev/null; then
        echo "lint: Rust $oldest, the oldest that is promised, was not tried: there is no rustup to install it"
    elif ! rustup toolchain install "$oldest" --profile minimal --no-self-update >/dev/null 2>&1; then
        echo "lint: Rust $oldest, the oldest that is promised, was not tried: rustup cannot install it"
    else
        CARGO_TARGET_DIR=$cache/target-oldest rustup run "$oldest" cargo check --release --workspace --all-targets --locked
    fi
    ;;
esac
