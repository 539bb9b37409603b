# SPDX-License-Identifier: GPL-3.0-or-later
"""Renders runs as the tables of the terminal output and of docs/measurements/performance.md."""
import os
import platform
import time
from pathlib import Path
from statistics import median, quantiles

from testbed import run

NONE = "–"


def machine():
    """Machine, kernel, fio version and date of the measurement."""
    info = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in info if line.startswith("model name")), "unknown CPU")
    return (f"Linux {platform.release()}, {model}, {os.cpu_count()} cores, {run('fio', '--version').strip()}, "
            f"{time.strftime('%Y-%m-%d')}")


def table(head, rows):
    """Markdown table with the first column left-aligned and the others right-aligned."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def ratio(over, under, digits=1):
    return f"{over / under:.{digits}f}" if under else NONE


def middle_half(values):
    """Interquartile range."""
    if len(values) < 2:
        return NONE
    low, _, high = quantiles(values, n=4, method="inclusive")
    return f"{low:.3f}–{high:.3f}"


def cost_row(name, runs, kernel_ns):
    """Row of one variant: medians of rates, maximum of memory, sum of lost events."""
    kept = [run.kept for run in runs]
    found = [run.found for run in runs if run.found]
    ios, events = sum(run.load.ios for run in runs), sum(f.events for f in found)
    row = [name, f"{median(kept):.3f}", middle_half(kept), f"{median(r.load.iops for r in runs):,.0f}"]
    if not found:
        return row + [NONE] * 7
    lost = sum(f.lost for f in found)
    return row + [
        f"{median(f.cpu_s / (r.load.ios / 1e6) for f, r in zip(found, runs)):.2f}",
        f"{median(f.startup_cpu_s for f in found):.2f}",
        f"{lost:,} ({lost / (lost + events):.2%})" if lost else "0",
        ratio(events, ios, 2),
        ratio(sum(f.bytes for f in found), events),
        f"{kernel_ns:.0f}" if kernel_ns else NONE,
        f"{max(f.rss_bytes for f in found) / 2**20:.0f}",
    ]


def costs(results):
    """Main table. The row of a variant without measurements has the reason."""
    head = ["variant", "relative throughput", "IQR", "IOPS", "CPU s per 1M I/O", "startup CPU s", "lost",
            "events per I/O", "bytes per event", "kernel ns per event", "peak RSS MiB"]
    rows = []
    for name, runs in results.runs.items():
        if runs:
            rows.append(cost_row(name, runs, results.kernel_ns(name)))
        else:
            why = results.not_measured.get(name) or "failed, see below"
            rows.append([name, f"not measured: {why}"] + [NONE] * (len(head) - 2))
    return table(head, rows)


def programs(results):
    """Cost of each BPF program, from separate runs because the statistics have a cost."""
    rows = []
    for variant, (events, by_name) in results.programs.items():
        # Rare programs (split, requeue) do not contribute to the cost.
        common = {name: (ns, count) for name, (ns, count) in by_name.items() if count * 100 > events}
        for name, (ns, count) in sorted(common.items(), key=lambda item: -item[1][0]):
            rows.append([variant, name, ratio(count, events, 2), ratio(ns, count, 0), ratio(ns, events)])
    return table(["variant", "BPF program", "runs per event", "ns per run", "ns per event"], rows)


def every_run(results):
    """Table of single runs, with the event accounting of the recorder."""
    rows = [[f"{name}, round {run.round}", f"{run.load.iops:,.0f}", f"{run.kept:.3f}", f"{run.found.lost:,}",
             run.found.books or NONE]
            for name, runs in results.runs.items() for run in runs if run.found]
    return table(["run", "IOPS", "relative throughput", "lost", "event accounting"], rows)


def render(results, rounds, seconds):
    """Complete report as Markdown."""
    text = [machine(),
            f"fio: 4 KiB random read/write, queue depth 8, libaio, direct, one job on CPU 0, ext4 on a loop device over "
            f"tmpfs; {rounds} round(s) of {seconds} s, variants interleaved. Relative throughput: compared with the "
            f"untraced runs before and after. Lost: sum of all rounds. perf writes two events per request.", costs(results)]
    text += [programs(results)] if results.programs else []
    text += [every_run(results)]
    text += ["\n".join(f"- {note}" for note in sorted(results.notes))] if results.notes else []
    text += ["\n".join(f"- PROBLEM: {problem}" for problem in results.problems)] if results.problems else []
    return "\n\n".join(text) + "\n"
