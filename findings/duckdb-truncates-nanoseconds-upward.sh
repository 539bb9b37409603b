#!/bin/sh
# Version: duckdb 2.0.0 (Python package).
#
# Behaviour: date_trunc(), time_bucket(), ::date and hour() of a TIMESTAMP_NS first round it to microseconds, to the nearest. What happened in the
# last half microsecond before a boundary is put behind it, into the next second or the next day: date_trunc returns a time later than its argument.
# strftime() of the same value stays before it.
#
# Expected: date_trunc(t) <= t, and one answer to which second, hour or day a time belongs to.
#
# Seen: 2026-09-21 23:59:59.9999996: date_trunc day 2026-09-22 00:00:00, time_bucket 2026-09-22 00:00:00, hour 0, strftime 23:59:59
#
# Instead: whole numbers, for instance ns // 1000000000 for the second of a time in nanoseconds since 1970.
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

NS = 1790035199999999600
time, trunc, bucket, hour, text, later = duckdb.sql(f"""
    select t::varchar, date_trunc('day', t)::varchar, time_bucket(interval '1 second', t)::varchar, hour(t), strftime(t, '%H:%M:%S'),
           date_trunc('day', t) > t
    from (select make_timestamp_ns({NS}) as t)""").fetchall()[0]
print(f"{time}: date_trunc day {trunc}, time_bucket {bucket}, hour {hour}, strftime {text}")
sys.exit(0 if later and trunc == bucket == "2026-09-22 00:00:00" and hour == 0 and text == "23:59:59" else 1)
END
"$tmp/venv/bin/python" "$tmp/probe.py"
