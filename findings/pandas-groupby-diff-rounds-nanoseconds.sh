#!/bin/sh
# Version: pandas 3.1.1, numpy 2.4.6.
#
# Behaviour: Series.diff() of int64 subtracts whole numbers, groupby().diff() of the same column subtracts floats, since each group begins with a
# value that is missing. Of times in nanoseconds since 1970 (above 2**60) the distances between events of a group become multiples of 256: times
# between arrivals by device, of which many are below a microsecond, are mostly rounding.
#
# Expected: in each group the same as Series.diff().
#
# Seen: distances of 1001 ns: Series.diff [1001.0, 1001.0, 1001.0], groupby.diff [1024.0, 1024.0, 1024.0], of Int64 [1001, 1001, 1001]
#
# Instead: a dtype with missing values of its own (Int64, int64[pyarrow]), as read_parquet(dtype_backend="pyarrow") makes.
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

START, STEP = 1790000000123456789, 1001
frame = pandas.DataFrame({"dev": "sda", "ns": [START + row * STEP for row in range(4)]})
whole = frame.ns.diff().tolist()[1:]
group = frame.groupby("dev").ns.diff().tolist()[1:]
nullable = frame.astype({"ns": "Int64"}).groupby("dev").ns.diff().tolist()[1:]
print(f"distances of {STEP} ns: Series.diff {whole}, groupby.diff {group}, of Int64 {nullable}")
exact = [STEP] * 3
sys.exit(0 if whole == exact and nullable == exact and group != exact else 1)
END
"$tmp/venv/bin/python" "$tmp/probe.py"
