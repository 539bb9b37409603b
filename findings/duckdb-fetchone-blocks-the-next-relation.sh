#!/bin/sh
# Version: duckdb 2.0.0 (Python, PyPI).
#
# Behaviour: after connection.execute(query).fetchone() of a query with one row, connection.sql(query) on the same connection raises
# ResourceInUseException: the result counts as unfinished until a further fetch has returned no row. connection.execute() is not affected. The functions of
# the module share one connection, so duckdb.execute(...).fetchone() in one place of a program makes duckdb.sql(...) fail in any other.
#
# Expected: a result whose only row was fetched does not keep the connection in use.
#
# Seen: sql after fetchone: ResourceInUseException; execute after fetchone: 2; sql after fetchall: 3
#
# Needs: python3 with venv.
set -eu

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 2' INT TERM

python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install -q duckdb==2.0.0
cat >"$tmp/fetch.py" <<'END'
import duckdb


def told(act):
    try:
        return act()[0][0]
    except Exception as error:
        return type(error).__name__


with duckdb.connect() as connection:
    connection.execute("select 1").fetchone()
    after_one = told(lambda: connection.sql("select 2").fetchall())
    executed = told(lambda: connection.execute("select 2").fetchall())
    connection.execute("select 1").fetchall()
    after_all = told(lambda: connection.sql("select 3").fetchall())
print(f"sql after fetchone: {after_one}; execute after fetchone: {executed}; sql after fetchall: {after_all}")
END
seen=$("$tmp/venv/bin/python" "$tmp/fetch.py")
echo "$seen"
[ "$seen" = "sql after fetchone: ResourceInUseException; execute after fetchone: 2; sql after fetchall: 3" ]
