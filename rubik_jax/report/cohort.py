"""The page of a cohort, `data_report.html`: each case as it was read and as it's trained on."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, ornt_transform

from rubik_jax.data.outliers import amount, called, times
from rubik_jax.data.writing import replacing
from rubik_jax.report import markup, survey, thumbnails
from rubik_jax.report.drawing import (
    GAP,
    Colour,
    label_colours,
    row,
    samples,
)

HIGH = 40  # pixels of a histogram


class Shown(NamedTuple):
    """A case to show.

    name: of the case.
    facts: what was noted of it as it was read, as `data.facts.describe` gives it.
    reasons: sentences on what sets it apart from the others, if anything does.
    spacing: mm between the prepared voxels along x, y, z.
    volume: opens the prepared voxels [x, y, z, c] in [0, 1].
    labels: opens their labels [x, y, z]; None where there are none.
    """

    name: str
    facts: Mapping[str, Any]
    reasons: Sequence[str]
    spacing: Sequence[float]
    volume: Callable[[], np.ndarray]
    labels: Callable[[], np.ndarray | None]


def write(
    path: Path,
    cases: Sequence[Shown],
    *,
    title: str,
    about: str,
    command: str,
    skipped: Mapping[str, str],
    done: Sequence[str],
    orientation: str = "RAS",
    progress: Callable[[Iterable, int], Iterable] | None = None,
) -> None:
    """Writes the page, whole or not at all, opening one case at a time.

    Args:
        path: of the page.
        cases: to show; those with reasons come first and keep their order, the others by name.
        title: what the cohort is called.
        about: a line below it, on versions.
        command: that prepared it.
        skipped: the cases that can't be used, and why.
        done: what was done to the voxels, a line for each step.
        orientation: the axes' codes of the prepared volumes; they are shown as RAS whatever it is.
        progress: wraps the cases, given their number, as they are drawn.

    Raises:
        UserError: the page can't be written.
    """
    with replacing(path) as file:
        told = (f"{name}: {why}" for name, why in skipped.items())
        begin = [markup.section(f"Skipped: {len(skipped)}", markup.listing(told))]
        lines = f"<pre>{escape(command)}</pre>", f"<p>{'<br>'.join(map(escape, done))}</p>"
        shown = _shown(cases, markup.section("How it was prepared", *lines), orientation, progress)
        sections = itertools.chain(begin if skipped else (), shown if cases else ())
        for piece in markup.stream(title, about, sections, _STYLE):
            file.write(piece.encode())


def steps(how: Any) -> list[str]:
    """A line for each step of a `data.preprocess.Preprocessing`, in their order."""
    crop = {"none": "not cropped", "foreground": "cropped to the box around the foreground"}
    kept = "voxels of the size they had"
    spacing = f"resampled to voxels of {times(how.spacing)} mm" if how.spacing else kept
    own = ["voxels of the size that pixdim says"] if how.geometry == "pixdim" else []
    return [
        *own,
        f"axes turned to {how.orientation}",
        crop[how.crop],
        f"intensities scaled to 0 to 1 and clipped: {how.intensity}",
        spacing,
        "kept as float16",
    ]


def _shown(
    cases: Sequence[Shown],
    prepared: str,
    orientation: str,
    progress: Callable[[Iterable, int], Iterable] | None,
) -> Iterator[str]:
    """The sections on the cases, each case as soon as it's drawn."""
    apart = [case for case in cases if case.reasons]
    others = sorted((case for case in cases if not case.reasons), key=lambda case: case.name)
    facts = [case.facts for case in cases]
    known = {int(value) for of in facts for value in of["labels"] or ()}
    colours, typical = label_colours(sorted(known | {0})), _typical(facts)
    turn = ornt_transform(axcodes2ornt(orientation), axcodes2ornt("RAS"))

    yield _summary(facts)
    yield prepared
    headline = survey.headline({case.name: case.reasons for case in apart}, len(cases))
    yield markup.section(headline, _note(facts, colours), _lines(typical))
    grid = f'<div class="cases" style="--wide:{_wide(len(typical))}px">'
    yield grid
    drawn = (_case(case, colours, typical, turn) for case in [*apart, *others])
    for i, card in enumerate(progress(drawn, len(cases)) if progress else drawn):
        if apart and i == len(apart):
            yield f"</div>\n<h2>The others</h2>\n{grid}"
        yield card
    yield "</div>"


def _summary(facts: Sequence[Mapping[str, Any]]) -> str:
    """The cohort in figures, as the terminal shows them."""
    parts = [
        markup.facts(survey.summary(facts)),
        markup.table(survey.INTENSITIES, survey.intensities(facts)),
        f"<p>{survey.MEDIANS.capitalize()}.</p>",
    ]
    labels = survey.labels(facts)
    if labels:
        table = markup.table(survey.LABELS, labels)
        few = len(labels) <= survey.SHOWN
        head = f"<summary>{len(labels)} labels</summary>"
        parts.append(table if few else f"<details>{head}{table}</details>")
    return markup.section("The cohort as it was read", *parts)


def _note(facts: Sequence[Mapping[str, Any]], colours: Mapping[int, Colour]) -> str:
    """How the pictures are to be read."""
    several = len(facts[0]["channels"]) > 1
    where = "where the mask is largest" if colours else "through the middle"
    said = (
        f"Three planes of each prepared case{' in its first channel' if several else ''}, {where}"
        f"{', and the axial plane of the other channels' if several else ''}. The patient's right, "
        "front and top (R, A, S) are on the right or above. Histograms are of the foreground as "
        "it was read, from its 0.5th to its 99.5th percentile; the line is the mean of all cases."
    )
    return f"<p>{said}</p>" + (markup.legend(samples(colours)) if colours else "")


def _case(case: Shown, colours: Mapping[int, Colour], typical: np.ndarray, turn: np.ndarray) -> str:
    """One case with its planes and histograms, as HTML."""
    volume, labels = case.volume(), case.labels()
    tiles = thumbnails.tiles(
        apply_orientation(volume, turn),
        None if labels is None else apply_orientation(labels, turn),
        np.take(case.spacing, np.argsort(turn[:, 0])).tolist(),
        colours,
        [called(case.facts, k) for k in range(volume.shape[3])],
    )
    prepared = f"{times(volume.shape[:3])} voxels of {times(case.spacing)} mm"
    read = survey.line(case.facts, intensities=False)
    histograms = "".join(_histograms(case.facts, typical))
    if not read.startswith(prepared):
        read += f"; prepared: {prepared}"
    return (
        f"<article><h3>{escape(case.name)}</h3><p>{escape(read)}</p>"
        f"{markup.listing(case.reasons) if case.reasons else ''}"
        f"{row(tiles)}"
        f'<div class="histograms">{histograms}</div></article>'
    )


def _typical(facts: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """The mean histogram [channel, bin] of the cases, the share of voxels in each bin."""
    counts = np.array([[channel["histogram"] for channel in of["channels"]] for of in facts], float)
    return (counts / np.maximum(1, counts.sum(axis=2, keepdims=True))).mean(axis=0)


def _lines(typical: np.ndarray) -> str:
    """The mean histograms, drawn once, for those of the cases to refer to."""
    paths = "".join(
        f'<path id="typical{k}" d="{_steps(of, of)}" vector-effect="non-scaling-stroke"/>'
        for k, of in enumerate(typical)
    )
    return f'<svg class="hidden"><defs>{paths}</defs></svg>'


def _histograms(facts: Mapping[str, Any], typical: np.ndarray) -> Iterator[str]:
    """Each channel's histogram filled, and the mean of all cases as a line, on one scale."""
    for k, (of, usual) in enumerate(zip(facts["channels"], typical, strict=True)):
        counts = np.array(of["histogram"], float)
        shares = counts / max(1, counts.sum())
        which = f"{escape(called(facts, k))}: " if len(typical) > 1 else ""
        yield (
            f'<figure><svg viewBox="0 0 {len(counts)} {HIGH}" preserveAspectRatio="none">'
            f'<path d="{_steps(shares, usual)}V{HIGH}H0z"/><use href="#typical{k}"/></svg>'
            f"<figcaption>{which}{amount(of['low'])} to {amount(of['high'])}</figcaption></figure>"
        )


def _steps(shares: np.ndarray, usual: np.ndarray) -> str:
    """The path of a histogram from the lower left, cut off where it's out of scale.

    The scale is that of the usual one but its few highest bins, such as that of a background.
    """
    top = 1.5 * (np.quantile(usual, 0.95) or usual.max() or 1)
    heights = np.round(HIGH * (1 - np.minimum(shares / top, 1))).astype(int)
    return f"M0 {heights[0]}h1" + "".join(f"V{height}h1" for height in heights[1:])


def _wide(channels: int) -> int:
    """Pixels of a case's planes."""
    return (2 + channels) * (thumbnails.SIDE + GAP) - GAP


_STYLE = """
.cases { display: grid; gap: 1.5rem; margin-top: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, var(--wide)), 1fr)) }
article { content-visibility: auto; contain-intrinsic-size: auto 16rem; min-width: 0;
  border-top: 1px solid var(--line) }
article h3 { margin: .5rem 0 0; font-size: 1rem; overflow-wrap: anywhere }
article p { margin: 0 0 .5rem } article .bad { margin: .5rem 0; font-size: .9rem }
.histograms { display: flex; flex-wrap: wrap; gap: .25rem 1rem; margin-top: .5rem }
.histograms figure { flex: 1 1 9rem; max-width: 22.5rem; margin: 0 }
.histograms figcaption { margin: 0; font-size: .8rem }
.histograms svg { width: 100%; height: 40px; border-bottom: 1px solid var(--faint) }
.histograms svg path { fill: #3b82f6; opacity: .55 }
use { fill: none; stroke: currentColor; stroke-width: 1px }
.hidden { position: absolute; width: 0; height: 0 }
td:nth-child(2) { font-weight: inherit }
"""
