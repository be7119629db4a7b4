"""One puzzle: a window's cubes before, scrambled, and as the network puts them back."""

from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from rubik_jax.report import markup
from rubik_jax.report.drawing import STYLE, WRONG, svg


def section(picture: dict[str, Any], description: dict[str, Any]) -> str:
    """The puzzle and what it means, as HTML; `picture` holds the arguments of `draw`."""
    del description
    note = (
        "The planes through the middles of the cubes, upper cubes above; numbers name the cubes. "
        "A red frame: another cube belongs here, or it is still turned."
    )
    return markup.section("One puzzle", markup.figure(draw(**picture), note))


def draw(
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
        return svg(figure)


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
