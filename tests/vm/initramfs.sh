#!/usr/bin/env bash
# Builds the initramfs of the virtual machine; called by boot.sh.
#
#   tests/vm/initramfs.sh KERNEL_DIR PAYLOAD_DIR OUTPUT "MODULE..."
#
# It contains busybox and its links, this folder's `init`, the payload at /payload
# with its root/ laid over /, and the named kernel modules with what they depend
# on. Not compressed: an emulated processor would unpack it slowly.
set -euo pipefail

fail() { echo "initramfs.sh: $*" >&2; exit 1; }
[[ $# -eq 4 ]] || fail "usage: initramfs.sh KERNEL_DIR PAYLOAD_DIR OUTPUT MODULES"
kernel=$1 payload=$2 output=$3
read -r -a modules <<<"$4"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
release=$(<"$kernel/release")
module_dir=lib/modules/$release

# Modules that init itself needs: results are written to a virtio disk (see
# init).
own_modules=(virtio_pci virtio_blk)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/initramfs

# Copies directory $1 over the initramfs. Destinations are removed first:
# writing through one of busybox's links would overwrite busybox itself.
overlay() { cp -a --remove-destination "$1/." "$root/"; }

busybox=$(type -P busybox) || fail "no busybox (package busybox-static)"
if ldd "$busybox" >/dev/null 2>&1; then fail "$busybox isn't static (package busybox-static)"; fi
mkdir -p "$root"/{bin,sbin,usr/bin,usr/sbin,lib,lib64,etc,dev,proc,sys,run,tmp,mnt,root,out,payload}
cp "$busybox" "$root/bin/busybox"
# Links are created here rather than by init, so that the payload's real
# programs replace them below.
while read -r applet; do
    if [[ $applet != bin/busybox ]]; then ln -s /bin/busybox "$root/$applet"; fi
done < <("$busybox" --list-full)
# A shell other than busybox's, which runs its own applet regardless of PATH: a
# payload with a real mkfs or dd uses those (except below busybox's `timeout`,
# `xargs`, ...: call them there with their full path).
"$here/payload.sh" "$work" dash=/bin/sh
overlay "$work/root"
echo 'root:x:0:0:root:/root:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/bin/false' >"$root/etc/passwd"
echo 'root:x:0:
nogroup:x:65534:' >"$root/etc/group"
install -m 755 "$here/init" "$root/init"

# Prints the paths of the named modules and of all their dependencies, as lines
# of modules.dep. Built-in modules need no file. '-' and '_' are equivalent in a
# module's name, but not in its file name.
needed_modules() {
    awk -v wanted="$*" -v builtin="$kernel/$module_dir/modules.builtin" '
        function name(path) { sub(/.*\//, "", path); sub(/\.ko$/, "", path); gsub(/-/, "_", path); return path }
        function need(path,    i, n, d) {
            if (path in done) return
            done[path] = 1
            n = split(deps[path], d, " ")
            for (i = 1; i <= n; i++) need(d[i])
            print path ": " deps[path]
        }
        BEGIN { while ((getline path < builtin) > 0) is_builtin[name(path)] = 1 }
        { path = $1; sub(/:$/, "", path); file[name(path)] = path; $1 = ""; deps[path] = $0 }
        END {
            n = split(wanted, w, " ")
            for (i = 1; i <= n; i++) {
                m = name(w[i])
                if (m in file) need(file[m])
                else if (!(m in is_builtin)) { print "no module " w[i] > "/dev/stderr"; exit 1 }
            }
        }' "$kernel/$module_dir/modules.dep"
}

mkdir -p "$root/$module_dir"
needed_modules "${own_modules[@]}" "${modules[@]}" >"$root/$module_dir/modules.dep" ||
    fail "the $release kernel lacks a module asked for: ${modules[*]}"
cp "$kernel/$module_dir/modules.builtin" "$root/$module_dir/"
while IFS=: read -r path _; do
    install -D -m 644 "$kernel/$module_dir/$path" "$root/$module_dir/$path"
done <"$root/$module_dir/modules.dep"
# Modules that init loads before run.sh: not the virtio ones.
printf '%s\n' "${modules[@]}" >"$root/etc/modules"

cp -a "$payload/." "$root/payload/"
if [[ -d $root/payload/root ]]; then
    overlay "$root/payload/root"
    rm -rf "$root/payload/root"
fi

(cd "$root" && find . -print0 | cpio --quiet -0 -o -H newc -R 0:0) >"$output"
