#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Overhead of dirty page attribution: a buffered write of 1 GiB, untraced and under `iostrata record`.

Every round runs each variant once, in rotating order, between two untraced runs, and compares it with their mean. Two times: until
the data is in the page cache, and until it is on the device. Run by `make bench-writeback`, as root.
Exit code 1: a variant failed, lost events without reporting them, or has inconsistent event accounting. Timing never fails the
benchmark.
"""
import argparse
import contextlib
import os
import sys
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

import report
import testbed
from tracers import Iostrata, IostrataBlock

VARIANTS = (IostrataBlock, Iostrata)
UNTRACED = "untraced"


class Times(NamedTuple):
    """Times of one write."""

    cached_s: float
    synced_s: float


def write(ground, mib):
    """Writes a new file and syncs it."""
    path = ground.mounted / "file"
    path.unlink(missing_ok=True)
    testbed.run("sync", "-f", ground.mounted)
    begin = time.monotonic()
    testbed.run("dd", "if=/dev/zero", f"of={path}", "bs=1M", f"count={mib}", "status=none")
    cached = time.monotonic()
    testbed.run("sync", "-f", ground.mounted)
    return Times(cached - begin, time.monotonic() - begin)


def traced(variant, ground, mib):
    """Writes under the recorder. Returns the times and the findings."""
    tracer = variant(ground, ground.scratch / "run")
    try:
        tracer.start()
        times = write(ground, mib)
        return times, tracer.stop()
    finally:
        tracer.clean_up()


def measure(args, stack):
    """Runs all rounds. Returns relative times, times and findings by variant."""
    ground = testbed.make(stack, 2 * testbed.GIB)
    Iostrata.use_copy(ground)
    results = {name: [] for name in (UNTRACED, *(variant.name for variant in VARIANTS))}
    write(ground, args.mib)
    for number in range(args.rounds):
        first = number % len(VARIANTS)
        bases = [write(ground, args.mib)]
        for variant in VARIANTS[first:] + VARIANTS[:first]:
            print(f"round {number + 1}: {variant.name}", file=sys.stderr)
            times, found = traced(variant, ground, args.mib)
            bases.append(write(ground, args.mib))
            results[variant.name].append((against(times, bases[-2], bases[-1]), times, found))
        for before, base, after in zip(bases, bases[1:], bases[2:]):
            results[UNTRACED].append((against(base, before, after), base, None))
    return results


def against(times, before, after):
    """Times relative to the mean of two runs."""
    return Times(*(2 * mine / (one + other) for mine, one, other in zip(times, before, after)))


def render(results, args):
    """Machine and table."""
    rows = []
    for name, runs in results.items():
        ratios, times, found = zip(*runs)
        row = [name, *(f"{median(t[way] for t in times):.3f}" for way in (0, 1))]
        for way in (0, 1):
            values = [r[way] for r in ratios]
            row.append(f"{median(values):.3f} ({report.middle_half(values)})")
        if found[0]:
            gib = args.mib / 1024
            tables = found[0].rows
            row.append(", ".join(f"{name} {median(f.rows.get(name, 0) for f in found) / gib:,.0f}" for name in sorted(tables)))
            row += [f"{median(f.cpu_s for f in found) / gib:.2f}", f"{sum(f.lost for f in found)}"]
        rows.append(row + [report.NONE] * (8 - len(row)))
    head = ["variant", "s to page cache", "s to device", "page cache, relative to untraced",
            "device, relative to untraced", "rows per GiB", "recorder CPU s per GiB", "lost"]
    return (f"{report.machine()}\n\n`dd` of {args.mib} MiB into a new file, then `sync -f`; ext4 on a loop device over tmpfs; "
            f"{args.rounds} round(s). Medians; IQR in parentheses.\n\n{report.table(head, rows)}\n")


def arguments():
    target = Path(os.environ.get("CARGO_TARGET_DIR") or Path.home() / ".cache/iostrata/target")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9, help="number of rounds (default: 9)")
    parser.add_argument("--mib", type=int, default=1024, help="size of each write in MiB (default: 1024)")
    parser.add_argument("--smoke", action="store_true", help="one round of 64 MiB, as a functional test")
    parser.add_argument("--iostrata", type=Path, metavar="FILE", default=target / "release/iostrata",
                        help="recorder program (default: %(default)s)")
    args = parser.parse_args()
    if args.smoke:
        args.rounds, args.mib = 1, 64
    if args.rounds < 1 or not 1 <= args.mib <= 1536:
        parser.error("--rounds must be at least 1, --mib from 1 to 1536")
    return args


def main():
    args = arguments()
    if os.geteuid():
        sys.exit("bench/writeback.py: needs root, for a loop device and for BPF")
    Iostrata.binary = args.iostrata
    if why := Iostrata.why_not():
        sys.exit(f"bench/writeback.py: {why}")
    testbed.exit_on_signals()
    try:
        with contextlib.ExitStack() as stack:
            results = measure(args, stack)
    except RuntimeError as error:
        sys.exit(f"bench/writeback.py: {error}")
    print(render(results, args))
    problems = [problem for runs in results.values() for _, _, found in runs if found for problem in found.problems]
    for problem in problems:
        print(f"PROBLEM: {problem}")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
