#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recording overhead: fio untraced, under `iostrata record`, under bpftrace and under `perf record`.

Every round runs all variants, in rotating order. Each run is between two untraced runs and is compared with their mean, because
machine drift exceeds the differences of interest. Run by `make bench-record`, as root.
Exit code 1: a variant of iostrata failed, lost events without reporting them, or has inconsistent event accounting. Timing never
fails the benchmark.
"""
import argparse
import contextlib
import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Optional

import report
import testbed
from tracers import TRACERS, Findings, Iostrata

UNTRACED = "untraced"


class Run(NamedTuple):
    """One run of fio, traced or not."""

    round: int
    load: testbed.Load
    kept: float
    found: Optional[Findings]


@dataclass
class Results:
    """All measurements, by variant."""

    runs: dict
    not_measured: dict = field(default_factory=dict)
    programs: dict = field(default_factory=dict)
    notes: set = field(default_factory=set)
    problems: list = field(default_factory=list)

    def kernel_ns(self, name):
        """Time in BPF programs per block event, if measured."""
        events, by_name = self.programs.get(name, (0, {}))
        return sum(ns for ns, _ in by_name.values()) / events if events else None


def traced(tracer, seconds, around=lambda tracer: {}):
    """Runs fio under a tracer. Returns the load, the findings and the results of `around` before and after."""
    try:
        tracer.start()
        before = around(tracer)
        load = testbed.fio(tracer.ground, seconds)
        after = around(tracer)
        return load, tracer.stop(), before, after
    finally:
        tracer.clean_up()


def against(load, before, after):
    """Throughput relative to the mean of two runs."""
    return 2 * load.iops / (before.iops + after.iops)


def one_round(number, variants, ground, seconds, results):
    """Runs every variant once, with an untraced run before the first and after each."""
    bases = [testbed.fio(ground, seconds)]
    for variant in variants:
        name = variant.name
        print(f"round {number}: {name}", file=sys.stderr)
        try:
            load, found, _, _ = traced(variant(ground, ground.scratch / "run"), seconds)
        except RuntimeError as error:
            results.problems.append(f"{name}, round {number}: {error}")
            continue
        bases.append(testbed.fio(ground, seconds))
        results.notes |= {f"{name}: {note}" for note in found.notes}
        results.problems += [f"{name}, round {number}: {problem}" for problem in found.problems]
        results.runs[name].append(Run(number, load, against(load, bases[-2], bases[-1]), found))
    # Untraced runs relative to their neighbours: the noise of this machine in the ratio.
    for before, base, after in zip(bases, bases[1:], bases[2:]):
        results.runs[UNTRACED].append(Run(number, base, against(base, before, after), None))


def kernel_time(variant, ground, seconds, results):
    """Runs once more with `bpf_stats_enabled`, which slows every BPF program down a little."""
    print(f"kernel time: {variant.name}", file=sys.stderr)
    try:
        with testbed.sysctl("kernel.bpf_stats_enabled", 1):
            _, found, before, after = traced(variant(ground, ground.scratch / "run"), seconds, Iostrata.programs)
    except RuntimeError as error:
        results.problems.append(f"{variant.name}, kernel time: {error}")
        return
    spent = {name: (ns - before[name][0], count - before[name][1]) for name, (ns, count) in after.items()}
    results.programs[variant.name] = (found.events, spent)
    results.problems += [f"{variant.name}, kernel time: {problem}" for problem in found.problems]


def measure(args, stack):
    """Runs all rounds."""
    ground = testbed.make(stack)
    testbed.lay_file(ground)
    if Iostrata.binary.is_file():
        Iostrata.use_copy(ground)
    results = Results({name: [] for name in [UNTRACED, *(tracer.name for tracer in TRACERS)]})
    results.not_measured = {tracer.name: why for tracer in TRACERS if (why := tracer.why_not())}
    variants = [tracer for tracer in TRACERS if tracer.name not in results.not_measured]
    if not args.smoke:
        testbed.fio(ground, 1)
    for number in range(args.rounds):
        first = number % max(1, len(variants))
        one_round(number + 1, variants[first:] + variants[:first], ground, args.seconds, results)
    recorders = [variant for variant in variants if issubclass(variant, Iostrata)]
    if shutil.which("bpftool"):
        for variant in recorders:
            kernel_time(variant, ground, args.seconds, results)
    else:
        results.notes.add("kernel ns per event not measured: bpftool is not installed")
    return results


def failures(results):
    """Reasons for the benchmark to fail: iostrata not measured, or with problems. Other tools are only a reference."""
    ours = tuple(tracer.name for tracer in TRACERS if issubclass(tracer, Iostrata))
    return [f"{name}: {why}" for name, why in results.not_measured.items() if name in ours] + [
        problem for problem in results.problems if problem.startswith(ours)]


def arguments():
    target = Path(os.environ.get("CARGO_TARGET_DIR") or Path.home() / ".cache/iostrata/target")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9, help="number of rounds (default: 9)")
    parser.add_argument("--seconds", type=int, default=6, help="duration of each fio run in seconds (default: 6)")
    parser.add_argument("--smoke", action="store_true", help="one round of one second, as a functional test")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write the report to this file")
    parser.add_argument("--iostrata", type=Path, metavar="FILE", default=target / "release/iostrata",
                        help="recorder program (default: %(default)s)")
    args = parser.parse_args()
    if args.smoke:
        args.rounds = args.seconds = 1
    if args.rounds < 1 or args.seconds < 1:
        parser.error("--rounds and --seconds must be at least 1")
    return args


def main():
    args = arguments()
    if os.geteuid():
        sys.exit("bench/record.py: needs root, for a loop device and for BPF")
    if not shutil.which("fio"):
        sys.exit("bench/record.py: fio is not installed")
    Iostrata.binary = args.iostrata
    testbed.exit_on_signals()
    try:
        with contextlib.ExitStack() as stack:
            testbed.mount_tracefs()
            results = measure(args, stack)
    except RuntimeError as error:
        sys.exit(f"bench/record.py: {error}")
    text = report.render(results, args.rounds, args.seconds)
    print(text)
    if args.markdown:
        args.markdown.write_text(text)
    sys.exit(1 if failures(results) else 0)


if __name__ == "__main__":
    main()
