"""The page of a run, `report.html`: one file that shows all there is to see, without a network."""

import os
from pathlib import Path
from typing import Any

from rubik_jax.errors import UserError
from rubik_jax.report import (
    answers,
    curves,
    facts,
    markup,
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
    "slices": slices.section,
    "answers": answers.section,
}


def write(
    folder: Path,
    description: dict[str, Any],
    results: dict[str, dict[str, Any]],
    warnings: list[str],
    pictures: dict[str, Any] | None = None,
) -> None:
    """Writes the page of a run, whole or not at all.

    Args:
        folder: the run's directory; its `metrics.jsonl` gives the curves.
        description: what the evaluated checkpoint says of itself.
        results: numbers by the part of the cohort or the probe; the first is the one that counts,
            and there may be none yet.
        warnings: sentences on what looks unhealthy.
        pictures: what the modules of that name draw, as in `PICTURES`.

    Raises:
        UserError: the folder can't be written.
    """
    measured = records.read(folder / "metrics.jsonl")
    drawn = (PICTURES[name](what, description) for name, what in (pictures or {}).items())
    text = markup.page(
        title=folder.resolve().name,
        about=f"{description['config']['task']}, rubik_jax {description['versions']['rubik_jax']}",
        sections=[
            _warnings(warnings) if results else "",
            scores.section(results, description) if results else "",
            curves.section(measured) if measured else "",
            *drawn,
            usage.section(folder, description),
            facts.section(description),
        ],
    )
    temporary = folder / f"{REPORT}.tmp"
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, folder / REPORT)
    except OSError as error:
        raise UserError(f"{folder / REPORT} can't be written: {error.strerror}") from error


def _warnings(warnings: list[str]) -> str:
    if not warnings:
        return '<p class="good">Nothing looks unhealthy.</p>'
    return markup.listing(warnings)
