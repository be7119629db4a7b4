"""Pairs of views of a few volumes, and which of them the network takes for alike."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from rubik_jax.report import markup
from rubik_jax.report.drawing import row
from rubik_jax.report.planes import fitted, middle


def section(picture: Mapping[str, np.ndarray], description: dict[str, Any]) -> str:
    """The views, and a table of how similar they are, as HTML.

    Args:
        picture: "views" [2, n, x, y, z, c], intensities scaled to [-1, 1], and "similarity"
            [n, n], the cosine between the vectors of a first view (row) and a second (column).
        description: what the evaluated checkpoint says of itself.
    """
    del description
    figures = [
        markup.figure(draw(first, second), f"volume {i}")
        for i, (first, second) in enumerate(zip(*picture["views"], strict=True), start=1)
    ]
    note = (
        "How alike the network's vectors are (the cosine between them): a row for each first view, "
        "a column for each second one; the diagonal is the same volume. Bold: the most similar."
    )
    table = similarities(picture["similarity"])
    return markup.section("Views", table, f"<p>{note}</p>", *figures)


def draw(first: np.ndarray, second: np.ndarray) -> str:
    """The three planes through the middle of two views [x, y, z, c], as an `<svg>` element."""
    views = {"first view": first[..., 0], "second": second[..., 0]}
    scale = fitted(first.shape[:3], len(views))
    return row(
        tile
        for title, view in views.items()
        for tile in middle(view, title, scale, (float(view.min()), float(view.max())))
    )


def similarities(cosines: np.ndarray) -> str:
    """Cosines [n, n] as a table, the deeper in colour the more alike, the best of a row bold."""

    def cell(cosine: float, best: bool) -> str:
        depth, said = 0.5 * max(0.0, cosine), f"{cosine:.2f}"
        said = f"<b>{said}</b>" if best else said
        return f'<td style="background:rgb(59 130 246 / {depth:.2f})">{said}</td>'

    best = cosines.argmax(axis=1).tolist()
    rows = (
        [cell(cosine, i == most) for i, cosine in enumerate(line)]
        for line, most in zip(cosines.tolist(), best, strict=True)
    )
    return markup.matrix([str(number) for number in range(1, len(cosines) + 1)], rows)
