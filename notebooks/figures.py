"""What the notebooks share: reading results, units, styles, and saving so that the same results make the same bytes."""

import json
import os
import textwrap
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

COLUMN, PAGE = 3.3, 7.0  # inches: a column of a paper, and both
MS = 1e6  # nanoseconds
LAYERS = {"syscall": "system calls", "vfs": "VFS", "fs": "page cache", "block": "block requests"}
# Told apart without colour too: by how dark they are and by hatches, by markers and by dashes.
FILLS = [("#084594", ""), ("#9ecae1", "////"), ("#d95f02", ""), ("#fee0b6", "..."), ("#41ab5d", "xxxx"), ("#e5e5e5", "\\\\\\\\"),
         ("#fa9fb5", "++++"), ("#ffffff", "||||"), ("#a6a6a6", "----"), ("#000000", "")]
REST = ("#ffffff", "")
COLOURS = ["#084594", "#d95f02", "#238b45", "#7a0177", "#4d4d4d", "#d4a017"]
MARKERS = ["o", "s", "^", "D", "v", "P"]
DASHES = ["-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)), (0, (8, 2)), (0, (3, 1, 1, 1, 1, 1))]
HEAT = matplotlib.colors.ListedColormap(plt.get_cmap("viridis_r")(np.linspace(0.1, 1, 256)))  # a single operation is no paper's white
READ, WRITE = {"color": "#084594", "linestyle": "-"}, {"color": "#d95f02", "linestyle": (0, (4, 1.5))}
TEXT = {"system", "layer", "op", "phase", "scope", "name", "id", "direction", "kind", "capture", "check", "verdict", "found", "table", "cause", "marks"}

matplotlib.rcdefaults()  # nothing of the user's own settings
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
    "text.parse_math": False,  # a process may be called "$x$"
    "figure.constrained_layout.use": True,
    "figure.dpi": 150,
    "pdf.compression": 0,  # else the bytes are also of whichever zlib a Python has
    "pdf.fonttype": 42,  # TrueType: what publishers take, and what can be searched
    "svg.fonttype": "path",  # looks the same where the font is not installed
    "svg.hashsalt": "iostrata",  # ids are random otherwise
})


class Missing(Exception):
    """A figure cannot be drawn of these results; the message is one line that says why."""


class Results:
    """The tables in a directory that `iostrata-analyze ... --out DIR` wrote, and what about.json says of them."""

    def __init__(self, directory: str | Path | None = None):
        self.directory = Path(directory or os.environ.get("IOSTRATA_RESULTS", "../results"))
        try:
            self.about = json.loads((self.directory / "about.json").read_text())["files"]
        except FileNotFoundError:
            raise Missing(f"there are no results in {self.directory}: `iostrata-analyze report CAPTURE --out DIR` writes some") from None
        self.used: dict[str, dict] = {}

    def has(self, name: str) -> bool:
        return f"{name}.csv" in self.about

    def table(self, name: str) -> pd.DataFrame:
        """A table. Words are text even where they look like numbers, and only an empty cell is a missing value."""
        if not self.has(name):
            raise Missing(f"there is no {name}.csv in {self.directory}: `iostrata-analyze report CAPTURE --out DIR` writes it")
        self.used[name] = self.about[f"{name}.csv"]
        path = self.directory / f"{name}.csv"
        columns = pd.read_csv(path, nrows=0).columns
        numbers = [column for column in columns if column not in TEXT]
        frame = pd.read_csv(path, keep_default_na=False, na_values={column: [""] for column in numbers},
                            dtype={column: str for column in columns if column in TEXT})
        if frame.empty:
            frame[numbers] = frame[numbers].astype(float)
        return frame

    def absent(self) -> dict[str, str]:
        """The layers that the results have nothing of, and why."""
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
                # One selected with --layer was captured, and is left out all the same.
                if len(summary) and summary[f"{layer}_read_bytes"].isna().all():
                    reasons[layer] = reasons[layer] or "left out"
        return {layer: reason for layer, reason in reasons.items() if reason}

    def nothing(self, what: str, *layers: str) -> str:
        """Why there is nothing to draw of these layers."""
        absent = self.absent()
        why = [f"the capture has no {layer} layer ({absent[layer]})" for layer in layers if layer in absent]
        return f"no {what}: " + (" and ".join(why) or f"there are none in the {' and '.join(layers)} layer{'s' if len(layers) > 1 else ''}")

    def caveats(self) -> list[str]:
        """What whoever reads numbers of these results has to know."""
        said = sorted({made["only"] for made in self.used.values() if made["only"]})
        caveats = [f"Only {only}." for only in said]
        caveats += [f"No {layer} layer ({reason})." for layer, reason in self.absent().items()]
        incomplete = not all(made["complete"] for made in self.used.values())
        if self.has("loss"):
            loss = self.table("loss")
            known = loss.dropna(subset="lost_events").groupby("table", sort=False)["lost_events"].sum()
            if len(known):
                each = ", ".join(f"{table or 'unknown'} {int(count):,}" for table, count in known.items())
                caveats.append(f"Events were lost: {each}. Bounds, where drawn, hold whatever these were.")
            if loss["lost_events"].isna().any():
                caveats.append("The recording was cut off or is not whole: how much was lost is not known.")
            incomplete = incomplete and loss.empty
        if incomplete:
            caveats.append("The capture is not whole: see quality.csv.")
        if self.has("latency") and (self.table("latency")["marks"] == "sampled").any():
            caveats.append("Sampled (--cpu-limit): numbers are estimates.")
        return caveats

    def together(self) -> str:
        """What a figure over time says where captures share its axis."""
        several = len(next(iter(self.used.values()))["captures"])
        return f"{several} captures on one axis of time." if several > 1 else ""

    def provenance(self) -> dict[str, str]:
        """Of which captures the tables that were used are, and by which tool."""
        kinds = {json.dumps(made["captures"]) for made in self.used.values()}
        if len(kinds) != 1:
            raise Missing(f"{' and '.join(sorted(self.used))} in {self.directory} are of different captures")
        (captures,) = (json.loads(kind) for kind in kinds)
        tools = dict.fromkeys(f"{made['tool']} (results version {made['results_version']})" for made in self.used.values())
        return {
            "captures": " ".join(capture["capture_id"] for capture in captures),
            "tool": ", ".join(tools),
            "recorded": ", ".join(f"{capture['capture_id']} at {capture['started_at']} by recorder {capture['recorder_version']}" for capture in captures),
            "only": ", ".join(sorted({made["only"] for made in self.used.values() if made["only"]})),
        }


def save(figure, results: Results, name: str, title: str, *notes: str) -> None:
    """Writes NAME.pdf and NAME.svg beside the tables, with notes under the figure and where it comes from in its metadata."""
    notes = [note for note in (*notes, *results.caveats()) if note]
    if notes:
        width = int(figure.get_figwidth() * 22)
        figure.supxlabel("\n".join(line for note in notes for line in textwrap.wrap(note, width)), fontsize=6, color="0.25", x=0.01, ha="left")
    made = results.provenance()
    subject = f"Captures: {made['recorded']}." + (f" Only {made['only']}." if made["only"] else "")
    # No dates: what the figure is of is in it, and when it was drawn would make other bytes each time.
    for form, metadata in {
        "pdf": {"Title": title, "Subject": subject, "Keywords": made["captures"], "Creator": made["tool"], "CreationDate": None},
        "svg": {"Title": title, "Description": subject, "Source": made["captures"], "Creator": made["tool"], "Date": None},
    }.items():
        # A figure is whole or not there, whatever ends this meanwhile.
        unfinished = results.directory / f".{name}.{form}.tmp"
        figure.savefig(unfinished, format=form, metadata=metadata)
        unfinished.replace(results.directory / f"{name}.{form}")


def shown(name: str, most: int = 18) -> str:
    """A name as a label: short, and of characters that can be drawn."""
    name = "".join(character if character.isprintable() else "?" for character in name)
    return name if len(name) <= most else name[: most - 1] + "…"


def unit(greatest: float) -> tuple[int, str]:
    """Bytes in the unit in which the greatest number is easy to read."""
    units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
    power = 0 if not greatest > 0 else min(int(np.log2(greatest) // 10), len(units) - 1)
    return 1 << 10 * power, units[power]


def clock(seconds: float) -> tuple[int, str]:
    """The unit in which so long a time is easy to read, in seconds."""
    units = [(86400, "days"), (3600, "h"), (60, "min"), (1, "s")]
    return next((size, name) for size, name in units if seconds >= 5 * size or size == 1)


def windows(ns: float) -> str:
    """How long the windows of a figure are."""
    size, name = next((size, name) for size, name in ((1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1, "ns")) if ns >= size or size == 1)
    return f"Windows of {number(ns / size)} {name}."


def more(number: int, what: str) -> str:
    """What there is beside what is drawn; nothing where that is all."""
    return f"Not drawn: {number} {what}." if number > 0 else ""


def number(value: float) -> str:
    """Three digits, which is what a label has room for."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def count(value: float) -> str:
    for size, letter in ((1e9, " G"), (1e6, " M"), (1e4, " k")):
        if value >= size:
            return number(value / (1000 if letter == " k" else size)) + letter
    return f"{value:,.0f}"


def empty(axes, text: str) -> None:
    """Says in the axes why there is nothing in them."""
    axes.text(0.5, 0.5, "\n".join(textwrap.wrap(text, 32)), transform=axes.transAxes, ha="center", va="center", fontsize=7, style="italic", color="0.25")
    axes.grid(False)
    axes.tick_params(length=0, labelbottom=False)
    if len(axes.get_shared_y_axes().get_siblings(axes)) == 1:  # else these numbers are a neighbour's too
        axes.tick_params(labelleft=False)
    axes.spines[:].set_visible(False)


def most(frame: pd.DataFrame, by: str, rows: int, names: list[str]) -> pd.DataFrame:
    """The rows that have most, and always the same ones of those that have equally much."""
    return frame.sort_values([by, *names], ascending=[False] + [True] * len(names), kind="stable").head(rows)


def stack(axes, parts: pd.DataFrame, title: str = "", columns: int = 3, fills: dict | None = None) -> None:
    """
    Horizontal stacked bars, a row for each of the index from the top, a part for each column; its legend is over them. What is in
    `fills` already, from another panel, looks the same here.
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
    """A legend over the axes, where no data can be."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2, title=title, ncols=columns, alignment="left", columnspacing=1, handletextpad=0.5, labelspacing=0.3)


def beside(axes, x: float, y: float, text: str, missing: bool = False) -> None:
    """Text to the right of a bar's end."""
    style = {"color": "0.35", "style": "italic"} if missing else {"color": "0.1"}
    axes.annotate(text, (x, y), xytext=(3, 0), textcoords="offset points", va="center", fontsize=6, bbox={"color": "white", "pad": 0.5}, **style)


def bounds(axes, value: float, low: float, high: float, y: float, colour: str = "0.35", open_ended: bool = True) -> None:
    """What a value may be, as a line; an arrow to the right where it has no upper bound."""
    if pd.notna(low) and low < value:
        axes.plot([low, value], [y, y], color=colour, linewidth=0.7, marker="|", markevery=[0], markersize=4, zorder=1.5)
    if pd.notna(high) and high > value:
        axes.plot([value, high], [y, y], color=colour, linewidth=0.7, marker="|", markevery=[1], markersize=4, zorder=1.5)
    elif open_ended and pd.isna(high) and pd.notna(low):
        axes.annotate("", (value, y), xytext=(12, 0), textcoords="offset points", arrowprops={"arrowstyle": "<-", "color": colour, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 6})


def plain(axis) -> None:
    """Numbers at the ticks of a logarithmic axis as one writes them (0.01, 1, 1000), and enough of them."""
    low, high = axis.get_view_interval()
    if low > 0:
        decades = np.floor(np.log10(high)) - np.ceil(np.log10(low)) + 1
        digits = (1, 2, 3, 5, 7) if high / low < 8 else (1, 3) if decades < 2 or high / low < 60 else (1,)
        axis.set_major_locator(matplotlib.ticker.LogLocator(subs=digits))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(matplotlib.ticker.NullLocator())


def coarser(frame: pd.DataFrame, column: str, width: float, cells: int) -> tuple[np.ndarray, float, float]:
    """Equal cells made so wide that there are at most so many: of each row the index of its cell, where they begin, how wide they are."""
    first = frame[column].min()
    there = (frame[column] - first) // width
    together = int(there.max() // cells + 1)
    return (there // together).to_numpy(int), first, width * together
