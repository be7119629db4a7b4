"""Answers beside the truth: the confusion of classes, calibration, and ROC curves."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from rubik_jax.report import confusion, markup
from rubik_jax.report.drawing import BLUE, INK, LABELS, STYLE, svg

BINS = 15  # of the reliability diagram, as in Guo et al., 2017
CURVES = 6  # classes; of more there would be too many to tell apart
LETTERS = 24  # of a class's name beside its curve


def section(picture: Mapping[str, Any], description: dict[str, Any]) -> str:
    """The confusion matrix and the curves, as HTML.

    Args:
        picture: "truth" [n], the number of each case's class; "probabilities" [n, k]; "classes",
            their k names.
        description: what the evaluated checkpoint says of itself.
    """
    del description
    truth, probabilities = picture["truth"], picture["probabilities"]
    classes = picture["classes"]
    counts = np.zeros((len(classes), len(classes)), int)
    np.add.at(counts, (truth, probabilities.argmax(axis=1)), 1)
    note = (
        "Left: how often an answer is right, by its probability, with how many cases there are "
        "below; on the dotted line probabilities are true."
    )
    if len(classes) <= CURVES:
        which = "the second class" if len(classes) == 2 else "each class against the others"
        note += f" Right: the rates of true and false positives of {which}."
    return markup.section(
        "Answers",
        confusion.section(counts, classes, "class", "cases"),
        markup.figure(draw(truth, probabilities, classes), note),
    )


def draw(truth: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]) -> str:
    """The reliability diagram, and ROC curves where there are few classes.

    Args:
        truth: the number of each case's class [n].
        probabilities: of each case and class [n, k].
        classes: their names.

    Returns:
        An `<svg>` element.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.4, 4.2))
        figure.subplots_adjust(0.08, 0.11, 0.98, 0.93, wspace=0.22, hspace=0.12)
        grid = figure.add_gridspec(2, 2, height_ratios=(4, 1))
        above = figure.add_subplot(grid[0, 0])
        _reliability(above, figure.add_subplot(grid[1, 0], sharex=above), truth, probabilities)
        if len(classes) <= CURVES:
            _roc_curves(figure.add_subplot(grid[:, 1]), truth, probabilities, classes)
        return svg(figure)


def reliability(
    truth: np.ndarray, probabilities: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cases, mean probability of the answer, and share of right answers by that probability.

    Args:
        truth: the number of each case's class [n].
        probabilities: of each case and class [n, k].

    Returns:
        Each of `BINS` equal bins of (low, high]; NaN for the mean and the share of an empty one.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == truth
    bins = np.digitize(confidence, np.linspace(0, 1, BINS + 1)[1:-1], right=True)
    counts = np.bincount(bins, minlength=BINS)
    each = np.where(counts, counts, np.nan)
    means = (np.bincount(bins, weights=of, minlength=BINS) / each for of in (confidence, right))
    return counts, *means


def roc(positive: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rates of false and of true positives as the threshold falls, from (0, 0) to (1, 1).

    Args:
        positive: whether each case is of the class [n]; some are and some aren't.
        scores: the larger the more likely of the class [n]; equal ones make one step.
    """
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    hits = np.cumsum(positive[order])[last]
    misses = last + 1 - hits
    return np.insert(misses / misses[-1], 0, 0), np.insert(hits / hits[-1], 0, 0)


def _reliability(above: Axes, below: Axes, truth: np.ndarray, probabilities: np.ndarray) -> None:
    counts, confidence, right = reliability(truth, probabilities)
    error = np.nansum(counts * np.abs(right - confidence)) / len(truth)
    edges = np.linspace(0, 1, BINS + 1)
    above.set_title(f"calibration error {error:.3f}", loc="left", fontweight="bold")
    above.bar(edges[:-1], np.nan_to_num(right), 1 / BINS, align="edge", color=BLUE, alpha=0.35)
    above.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle=":")
    above.plot(confidence, right, color=BLUE, linestyle="none", marker="o", markersize=5)
    above.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="right")
    above.tick_params(labelbottom=False)
    below.bar(edges[:-1], counts, 1 / BINS, align="edge", color=INK, alpha=0.35)
    below.set(ylabel="cases", xlabel="probability of the answer")
    for axis in (above.yaxis, below.xaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))


def _roc_curves(
    axes: Axes, truth: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]
) -> None:
    """Of two classes that of the second, which mirrors the first's; of more, each one's."""
    axes.set_title("ROC", loc="left", fontweight="bold")
    axes.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle=":")
    for k in range(len(classes)) if len(classes) > 2 else (1,):
        positive = truth == k
        if positive.any() and not positive.all():
            x, y = roc(positive, probabilities[:, k])
            name = classes[k] if len(classes[k]) <= LETTERS else f"{classes[k][: LETTERS - 1]}…"
            label = f"{name}: AUC {np.trapezoid(y, x):.3f}"
            axes.plot(x, y, color=LABELS[k].code, linewidth=1.8, label=label, clip_on=False)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="false positives", ylabel="true positives")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))
    if axes.get_legend_handles_labels()[1]:
        axes.legend(loc="lower right", frameon=False)
