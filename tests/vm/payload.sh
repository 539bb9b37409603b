#!/usr/bin/env bash
# Copies binaries and the shared libraries that they need into a payload directory.
#
#   tests/vm/payload.sh PAYLOAD_DIR BINARY[=/PATH/IN/VM]...
#
# BINARY is a path or a name to look up in PATH. Everything is copied below
# PAYLOAD_DIR/root/, which boot.sh lays over / of the virtual machine: the ELF
# interpreter and the libraries keep their absolute paths, because that is where
# the dynamic linker looks for them. So does the binary, unless another path is
# given. Libraries that a program loads at run time (dlopen) are not detected.
set -euo pipefail

fail() { echo "payload.sh: $*" >&2; exit 1; }
[[ $# -ge 2 ]] || fail "usage: payload.sh PAYLOAD_DIR BINARY[=/PATH/IN/VM]..."
root=$1/root
shift

# Copies file $1 to the path $2 of the virtual machine. Links are followed: the
# libraries are needed under the links' names, not under those of their targets.
copy() {
    mkdir -p "$root/$(dirname "$2")"
    cp -L --preserve=mode "$1" "$root/$2"
}

for spec in "$@"; do
    name=${spec%%=*}
    # sbin is not in every user's PATH, but contains mkfs and the like.
    binary=$(PATH="$PATH:/usr/sbin:/sbin" type -P "$name") || fail "no such program: $name"
    binary=$(cd "$(dirname "$binary")" && pwd)/$(basename "$binary")
    target=$binary
    if [[ $spec == *=* ]]; then target=${spec#*=}; fi
    [[ $target == /* ]] || fail "not an absolute path in the virtual machine: $target"
    copy "$binary" "$target"

    # ldd fails for a static binary, which needs nothing else.
    libraries=$(ldd "$binary" 2>/dev/null || true)
    if grep -q 'not found' <<<"$libraries"; then fail "$binary: missing libraries: $libraries"; fi
    # "libc.so.6 => /lib/.../libc.so.6 (0x...)" and "/lib64/ld-... (0x...)"
    while read -r library; do
        if [[ -n $library ]]; then copy "$library" "$library"; fi
    done < <(sed -nE 's/^[[:space:]]*([^ ]+ => )?(\/[^ ]+) \(0x[0-9a-f]+\)$/\2/p' <<<"$libraries")
done
