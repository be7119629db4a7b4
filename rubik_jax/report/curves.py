"""The curves of a run: losses above, and below them what its answers are worth."""

import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, PercentFormatter

from rubik_jax.report import markup
from rubik_jax.report.drawing import AMBER, BLUE, INK, OTHERS, STYLE, apart, label_colours, svg

POINTS = 400  # of a line; more can't be told apart, and would only make the page large
LABELS = 7  # no more have a line each
COLOURS = {
    "order": BLUE,
    "orientation": AMBER,
    "turn": "#a855f7",
    "mask": "#16a34a",
    "balanced": BLUE,
    "knn": "#0d9488",
    "linear": "#db2777",
    "": INK,  # the whole
}
NAMES = {"": "accuracy", "knn": "k-NN probe", "linear": "linear probe"}
OVERLAPS = {
    "foreground_dice": ("foreground Dice", INK),
    "foreground_miou": ("foreground IoU", "#a855f7"),
    "miou": ("all-label mIoU", "#64748b"),
}

Record = dict[str, Any]


class Line(NamedTuple):
    """One line: the key of its values, its name, its colour, and the key of what chance scores."""

    key: str
    name: str
    colour: str
    chance: str = ""


def section(records: list[Record]) -> str:
    """The curves and what they mean, as HTML; see `draw`."""
    note = "Thin: training; bold: validation; dotted: chance"
    if any("foreground_dice" in record for record in records):
        note = (
            "Thin: training; bold: validation, over windows. Foreground: the mean over the labels "
            "but the background, which mIoU counts too"
        )
    if len({record["freedom"] for record in records if "freedom" in record}) > 1:
        note += "; shaded: the share of cubes that were free to turn in training"
    if any(record["part"] == "probe" for record in records):
        note += (
            "; k-NN and linear probe: what a vote of the nearest neighbours and a linear "
            "layer make of the encoder's features"
        )
    return markup.section("Curves", markup.figure(draw(records), f"{note}."))


def draw(records: list[Record]) -> str:
    """Losses and accuracies, or Dice and IoU, over the steps; chance is dotted.

    Args:
        records: as `report.records.read` gives them, one at least. What is missing, None or not
            finite in one is left out of its line.

    Returns:
        An `<svg>` element. Where the training's "freedom" changes, it is shaded.
    """
    train, held_out = (
        [record for record in records if record["part"] in parts]
        for parts in (("train",), ("validation", "probe"))
    )
    keys = list(dict.fromkeys(key for record in [*train, *held_out] for key in record))
    overlaps = list(_overlaps(keys))
    scores = overlaps or list(_accuracies(keys))
    with matplotlib.rc_context(STYLE):
        losses, *below = panels(2 if scores else 1, max(record["step"] for record in records))
        losses.set_title("loss", loc="left", fontweight="bold")
        losses.set_yscale("log", subs=())
        losses.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        losses.yaxis.set_major_formatter("{x:g}")
        lines(losses, train, held_out, list(_losses(keys)), "{:.3g}")
        for axes in below:
            title = "Dice and IoU" if overlaps else "accuracy"
            axes.set_title(title, loc="left", fontweight="bold")
            axes.set_ylim(0, 1.02)
            if not overlaps:
                axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
            free = series(train, "freedom")
            if len(np.unique(free[1])) > 1:
                axes.fill_between(*free, color=INK, alpha=0.1, linewidth=0)
            lines(axes, train, held_out, scores, "{:.3f}" if overlaps else "{:.1%}")
        return svg(losses.figure)


def panels(count: int, steps: int, height: float = 2.8) -> list[Axes]:
    """One below the other, over steps, with room for the names of lines on the right."""
    figure = Figure(figsize=(8.4, height * count))
    bottom, top = 0.45 / figure.get_figheight(), 1 - 0.28 / figure.get_figheight()
    figure.subplots_adjust(0.07, bottom, 0.81, top, hspace=0.25)
    panels = figure.subplots(count, 1, sharex=True, squeeze=False)[:, 0]
    panels[-1].set_xlabel("step")
    panels[-1].set_xlim(0, steps)
    panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    return list(panels)


def _losses(keys: list[str]) -> Iterator[Line]:
    for name, colour in _coloured(keys, "loss"):
        yield Line(f"{name}_loss".strip("_"), name.replace("_", " ") or "total", colour)


def _accuracies(keys: list[str]) -> Iterator[Line]:
    for name, colour in _coloured(keys, "accuracy"):
        shown = NAMES.get(name, name.replace("_", " "))
        yield Line(f"{name}_accuracy".strip("_"), shown, colour, f"{name}_chance".strip("_"))


def _overlaps(keys: list[str]) -> Iterator[Line]:
    """Dice and IoU of the foreground, and the Dice of each label of a few."""
    yield from (Line(key, *OVERLAPS[key]) for key in OVERLAPS if key in keys)
    values = [key.removeprefix("dice_") for key in keys if key.startswith("dice_")]
    colours = label_colours([int(value) for value in values if value.lstrip("-").isdigit()])
    if len(colours) <= LABELS:
        for value, colour in colours.items():
            yield Line(f"dice_{value}", f"Dice of {value}", colour.code)


def _coloured(keys: Iterable[str], what: str) -> Iterator[tuple[str, str]]:
    """What there is of a kind, e.g. "order" of order_loss, with its colour; "" is the whole."""
    names = [key.removesuffix(what).removesuffix("_") for key in keys if key.endswith(what)]
    others = iter(OTHERS * len(names))
    for name in names:
        yield name, COLOURS[name] if name in COLOURS else next(others)


def lines(
    axes: Axes, train: list[Record], held_out: list[Record], drawn: list[Line], form: str
) -> None:
    """Draws the lines, thin and bold, each named at its end with its last value."""
    axes.grid(color=INK, alpha=0.12)
    ends = []
    for key, name, colour, chance in drawn:
        thin, bold = series(train, key), series(held_out, key)
        dot = "." if len(thin[0]) == 1 else ""
        axes.plot(*thin, color=colour, linewidth=1, alpha=0.55, marker=dot)
        axes.plot(*bold, color=colour, linewidth=1.8, marker=".", markersize=5)
        last = [*thin[1][-1:], *bold[1][-1:]]
        if last:
            ends.append((last[-1], f"{name} {form.format(last[-1])}", colour))
        _, guessed = series(held_out, chance)
        if len(guessed):
            axes.axhline(guessed[-1], color=colour, linewidth=1.2, linestyle=":")
            ends.append((guessed[-1], f"chance {form.format(guessed[-1])}", colour))
    _label(axes, ends)


def series(records: list[Record], key: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of a key, as means over neighbours where there are many."""
    pairs = [(r["step"], r[key]) for r in records if r.get(key) is not None]
    found = np.array([pair for pair in pairs if math.isfinite(pair[1])], float).reshape(-1, 2)
    parts = np.array_split(found, min(POINTS, len(found)) or 1)
    steps, values = np.array([part.mean(axis=0) for part in parts if len(part)]).reshape(-1, 2).T
    return steps, values


def _label(axes: Axes, ends: list[tuple[float, str, str]]) -> None:
    """Names the ends of lines at the right of the axes, moved apart, each with a line to it."""
    if not ends:
        return
    ends = sorted(ends)
    to_axes = axes.transData + axes.transAxes.inverted()
    at = np.array([to_axes.transform((axes.get_xlim()[1], value))[1] for value, _, _ in ends])
    at = np.clip(at, 0, 1)  # a loss of 0 lies far below a logarithmic axis
    for (_, text, colour), start, height in zip(ends, at, apart(at, 0.08), strict=True):
        line = {"color": colour, "linewidth": 1, "clip_on": False, "transform": axes.transAxes}
        axes.plot([1.0, 1.025], [start, height], **line)
        axes.text(1.03, height, text, va="center", transform=axes.transAxes)
