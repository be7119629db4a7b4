"""What was answered where something else was true, as a table, or as a map where there is much."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from jaxtyping import Int
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rubik_jax.report import markup
from rubik_jax.report.drawing import AMBER, BLUE, STYLE, svg

MANY = 20  # answers; a table of more can't be read


def section(counts: Int[np.ndarray, "k k"], names: Sequence[str], what: str, counted: str) -> str:
    """The table or the map, and what it means, as HTML.

    Args:
        counts: [true, answered].
        names: of the answers.
        what: an answer is, in a word: "class".
        counted: what is, in a word: "cases".
    """
    if len(names) <= MANY:
        return table(counts, names) + (
            f"<p>A row for each true {what}, a column for each answer: {counted}, and their share "
            "of the row.</p>"
        )
    note = (
        f"A row for each true {what}, a column for each answer, by their numbers, from 0. The "
        "deeper the colour, the larger the share of the row; blue is right."
    )
    return markup.figure(draw(counts, what), note)


def table(counts: Int[np.ndarray, "k k"], classes: Sequence[str]) -> str:
    """Counts [true, answered] as a table, the deeper in colour the larger their share of a row."""
    sums = counts.sum(axis=1, keepdims=True)
    shares = counts / np.where(sums, sums, np.nan)

    def cell(i: int, j: int) -> str:
        colour = "59 130 246" if i == j else "217 119 6"
        depth = 0.5 * np.nan_to_num(shares[i, j])
        share = markup.number(shares[i, j], "{:.0%}")
        return (
            f'<td style="background:rgb({colour} / {depth:.2f})">{counts[i, j]} '
            f"<small>{share}</small></td>"
        )

    every = range(len(classes))
    return markup.matrix(classes, ([cell(i, j) for j in every] for i in every))


def draw(counts: Int[np.ndarray, "k k"], what: str) -> str:
    """The same as a map without numbers: the deeper in colour the larger a share of its row.

    Returns:
        An `<svg>` element, rows of the truth from above, columns of the answer.
    """
    sums = counts.sum(axis=1, keepdims=True)
    shares = counts / np.where(sums, sums, 1)
    cells = np.array([to_rgba(AMBER), to_rgba(BLUE)])[np.eye(len(counts), dtype=int)]
    cells[..., 3] = shares
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.4, 4.4))
        figure.subplots_adjust(0.11, 0.03, 0.98, 0.88)
        axes = figure.subplots()
        axes.imshow(cells, interpolation="none")
        axes.xaxis.tick_top()
        axes.xaxis.set_label_position("top")
        axes.set(xlabel=f"answered {what}", ylabel=f"true {what}")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(12, integer=True))
        for spine in axes.spines.values():
            spine.set(visible=True, alpha=0.3)
        return svg(figure)
