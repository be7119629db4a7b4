"""All cases that were judged: how their scores spread, and a table with a row for each."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from rubik_jax.report import markup
from rubik_jax.report.drawing import BLUE, INK, STYLE, svg
from rubik_jax.report.scores import names

LISTED = 500  # cases; more would make the page large, and are in cases.csv
LABELS = 12  # rows of dots

Case = Mapping[str, Any]


def section(cases: Sequence[Case], description: dict[str, Any]) -> str:
    """The cases as HTML, the worst first.

    Args:
        cases: as `judge` gives their rows: with "case" and masks' measures, or with "case",
            "class", "answer" and "p_CLASS" for each class.
        description: what the evaluated checkpoint says of itself.
    """
    if "class" in cases[0]:
        return markup.section("Cases", _listed(_classes(cases), "surest mistakes first"))
    dice = _dice(cases, description["values"])
    note = "A dot for each case; the stroke is the median."
    return markup.section(
        "Cases",
        markup.figure(draw(dice), note),
        _listed(_masks(cases, dice), "worst first"),
    )


def draw(scores: Mapping[str, Sequence[float]]) -> str:
    """A row of dots for each of the first names, at its scores from 0 to 1; NaN has none.

    Returns:
        An `<svg>` element.
    """
    rows = list(scores.items())[:LABELS]
    height = 0.32 * len(rows) + 0.75
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8.4, height))
        figure.subplots_adjust(0.2, 0.45 / height, 0.98, 1 - 0.3 / height)
        axes = figure.subplots()
        axes.set_title("Dice", loc="left", fontweight="bold")
        for place, (_, values) in enumerate(rows):
            known = np.array([value for value in values if not math.isnan(value)])
            # Next to each other by turns, so that equal ones are seen.
            beside = place + 0.13 * (np.arange(len(known)) % 3 - 1)
            axes.plot(np.sort(known), beside, "o", color=BLUE, alpha=0.5, markersize=5, mew=0)
            if len(known):
                axes.vlines(np.median(known), place - 0.35, place + 0.35, color=INK, linewidth=1.6)
        axes.set_yticks(range(len(rows)), [name for name, _ in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlim(-0.01, 1.01)
        axes.grid(axis="x", color=INK, alpha=0.12)
        axes.tick_params(axis="y", length=0)
        return svg(figure)


def _dice(cases: Sequence[Case], values: Sequence[int]) -> dict[str, list[float]]:
    """Names of the foreground, regions and labels -> the Dice of each case."""
    said = {"foreground": "foreground_dice"}
    said |= {name: f"dice_{key}" for key, name in names(cases[0], values).items()}
    said.pop(f"background ({values[0]})", None)
    return {name: [case[key] for case in cases] for name, key in said.items()}


def _masks(cases: Sequence[Case], dice: Mapping[str, Sequence[float]]) -> dict[str, list[str]]:
    foreground = np.nan_to_num(dice["foreground"], nan=2.0)  # with nothing to find, at the end
    return {"": [f"Dice, {name}" for name in dice] + ["HD95, mm"]} | {
        cases[i]["case"]: [markup.number(of[i], "{:.3f}") for of in dice.values()]
        + [markup.number(cases[i]["foreground_hd95"], "{:.1f}")]
        for i in np.argsort(foreground, kind="stable")
    }


def _classes(cases: Sequence[Case]) -> dict[str, list[str]]:
    def true(case: Case) -> float:
        return case[f"p_{case['class']}"]

    return {"": ["class", "answer", "probability of the class"]} | {
        case["case"]: [case["class"], case["answer"], f"{true(case):.3f}"]
        for case in sorted(cases, key=true)
    }


def _listed(rows: dict[str, list[str]], order: str) -> str:
    head = rows.pop("")
    shown = dict(list(rows.items())[:LISTED])
    more = f", the first {LISTED} of {len(rows)}" if len(rows) > LISTED else ""
    return markup.fold(f"All cases, {order}{more}", markup.table(head, shown))
