"""What the pictures of a page share: colours, a style for light and dark pages, planes, SVG."""

import base64
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

# Text and axes take the colour of the page's text; the others are seen on white and on black.
INK = "#010203"
BLUE = "#3b82f6"
AMBER = "#d97706"
WRONG = "#ef4444"
OTHERS = ("#0d9488", "#db2777", "#64748b", "#a16207", "#7c3aed", "#0284c7")

STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "rubik_jax",
    "font.size": 9,
    "text.parse_math": False,  # a class may be called "$a$"
    **{f"{part}.color": INK for part in ("text", "xtick", "ytick")},
    **{f"axes.{part}": INK for part in ("edgecolor", "labelcolor", "titlecolor")},
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
}


PLANES = {"sagittal": (1, 2), "coronal": (0, 2), "axial": (0, 1)}  # axes to the right, and up
ENDS = "RAS"  # of the axes x, y, z
GAP, TITLE = 12, 20  # pixels, between planes and above them
NARROW = 48  # pixels, which a title needs at least


class Colour(NamedTuple):
    """A colour, and what people call it."""

    code: str
    name: str


# Those that the colour-blind tell apart too (Okabe and Ito, 2008), on grey, white and black.
LABELS = (
    Colour("#e69f00", "orange"),
    Colour("#56b4e9", "sky blue"),
    Colour("#cc79a7", "pink"),
    Colour("#009e73", "green"),
    Colour("#d55e00", "red"),
    Colour("#f0e442", "yellow"),
    Colour("#0072b2", "dark blue"),
)


def label_colours(values: Sequence[int]) -> dict[int, Colour]:
    """The colour of each label but the background, the least; they repeat after seven."""
    return {value: LABELS[i % len(LABELS)] for i, value in enumerate(sorted(values)[1:])}


def samples(colours: Mapping[int, Colour]) -> dict[str, str]:
    """The style of each colour's sample -> which labels are drawn in it, for `markup.legend`."""
    by_colour: dict[Colour, list[str]] = {}
    for value, colour in colours.items():
        by_colour.setdefault(colour, []).append(str(value))
    return {
        f"background:{colour.code}": f"{colour.name}: label {', '.join(labels)}"
        for colour, labels in by_colour.items()
    }


class Tile(NamedTuple):
    """A plane as it's drawn.

    title: what stands above it.
    axes: of the volume, that to the right and that upwards.
    size: pixels to the right and up.
    content: SVG elements that fill that size from (0, 0), u to the right and v upwards.
    """

    title: str
    axes: tuple[int, int]
    size: tuple[float, float]
    content: str


def row(tiles: Iterable[Tile]) -> str:
    """Planes side by side, with letters for the ends of the patient, as an `<svg>` element."""
    left, bottom, drawn = 0.0, 0.0, ""
    for title, axes, (width, height), content in tiles:
        middle, start = left + max(width, NARROW) / 2, left + max(0, NARROW - width) / 2
        right, up = (ENDS[axis] for axis in axes)
        drawn += (
            f'<text x="{middle:.1f}" y="{TITLE - 6}" fill="currentColor">{escape(title)}</text>'
            f'<g transform="translate({start:.1f} {TITLE + height:.1f}) scale(1 -1)">{content}</g>'
            f"{_letter(right, start + width - 9, TITLE + height / 2)}"
            f"{_letter(up, middle, TITLE + 9)}\n"
        )
        left, bottom = left + max(width, NARROW) + GAP, max(bottom, TITLE + height)
    right, bottom = f"{left - GAP:.1f}", f"{bottom:.1f}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{right}" height="{bottom}" '
        f'viewBox="0 0 {right} {bottom}" font-size="12" text-anchor="middle">\n{drawn}</svg>'
    )


def image(picture: bytes, kind: str, size: tuple[float, float], style: str = "") -> str:
    """A picture of that kind ("png", "jpeg") over that size from (0, 0), as an SVG element."""
    data = base64.b64encode(picture).decode()
    return (
        f'<image href="data:image/{kind};base64,{data}" width="{size[0]:g}" height="{size[1]:g}" '
        f'preserveAspectRatio="none" style="{style}"/>'
    )


def _letter(letter: str, x: float, y: float) -> str:
    """Names the end of the patient that lies there."""
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="7" fill="black" opacity=".5"/>'
        f'<text x="{x:.1f}" y="{y + 3.5:.1f}" font-size="10" fill="white">{letter}</text>'
    )


def apart(heights: Float[np.ndarray, " n"], step: float) -> Float[np.ndarray, " n"]:
    """Heights on [0, 1], rising, moved so that neighbours are a step apart at least."""
    least = step * np.arange(len(heights))
    free = np.clip(heights - least, 0, max(0, 1 - least[-1]))
    # The mean of pushing upwards only and pushing downwards only.
    up, down = np.maximum.accumulate(free), np.minimum.accumulate(free[::-1])[::-1]
    return (up + down) / 2 + least


def svg(figure: Figure) -> str:
    """The figure, drawn within `matplotlib.rc_context(STYLE)`, as an element for a page."""
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    element = out.getvalue()[out.getvalue().index("<svg") :]
    # The names of groups are the same in every figure, and a page may have them once.
    return re.sub('<g id="[^"]*"', "<g", element).replace(INK, "currentColor")
