#!/bin/sh
# Version: pyarrow 26.0.1, pandas 3.1.1.
#
# Behaviour: the `pandas` entry in the key-value metadata of a Parquet footer, which says that a column is one of nullable integers, is not looked at where the
# footer has an Arrow schema too (`ARROW:schema`, which Arrow's writers in C++, Rust and Go add): read_parquet makes floats, and nanoseconds since 1970 are
# rounded. The entry counts again where there is no Arrow schema, or where it is within the metadata of that one. `read_schema` hides the other entries in the same
# way, and `ParquetFile.read()` shows them.
#
# Expected: entries of the footer count whatever else is in it.
#
# Seen: beside a stored schema float64 1796500800123456768 (entry seen by read_schema: no, by ParquetFile.read: yes); without one Int64 1796500800123456789;
#       within it Int64 1796500800123456789
#
# Instead: who writes files puts the entry into the metadata of the Arrow schema; who reads them asks for dtype_backend="numpy_nullable".
#
# Needs: python3 and its package index.
set -eu

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 2' INT TERM

python3 -m venv "$tmp/venv" && "$tmp/venv/bin/pip" install --quiet --disable-pip-version-check pyarrow==26.0.1 pandas==3.1.1 || exit 2

cat >"$tmp/probe.py" <<'END'
import json
import sys

import pandas
import pyarrow
import pyarrow.parquet

path, ns = sys.argv[1], 1796500800123456789
column = {"name": "start_ns", "field_name": "start_ns", "pandas_type": "int64", "numpy_type": "Int64", "metadata": None}
entry = {"pandas": json.dumps({"index_columns": [], "column_indexes": [], "columns": [column]})}
table = pyarrow.table({"start_ns": pyarrow.array([ns, None], pyarrow.int64())})


def read(stored, within):
    written = table.replace_schema_metadata(entry) if within else table
    with pyarrow.parquet.ParquetWriter(path, written.schema, store_schema=stored) as writer:
        writer.write_table(written)
        if not within:
            writer.add_key_value_metadata(entry)
    start_ns = pandas.read_parquet(path).start_ns
    return str(start_ns.dtype), int(start_ns[0])


beside = read(stored=True, within=False)
by_schema = pyarrow.parquet.read_schema(path).metadata is not None
by_file = b"pandas" in (pyarrow.parquet.ParquetFile(path).read().schema.metadata or {})
without, inside = read(stored=False, within=False), read(stored=True, within=True)
yes = {True: "yes", False: "no"}
print(f"beside a stored schema {beside[0]} {beside[1]} (entry seen by read_schema: {yes[by_schema]}, by ParquetFile.read: {yes[by_file]}); "
      f"without one {without[0]} {without[1]}; within it {inside[0]} {inside[1]}")
exact = ("Int64", ns)
sys.exit(0 if beside[0] == "float64" and beside[1] != ns and not by_schema and by_file and without == inside == exact else 1)
END
"$tmp/venv/bin/python" "$tmp/probe.py" "$tmp/file.parquet"
