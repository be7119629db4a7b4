"""What the pictures of a page share: colours, a style for light and dark pages alike, SVG."""

import io
import re
from collections.abc import Sequence
from typing import NamedTuple

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


def svg(figure: Figure) -> str:
    """The figure, drawn within `matplotlib.rc_context(STYLE)`, as an element for a page."""
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    element = out.getvalue()[out.getvalue().index("<svg") :]
    # The names of groups are the same in every figure, and a page may have them once.
    return re.sub('<g id="[^"]*"', "<g", element).replace(INK, "currentColor")
