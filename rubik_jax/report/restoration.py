"""Windows that were changed: what they were, what the network was given, what it gave back."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from rubik_jax.report import markup
from rubik_jax.report.drawing import row
from rubik_jax.report.planes import fitted, middle


def section(picture: Mapping[str, np.ndarray], description: dict[str, Any]) -> str:
    """The windows and what they mean, as HTML.

    Args:
        picture: "wanted", "given" and "answer" [n, x, y, z, c], intensities scaled to [-1, 1],
            and "counted" [n, x, y, z], the voxels whose answers count.
        description: what the evaluated checkpoint says of itself.
    """
    del description
    note = (
        "Three planes through the middle of some windows: as they were, as the network was given "
        "them, and its answer"
    )
    if not picture["counted"].all():
        note += ", in which the voxels that it was shown stand as they were"
    figures = []
    for i in range(len(picture["wanted"])):
        one = {name: each[i] for name, each in picture.items()}
        errors = np.square(one["answer"] - one["wanted"])[one["counted"]]
        caption = f"window {i + 1}: mean squared error {errors.mean():.4f}"
        figures.append(markup.figure(draw(**one), caption))
    return markup.section("What it gives back", f"<p>{note}.</p>", *figures)


def draw(wanted: np.ndarray, given: np.ndarray, answer: np.ndarray, counted: np.ndarray) -> str:
    """Three planes of a window, side by side as it was, as it was given, and as it was answered.

    Args:
        wanted: the window [x, y, z, c]; the first channel is drawn, at the brightness it has here.
        given: the same, changed.
        answer: the same, as the network gives it back.
        counted: the voxels [x, y, z] whose answers count; elsewhere the window itself is drawn.

    Returns:
        An `<svg>` element.
    """
    was = wanted[..., 0]
    stages = {
        "was": was,
        "given": given[..., 0],
        "answer": np.where(counted, answer[..., 0], was),
    }
    scale, limits = fitted(was.shape, len(stages)), (float(was.min()), float(was.max()))
    planes = (middle(volume, title, scale, limits) for title, volume in stages.items())
    return row(tile for three in zip(*planes, strict=True) for tile in three)
