#!/usr/bin/env bash
# Checks dependencies: licences and sources (deny.toml), advisories, and compilation with the minimum supported Rust version.
set -euo pipefail

cd "$(dirname "$0")/.."
cache=${IOSTRATA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/iostrata}
deny=$cache/tools/bin/cargo-deny

"$deny" check --hide-inclusion-graph licenses bans sources

# A new advisory is unrelated to the change under test, so it is printed and does not fail the check.
database=https://github.com/RustSec/advisory-db
if GIT_TERMINAL_PROMPT=0 timeout 20 git ls-remote --exit-code "$database" HEAD >/dev/null 2>&1; then
    "$deny" check --hide-inclusion-graph advisories || echo "lint: advisories for dependencies, see above"
else
    echo "lint: advisories not checked: $database is unreachable"
fi

oldest=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
case $(rustc --version) in
"rustc $oldest."*) ;; # clippy has already compiled everything with this version
*)
    if ! command -v rustup >/dev/null; then
        echo "lint: minimum supported Rust $oldest not tested: rustup is not installed"
    elif ! rustup toolchain install "$oldest" --profile minimal --no-self-update >/dev/null 2>&1; then
        echo "lint: minimum supported Rust $oldest not tested: rustup cannot install it"
    else
        CARGO_TARGET_DIR=$cache/target-oldest rustup run "$oldest" cargo check --release --workspace --all-targets --locked
    fi
    ;;
esac
