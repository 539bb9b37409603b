#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Analysis speed: `iostrata-analyze summary` compared with DuckDB and Polars, which compute the same tables from the same files, and
with the parquet crate, which only decodes the required columns. `latency` of system calls is compared with the one DuckDB query for
that table.

Each round runs every program once, in its own process, with the files in the page cache. The time of a Python library covers its
queries, without interpreter startup. The time of iostrata covers the whole process.
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import queries  # noqa: E402
from report import machine, table  # noqa: E402

MIB = 1 << 20


def measured(command):
    """Runs a process. Returns its seconds, its peak memory and its output."""
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = process.stdout.read(), process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    if status:
        raise RuntimeError(f"{' '.join(map(str, command))}: {err.decode(errors='replace').strip()}")
    return seconds, usage.ru_maxrss * 1024, out.decode()


def queried(library, capture, which, threads):
    """Runs the queries of one library in its own process. Returns the seconds that it reports and its peak memory."""
    _, rss, out = measured([sys.executable, "-B", __file__, "--child", library, "--capture", capture, "--which", which,
                            "--threads", str(threads)])
    return json.loads(out)["seconds"], rss


def child(options):
    """Runs the queries of one library and prints their duration."""
    capture = options.capture
    if options.child == "duckdb":
        import duckdb
        connection = duckdb.connect()
        connection.execute(f"set threads = {options.threads}")
        for view in queries.duckdb_views(capture):
            connection.execute(view)
        began = time.monotonic()
        chosen = [*queries.duckdb_latency(("syscall",))]
        if options.which == "all":
            chosen = [*queries.duckdb_summary(), *queries.duckdb_amplification(), *queries.duckdb_latency()]
        for query in chosen:
            connection.execute(query).fetchall()
    else:
        os.environ["POLARS_MAX_THREADS"] = str(options.threads)
        import polars
        began = time.monotonic()
        for frame in queries.polars_queries(polars, capture):
            frame.collect(engine="streaming")
    print(json.dumps({"seconds": time.monotonic() - began}))


def capture_of(options, place, events):
    """Path of a capture with `events` events; generates it if it does not exist."""
    capture = place / f"events-{events}"
    if not (capture / "manifest.json").exists():
        shutil.rmtree(capture, ignore_errors=True)
        seconds, _, said = measured([options.generate, "--events", str(events), "--out", capture])
        print(f"generated in {seconds:.1f} s: {said.strip()}", file=sys.stderr)
    return capture


def round_of(options, capture):
    """Runs every program once."""
    scratch = tempfile.mkdtemp(prefix="iostrata-bench.")
    threads = ["--threads", str(options.threads)]
    try:
        yield "iostrata", measured([options.analyze, "summary", capture, "--out", scratch, *threads])[:2]
        one = ["latency", capture, "--layer", "syscall", "--out", scratch]
        yield "iostrata latency", measured([options.analyze, *one, *threads])[:2]
        yield "decode", measured([options.decode, capture, str(options.threads)])[:2]
        yield "duckdb", queried("duckdb", capture, "all", options.threads)
        yield "duckdb latency", queried("duckdb", capture, "latency", options.threads)
        if not options.without_polars:
            yield "polars", queried("polars", capture, "all", options.threads)
    finally:
        shutil.rmtree(scratch)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--analyze", help="iostrata-analyze program to measure")
    parser.add_argument("--generate", help="iostrata-generate program that makes the captures")
    parser.add_argument("--decode", help="program of the example `decode` of the analyze crate")
    parser.add_argument("--events", default="1000000,10000000,100000000", help="capture sizes in events, comma-separated")
    parser.add_argument("--place", type=Path, help="directory for the captures [default: a temporary directory]")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--without-polars", action="store_true")
    parser.add_argument("--smoke", action="store_true", help="one round on one small capture, as a functional test")
    parser.add_argument("--markdown", type=Path, help="also write the table to this file")
    parser.add_argument("--child", choices=("duckdb", "polars"), help=argparse.SUPPRESS)
    parser.add_argument("--capture", help=argparse.SUPPRESS)
    parser.add_argument("--which", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options)
        return
    sizes = [20_000] if options.smoke else [int(size) for size in options.events.split(",")]
    rounds = 1 if options.smoke else options.rounds
    place = options.place or Path(tempfile.mkdtemp(prefix="iostrata-bench."))
    place.mkdir(parents=True, exist_ok=True)
    rows = []
    try:
        for events in sizes:
            capture = capture_of(options, place, events)
            results = {}
            for number in range(rounds + 1):
                for name, result in round_of(options, capture):
                    # The first round only warms the page cache.
                    if number:
                        results.setdefault(name, []).append(result)
            for name, of_name in results.items():
                ours = "iostrata latency" if name.endswith("latency") else "iostrata"
                ours = statistics.median(seconds for seconds, _ in results[ours])
                seconds = statistics.median(seconds for seconds, _ in of_name)
                spread = f"{min(s for s, _ in of_name):.3f}–{max(s for s, _ in of_name):.3f}"
                rows.append([f"{events:,}", name, f"{seconds:.3f}", spread, f"{events / seconds / 1e6:.1f}",
                             f"{ours / seconds:.2f}", f"{max(rss for _, rss in of_name) / MIB:.0f}"])
                print(*rows[-1], sep="\t", file=sys.stderr)
    finally:
        if not options.place:
            shutil.rmtree(place)
    head = ["events", "program", "seconds", "min–max", "million events/s", "iostrata time ÷ this", "peak RSS MiB"]
    text = f"{machine()}, {options.threads} threads\n\n{table(head, rows)}\n"
    print(text)
    if options.markdown:
        options.markdown.write_text(text)


if __name__ == "__main__":
    main()
