"""Cases with their masks: three planes of the scan, the truth as outlines, the answer filled."""

import io
import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from PIL import Image

from rubik_jax.report import markup
from rubik_jax.report.drawing import GAP, PLANES, Colour, Tile, image, label_colours, row, samples
from rubik_jax.report.scores import names

DRAWN = 6  # cases
SIDE = 240  # voxels of a plane; more can't be told apart, and would only make the page large
GREYS = 64  # nor can more of these
WIDTH, HEIGHT = 800, 240  # pixels, at most: of the three planes together, and of the highest
FILL = 0.45  # opacity

Case = Mapping[str, Any]


def section(cases: Sequence[Case], description: dict[str, Any]) -> str:
    """The worst cases, the middle ones and the best, as HTML.

    Args:
        cases: of each its name "case"; "planes", across x, y, z, with "image" [u, v] in [0, 1],
            "truth" and "guess" [u, v], labels, -1 where the truth says nothing; "spacing", mm
            along x, y, z; and its measures, e.g. "foreground_dice", "dice_1", "foreground_hd95".
        description: what the evaluated checkpoint says of itself.
    """
    values = description["values"]
    colours = label_colours(values)
    note = (
        "Three planes of each case, where its mask is largest. The patient's right, front and top "
        "(R, A, S) are on the right or above."
    )
    if len(cases) > DRAWN:
        note += f" Of {len(cases)} cases: the two worst, the two in the middle, the two best."
    figures = [
        markup.figure(draw(case["planes"], case["spacing"], colours), _caption(place, case, values))
        for place, case in choose(cases)
    ]
    return markup.section("Slices", f"<p>{note}</p>", _legend(colours), *figures)


def choose(cases: Sequence[Case]) -> list[tuple[str, Case]]:
    """Up to `DRAWN` cases from the worst Dice to the best, each with its place among all.

    Those without a Dice, in which there is nothing to find and nothing was found, come last.
    """
    empty = [case for case in cases if math.isnan(case["foreground_dice"])]
    scored = [case for case in cases if not math.isnan(case["foreground_dice"])]
    scored.sort(key=lambda case: case["foreground_dice"])
    last, middle = len(scored) - 1, (len(scored) - 1) // 2
    kept = range(len(scored))
    if len(scored) > DRAWN:
        kept = (0, 1, middle, middle + 1, last - 1, last)
    special = {middle: "median", last: "best", 0: "worst"} if last > 0 else {}
    ranked = [(special.get(i, f"rank {last + 1 - i} of {last + 1}"), scored[i]) for i in kept]
    return [*ranked, *(("nothing to find", case) for case in empty)][:DRAWN]


def draw(
    planes: Sequence[Mapping[str, np.ndarray]],
    spacing: Sequence[float],
    colours: Mapping[int, Colour],
) -> str:
    """Three planes side by side, all at one scale.

    It is written without matplotlib, whose images take twice the space and whose paths five times.

    Args:
        planes: across x, y, z, as in `section`.
        spacing: mm between voxels along x, y, z.
        colours: of each label that is drawn.

    Returns:
        An `<svg>` element.
    """
    sizes = np.array(
        [
            np.array(plane["image"].shape) * [spacing[axis] for axis in axes]
            for plane, axes in zip(planes, PLANES.values(), strict=True)
        ]
    )
    widths, heights = sizes.T
    scale = min((WIDTH - 2 * GAP) / widths.sum(), HEIGHT / heights.max())  # pixels per mm
    return row(
        Tile(title, axes, size, _plane(plane, size, colours))
        for (title, axes), plane, size in zip(
            PLANES.items(), planes, map(tuple, scale * sizes), strict=True
        )
    )


def _plane(
    plane: Mapping[str, np.ndarray],
    size: tuple[float, float],
    colours: Mapping[int, Colour],
) -> str:
    """One plane [u, v] over that many pixels from (0, 0), u to the right and v up."""
    image, truth, guess = (_thinned(plane[name]) for name in ("image", "truth", "guess"))
    grey = np.round(np.round(np.clip(image, 0, 1) * (GREYS - 1)) * 255 / (GREYS - 1))
    fill = np.zeros((*guess.shape, 4), np.uint8)
    outlines = ""
    for value, colour in colours.items():
        fill[(guess == value) & (truth >= 0)] = [*bytes.fromhex(colour.code[1:]), 255]
        if (truth == value).any():
            outlines += (
                f'<path d="{_outline(truth == value)}" fill="none" stroke="{colour.code}" '
                'stroke-width="1.5" stroke-linecap="square" vector-effect="non-scaling-stroke"/>'
            )
    u, v = image.shape
    layers = _image(grey.astype(np.uint8))
    if fill.any():
        layers += _image(fill, opacity=FILL)
    return f'<g transform="scale({size[0] / u:.5g} {size[1] / v:.5g})">{layers}{outlines}</g>'


def _thinned(plane: np.ndarray) -> np.ndarray:
    """Every so many voxels of a plane, so that at most `SIDE` are left along each axis."""
    steps = [math.ceil(size / SIDE) for size in plane.shape]
    return plane[tuple(slice(step // 2, None, step) for step in steps)]


def _image(plane: np.ndarray, opacity: float = 1.0) -> str:
    """Grey values [u, v] or colours [u, v, 4], uint8, a voxel for each unit, without smoothing."""
    out = io.BytesIO()
    Image.fromarray(plane.swapaxes(0, 1)).save(out, "PNG", optimize=True)
    style = f"image-rendering:pixelated;opacity:{opacity}"
    return image(out.getvalue(), "png", plane.shape[:2], style)


def _outline(mask: np.ndarray) -> str:
    """The path along the sides of voxels between a mask [u, v] and what's outside of it."""
    along_v = [f"M{u} {v}v{length}" for u, v, length in _edges(mask)]
    along_u = [f"M{u} {v}h{length}" for v, u, length in _edges(mask.T)]
    return "".join(along_v + along_u)


def _edges(mask: np.ndarray) -> np.ndarray:
    """The straight runs of edges along the second axis: corner, corner and length [n, 3]."""
    edge = np.diff(np.pad(mask, ((1, 1), (0, 0))), axis=0)
    ends = np.diff(np.pad(edge, ((0, 0), (1, 1))).astype(int), axis=1)
    starts, stops = np.argwhere(ends == 1), np.argwhere(ends == -1)
    return np.column_stack([starts, stops[:, 1] - starts[:, 1]])


def _caption(place: str, case: Case, values: Sequence[int]) -> str:
    """The case, its place among all, and what it scores, as HTML."""
    labels = {said: f"dice_{name}" for name, said in names(case, values).items()}
    labels.pop(f"background ({values[0]})", None)
    shown = {"foreground Dice": "foreground_dice", **labels}
    scores = [f"{said} {markup.number(case[key], '{:.3f}')}" for said, key in shown.items()]
    distance = markup.number(case.get("foreground_hd95"), "{:.1f} mm")
    text = f", {place}: {', '.join(scores)}; HD95 {distance}"
    return f"<b>{escape(case['case'])}</b>{escape(text)}"


def _legend(colours: Mapping[int, Colour]) -> str:
    """What outlines, fills and colours mean, in words beside samples."""
    keys = {
        "border:2px solid": "outline: the mask it was judged by",
        f"background:currentColor;opacity:{FILL}": "filled: what the network answers",
    }
    return markup.legend(keys | samples(colours))
