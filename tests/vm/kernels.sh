#!/usr/bin/env bash
# Fetches Debian's packaged cloud kernels for the virtual machine tests.
#
#   tests/vm/kernels.sh [LINE...]        LINE: 5.10, 6.1 or 6.12; all by default
#
# For each line it leaves, outside of the checkout, in
# ${IOSTRATA_CACHE:-${XDG_CACHE_HOME:-~/.cache}/iostrata}/kernels/LINE/:
#   vmlinuz  config  release  lib/modules/RELEASE/ (uncompressed, with modules.dep)
# and prints "LINE RELEASE DIRECTORY". A line that exists already needs no
# network; remove its directory to fetch the suite's newest kernel again.
#
# Exit code: 0 all present; 77 (skip) a line is not available from this machine's
# mirror; 1 any other error.
set -euo pipefail

# Name of the stamp file in each cached line. Change it whenever this script
# changes the layout of the directory, so that older caches are fetched again.
LAYOUT=.layout-1

CACHE="${IOSTRATA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/iostrata}/kernels"
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

say() { echo "kernels.sh: $*" >&2; }
skip() { say "skipped: $*"; exit 77; }

# Returns the Debian suite with a kernel of this line.
suite_of() {
    case "$1" in
        5.10) echo bullseye ;;
        6.1) echo bookworm ;;
        6.12) echo trixie ;;
        *) say "unknown kernel line '$1' (there are 5.10, 6.1 and 6.12)"; return 1 ;;
    esac
}

# Returns the Debian mirror that this machine is configured to use: no host name
# is hard-coded, so that it works behind a mirror or a proxy.
# shellcheck disable=SC2016 # apt-get fills in the formats' variables
machine_mirror() {
    local format all mirror
    # The label (unlike the origin) distinguishes the archive from
    # debian-security.
    format='$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(REPO_URI)'
    all=$(apt-get indextargets --format "$format" 2>/dev/null || true)
    mirror=$(sed -n 's/^Debian|Debian|main|//p' <<<"$all" | sed -n 1p)
    if [[ -z $mirror ]]; then
        # No package lists yet (a fresh container): the origin isn't known, but
        # on Debian the source of the release's own suite is the archive.
        local id codename
        # shellcheck disable=SC1091
        id=$(. /etc/os-release && echo "${ID:-}")
        # shellcheck disable=SC1091
        codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
        if [[ $id == debian && -n $codename ]]; then
            format='$(RELEASE)|$(COMPONENT)|$(REPO_URI)'
            all=$(apt-get indextargets --no-release-info --format "$format" 2>/dev/null || true)
            mirror=$(sed -n "s/^$codename|main|//p" <<<"$all" | sed -n 1p)
        fi
    fi
    echo "$mirror"
}

# A private apt: its state, cache and sources are all in directory $1, so the
# machine's own apt is neither changed nor locked. The machine's apt.conf.d is
# still read, because it may configure a proxy.
write_apt_conf() {
    local dir=$1 suite=$2 keyring=$3
    mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial"
    : >"$dir/status"
    echo "deb [arch=amd64 signed-by=$keyring] $MIRROR $suite main" >"$dir/sources.list"
    # The #clear lines: hooks such as those of container images act on the
    # machine's own cache; the DEP-11 index is not needed.
    cat >"$dir/apt.conf" <<EOF
Dir::State "$dir";
Dir::State::lists "$dir/lists";
Dir::State::status "$dir/status";
Dir::Cache "$dir/cache";
Dir::Etc::sourcelist "$dir/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
APT::Architecture "amd64";
APT::Sandbox::User "";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::Retries "3";
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
#clear Acquire::IndexTargets::deb::DEP-11;
EOF
}

# Returns the newest archive keyring of the machine's own (verified) suite,
# unpacked into directory $1: a machine older than a suite may lack that suite's
# keys.
newer_keyring() {
    local dir=$1
    mkdir -p "$dir/keyring"
    (cd "$dir/keyring" && apt-get -q download debian-archive-keyring) >"$dir/keyring.log" 2>&1 || return 1
    dpkg-deb -x "$dir"/keyring/debian-archive-keyring_*.deb "$dir/keyring" || return 1
    echo "$dir/keyring$KEYRING"
}

# Reads the suite's package list. Signatures are always verified: there is no
# "trusted=yes" here, an unverified kernel is not booted.
update() {
    local dir=$1 suite=$2 keyring
    write_apt_conf "$dir" "$suite" "$KEYRING"
    apt-get -c "$dir/apt.conf" -q update >"$dir/update.log" 2>&1 && return 0
    if grep -q NO_PUBKEY "$dir/update.log"; then
        say "$KEYRING lacks the keys of $suite, trying the machine's newest keyring package"
        keyring=$(newer_keyring "$dir") || { cat "$dir/keyring.log" >&2; return 1; }
        write_apt_conf "$dir" "$suite" "$keyring"
        apt-get -c "$dir/apt.conf" -q update >"$dir/update.log" 2>&1 && return 0
    fi
    cat "$dir/update.log" >&2
    # Suites leave the mirrors some years after their end: not an error of this
    # script.
    if grep -q 'does not have a Release file' "$dir/update.log"; then
        say "skipped: this machine's Debian mirror has no suite '$suite' (any more)"
        return 77
    fi
    return 1
}

fetch() {
    local line=$1 dir=$2 suite package
    suite=$(suite_of "$line")
    say "fetching the $line kernel of Debian $suite"
    update "$dir" "$suite" || return $?
    # linux-image-cloud-amd64 is empty and depends on the newest real package.
    package=$(apt-cache -c "$dir/apt.conf" depends linux-image-cloud-amd64 |
        sed -n 's/^ *Depends: \(linux-image-[0-9].*-cloud-amd64\)$/\1/p' | sed -n 1p)
    [[ $package == "linux-image-$line."* ]] ||
        { say "Debian $suite has no $line cloud kernel (found '$package')"; return 1; }
    (cd "$dir" && apt-get -c apt.conf -q download "$package") >"$dir/download.log" 2>&1 ||
        { cat "$dir/download.log" >&2; return 1; }
    unpack "$dir" "${package#linux-image-}"
}

# Unpacks the package in directory $1 to $1/kernel.
unpack() {
    local dir=$1 release=$2 kernel="$1/kernel" modules
    mkdir -p "$kernel/lib/modules"
    dpkg-deb -x "$dir/linux-image-$release"_*.deb "$dir/root"
    mv "$dir/root/boot/vmlinuz-$release" "$kernel/vmlinuz"
    mv "$dir/root/boot/config-$release" "$kernel/config"
    echo "$release" >"$kernel/release"
    modules="$dir/root/lib/modules/$release"
    [[ -d $modules ]] || modules="$dir/root/usr/lib/modules/$release" # since trixie
    mv "$modules" "$kernel/lib/modules/$release"
    # Unpacked once here, not in every (slow, emulated) boot.
    find "$kernel/lib/modules" -name '*.ko.xz' -print0 | xargs -0 -r -n 64 xz -d
    # modules.dep is not in the package: its postinst creates it.
    busybox depmod -b "$kernel" "$release"
    touch "$kernel/$LAYOUT"
}

MIRROR=
result=0
[[ $# -gt 0 ]] || set -- 5.10 6.1 6.12
for line in "$@"; do suite_of "$line" >/dev/null; done

for line in "$@"; do
    if [[ ! -e $CACHE/$line/$LAYOUT ]]; then
        [[ $(uname -m) == x86_64 ]] || skip "the test kernels are for x86_64, this machine is $(uname -m)"
        command -v apt-get >/dev/null || skip "no apt-get here: the test kernels come from Debian's archive"
        [[ -n $MIRROR ]] || MIRROR=$(machine_mirror)
        [[ -n $MIRROR ]] || skip "this machine's apt has no Debian archive configured (is it Ubuntu?), and the test kernels are Debian's"
        mkdir -p "$CACHE"
        # One fetch at a time; a waiting process finds the line present.
        exec 9>"$CACHE/.lock"
        flock 9
    fi
    if [[ ! -e $CACHE/$line/$LAYOUT ]]; then
        # On the cache's file system, so that the last step is one rename and
        # the directory is never incomplete.
        work=$(mktemp -d "$CACHE/.fetch-XXXXXX")
        trap 'rm -rf "$work"' EXIT
        # In a subshell with its own 'set -e', which an '||' would disable.
        set +e
        (set -e; fetch "$line" "$work")
        code=$?
        set -e
        if [[ $code -eq 0 ]]; then
            rm -rf "${CACHE:?}/$line"
            mv "$work/kernel" "$CACHE/$line"
        elif [[ $code -ne 77 ]]; then
            say "failed to fetch the $line kernel"
            result=1
        elif [[ $result -eq 0 ]]; then
            result=77
        fi
        rm -rf "$work"
        [[ $code -eq 0 ]] || continue
    fi
    echo "$line $(<"$CACHE/$line/release") $CACHE/$line"
done
exit "$result"
