#!/bin/sh
# Version: pyarrow 26.0.1.
#
# Behaviour: a table without rows is written as a row group of no rows, whose columns claim that their first page of values begins at byte 0, where the
# magic word of the file is; what is there of each is a page of a dictionary without values. A reader that goes where data_page_offset says reads "PAR1" as
# the header of a page, and one that counts row groups to see whether there is anything finds one.
#
# Expected: no row group, as DuckDB and Polars write it, or no page that is not there.
#
# Seen: row groups 1, rows 0, data_page_offset 0, dictionary_page_offset 4, 14 bytes of pages; without dictionaries data_page_offset 0, 0 bytes of pages
#
# Instead: the least of the two offsets that is above zero, and nothing at all of a row group without rows.
#
# Needs: python3 and its package index.
set -eu

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 2' INT TERM

python3 -m venv "$tmp/venv" && "$tmp/venv/bin/pip" install --quiet --disable-pip-version-check pyarrow==26.0.1 || exit 2

cat >"$tmp/probe.py" <<'END'
import sys

import pyarrow
import pyarrow.parquet

path = sys.argv[1]
table = pyarrow.table({"ts_ns": pyarrow.array([], pyarrow.int64())})


def written(**options):
    pyarrow.parquet.write_table(table, path, **options)
    metadata = pyarrow.parquet.read_metadata(path)
    return metadata, metadata.row_group(0).column(0) if metadata.num_row_groups else None


metadata, column = written()
_, plain = written(use_dictionary=False)
print(f"row groups {metadata.num_row_groups}, rows {metadata.num_rows}, data_page_offset {column.data_page_offset}, "
      f"dictionary_page_offset {column.dictionary_page_offset}, {column.total_uncompressed_size} bytes of pages; "
      f"without dictionaries data_page_offset {plain.data_page_offset}, {plain.total_uncompressed_size} bytes of pages")
sys.exit(0 if metadata.num_row_groups == 1 and metadata.num_rows == 0 and column.data_page_offset == 0 and column.dictionary_page_offset == 4 else 1)
END
"$tmp/venv/bin/python" "$tmp/probe.py" "$tmp/file.parquet"
