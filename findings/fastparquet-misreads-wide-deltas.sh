#!/bin/sh
# Version: fastparquet 2026.9.0, reading what pyarrow 26.0.1 wrote (Python 3.11, x86-64).
#
# Behaviour: of an int64 column in DELTA_BINARY_PACKED (data pages of version 1) fastparquet reads wrong values, without an error, once the
# differences of a miniblock need more than 28 bits: of timestamps in nanoseconds, once two rows are more than 0.268 s apart. All rows behind the
# first such one are off, by ever more.
#
# Expected: the values that were written, or an error, as for BYTE_STREAM_SPLIT. The encoding allows differences of 64 bits.
#
# Seen: differences of 28 bits: 0 of 200 rows differ; of 29 bits: 195 of 200, the last by -6710887723
#
# Why: cencoding.pyx, delta_read_bitpacked(), takes in whole bytes before it drops those that it used, so twice the width and seven bits have to fit its
# 64 bits.
#
# Needs: python3 and its package index.
set -eu

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 2' INT TERM

python3 -m venv "$tmp/venv" && "$tmp/venv/bin/pip" install --quiet --disable-pip-version-check pyarrow==26.0.1 fastparquet==2026.9.0 pandas==3.1.1 numpy==2.4.6 || exit 2

cat >"$tmp/probe.py" <<'END'
import itertools
import sys

import fastparquet
import pyarrow
import pyarrow.parquet

path = sys.argv[1]


def differences(bits):
    """How many rows differ, and the last row's error. Every other row is as far from the one before as so many bits can say."""
    values = list(itertools.accumulate((2**bits - 1) * (row % 2) for row in range(200)))
    table = pyarrow.table({"ns": pyarrow.array(values, pyarrow.int64())})
    pyarrow.parquet.write_table(table, path, use_dictionary=False, column_encoding={"ns": "DELTA_BINARY_PACKED"})
    assert pyarrow.parquet.read_table(path)["ns"].to_pylist() == values
    read = fastparquet.ParquetFile(path).to_pandas()["ns"].tolist()
    return sum(a != b for a, b in zip(read, values, strict=True)), read[-1] - values[-1]


(narrow, _), (wide, error) = differences(28), differences(29)
print(f"differences of 28 bits: {narrow} of 200 rows differ; of 29 bits: {wide} of 200, the last by {error}")
sys.exit(0 if narrow == 0 and wide > 0 else 1)
END
"$tmp/venv/bin/python" "$tmp/probe.py" "$tmp/file.parquet"
