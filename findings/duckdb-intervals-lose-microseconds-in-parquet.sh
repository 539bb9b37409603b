#!/bin/sh
# Version: duckdb 2.0.0 (Python package).
#
# Behaviour: COPY of an INTERVAL, which is what the difference of two timestamps is, to Parquet cuts it to whole milliseconds, without a warning:
# latencies below a millisecond become zero. Sum and mean of what is stored are not those of the query that stored it.
#
# Expected: the microseconds that INTERVAL has, or an error. (Parquet's INTERVAL counts months, days and milliseconds.)
#
# Seen: latencies of 80, 950 and 1999 us: sum 3029 us in the query, 1000 us in the file
#
# Instead: whole numbers, epoch_us(t2) - epoch_us(t1), or the times themselves.
#
# Needs: python3 and its package index.
set -eu

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 2' INT TERM

python3 -m venv "$tmp/venv" && "$tmp/venv/bin/pip" install --quiet --disable-pip-version-check duckdb==2.0.0 || exit 2

cat >"$tmp/probe.py" <<'END'
import sys

import duckdb

path = sys.argv[1]
started = "timestamp '2026-09-21 12:00:00'"
query = f"select {started} + to_microseconds(us) - {started} as latency from (values (80), (950), (1999)) v(us)"
total = "select sum(epoch_us(latency))::bigint, any_value(typeof(latency)) from "
asked, kind = duckdb.sql(f"{total} ({query})").fetchall()[0]
duckdb.sql(f"copy ({query}) to '{path}'")
stored, kind_stored = duckdb.sql(f"{total} '{path}'").fetchall()[0]
print(f"latencies of 80, 950 and 1999 us: sum {asked} us in the query, {stored} us in the file")
sys.exit(0 if kind == kind_stored == "INTERVAL" and asked == 3029 and stored == 1000 else 1)
END
"$tmp/venv/bin/python" "$tmp/probe.py" "$tmp/file.parquet"
