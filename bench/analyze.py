#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast captures are analyzed: `iostrata-analyze summary` beside DuckDB and Polars computing the same tables from the same
files, and beside the parquet crate alone decoding the columns that are needed; and `latency` of system calls beside DuckDB asked for
that alone.

Everything runs in turn within each round, each in a process of its own, with the files in the page cache. Of the Python libraries the
time is that of their queries, without the start of the interpreter; of ours that of the whole process.
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
    """Seconds and peak memory of a process; what it printed."""
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = process.stdout.read(), process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    if status:
        raise RuntimeError(f"{' '.join(map(str, command))}: {err.decode(errors='replace').strip()}")
    return seconds, usage.ru_maxrss * 1024, out.decode()


def queried(library, capture, which, threads):
    """The same of one library's queries, in a process of its own; its own seconds."""
    _, rss, out = measured([sys.executable, "-B", __file__, "--child", library, "--capture", capture, "--which", which,
                            "--threads", str(threads)])
    return json.loads(out)["seconds"], rss


def child(options):
    """Runs the queries of one library and prints how long they took."""
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
    """A capture of so many events, made where it is not there yet."""
    capture = place / f"events-{events}"
    if not (capture / "manifest.json").exists():
        shutil.rmtree(capture, ignore_errors=True)
        seconds, _, said = measured([options.generate, "--events", str(events), "--out", capture])
        print(f"made in {seconds:.1f} s: {said.strip()}", file=sys.stderr)
    return capture


def round_of(options, capture):
    """Everything once, in turn."""
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
    parser.add_argument("--analyze", help="the iostrata-analyze to measure")
    parser.add_argument("--generate", help="the iostrata-generate that makes captures")
    parser.add_argument("--decode", help="the example `decode` of the analyze crate")
    parser.add_argument("--events", default="1000000,10000000,100000000", help="sizes of captures")
    parser.add_argument("--place", type=Path, help="where captures are kept [default: a temporary directory]")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--without-polars", action="store_true")
    parser.add_argument("--smoke", action="store_true", help="one small capture once, to see that it runs")
    parser.add_argument("--markdown", type=Path, help="also write the table there")
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
                    # The first round only brings the files into the page cache.
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
    head = ["events", "what", "seconds", "least–most", "million events/s", "iostrata takes × of it", "peak MiB"]
    text = f"{machine()}, {options.threads} threads\n\n{table(head, rows)}\n"
    print(text)
    if options.markdown:
        options.markdown.write_text(text)


if __name__ == "__main__":
    main()
