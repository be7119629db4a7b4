"""The page of a run, `report.html`: one file that shows all there is to see, without a network."""

from pathlib import Path
from typing import Any

from rubik_jax.data.writing import replacing
from rubik_jax.report import (
    answers,
    cases,
    cost,
    curves,
    facts,
    markup,
    mistakes,
    origin,
    puzzle,
    records,
    restoration,
    scores,
    slices,
    usage,
    views,
)

REPORT = "report.html"

PICTURES = {
    "puzzle": puzzle.section,
    "restoration": restoration.section,
    "views": views.section,
    "mistakes": mistakes.section,
    "slices": slices.section,
    "answers": answers.section,
    "cases": cases.section,
}
REFRESH = 60  # seconds


def write(
    folder: Path,
    description: dict[str, Any],
    results: dict[str, dict[str, Any]],
    warnings: list[str],
    pictures: dict[str, Any] | None = None,
    *,
    running: bool = False,
) -> None:
    """Writes the page of a run, whole or not at all.

    Args:
        folder: the run's directory; its `metrics.jsonl` gives the curves.
        description: what the evaluated checkpoint says of itself.
        results: numbers by the part of the cohort or the probe; the first is the one that counts,
            and there may be none yet.
        warnings: sentences on what looks unhealthy.
        pictures: what the modules of that name draw, as in `PICTURES`.
        running: whether the run goes on; a browser then reads the page again from time to time.

    Raises:
        UserError: the folder can't be written.
    """
    measured = records.read(folder / "metrics.jsonl")
    drawn = (PICTURES[name](what, description) for name, what in (pictures or {}).items())
    text = markup.page(
        title=str(folder),
        about=_about(description, measured, running),
        refresh=REFRESH if running else 0,
        sections=[
            _warnings(warnings) if results else "",
            scores.section(results, description) if results else "",
            curves.section(measured) if measured else "",
            *drawn,
            cost.section(measured),
            origin.section(description),
            usage.section(folder, description),
            facts.section(description),
        ],
    )
    with replacing(folder / REPORT) as file:
        file.write(text.encode())


def _about(description: dict[str, Any], measured: list[dict[str, Any]], running: bool) -> str:
    """What was run and how far it has come."""
    about = f"{description['config']['task']}, rubik_jax {description['versions']['rubik_jax']}"
    step, steps = max((r["step"] for r in measured), default=0), description["config"]["steps"]
    if running:
        return f"{about}; in progress, at step {step} of {steps}"
    return about if step in (0, steps) else f"{about}; it stands at step {step} of {steps}"


def _warnings(warnings: list[str]) -> str:
    if not warnings:
        return '<p class="good">Nothing looks unhealthy.</p>'
    return markup.listing(warnings)
