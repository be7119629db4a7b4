"""How far each strategy comes with how many labels, as a picture."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rubik_jax.metrics.paired import Summary, summarise
from rubik_jax.report.comparison import Strategy, Tables, Target, labels, percent, results
from rubik_jax.report.drawing import AMBER, BLUE, INK, OTHERS, STYLE, WRONG, apart, svg

COLOURS = (BLUE, AMBER, *OTHERS[:2], OTHERS[4], WRONG, OTHERS[2], "#16a34a", OTHERS[3], OTHERS[5])
MARKS = "osD^vPX*h<"  # beside colours, for eyes and printers that tell few of them
LETTER = 0.0083  # of the width, roughly
APART = 0.012  # of the width, between the spread bars of neighbours


class Line(NamedTuple):
    """A strategy with its colour and mark, and what it came to, by its place on the x axis."""

    name: str
    colour: str
    mark: str
    found: Mapping[float, Summary]


def draw(tables: Tables, target: Target) -> str:
    """Means with their spread over seeds, against the labelled cases, or side by side.

    Args:
        tables: what there is.
        target: to draw.

    Returns:
        An `<svg>` element, nothing where no run is finished. With several numbers of labels a line
        for each strategy, on a logarithmic axis where all are known; with one a row for each, with
        its single runs.
    """
    runs = [r for r in tables.results if r.target == target.key and summarise([r]).seeds]
    there = [k for k in tables.labelled if any(run.labelled == k for run in runs)]
    if not there:
        return ""
    with matplotlib.rc_context(STYLE):
        axes = _lines(tables, target, there) if len(there) > 1 else _dots(tables, target, *there)
        return svg(axes.figure)


def _styles(tables: Tables) -> dict[str, tuple[str, str]]:
    """Colour and mark of each strategy; scratch has the colour of the text."""
    others = [s.key for s in tables.strategies if s.key != tables.scratch]
    styles = {
        key: (COLOURS[i % len(COLOURS)], MARKS[i % len(MARKS)]) for i, key in enumerate(others)
    }
    return styles | {tables.scratch: (INK, "o")}


def _lines(tables: Tables, target: Target, there: list[str]) -> Axes:
    counts = [int(k) if k.isdigit() else tables.counts.get(k) for k in there]
    known = all(counts) and len({*counts}) == len(counts)  # else one would hide the other
    places = list(map(math.log, counts)) if known else list(range(len(there)))
    width = max(places) - min(places)
    styles, lines = _styles(tables), []
    for i, strategy in enumerate(tables.strategies):
        shift = APART * width * (i - (len(tables.strategies) - 1) / 2)
        moved = {k: place + shift for k, place in zip(there, places, strict=True)}
        found = _found(tables, strategy, target, moved)
        if found:
            lines.append(Line(strategy.name, *styles[strategy.key], found))
    longest = max(len(line.name) for line in lines)
    axes = _axes(1.6 + 0.21 * len(lines), (0.07, 0.95 - LETTER * (longest + len(" 99.9"))))
    for line in lines:
        means, spreads = 100 * np.array([of[:2] for of in line.found.values()]).T
        style = {"color": line.colour, "marker": line.mark, "markersize": 4, "elinewidth": 0.8}
        bold = 2.2 if line.colour == INK else 1.2
        x = list(line.found)
        axes.errorbar(x, means, np.nan_to_num(spreads), **style, linewidth=bold, capsize=2)
    axes.set_xlim(min(places) - 0.1 * width, max(places) + 0.1 * width)
    said = [str(n) if k.isdigit() else f"{n}\n({k})" for k, n in zip(there, counts, strict=True)]
    axes.set_xticks(places, said if known else there)
    axes.set_xlabel("labelled cases" if known else "labels")
    axes.set_ylabel(f"{target.measure}, %")
    _name(axes, lines)
    return axes


def _dots(tables: Tables, target: Target, labelled: str) -> Axes:
    longest = max(len(strategy.name) for strategy in tables.strategies)
    axes = _axes(0.9 + 0.26 * len(tables.strategies), (0.03 + LETTER * longest, 0.97))
    styles = _styles(tables)
    for row, strategy in enumerate(tables.strategies):
        colour, mark = styles[strategy.key]
        runs = results(tables, strategy.key, target.key, labelled)
        mean, spread, seeds = summarise(runs)
        single = [100 * summarise([run]).mean for run in runs]
        if seeds > 1:
            axes.plot(single, [row + 0.25] * len(runs), ".", color=colour, markersize=4)
            axes.errorbar(100 * mean, row, xerr=100 * spread, color=colour, capsize=3)
        axes.plot(100 * mean, row, mark, color=colour, markersize=6)
        if strategy.key == tables.scratch:
            axes.axvline(100 * mean, color=INK, linewidth=1, linestyle=":")
    axes.set_yticks(range(len(tables.strategies)), [s.name for s in tables.strategies])
    axes.set_ylim(len(tables.strategies) - 0.5, -0.5)
    axes.set_xlabel(f"{target.measure}, %; {labels(tables, labelled)}")
    return axes


def _found(
    tables: Tables, strategy: Strategy, target: Target, places: Mapping[str, float]
) -> dict[float, Summary]:
    """Place on the x axis -> what the strategy came to there, where it has a run, from the left."""
    found = {
        place: summarise(results(tables, strategy.key, target.key, labelled))
        for labelled, place in places.items()
    }
    return {place: of for place, of in sorted(found.items()) if of.seeds}


def _axes(height: float, sides: tuple[float, float]) -> Axes:
    """Axes on a picture of that height in inches, between two parts of its width."""
    figure = Figure(figsize=(8.4, height))
    figure.subplots_adjust(sides[0], 0.65 / height, sides[1], 1 - 0.1 / height)
    axes = figure.subplots()
    axes.grid(color=INK, alpha=0.12)
    return axes


def _name(axes: Axes, lines: list[Line]) -> None:
    """Names lines at the right of the axes with their last value, each with a line to its end."""
    lines = sorted(lines, key=lambda line: list(line.found.values())[-1].mean)
    ends = [list(line.found.items())[-1] for line in lines]
    to_axes = axes.transData + axes.transAxes.inverted()
    points = to_axes.transform([(place, 100 * of.mean) for place, of in ends])
    step = 0.19 / (axes.figure.get_figheight() * axes.get_position().height)
    for line, (_, of), point, height in zip(
        lines, ends, points, apart(points[:, 1], step), strict=True
    ):
        shared = {"clip_on": False, "transform": axes.transAxes, "color": line.colour}
        axes.plot([point[0] + 0.01, 1.02], [point[1], height], linewidth=0.7, **shared)
        axes.plot(1.035, height, line.mark, markersize=4, **shared)
        text = f"{line.name} {percent(of.mean)}"
        axes.text(1.055, height, text, va="center", transform=axes.transAxes)
