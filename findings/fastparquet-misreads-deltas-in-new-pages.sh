#!/bin/sh
# Version: fastparquet 2026.9.0, reading what pyarrow 26.0.1 wrote (Python 3.11, x86-64).
#
# Behaviour: of an int64 column in DELTA_BINARY_PACKED in data pages of version 2 fastparquet puts two values into each row: the lower half of
# row 0 is value 0, its upper half value 1 (4299262264296 is 1000 + 1001 * 2**32). There is no error, and no value is right, however small.
#
# Expected: the values that were written, as from pages of version 1.
#
# Seen: written [1000, 1001, 1002, 1003]; read from pages of version 1: the same, of version 2: [4299262264296, 4307852198890]
#
# Why: core.py, read_data_page_v2(), calls delta_binary_unpack() without longval, which the reader of older pages sets for int64.
#
# Needs: python3 and its package index.
set -eu

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 2' INT TERM

python3 -m venv "$tmp/venv" && "$tmp/venv/bin/pip" install --quiet --disable-pip-version-check pyarrow==26.0.1 fastparquet==2026.9.0 pandas==3.1.1 numpy==2.4.6 || exit 2

cat >"$tmp/probe.py" <<'END'
import sys

import fastparquet
import pyarrow
import pyarrow.parquet

path = sys.argv[1]
values = [1000 + row for row in range(200)]
table = pyarrow.table({"ns": pyarrow.array(values, pyarrow.int64())})


def read(version):
    pyarrow.parquet.write_table(
        table, path, use_dictionary=False, column_encoding={"ns": "DELTA_BINARY_PACKED"}, data_page_version=version
    )
    assert pyarrow.parquet.read_table(path)["ns"].to_pylist() == values
    return fastparquet.ParquetFile(path).to_pandas()["ns"].tolist()


old, new = read("1.0"), read("2.0")
print(f"written {values[:4]}; read from pages of version 1: {old[:4]}, of version 2: {new[:2]}")
pairs = [low + high * 2**32 for low, high in zip(values[::2], values[1::2], strict=True)]
sys.exit(0 if old == values and new[:100] == pairs else 1)
END
"$tmp/venv/bin/python" "$tmp/probe.py" "$tmp/file.parquet"
