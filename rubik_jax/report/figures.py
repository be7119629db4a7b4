"""The pictures of a run's page, as SVG that suits a light and a dark page alike."""

import io
import re
from collections.abc import Iterable
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator, MaxNLocator, PercentFormatter

# Text and axes take the colour of the page's text; the others are seen on white and on black.
INK = "#010203"
COLOURS = {"order": "#3b82f6", "orientation": "#d97706", "turn": "#a855f7", "mask": "#16a34a"}
OTHERS = ("#0d9488", "#db2777", "#64748b", "#a16207")
WRONG = "#ef4444"
POINTS = 400  # of a line; more can't be told apart, and would only make the page large
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "rubik_jax",
    "font.size": 9,
    **{f"{part}.color": INK for part in ("text", "xtick", "ytick")},
    **{f"axes.{part}": INK for part in ("edgecolor", "labelcolor", "titlecolor")},
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
}

Record = dict[str, Any]


def curves(records: list[Record]) -> str:
    """Losses and accuracies over the steps: train thin, validation bold, chance dotted.

    Args:
        records: as `report.records.read` gives them, one at least.

    Returns:
        An `<svg>` element. Where the training's "freedom" changes, it is shaded.
    """
    train, validation = (
        [record for record in records if record["part"] == part] for part in ("train", "validation")
    )
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.4, 5.6))
        figure.subplots_adjust(left=0.07, right=0.83, top=0.95, bottom=0.08, hspace=0.25)
        losses, accuracies = figure.subplots(2, 1, sharex=True)
        losses.set_yscale("log", subs=())
        losses.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        losses.yaxis.set_major_formatter("{x:g}")
        accuracies.set_ylim(0, 1.02)
        accuracies.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        accuracies.xaxis.set_major_locator(MaxNLocator(integer=True))
        accuracies.set_xlim(0, max(record["step"] for record in records))
        accuracies.set_xlabel("step")
        free = _series(train, "freedom")
        if len(np.unique(free[1])) > 1:
            accuracies.fill_between(*free, color=INK, alpha=0.1, linewidth=0)
        _lines(losses, train, validation, "loss", "{:.3g}")
        _lines(accuracies, train, validation, "accuracy", "{:.1%}")
        return _svg(figure)


def puzzle(
    before: np.ndarray,
    scrambled: np.ndarray,
    restored: np.ndarray,
    scrambled_from: np.ndarray,
    restored_from: np.ndarray,
    right: np.ndarray,
    counts: np.ndarray,
) -> str:
    """A window's cubes before, scrambled, and as the network puts them back; wrong ones framed.

    One row for each layer of cubes along z, the uppermost first, and of each cube the plane
    through its middle, x to the right and y up.

    Args:
        before: the cubes [m, x, y, z, c] by their places, z fastest; the first channel is drawn.
        scrambled: the same when moved and turned.
        restored: the same when put back.
        scrambled_from: which cube stands in each place [m] of `scrambled`.
        restored_from: which stands in each place of `restored`.
        right: whether the cube in each place of `restored` is the one from `before`, unturned.
        counts: cubes along x, y, z.

    Returns:
        An `<svg>` element.
    """
    every = np.arange(len(before))
    stages = {  # the cubes, their numbers, and the places that are framed
        "a window, in cubes": (before, every, ()),
        "moved and turned": (scrambled, scrambled_from, ()),
        f"put back: {np.sum(right)} of {len(right)} right": (
            restored,
            restored_from,
            every[~right],
        ),
    }
    layers = int(counts[2])
    sides = np.array(before.shape[1:3])
    pitch = sides + max(1, sides.min() // 12)  # a cube and the space to the next
    extent = pitch * counts[:2] - (pitch - sides)
    width = 2.2
    with matplotlib.rc_context(STYLE):
        height = layers * (width * extent[1] / extent[0] + 0.2) + 0.3
        figure = Figure(figsize=(len(stages) * (width + 0.15), height))
        figure.subplots_adjust(0.01, 0.01, 0.99, 1 - 0.3 / height, wspace=0.06, hspace=0.07)
        panels = figure.subplots(layers, len(stages), squeeze=False)
        for column, (title, (cubes, numbers, framed)) in enumerate(stages.items()):
            panels[0, column].set_title(title, fontsize=9)
            for row, layer in enumerate(reversed(range(layers))):
                axes = panels[row, column]
                axes.set_axis_off()
                places = every.reshape(counts)[:, :, layer]
                _show(axes, cubes[places, :, :, before.shape[3] // 2, 0], pitch - sides)
                for (i, j), place in np.ndenumerate(places):
                    corner = pitch * (i, j) - 0.5
                    _number(axes, corner, int(numbers[place]) + 1)
                    if place in framed:
                        frame = {"fill": False, "edgecolor": WRONG, "linewidth": 2.5}
                        axes.add_patch(Rectangle(corner, *sides, clip_on=False, **frame))
        return _svg(figure)


def _lines(axes: Axes, train: list[Record], validation: list[Record], what: str, form: str) -> None:
    """Draws all that the records hold of a kind, each line named at its end with its last value."""
    axes.set_title(what, loc="left", fontweight="bold")
    axes.grid(color=INK, alpha=0.12)
    ends = []
    for name, colour in _colours([*train, *validation], what).items():
        key = f"{name}_{what}" if name else what
        thin, bold = _series(train, key), _series(validation, key)
        dot = "." if len(thin[0]) == 1 else ""
        axes.plot(*thin, color=colour, linewidth=1, alpha=0.55, marker=dot)
        axes.plot(*bold, color=colour, linewidth=1.8, marker=".", markersize=5)
        last = (bold if len(bold[0]) else thin)[1][-1]
        ends.append((last, f"{name or 'total'} {form.format(last)}", colour))
        _, chance = _series(validation, f"{name}_chance")
        if what == "accuracy" and len(chance):
            axes.axhline(chance[-1], color=colour, linewidth=1.2, linestyle=":")
            ends.append((chance[-1], f"chance {form.format(chance[-1])}", colour))
    _label(axes, ends)


def _colours(records: Iterable[Record], what: str) -> dict[str, str]:
    """What there is of a kind, e.g. "order" of order_loss, with its colour; "" is the whole."""
    keys = dict.fromkeys(key for record in records for key in record)
    names = [key.removesuffix(what).removesuffix("_") for key in keys if key.endswith(what)]
    others = iter(OTHERS * len(names))
    return {name: COLOURS.get(name) or (next(others) if name else INK) for name in names}


def _series(records: list[Record], key: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of a key, as means over neighbours where there are many."""
    found = np.array([(r["step"], r[key]) for r in records if key in r], float).reshape(-1, 2)
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
    least = 0.08 * np.arange(len(ends))
    free = np.clip(at - least, 0, 1 - least[-1])
    # The mean of pushing upwards only and pushing downwards only.
    up, down = np.maximum.accumulate(free), np.minimum.accumulate(free[::-1])[::-1]
    for (_, text, colour), start, height in zip(ends, at, (up + down) / 2 + least, strict=True):
        line = {"color": colour, "linewidth": 1, "clip_on": False, "transform": axes.transAxes}
        axes.plot([1.0, 1.025], [start, height], **line)
        axes.text(1.03, height, text, va="center", transform=axes.transAxes)


def _show(axes: Axes, planes: np.ndarray, space: np.ndarray) -> None:
    """Draws planes [n, k, x, y] as a grid, transparent between them."""
    n, k, x, y = planes.shape
    padded = np.pad(
        planes.astype(float), [(0, 0), (0, 0), (0, space[0]), (0, space[1])], constant_values=np.nan
    )
    grid = padded.transpose(0, 2, 1, 3).reshape(n * (x + space[0]), k * (y + space[1]))
    axes.imshow(
        grid[: -space[0], : -space[1]].T,
        cmap="gray",
        vmin=-1,
        vmax=1,
        origin="lower",
        interpolation="none",
    )


def _number(axes: Axes, corner: np.ndarray, number: int) -> None:
    box = {"facecolor": "black", "alpha": 0.5, "linewidth": 0, "pad": 1.2}
    axes.annotate(
        str(number),
        corner,
        (3, 3),
        textcoords="offset points",
        color="white",
        fontsize=8,
        bbox=box,
    )


def _svg(figure: Figure) -> str:
    """The figure as an element to be put into a page."""
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    element = out.getvalue()[out.getvalue().index("<svg") :]
    # The names of groups are the same in every figure, and a page may have them once.
    return re.sub('<g id="[^"]*"', "<g", element).replace(INK, "currentColor")
