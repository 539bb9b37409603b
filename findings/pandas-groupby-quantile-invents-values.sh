#!/bin/sh
# Version: pandas 3.1.1, numpy 2.4.6.
#
# Behaviour: groupby().quantile(interpolation="nearest") of whole numbers above 2**53 returns numbers of the same type that are not in the group:
# they went through floats and back, which the type does not tell. So it is with Int64 and int64[pyarrow] too. Series.quantile() of the same
# values returns one of them. A row looked up by the time that is the p99 of a device is not found.
#
# Expected: "nearest" takes one of the values.
#
# Seen: int64: groupby 1790000000123457792, in the group False; Series 1790000000123457790, in the group True; Int64: the same
#
# Needs: python3 and its package index.
set -eu

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 2' INT TERM

python3 -m venv "$tmp/venv" && "$tmp/venv/bin/pip" install --quiet --disable-pip-version-check pandas==3.1.1 numpy==2.4.6 || exit 2

cat >"$tmp/probe.py" <<'END'
import sys

import pandas

START = 1790000000123456789
values = [START, START + 1001, START + 2002]


def medians(dtype):
    frame = pandas.DataFrame({"dev": "sda", "ns": pandas.array(values, dtype=dtype)})
    result = frame.groupby("dev").ns.quantile(0.5, interpolation="nearest")
    assert str(result.dtype) == dtype
    return int(result.iloc[0]), int(frame.ns.quantile(0.5, interpolation="nearest"))


group, whole = medians("int64")
same = "the same" if medians("Int64") == (group, whole) else medians("Int64")
print(f"int64: groupby {group}, in the group {group in values}; Series {whole}, in the group {whole in values}; Int64: {same}")
sys.exit(0 if group not in values and whole in values and same == "the same" else 1)
END
"$tmp/venv/bin/python" "$tmp/probe.py"
