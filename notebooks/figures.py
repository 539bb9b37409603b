"""Shared code of the notebooks: reading results, units, styles, and reproducible saving (the same results give the same bytes)."""

import json
import os
import textwrap
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

COLUMN, PAGE = 3.3, 7.0  # inches: width of one column and of a two-column page
MS = 1e6  # nanoseconds
LAYERS = {"syscall": "system calls", "vfs": "VFS", "fs": "page cache", "block": "block requests"}
# Distinguishable without colour: by lightness and hatch, marker and dash pattern.
FILLS = [("#084594", ""), ("#9ecae1", "////"), ("#d95f02", ""), ("#fee0b6", "..."), ("#41ab5d", "xxxx"), ("#e5e5e5", "\\\\\\\\"),
         ("#fa9fb5", "++++"), ("#ffffff", "||||"), ("#a6a6a6", "----"), ("#000000", "")]
REST = ("#ffffff", "")
COLOURS = ["#084594", "#d95f02", "#238b45", "#7a0177", "#4d4d4d", "#d4a017"]
MARKERS = ["o", "s", "^", "D", "v", "P"]
DASHES = ["-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)), (0, (8, 2)), (0, (3, 1, 1, 1, 1, 1))]
HEAT = matplotlib.colors.ListedColormap(plt.get_cmap("viridis_r")(np.linspace(0.1, 1, 256)))  # the lightest colour (one operation) differs from white
READ, WRITE = {"color": "#084594", "linestyle": "-"}, {"color": "#d95f02", "linestyle": (0, (4, 1.5))}
TEXT = {"system", "layer", "op", "phase", "scope", "name", "id", "direction", "kind", "capture", "check", "verdict", "found", "table", "cause", "marks"}

matplotlib.rcdefaults()  # ignore the user's settings
plt.rcParams.update({
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 7,
    "axes.titlesize": 7.5,
    "axes.labelsize": 7,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "legend.title_fontsize": 7.5,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "0.88",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1,
    "lines.markersize": 3.5,
    "hatch.linewidth": 0.4,
    "text.parse_math": False,  # a process name may be "$x$"
    "figure.constrained_layout.use": True,
    "figure.dpi": 150,
    "pdf.compression": 0,  # compressed bytes depend on the zlib version of the Python
    "pdf.fonttype": 42,  # TrueType: accepted by publishers, searchable
    "svg.fonttype": "path",  # independent of installed fonts
    "svg.hashsalt": "iostrata",  # ids are random without a salt
})


# Columns with other names in results of version 1 (docs/reference/csv.md, "Names of version 1").
RENAMED = {
    "arrivals": {"rate_per_s": "ops_per_s", **{f"gap_{which}": f"interarrival_{which}" for which in (
        "avg_ns", "min_ns", "p50_ns", "p90_ns", "p95_ns", "p99_ns", "p999_ns", "p9999_ns", "max_ns", "scv")}},
    "queue": {"rate_per_s": "ops_per_s", "busy_share": "utilization"},
    "footprint": {"one_in": "sampling_factor"},
    "footprint_windows": {"one_in": "sampling_factor"},
    "reuse": {"one_in": "sampling_factor"},
    "path": {"runnable_under_way_ns": "runnable_in_flight_ns"},
    "sync": {"untold": "unknown_ops"},
}


class Missing(Exception):
    """Raised when these results do not suffice for a figure; the message is one line with the reason."""


class Results:
    """Tables in a directory written by `iostrata-analyze ... --out DIR`, with their metadata in about.json."""

    def __init__(self, directory: str | Path | None = None):
        self.directory = Path(directory or os.environ.get("IOSTRATA_RESULTS", "../results"))
        try:
            self.about = json.loads((self.directory / "about.json").read_text())["files"]
        except FileNotFoundError:
            raise Missing(f"no results in {self.directory}: run `iostrata-analyze report CAPTURE --out DIR`") from None
        self.used: dict[str, dict] = {}

    def has(self, name: str) -> bool:
        return f"{name}.csv" in self.about

    def table(self, name: str) -> pd.DataFrame:
        """Reads a table. Text columns stay text even if a cell looks like a number; only an empty cell is a missing value."""
        if not self.has(name):
            raise Missing(f"no {name}.csv in {self.directory}: run `iostrata-analyze report CAPTURE --out DIR`")
        self.used[name] = self.about[f"{name}.csv"]
        path = self.directory / f"{name}.csv"
        columns = pd.read_csv(path, nrows=0).columns
        numbers = [column for column in columns if column not in TEXT]
        frame = pd.read_csv(path, keep_default_na=False, na_values={column: [""] for column in numbers},
                            dtype={column: str for column in columns if column in TEXT})
        if frame.empty:
            frame[numbers] = frame[numbers].astype(float)
        if self.used[name]["results_version"] < 2:
            frame = frame.rename(columns=RENAMED.get(name, {}))
        return frame

    def absent(self) -> dict[str, str]:
        """Layers without data in the results, with the reason."""
        reasons = dict.fromkeys(LAYERS, "")
        if self.has("quality"):
            quality = self.table("quality")
            for layer in LAYERS:
                found = quality.loc[quality["check"] == f"layer {layer}", "found"]
                reasons[layer] = ", ".join(dict.fromkeys(word.removeprefix("not captured").strip(": ") for word in found if word.startswith("not captured")))
                if not reasons[layer] and found.str.startswith("not captured").any():
                    reasons[layer] = "not captured"
        if self.has("summary"):
            summary = self.table("summary")
            for layer in LAYERS:
                # A captured layer that `--layer` excluded.
                if len(summary) and summary[f"{layer}_read_bytes"].isna().all():
                    reasons[layer] = reasons[layer] or "excluded"
        return {layer: reason for layer, reason in reasons.items() if reason}

    def nothing(self, what: str, *layers: str) -> str:
        """Reason for an empty panel of these layers."""
        absent = self.absent()
        why = [f"no {layer} layer data ({absent[layer]})" for layer in layers if layer in absent]
        return f"no {what}: " + (" and ".join(why) or f"none recorded in the {' and '.join(layers)} layer{'s' if len(layers) > 1 else ''}")

    def caveats(self) -> list[str]:
        """Limitations of the results, for the note under the figure."""
        said = sorted({made["only"] for made in self.used.values() if made["only"]})
        caveats = [f"Filter: {only}." for only in said]
        caveats += [f"No {layer} layer data ({reason})." for layer, reason in self.absent().items()]
        incomplete = not all(made["complete"] for made in self.used.values())
        if self.has("loss"):
            loss = self.table("loss")
            known = loss.dropna(subset="lost_events").groupby("table", sort=False)["lost_events"].sum()
            if len(known):
                each = ", ".join(f"{table or 'unknown'} {int(count):,}" for table, count in known.items())
                caveats.append(f"Lost events: {each}. Bounds, where drawn, account for them.")
            if loss["lost_events"].isna().any():
                caveats.append("The recording is incomplete: the number of lost events is unknown.")
            incomplete = incomplete and loss.empty
        if incomplete:
            caveats.append("The capture is incomplete: see quality.csv.")
        if self.has("latency") and (self.table("latency")["marks"] == "sampled").any():
            caveats.append("Sampled (--cpu-limit): values are estimates.")
        return caveats

    def together(self) -> str:
        """Note for a figure over time with several captures."""
        several = len(next(iter(self.used.values()))["captures"])
        return f"{several} captures share the time axis." if several > 1 else ""

    def provenance(self) -> dict[str, str]:
        """Captures and tool versions of the tables used so far."""
        kinds = {json.dumps(made["captures"]) for made in self.used.values()}
        if len(kinds) != 1:
            raise Missing(f"{' and '.join(sorted(self.used))} in {self.directory} come from different captures")
        (captures,) = (json.loads(kind) for kind in kinds)
        tools = dict.fromkeys(f"{made['tool']} (results version {made['results_version']})" for made in self.used.values())
        return {
            "captures": " ".join(capture["capture_id"] for capture in captures),
            "tool": ", ".join(tools),
            "recorded": ", ".join(f"{capture['capture_id']} at {capture['started_at']} by recorder {capture['recorder_version']}" for capture in captures),
            "only": ", ".join(sorted({made["only"] for made in self.used.values() if made["only"]})),
        }


def save(figure, results: Results, name: str, title: str, *notes: str) -> None:
    """Writes NAME.pdf and NAME.svg next to the tables, with notes under the figure and the provenance in the metadata."""
    notes = [note for note in (*notes, *results.caveats()) if note]
    if notes:
        width = int(figure.get_figwidth() * 22)
        figure.supxlabel("\n".join(line for note in notes for line in textwrap.wrap(note, width)), fontsize=6, color="0.25", x=0.01, ha="left")
    made = results.provenance()
    subject = f"Captures: {made['recorded']}." + (f" Filter: {made['only']}." if made["only"] else "")
    # No dates: a drawing date would change the bytes on each run. The metadata identifies the captures.
    for form, metadata in {
        "pdf": {"Title": title, "Subject": subject, "Keywords": made["captures"], "Creator": made["tool"], "CreationDate": None},
        "svg": {"Title": title, "Description": subject, "Source": made["captures"], "Creator": made["tool"], "Date": None},
    }.items():
        # Write and rename: an interrupted run leaves no truncated figure.
        unfinished = results.directory / f".{name}.{form}.tmp"
        figure.savefig(unfinished, format=form, metadata=metadata)
        unfinished.replace(results.directory / f"{name}.{form}")


def shown(name: str, most: int = 18) -> str:
    """Label for a name: shortened, with unprintable characters replaced."""
    name = "".join(character if character.isprintable() else "?" for character in name)
    return name if len(name) <= most else name[: most - 1] + "…"


def unit(greatest: float) -> tuple[int, str]:
    """Divisor and name of the binary unit for values up to `greatest` bytes."""
    units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
    power = 0 if not greatest > 0 else min(int(np.log2(greatest) // 10), len(units) - 1)
    return 1 << 10 * power, units[power]


def clock(seconds: float) -> tuple[int, str]:
    """Divisor and name of the time unit for a span of `seconds`."""
    units = [(86400, "days"), (3600, "h"), (60, "min"), (1, "s")]
    return next((size, name) for size, name in units if seconds >= 5 * size or size == 1)


def windows(ns: float) -> str:
    """Note with the window length of a figure."""
    size, name = next((size, name) for size, name in ((1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1, "ns")) if ns >= size or size == 1)
    return f"Window length: {number(ns / size)} {name}."


def more(number: int, what: str) -> str:
    """Note on entries that are not drawn; empty if all are drawn."""
    return f"Not shown: {number} {what}." if number > 0 else ""


def number(value: float) -> str:
    """Formats a number with three significant digits, for a label."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def count(value: float) -> str:
    for size, letter in ((1e9, " G"), (1e6, " M"), (1e4, " k")):
        if value >= size:
            return number(value / (1000 if letter == " k" else size)) + letter
    return f"{value:,.0f}"


def empty(axes, text: str) -> None:
    """Writes the reason for an empty panel into its axes."""
    axes.text(0.5, 0.5, "\n".join(textwrap.wrap(text, 32)), transform=axes.transAxes, ha="center", va="center", fontsize=7, style="italic", color="0.25")
    axes.grid(False)
    axes.tick_params(length=0, labelbottom=False)
    if len(axes.get_shared_y_axes().get_siblings(axes)) == 1:  # a shared axis also labels the neighbour
        axes.tick_params(labelleft=False)
    axes.spines[:].set_visible(False)


def most(frame: pd.DataFrame, by: str, rows: int, names: list[str]) -> pd.DataFrame:
    """Rows with the largest values of `by`; `names` break ties, so the selection is deterministic."""
    return frame.sort_values([by, *names], ascending=[False] + [True] * len(names), kind="stable").head(rows)


def stack(axes, parts: pd.DataFrame, title: str = "", columns: int = 3, fills: dict | None = None) -> None:
    """
    Draws horizontal stacked bars: a row for each index entry, from the top, and a segment for each column, with the legend above.
    Segments already in `fills`, from another panel, keep their style.
    """
    fills = {} if fills is None else fills
    free = [fill for fill in FILLS if fill not in [fills.get(kind) for kind in parts]]
    free.sort(key=lambda fill: fill in fills.values())
    left = np.zeros(len(parts))
    for kind, values in parts.items():
        if kind not in fills:
            fills[kind] = REST if kind == "others" else free.pop(0)
        colour, hatch = fills[kind]
        values = values.fillna(0).to_numpy(float)
        axes.barh(range(len(parts)), values, left=left, height=0.7, color=colour, hatch=hatch, edgecolor="0.1", linewidth=0.4, label=kind)
        left += values
    axes.set_yticks(range(len(parts)), parts.index)
    axes.set_ylim(len(parts) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    over(axes, title, columns)


def over(axes, title: str, columns: int) -> None:
    """Draws a legend above the axes, where it hides no data."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2, title=title, ncols=columns, alignment="left", columnspacing=1, handletextpad=0.5, labelspacing=0.3)


def beside(axes, x: float, y: float, text: str, missing: bool = False) -> None:
    """Draws text to the right of a bar."""
    style = {"color": "0.35", "style": "italic"} if missing else {"color": "0.1"}
    axes.annotate(text, (x, y), xytext=(3, 0), textcoords="offset points", va="center", fontsize=6, bbox={"color": "white", "pad": 0.5}, **style)


def bounds(axes, value: float, low: float, high: float, y: float, colour: str = "0.35", open_ended: bool = True) -> None:
    """Draws the bounds of a value as a line; an arrow to the right marks a missing upper bound."""
    if pd.notna(low) and low < value:
        axes.plot([low, value], [y, y], color=colour, linewidth=0.7, marker="|", markevery=[0], markersize=4, zorder=1.5)
    if pd.notna(high) and high > value:
        axes.plot([value, high], [y, y], color=colour, linewidth=0.7, marker="|", markevery=[1], markersize=4, zorder=1.5)
    elif open_ended and pd.isna(high) and pd.notna(low):
        axes.annotate("", (value, y), xytext=(12, 0), textcoords="offset points", arrowprops={"arrowstyle": "<-", "color": colour, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 6})


def plain(axis) -> None:
    """Labels a logarithmic axis with plain numbers (0.01, 1, 1000) and enough ticks."""
    low, high = axis.get_view_interval()
    if low > 0:
        decades = np.floor(np.log10(high)) - np.ceil(np.log10(low)) + 1
        digits = (1, 2, 3, 5, 7) if high / low < 8 else (1, 3) if decades < 2 or high / low < 60 else (1,)
        axis.set_major_locator(matplotlib.ticker.LogLocator(subs=digits))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(matplotlib.ticker.NullLocator())


def coarser(frame: pd.DataFrame, column: str, width: float, cells: int) -> tuple[np.ndarray, float, float]:
    """Merges equal windows into at most `cells` cells. Returns the cell index of each row, the begin of the first cell, the cell width."""
    first = frame[column].min()
    there = (frame[column] - first) // width
    together = int(there.max() // cells + 1)
    return (there // together).to_numpy(int), first, width * together
