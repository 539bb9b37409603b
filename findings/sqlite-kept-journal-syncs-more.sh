#!/bin/sh
# Version: SQLite 3.54.1 of the Python package apsw 3.54.1.0, strace 6.1, Linux 6.18.44.
#
# Behaviour: with journal_mode TRUNCATE or PERSIST, which keep the journal file so that it need not be made and deleted in each transaction, a commit that changes one
# row syncs five times; with DELETE, the default, four times (synchronous=FULL in all of them). The directory is synced in each, also where no file is made.
#
# Expected: fewer syncs where the file stays, as nothing changes in the directory; and of DELETE two or three (journal, database, directory).
#
# Seen: syncs a commit of one row: delete 4 (journal 2, database 1, directory 1), truncate 5 (journal 3, database 1, directory 1), persist 5 (journal 3, database 1, directory 1), wal 1
#
# Why: pager.c, syncJournal() syncs the journal's pages, then its header with their number; pager_end_transaction() syncs the journal once more when it has emptied it
# (TRUNCATE) or zeroed its header (PERSIST), where DELETE unlinks it. It is closed after each transaction and opened with O_CREAT in the next, after which
# unixSync() of os_unix.c syncs the directory, too, whether the file was there or not.
#
# Needs: python3 with venv and pip, strace (apt-get install strace=6.1-0.1).
set -eu

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 2' INT TERM

python3 -m venv "$tmp/venv" && "$tmp/venv/bin/pip" --quiet --disable-pip-version-check install apsw==3.54.1.0 || exit 2

cat >"$tmp/commits.py" <<'END'
import sys

import apsw

database = apsw.Connection(sys.argv[1])
database.execute(f"pragma journal_mode = {sys.argv[2]}")
database.execute("pragma synchronous = full")
database.execute("create table rows (key integer primary key, value)")
database.execute("insert into rows values (1, 0)")
sys.stdout.write("begin\n")
sys.stdout.flush()
for number in range(1, 11):
    database.execute("update rows set value = ? where key = 1", (number,))
sys.stdout.write("end\n")
sys.stdout.flush()
END
cat >"$tmp/probe.py" <<'END'
import collections
import os
import re
import subprocess
import sys

place, python = os.path.realpath(sys.argv[1]), sys.argv[2]
found = {}
for mode in ("delete", "truncate", "persist", "wal"):
    os.mkdir(f"{place}/{mode}")
    command = ["strace", "-f", "-y", "-o", f"{place}/calls", "-e", "trace=write,fsync,fdatasync", python, f"{place}/commits.py", f"{place}/{mode}/rows.db", mode]
    try:
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    with open(f"{place}/calls") as calls:
        commits = calls.read().split('"begin\\n"')[1].split('"end\\n"')[0]
    names = {f"{place}/{mode}/rows.db": "database", f"{place}/{mode}/rows.db-journal": "journal", f"{place}/{mode}": "directory"}
    of = collections.Counter(names.get(path, "wal") for path in re.findall(r" f(?:data)?sync\(\d+<([^>]*)>", commits))
    found[mode] = (sum(of.values()) / 10, {name: count / 10 for name, count in of.items()})
words = [f"{mode} {syncs:g}" + (f" (journal {of['journal']:g}, database {of['database']:g}, directory {of['directory']:g})" if mode != "wal" else "")
         for mode, (syncs, of) in found.items()]
print("syncs a commit of one row:", ", ".join(words))
sys.exit(0 if [syncs for syncs, _ in found.values()] == [4, 5, 5, 1] and all(found[mode][1]["directory"] == 1 for mode in ("delete", "truncate", "persist")) else 1)
END
python3 "$tmp/probe.py" "$tmp" "$tmp/venv/bin/python"
