"""What a pre-training mistakes for what: turns for other turns, orders for orders how far off."""

from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from rubik_jax.report import confusion, markup
from rubik_jax.report.drawing import AMBER, BLUE, INK, STYLE, svg
from rubik_jax.types import Metrics

KINDS = ("turn_confusion", "order_distance")
HALF_TURNS = ("none", "horizontal", "vertical", "both")  # by their numbers, as in `proxy`


def counted(totals: Metrics) -> dict[str, Int[np.ndarray, "..."]]:
    """The counts that are drawn here, out of an evaluation's totals; of other tasks there are none.

    Returns:
        "turn_confusion" [true, answered], cubes by the numbers of their turns; "order_distance"
        [M + 1], games by how many of the M cubes the answered order puts elsewhere than the true.
    """
    return {
        name: np.rint(np.asarray(totals[name].total)).astype(int)
        for name in KINDS
        if name in totals
    }


def section(counts: Mapping[str, Any], description: dict[str, Any]) -> str:
    """The mistakes and what they mean, as HTML.

    Args:
        counts: as `counted` gives them, one at least.
        description: what the evaluated checkpoint says of itself.
    """
    parts = []
    if "turn_confusion" in counts:
        parts.append(_turns(np.asarray(counts["turn_confusion"])))
    if "order_distance" in counts:
        games = np.asarray(counts["order_distance"])
        guessed = distances(np.asarray(description["orders"]))
        note = (
            "Games by how many cubes the answered order puts elsewhere than the true one; 0 is "
            "right. Dashes: where as many wrong answers would lie if they were drawn at random "
            "from the set of orders."
        )
        parts.append(markup.figure(draw_distances(games, guessed), note))
    return markup.section("Mistakes", *parts)


def distances(orders: Int[np.ndarray, "k m"]) -> Float[np.ndarray, "d"]:
    """The share of ordered pairs of different orders that differ in 0, 1, ..., M places."""
    lengths = orders.shape[1] + 1
    rows = (np.count_nonzero(orders != order, axis=1) for order in orders)
    counts = sum(np.bincount(row, minlength=lengths) for row in rows)
    counts[0] -= len(orders)  # each from itself
    return counts / counts.sum()


def draw_distances(games: Int[np.ndarray, "d"], guessed: Float[np.ndarray, "d"]) -> str:
    """Bars: the share of games by distance; dashes: that of wrong answers drawn at random.

    Args:
        games: counts by the distance between true and answered order.
        guessed: as `distances` gives them.

    Returns:
        An `<svg>` element, with those distances that the set of orders has.
    """
    shares = games / games.sum()
    there = np.flatnonzero((guessed > 0) | (games > 0) | (np.arange(len(games)) == 0))
    random = guessed * (1 - shares[0])
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6, 2.6))
        figure.subplots_adjust(0.1, 0.18, 0.98, 0.87)
        axes = figure.subplots()
        axes.set_title("games by the distance of the answer", loc="left", fontweight="bold")
        places = np.arange(len(there))
        colours = [BLUE if distance == 0 else AMBER for distance in there]
        axes.bar(places, shares[there], 0.6, color=colours, alpha=0.7)
        for place, distance in enumerate(there):
            above = max(shares[distance], random[distance])
            label = {"textcoords": "offset points", "ha": "center"}
            axes.annotate(f"{shares[distance]:.1%}", (place, above), (0, 4), **label)
        wrong = there > 0
        axes.hlines(
            random[there][wrong],
            places[wrong] - 0.4,
            places[wrong] + 0.4,
            color=INK,
            linestyle=(0, (3, 2)),
            linewidth=1.4,
        )
        axes.set_xticks(places, ["0, right", *map(str, there[1:])])
        axes.set_xlabel("cubes that the answered order puts elsewhere")
        highest = max(shares.max(), random.max())
        ticks = MaxNLocator(4).tick_values(0, highest)
        axes.set_yticks(ticks[ticks <= 1])
        axes.set_ylim(0, 1.2 * highest)  # with room for the numbers
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        return svg(figure)


def _turns(counts: Int[np.ndarray, "k k"]) -> str:
    half = len(counts) == len(HALF_TURNS)
    names = HALF_TURNS if half else [str(turn) for turn in range(len(counts))]
    return confusion.section(counts, names, "half turn of a cube" if half else "turn", "cubes")
