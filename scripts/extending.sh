#!/usr/bin/env bash
# Applies the patches in docs/extending/ to a copy of the project, builds it and runs the unit tests there.
#
# Each patch NAME.patch is an example for developers (docs/extending.md). It adds folders and files of its name, and lines with its name to
# registries, nothing else but generated documents; the page has its size. Its end-to-end tests, in tests/e2e/NAME, need root. The copy
# begins with what was built of the project: cargo builds again only what changed. It has a target directory of its own, because the same
# crates in another folder replace each other there.
set -euo pipefail

cd "$(dirname "$0")/.."
copy=${IOSTRATA_CACHE:?}/extending
built=${CARGO_TARGET_DIR:?}/release
results=''
# shellcheck disable=SC2317,SC2329 # The trap calls it.
over() { rm -rf "$copy" "$results"; }
trap over EXIT
trap 'exit 130' INT TERM

fail() { echo "extending.sh: $*" >&2; exit 1; }

for patch in docs/extending/*.patch; do
    name=$(basename "$patch" .patch)
    while read -r file; do
        case $file in
            */"$name"/* | */"$name".* | docs/reference/*) ;;
            *)
                # A registry: every changed line is an added one with the name.
                changed=$(sed -n "\\|^+++ b/$file\$|,/^diff /p" "$patch" | grep -E '^[-+]' | grep -vE '^(---|\+\+\+) ')
                grep -qvE "^\\+.*\\b${name}\\b" <<<"$changed" && fail "$patch: $file: changes more than lines with $name: $changed"
                ;;
        esac
    done < <(sed -n 's|^+++ b/||p' "$patch")
    read -r own registry < <(awk -v name="/$name" '
        /^\+\+\+ / { file = $2; next }
        /^\+/ { if (index(file, name "/") || index(file, name ".")) own++; else if (file !~ /^b\/docs\/reference\//) registry++ }
        END { print own + 0, registry + 0 }' "$patch")
    grep -qF "| [$name.patch](extending/$name.patch) | $own | $registry |" docs/extending.md ||
        fail "docs/extending.md: expected a row of $name.patch with $own lines in its folders and $registry in registries"
done

rm -rf "$copy"
mkdir -p "$copy/target/release"
# With the times of the files: what is unchanged is not built again.
tar -c --exclude=./target --exclude=./.git --exclude="./${copy#"$PWD/"}" . | tar -x -C "$copy"
cp -a --reflink=auto "$built"/{deps,build,.fingerprint} "$copy/target/release/"
for patch in docs/extending/*.patch; do
    patch --quiet --directory "$copy" --strip 1 <"$patch" || fail "$patch does not apply: make it anew"
done
(cd "$copy" && CARGO_TARGET_DIR=$copy/target cargo test --release --workspace --locked &&
    CARGO_TARGET_DIR=$copy/target cargo build --release --workspace --locked --bins)

for patch in docs/extending/*.patch; do
    tests=$copy/tests/e2e/$(basename "$patch" .patch)
    [[ -d $tests ]] || continue
    # shellcheck disable=SC2086 # No word, or the command that gives privileges.
    ${SUDO-} env "PATH=$PATH" IOSTRATA_BIN="$copy/target/release" PYTHONDONTWRITEBYTECODE=1 \
        "${PYTHON:?}" -m pytest -p no:cacheprovider -q -rs "$tests"
done

# The new analysis counts each request once, as `sizes` does.
results=$(mktemp -d)
fixture=tests/fixtures/debian-6.12-nvme
"$copy/target/release/iostrata-analyze" request-sizes "$fixture" --out "$results" >/dev/null || [[ $? -eq 3 ]]
"$copy/target/release/iostrata-analyze" sizes "$fixture" --out "$results" >/dev/null || [[ $? -eq 3 ]]
sum() {
    awk -F, -v where="$2" 'NR == 1 { for (i = 1; i <= NF; i++) column[$i] = i; next }
        where == "" || $column["layer"] == where { ops += $column["ops"]; bytes += $column["bytes"] }
        END { print ops, bytes }' "$results/$1"
}
found=$(sum request_sizes.csv "") expected=$(sum sizes.csv block)
[[ $found == "$expected" && $found != "0 0" ]] || fail "request_sizes.csv has $found operations and bytes, expected $expected"
echo "extending.sh: request_sizes.csv: $found operations and bytes, as in sizes.csv"
